"""Probes: numbers read off a model without touching it. They take no random numbers and restore train mode,
so a probed run is bit-equal to an unprobed one.
"""

from typing import Sequence

import torch

from ..methods.parts import trained
from ..models.forward import forward_trained, placed
from ..tokens import chat
from ..tokens.batch import Batch, pad
from ..tokens.pack import encode_documents
from ..tokens.special import document_end
from ..world.base import Problem, World

Rows = list[tuple[list[int], list[int]]]  # (ids, mask) a row


def question_rows(tok, world: World, problems: Sequence[Problem]) -> Rows:
    """Each problem with its right answer: plain form for a base model, chat form where the tokenizer has a
    template.
    """
    return [chat.example(tok, p.messages, world.solution(p), p.meta.get("tools")) for p in problems]


def cloze_rows(tok, clozes) -> Rows:
    """Each statement up to its value, and the value."""
    return [chat.continuation(tok, head, tail) for head, tail, *_ in clozes]


def text_rows(tok, texts: Sequence[str], cut: int = 257) -> list[Batch]:
    """Held-out documents, a row each, every token counted."""
    return batches(
        [(ids[:cut], [1] * len(ids[:cut])) for ids in encode_documents(tok, texts, document_end(tok))],
        size=32,
    )


def read(model, sets: dict[str, list[Batch]]) -> dict[str, float]:
    """All prepared sets: the loss where the name says so, else the share of rows exactly right."""
    return {
        name: loss(model, prepared) if "loss" in name else exact(model, prepared)
        for name, prepared in sets.items()
    }


def batches(rows: Rows, size: int = 64) -> list[Batch]:
    """Rows of similar length together, padded on the right."""
    rows = sorted(rows, key=lambda r: len(r[0]))
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    return [Batch(pad([ids for ids, _ in p], 0), pad([mask for _, mask in p], 0).float()) for p in parts]


@torch.no_grad()
def exact(model, prepared: list[Batch]) -> float:
    """Share of rows whose every masked token is the model's first choice: exactly what greedy decoding would
    get right, at the price of one forward.
    """
    right = total = 0
    for batch in _evaluating(model, prepared):
        there = batch.mask[:, 1:] > 0
        first = trained(forward_trained(model, batch).logits, there).argmax(-1)
        wrong = placed(first != batch.ids[:, 1:][there], there)
        right, total = right + int((~wrong.any(1)).sum()), total + len(batch)
    return right / total


@torch.no_grad()
def loss(model, prepared: list[Batch]) -> float:
    """Mean negative log-likelihood of the masked tokens, in nats per token."""
    total = count = 0.0
    for batch in _evaluating(model, prepared):
        out = forward_trained(model, batch)
        total, count = total - float((out.logprobs * out.mask).sum()), count + float(out.mask.sum())
    return total / count


def _evaluating(model, prepared):
    was, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        for batch in prepared:
            yield batch.to(device)
    finally:
        model.train(was)
