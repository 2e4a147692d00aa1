"""Reference: log-probs of a model that does not move, computed once for each row, however often it comes."""

from typing import Any

import torch
from torch import Tensor

from ..models.forward import placed
from ..tokens.batch import Batch
from .loop import add_logprobs


class Reference:
    """batch -> the batch with the frozen column ref_logprobs [B,T-1], 0 outside the mask. Of stored pairs
    each row is computed once a run; what is kept are the numbers under its mask.
    """

    def __init__(self, model: Any):
        self.model = model
        self.kept: dict[tuple, Tensor] = {}

    def __call__(self, batch: Batch) -> Batch:
        keys = [_key(batch, row) for row in range(len(batch))]
        if new := {key: row for row, key in enumerate(keys) if key not in self.kept}:
            rows = torch.tensor(list(new.values()), device=batch.ids.device)
            alone = Batch(batch.ids[rows], batch.mask[rows], temperature=batch.temperature)
            told = add_logprobs(self.model, alone, "ref_logprobs")["ref_logprobs"]
            there = alone.mask[:, 1:] > 0
            self.kept |= zip(new, (row[mask] for row, mask in zip(told, there)))
        return batch.add(ref_logprobs=placed(torch.cat([self.kept[k] for k in keys]), batch.mask[:, 1:] > 0))


def _key(batch: Batch, row: int) -> tuple:
    """What the log-probs of a row depend on: its tokens up to the last trained one, its mask, temperature."""
    ids, mask = batch.ids[row].tolist(), (batch.mask[row, 1:] > 0).tolist()
    end = len(mask) - mask[::-1].index(True) if True in mask else 0
    return tuple(ids[: end + 1]), tuple(mask[:end]), batch.temperature
