"""Pairs of last turns as one batch: rows 2i chosen, 2i+1 rejected; a turn may be words or a tool call."""

import torch

from ..world.base import Message
from . import chat
from .batch import Batch, pad

Row = tuple[list[int], list[int]]  # ids, mask
Turns = tuple[
    tuple[Message, ...], Message, Message, list | None
]  # messages before, chosen turn, rejected turn, tools


def row(tok, messages, turn: Message, tools=None) -> Row:
    """ids and mask of a conversation of which only the last turn is learnt."""
    ids, mask = chat.example(tok, messages, [turn], tools)
    if any(m["role"] == "assistant" for m in messages):  # earlier turns are context
        start = len(chat.prompt(tok, messages, tools))
        mask = [0] * start + mask[start:]
    return ids, mask


def contrast(tok, pairs: list[Turns]) -> Batch:
    """Pairs -> Batch of 2·len(pairs) rows; mask 1 on the last turns, column `pair` holds the pair's
    number.
    """
    return of_rows(
        tok, [row(tok, messages, turn, tools) for messages, *turns, tools in pairs for turn in turns]
    )


def of_rows(tok, rows: list[Row]) -> Batch:
    """Encoded rows, chosen and rejected in turn, as a batch of pairs."""
    ids, mask = (
        pad([ids for ids, _ in rows], tok.pad_token_id or 0),
        pad([mask for _, mask in rows], 0).float(),
    )
    return Batch(ids, mask, {"pair": torch.arange(len(rows) // 2).repeat_interleave(2)})
