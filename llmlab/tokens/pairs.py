"""Pairs of last turns as one batch: rows 2i chosen, 2i+1 rejected; a turn may be words or a tool call."""

import torch

from ..world.base import Message, say
from . import chat
from .batch import Batch, Row

Turns = tuple[
    tuple[Message, ...], Message, Message, list | None
]  # messages before, chosen turn, rejected turn, tools


def row(tok, messages, turn: Message, tools=None) -> Row:
    """ids and mask of a conversation of which only the last turn is learnt: earlier turns of the assistant
    are context. Raises chat.NoMask.
    """
    return last_turn(*chat.example(tok, messages, [turn], tools))


def last_turn(ids: list[int], mask: list[int]) -> Row:
    """The row with the last run of ones alone in its mask."""
    if 1 not in mask:
        return ids, mask
    end = len(mask) - mask[::-1].index(1)
    start = end - next((i for i, m in enumerate(mask[:end][::-1]) if not m), end)
    return ids, [0] * start + mask[start:end] + [0] * (len(mask) - end)


def contrast(tok, pairs: list[Turns]) -> Batch:
    """Pairs -> Batch of 2·len(pairs) rows; mask 1 on the last turns, column `pair` holds the pair's
    number.
    """
    return of_rows(
        tok, [row(tok, messages, turn, tools) for messages, *turns, tools in pairs for turn in turns]
    )


def of_rows(tok, rows: list[Row]) -> Batch:
    """Encoded rows, chosen and rejected in turn, as a batch of pairs."""
    return Batch.of_rows(tok, rows, {"pair": torch.arange(len(rows) // 2).repeat_interleave(2)})


def answers(tok, pairs) -> Batch:
    """Pairs with messages and the words of two answers (`chosen`, `rejected`) -> Batch, as contrast() makes
    it.
    """
    return contrast(tok, [(p.messages, *say(p.chosen), *say(p.rejected), None) for p in pairs])
