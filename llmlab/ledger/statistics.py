"""From per-seed values to a verdict. All rules stand here, and none of them looks at a result before it is
applied.

The claim is the family: each of its parts is decided by the two-sided 98 % interval of its per-seed effects,
and a claim is supported only if all parts are (an intersection-union test, Berger 1982, needs no adjustment).
Seeds are looked at when there are 5, 10 and 20 of them, and at no other number: over three looks the error
of a part stays near 5 %, two-sided (tests/ledger/test_error_rates.py simulates it).
"""

from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Sequence

from ..errors import UserError
from .claims import Claim, Contrast

LEVEL = 0.98
LOOKS = (5, 10, 20)
EXCLUDED = ("reversed", "too small", "differs")
PARTS = ("as claimed", *EXCLUDED, "open")
VERDICTS = (
    "supported",
    "refuted",
    "conditional",
    "supported in part",
    "refuted in part",
    "supported in part, refuted in part",
    "open",
    "withheld",
    "proven",
    "corrected",
    "untestable",
)


class DeadKnob(UserError):
    """Two arms of a contrast gave the same numbers in every run: the knob between them does nothing."""


@dataclass(frozen=True)
class Estimate:
    """An effect over seeds: mean, 98 % t-interval, the per-seed effects' standard deviation, seeds."""

    mean: float
    low: float
    high: float
    sd: float
    n: int


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean and half the width of its t-interval, t((1 + level)/2, n−1)·s/√n; half is 0 for a single value."""
    from scipy.special import stdtrit  # the inverse of Student's t distribution

    n = len(values)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) / n**0.5 if n > 1 else 0.0
    return fmean(values), half


def estimate(effects: Sequence[float]) -> Estimate:
    """mean ± t(0.99, n−1)·s/√n of the per-seed effects."""
    mean, half = interval(effects, LEVEL)
    return Estimate(mean, mean - half, mean + half, stdev(effects) if len(effects) > 1 else 0.0, len(effects))


def part(e: Estimate, contrast: Contrast) -> str:
    """What the interval says of a part, turned so that the claim points to the right.

    as claimed  the interval is above 0 and the mean at least the smallest effect of interest (same: the
                interval lies inside ± the smallest effect)
    reversed    the interval is below 0
    too small   the interval is below the smallest effect (same: differs, it lies outside ± the smallest
    effect)
    open        none of these
    """
    low, high, mean, least = e.low, e.high, e.mean, contrast.least
    if contrast.direction == "same":
        if -least < low and high < least:
            return "as claimed"
        return "differs" if low > least or high < -least else "open"
    if contrast.direction == "less":
        low, high, mean = -high, -low, -mean
    if low > 0 and mean >= least:
        return "as claimed"
    if high < 0:
        return "reversed"
    return "too small" if high < least else "open"


def p_value(e: Estimate, contrast: Contrast, found: str) -> float:
    """Two-sided p of what was found: as claimed, reversed and open against 0, the others against the smallest
    effect (same: the larger p of the two borders). Where all seeds agree to the last digit it is 0, or 1 for
    what is open.
    """
    from scipy.special import stdtr  # Student's t distribution

    least = contrast.least
    if e.sd == 0.0 or e.n < 2:
        return 1.0 if found == "open" else 0.0
    error = e.sd / e.n**0.5

    def beyond(border: float) -> float:  # two-sided p of the mean against a border
        return min(1.0, 2 * float(stdtr(e.n - 1, -abs(e.mean - border) / error)))

    if contrast.direction == "same":
        return (
            min(1.0, max(beyond(least), beyond(-least)))
            if abs(e.mean) < least
            else beyond(least if e.mean > 0 else -least)
        )
    return beyond(-least if contrast.direction == "less" else least) if found == "too small" else beyond(0.0)


def look(effects: Sequence[Sequence[float]], contrasts: Sequence[Contrast], first: int = LOOKS[0]) -> int:
    """How many seeds the verdict reads: the first look at which no part is open, else the last one that the
    seeds reach. effects: of each part, by seed.
    """
    reached = [n for n in LOOKS if first <= n <= len(effects[0])]
    if not reached:
        return len(effects[0])
    for n in reached:
        if "open" not in [part(estimate(e[:n]), c) for e, c in zip(effects, contrasts)]:
            return n
    return reached[-1]


def overall(parts: Sequence[str], depends: bool, ps: Sequence[float] = ()) -> str:
    """A claim's verdict from its parts. depends: arms of parts as claimed differ in the declared knob from
    those of excluded parts; only then a mixture is `conditional`, and only if every part holds after Holm's
    adjustment over the claim's parts (a condition is a disjunction).
    """
    claimed, excluded = parts.count("as claimed"), sum(p in EXCLUDED for p in parts)
    if claimed and excluded:
        if depends and "open" not in parts and all(p <= 1 - LEVEL for p in holm(ps)):
            return "conditional"
        return "supported in part, refuted in part"
    if claimed:
        return "supported" if claimed == len(parts) else "supported in part"
    if excluded:
        return "refuted" if excluded == len(parts) else "refuted in part"
    return "open"


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: adjusted p of the k-th smallest of n (k from 0) = max over j ≤ k of
    (n − j)·p_j, at most 1. Holm 1979
    """
    adjusted, highest = [0.0] * len(ps), 0.0
    for k, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, (len(ps) - k) * ps[i])
        adjusted[i] = min(1.0, highest)
    return adjusted


def false_share(ps: Sequence[float]) -> list[float]:
    """q of each p: the expected share of false ones among all that are at least as small, min over j ≥ k of
    n·p_j/(j + 1), at most 1. Benjamini and Hochberg 1995
    """
    n, q, lowest = len(ps), [1.0] * len(ps), 1.0
    for k, i in reversed(list(enumerate(sorted(range(n), key=ps.__getitem__)))):
        lowest = min(lowest, n * ps[i] / (k + 1))
        q[i] = lowest
    return q


def check_alive(claim: Claim, curves: dict[tuple[str, int], dict]) -> None:
    """curves: (arm key, seed) -> metric -> curve. Raises DeadKnob where two arms of a contrast gave the same
    numbers for every seed.
    """
    for c in claim.contrasts:
        for i, a in enumerate(c.arms):
            for b in c.arms[i + 1 :]:
                seeds = {s for k, s in curves if k == a.key} & {s for k, s in curves if k == b.key}
                if seeds and all(curves[a.key, s] == curves[b.key, s] for s in seeds):
                    raise DeadKnob(
                        f"{claim.id}: '{a.label}' and '{b.label}' gave the same numbers for all {len(seeds)}"
                        " seeds; the knob is dead"
                    )
