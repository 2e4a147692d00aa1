"""Packing: documents to rows of tokens, delimited by an end token; none, plain, or with attention and
position reset.
"""

from itertools import islice
from typing import Iterable, Iterator

import torch

from .batch import Batch, pad

HOW = ("none", "plain", "reset")


def encode_documents(tok, texts: Iterable[str], end: int, chunk: int = 64) -> Iterator[list[int]]:
    """Token ids of each document, the end token last; a chunk at a time, which is several times faster."""
    texts = iter(texts)
    while part := list(islice(texts, chunk)):
        for ids in tok(part, add_special_tokens=False)["input_ids"]:
            yield ids + [end]


def pack(
    documents: Iterable[list[int]], *, rows: int, length: int, how: str = "plain", fill: int = 0
) -> Iterator[Batch]:
    """Batches of `rows` × `length` tokens.

    none   a document a row, cut at `length` and padded (wasteful: see `padding`)
    plain  one stream cut into rows; a token may look at the document before its own
    reset  the same rows, with a `positions` column: attention stays inside the document, whose first token is
    not trained
    """
    if how not in HOW:
        raise ValueError(f"packing is one of {', '.join(HOW)}, not '{how}'")
    cut = _one_each(documents, length) if how == "none" else _stream(documents, length)
    while part := list(islice(cut, rows)):
        if len(part) < rows:
            return
        ids = pad([r for r, _ in part], fill, length)
        mask = pad([[1.0] * len(r) for r, _ in part], 0.0, length)
        if how != "reset":
            yield Batch(ids, mask)
            continue
        positions = torch.tensor([p for _, p in part])
        yield Batch(ids, mask * (positions > 0), {"positions": positions})


def _one_each(documents, length):
    for ids in documents:
        yield ids[:length], None


def _stream(documents, length):
    row, positions = [], []
    for ids in documents:
        while ids:
            room = length - len(row)
            row, positions, ids = row + ids[:room], positions + list(range(len(ids[:room]))), ids[room:]
            if len(row) == length:
                yield row, positions
                row, positions = [], []


def pack_examples(examples: list[tuple[list[int], list[int]]], *, length: int, fill: int) -> Batch:
    """Whole (ids, mask) examples, such as conversations, in as few rows as first-fit-decreasing finds;
    attention and positions reset at each.

    No example is cut: `length` grows to the longest. None is dropped, so long ones are not under-represented.
    """
    length = max(length, max(len(ids) for ids, _ in examples))
    rows: list[list] = []
    for example in sorted(examples, key=lambda e: -len(e[0])):
        free = next((r for r in rows if sum(len(ids) for ids, _ in r) + len(example[0]) <= length), None)
        rows.append([example]) if free is None else free.append(example)
    rows = [
        [*r, ([fill] * rest, [0] * rest)] for r in rows for rest in [length - sum(len(ids) for ids, _ in r)]
    ]
    joined: list = [
        [sum(column, []) for column in zip(*((ids, mask, list(range(len(ids)))) for ids, mask in r))]
        for r in rows
    ]
    ids, mask, positions = (torch.tensor(column) for column in zip(*joined))
    return Batch(ids, mask.float() * (positions > 0), {"positions": positions})


def padding(batch: Batch) -> float:
    """Share of a batch's places that hold no trained token."""
    return 1.0 - float(batch.mask.mean())
