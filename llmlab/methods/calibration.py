"""Calibration: does a stated chance hold? Pairs of a confidence from 0 to 1 and whether the answer was
right.
"""

from statistics import fmean
from typing import Sequence

import torch
from torch import Tensor


def brier(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Mean (confidence − right)², 0 is best. Brier 1950"""
    return fmean((c - float(r)) ** 2 for c, r in zip(confidence, right, strict=True))


def bins(
    confidence: Sequence[float], right: Sequence[bool], count: int = 10
) -> list[tuple[float, float, int]]:
    """(mean confidence, share right, how many) of each of `count` equal bins that is not empty: the
    reliability diagram.
    """
    inside: dict[int, list[tuple[float, bool]]] = {}
    for c, r in zip(confidence, right, strict=True):
        inside.setdefault(min(int(c * count), count - 1), []).append((c, r))
    return [(fmean(c for c, _ in of), fmean(r for _, r in of), len(of)) for _, of in sorted(inside.items())]


def ece(confidence: Sequence[float] | Tensor, right: Sequence[bool] | Tensor, count: int = 10) -> float:
    """Expected calibration error: Σ_b n_b/n · |share right − mean confidence| over equal bins of [0, 1].
    confidence, right [N]. Guo et al. 2017, equation 3
    """
    c, r = (x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.double) for x in (confidence, right))
    inside = (c * count).long().clamp(max=count - 1)
    gaps = [
        (inside == b).float().mean() * (r[inside == b].mean() - c[inside == b].mean()).abs()
        for b in inside.unique()
    ]
    return float(sum(gaps))


def risk_coverage(confidence: Sequence[float], right: Sequence[bool]) -> list[tuple[float, float]]:
    """(coverage, share wrong) if only the surest answers are given, from one to all; equal confidences in the
    order in which they stand. El-Yaniv and Wiener 2010
    """
    order = sorted(range(len(right)), key=lambda i: -confidence[i])
    wrong, found = 0, []
    for n, i in enumerate(order, 1):
        wrong += not right[i]
        found.append((n / len(order), wrong / n))
    return found


def area(curve: Sequence[tuple[float, float]]) -> float:
    """Mean risk over the coverages: AURC. Geifman et al. 2019"""
    return fmean(risk for _, risk in curve)


def auc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """Chance that a right one scores above a wrong one, ties count half; 0.5 where there is only one kind.
    Mann and Whitney 1947
    """
    good = [s for s, r in zip(scores, right, strict=True) if r]
    bad = [s for s, r in zip(scores, right, strict=True) if not r]
    if not good or not bad:
        return 0.5
    return fmean((g > b) + 0.5 * (g == b) for g in good for b in bad)
