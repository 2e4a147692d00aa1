"""Fake quantisation: layers that compute with rounded weights while the full ones are trained; the gradient
passes the rounding as if it were not there (straight-through estimator, arXiv 1308.3432; QAT, 1712.05877).
"""

import copy
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import formats


class RoundedLinear(nn.Linear):
    """A linear layer that rounds its weights to `bits` bits at every use. held: weights that were rounded
    before, while nothing is trained.
    """

    bits: int
    group: int
    held: Tensor | None

    def forward(self, input: Tensor) -> Tensor:
        """x Ŵᵀ + b"""
        if self.held is not None:
            return F.linear(input, self.held, self.bias)
        low = formats.integer(self.weight, self.bits, self.group)
        return F.linear(input, self.weight + (low - self.weight).detach(), self.bias)


def fake_quantise(model, bits: int, group: int):
    """The model whose linear layers, all but the head, round their weights at every use, in place."""
    for layer in formats.linears(model).values():
        layer.__class__ = RoundedLinear
        layer.bits, layer.group, layer.held = bits, group, None  # type: ignore[assignment]
    return model


def plain(model):
    """A copy with the full weights and without rounding."""
    twin = copy.deepcopy(model)
    for layer in formats.linears(twin).values():
        layer.__class__ = nn.Linear
    return twin


@contextmanager
@torch.no_grad()
def rounded_once(model, bits: int, group: int):
    """Meanwhile the linear layers, all but the head, have rounded weights, rounded once: for sampling."""
    layers = list(formats.linears(model).values())
    before = [layer.__class__ for layer in layers]
    for layer in layers:
        layer.__class__ = RoundedLinear
        layer.held = formats.integer(layer.weight, bits, group)  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer, kind in zip(layers, before):
            layer.__class__, layer.held = kind, None  # type: ignore[assignment]
