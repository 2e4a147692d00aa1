"""Floating-point operations of a training step, counted while it runs."""

import torch
from torch.utils.flop_counter import FlopCounterMode


def step_gflop(model, rows: int = 4, length: int = 32) -> float:
    """10⁹ operations of a forward and backward pass over rows × length tokens, two for each multiply-add. It
    leaves no gradient behind.

    A matrix takes three products of equal size: forward, the gradient of its input, the gradient of its
    weight. A frozen one saves the third.
    """
    ids = torch.zeros((rows, length), dtype=torch.long, device=next(model.parameters()).device)
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        model(input_ids=ids, use_cache=False).logits.float().mean().backward()
    model.zero_grad()
    return counter.get_total_flops() / 1e9
