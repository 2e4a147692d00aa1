"""Scaling: what n samples of an answer are worth, in closed form: pass@k, pass^k, votes, selection by a
score, and a verifier that errs.
"""

import random
from collections import defaultdict
from itertools import combinations
from math import comb
from statistics import fmean
from typing import Hashable, Sequence, TypeVar

A = TypeVar("A", bound=Hashable)


def pass_at_k(n: int, right: int, k: int) -> float:
    """Chance that at least one of k is right, from n samples of which c are: 1 − C(n−c, k) / C(n, k).
    Unbiased. Chen et al. 2021, equation 1
    """
    _check(n, k)
    return 1 - comb(n - right, k) / comb(n, k)


def pass_hat_k(n: int, right: int, k: int) -> float:
    """pass^k, the chance that all of k are right: C(c, k) / C(n, k). Yao et al. 2024 (τ-bench), section 4"""
    _check(n, k)
    return comb(right, k) / comb(n, k)


def selected_at_k(scores: Sequence[float], right: Sequence[bool], k: int) -> float:
    """Chance that the one of highest score among k of these samples is right, over all subsets of size k:
    Σ_i C(n−i, k−1) / C(n, k) · right_i, i the rank by score from 1. Equal scores share their ranks' chances.
    """
    n = len(scores)
    _check(n, k)
    order = sorted(range(n), key=lambda i: -scores[i])
    chances = [comb(n - rank, k - 1) / comb(n, k) for rank in range(1, n + 1)]
    equal: dict[float, list[int]] = defaultdict(list)
    for place, i in enumerate(order):
        equal[scores[i]].append(place)
    return sum(
        fmean(chances[p] for p in places) * sum(right[order[p]] for p in places) for places in equal.values()
    )


def vote(answers: Sequence[A], weights: Sequence[float] | None = None) -> A:
    """The answer with the largest sum of weights (1 each: the majority), the earliest of equal ones. Wang et
    al. 2023
    """
    return leading(answers, weights)[0]


def leading(answers: Sequence[A], weights: Sequence[float] | None = None) -> list[A]:
    """The answers with the largest sum of weights, in the order in which they came."""
    total: dict[A, float] = defaultdict(float)
    for answer, weight in zip(answers, weights or [1.0] * len(answers), strict=True):
        total[answer] += weight
    most = max(total.values())
    return [a for a, weight in total.items() if weight == most]


def voted_at_k(
    answers: Sequence[Hashable],
    right: Sequence[bool],
    k: int,
    weights: Sequence[float] | None = None,
    draws: int = 64,
) -> float:
    """Chance that the vote of k of these samples is right: over all subsets of size k, or over `draws` random
    ones where there are more. Answers with equally many votes share the chance.
    """
    n = len(answers)
    _check(n, k)
    weights, r = weights or [1.0] * n, random.Random(k)
    is_right = dict(zip(answers, right))
    few = comb(n, k) <= draws
    subsets = list(combinations(range(n), k)) if few else [r.sample(range(n), k) for _ in range(draws)]
    leaders = (leading([answers[i] for i in s], [weights[i] for i in s]) for s in subsets)
    return fmean(fmean(is_right[a] for a in equal) for equal in leaders)


def best_of_n(p: float, n: int, tpr: float = 1.0, fpr: float = 0.0) -> float:
    """Share right if the first of n samples that a verifier accepts is taken (rejection sampling; best-of-n
    for scores of 0 and 1), and any where it accepts none:
    (1 − (1−q)ⁿ) · p·TPR/q + (1−q)ⁿ · p·(1−TPR)/(1−q), with q = p·TPR + (1−p)·FPR the share accepted.
    """
    q = p * tpr + (1 - p) * fpr
    none = (1 - q) ** n
    found = (1 - none) * p * tpr / q if q else 0.0
    return found + (none * p * (1 - tpr) / (1 - q) if q < 1 else 0.0)


def precision(p: float, tpr: float, fpr: float) -> float:
    """Share of right ones among what a verifier accepts, p·TPR / (p·TPR + (1−p)·FPR): where that ends,
    and what self-training is shown. 0 where it accepts nothing.
    """
    accepted = p * tpr + (1 - p) * fpr
    return p * tpr / accepted if accepted else 0.0


def imitated(p: float, tpr: float, fpr: float, rounds: int) -> float:
    """Share right after some rounds of perfect imitation of what a verifier accepts: each round the odds
    p / (1−p) are multiplied by TPR / FPR, so that the sign of Youden's J = TPR − FPR decides where it ends,
    and the ratio how fast. 1 or 0 where FPR or TPR is 0.
    """
    for _ in range(rounds):
        p = precision(p, tpr, fpr)
    return p


def drawn_until_right(n: int, right: int, k: int) -> float:
    """Samples drawn in the mean if drawing ends at the first right one, or at k: Σ_{j<k} (1 − pass@j), with
    pass@0 = 0, from n samples of which `right` are.
    """
    _check(n, k)
    return sum(comb(n - right, j) / comb(n, j) for j in range(k))


def first_of_margin(answers: Sequence[Hashable], margin: int) -> tuple[Hashable, int]:
    """(answer, samples used) of a vote that stops early: once one answer is `margin` votes ahead of the next,
    or when all are counted. Aggarwal et al. 2023 (adaptive consistency) in its simplest form.
    """
    total: dict[Hashable, int] = defaultdict(int)
    used = 0
    for answer in answers:
        total[answer], used = total[answer] + 1, used + 1
        ahead = sorted(total.values(), reverse=True)
        if ahead[0] - (ahead[1] if len(ahead) > 1 else 0) >= margin:
            break
    return max(total, key=lambda a: total[a]), used


def _check(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is from 1 to the number of samples, {n}, not {k}")
