"""Layout: the distinct tokens that a batch needs, each computed once, however many rows begin with it."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .batch import Batch


SHORT = (
    32  # documents up to this length are one group: a call of attention more would cost more than it saves
)
UNLIKE = 64  # times the batch's places that all documents, filled up to the longest one, may take


@dataclass(frozen=True)
class Layout:
    """ids, positions [N] of the distinct tokens, without padding and without what stands behind a row's last
    trained token · rows: which of them each document reads, in order; documents of like length together, a
    tensor [S,L] for each such group, filled up with 0 on the right · place [N]: where a token stands in all
    rows one behind the other · before [M]: for each token under the mask, in reading order, the one before
    it, where it is predicted.
    """

    ids: Tensor
    positions: Tensor
    rows: tuple[Tensor, ...]
    place: Tensor
    before: Tensor


def layout(batch: Batch) -> Layout | None:
    """Documents of a batch (its rows, or what the `positions` column packs into them), sorted, so that each
    shares its longest prefix with its neighbour. None where nothing is trained, and where one long document
    stands among very many short ones.
    """
    ids, trained = (x.cpu().numpy() for x in (batch.ids[:, :-1], batch.mask[:, 1:] > 0))
    if not trained.any():
        return None
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    if "positions" in batch.given:
        places = batch["positions"][:, :-1].cpu().numpy()
    document, start, length = _documents(places, trained)
    if len(start) * length.max() > UNLIKE * ids.size:
        return None
    rows = _padded(ids.reshape(-1), places.reshape(-1), start, length)
    order = sorted(np.flatnonzero(length), key=[r.tobytes() for r in rows].__getitem__)
    slots, fresh = _shared(rows[order])
    rank = np.zeros(len(start), dtype=np.int64)
    rank[order] = np.arange(len(order))
    at = np.flatnonzero(trained)
    before = slots[rank[document[at]], at - start[document[at]]]
    found = (start[order][:, None] + np.arange(slots.shape[1]))[fresh]
    groups, place = _grouped(slots, fresh, length[order])
    tensor = partial(torch.as_tensor, device=batch.ids.device)
    return Layout(
        tensor(ids.reshape(-1)[found]),
        tensor(places.reshape(-1)[found]),
        tuple(map(tensor, groups)),
        tensor(place),
        tensor(before),
    )


def _documents(places, trained):
    """(document of each place, first place of each document, how many of its places are needed)."""
    new = np.ones(places.shape, dtype=bool)
    new[:, 1:] = places[:, 1:] != places[:, :-1] + 1
    document, start = new.cumsum() - 1, np.flatnonzero(new)
    last = np.full(len(start), -1)
    at = np.flatnonzero(trained)
    np.maximum.at(last, document[at], at)
    return document, start, np.maximum(last - start + 1, 0)


def _padded(ids, places, start, length):
    """A row a document: the position it begins with, its tokens, and smaller numbers than any behind them;
    big-endian, so that bytes sort as numbers do.
    """
    at = start[:, None] + np.arange(length.max())
    tokens = np.where(np.arange(length.max()) < length[:, None], ids.take(at, mode="clip") + 1, 0)
    return np.concatenate([places[start][:, None], tokens], 1).astype(">u4")


def _shared(rows):
    """(number of the distinct token at each place of sorted rows, where it is met for the first time)."""
    valid = rows[:, 1:] > 0
    fresh = valid.copy()
    alike = np.logical_and.accumulate(rows[1:] == rows[:-1], axis=1)[:, 1:]
    fresh[1:] &= ~alike
    owner = np.maximum.accumulate(np.where(fresh, np.arange(len(rows))[:, None], 0), axis=0)
    number = fresh.cumsum().reshape(fresh.shape) - 1
    return np.where(valid, number[owner, np.arange(fresh.shape[1])], 0), fresh


def _grouped(slots, fresh, length):
    """(rows of documents of like length, group by group; where each distinct token stands in them)."""
    kind = np.ceil(np.log2(np.maximum(length, SHORT)))
    groups, start, used = [], np.zeros(len(length), dtype=np.int64), 0
    for each in np.unique(kind):
        rows = np.flatnonzero(kind == each)
        longest = length[rows].max()
        start[rows] = used + longest * np.arange(len(rows))
        groups.append(np.ascontiguousarray(slots[rows, :longest]))
        used += len(rows) * longest
    row, t = np.nonzero(fresh)
    return groups, start[row] + t
