"""Preference pairs as one batch: rows 2i chosen, 2i+1 rejected."""

import torch

from . import chat
from .batch import Batch, pad


def pair_batch(tok, pairs) -> Batch:
    """Pairs (messages, chosen, rejected) -> Batch of 2·len(pairs) rows; mask 1 on the answers, column `pair`
    holds the pair's number.
    """
    rows = [
        chat.example(tok, p.messages, [{"role": "assistant", "content": text}])
        for p in pairs
        for text in (p.chosen, p.rejected)
    ]
    ids = pad([ids for ids, _ in rows], tok.pad_token_id or 0)
    mask = pad([mask for _, mask in rows], 0).float()
    return Batch(ids, mask, {"pair": torch.arange(len(pairs)).repeat_interleave(2)})
