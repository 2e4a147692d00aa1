"""Verification: heads that judge solutions, the outcome (ORM) or every step (PRM), and from step scores to
one.
"""

from math import prod
from typing import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from ..models.forward import Out
from ..tokens.batch import Batch
from .parts import detached, token_mean, values_of


def cross_entropy(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Is it right up to here? −[y log σ(v) + (1−y) log(1−σ(v))], mean over the marked tokens; y in the column
    returns [B,T-1], 0 to 1. ORM: Cobbe et al. 2021; PRM: Lightman et al. 2023; y by rollouts: Wang et al.
    2024
    """
    values, wanted = values_of(out), batch["returns"]
    loss = token_mean(F.binary_cross_entropy_with_logits(values, wanted, reduction="none"), out.mask)
    hit = token_mean(((values > 0) == (wanted > 0.5)).float(), out.mask)
    return loss, detached(label_accuracy=hit)


def last(scores: Sequence[float]) -> float:
    """The score behind the answer."""
    return scores[-1]


def total(scores: Sequence[float]) -> float:
    """Σ p: credit for every step, so that more steps are worth more. Cheng et al. 2025 (PURE), section 3"""
    return sum(scores)


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "product": prod,
    "sum": total,
    "last": last,
}
