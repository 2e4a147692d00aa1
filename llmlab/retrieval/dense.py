"""Dense: a text as a vector: the mean of a model's last hidden states, as they are or trained by contrast."""

from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..tokens.batch import pad


def embed(model, tok, texts: list[str]) -> Tensor:
    """Mean of the last hidden states over a text's tokens, of length 1. [texts, d], with gradient."""
    rows = [tok(t, add_special_tokens=False)["input_ids"] or [0] for t in texts]
    device = next(model.parameters()).device
    ids, mask = pad(rows, 0).to(device), pad([[1] * len(r) for r in rows], 0).to(device)
    states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-1].float()
    return F.normalize((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1)


@torch.no_grad()
def vectors(model, tok, texts: list[str], size: int = 64) -> np.ndarray:
    """The same without gradient, in batches of texts of similar length. [texts, d] float32"""
    model.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = np.zeros((len(texts), model.config.get_text_config().hidden_size), dtype=np.float32)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        found[rows] = embed(model, tok, [texts[i] for i in rows]).cpu().numpy()
    return found


def info_nce(questions: Tensor, passages: Tensor, temperature: float = 0.05) -> Tensor:
    """−mean_i log softmax_j(q_i · p_j / temperature)_i: each question beside its own passage and those of
    the other questions. [n, d], [n, d] -> scalar. InfoNCE, arXiv 1807.03748; in-batch negatives, arXiv
    2004.04906
    """
    logits = questions @ passages.T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def contrast(model, tok, pairs: Callable[[int], list[tuple[str, str]]], steps: int, lr: float):
    """Train a model's vectors so that a question lies beside its passage; pairs(step) gives both. Yields the
    loss and the share of questions whose own passage is the nearest of the batch.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, fused=True)
    for step in range(steps):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 10) * (1 - step / steps)
        asked, told = zip(*pairs(step))
        q, p = embed(model, tok, list(asked)), embed(model, tok, list(told))
        loss = info_nce(q, p)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        nearest = (q @ p.T).argmax(1) == torch.arange(len(q), device=q.device)
        yield {"step": step + 1, "loss": loss.item(), "nearest": float(nearest.float().mean())}
