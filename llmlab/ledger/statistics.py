"""From per-seed values to a verdict. All rules stand here, and none of them looks at a result before it is
applied.
"""

from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Sequence

from .claims import Claim, Contrast

ALPHA = 0.05
POWER = 0.8
PILOT = 5  # seeds whose spread (never whose mean) decides how many more are run
MOST = 8  # seeds a claim gets at most, unless more are asked for: what it would have needed stands beside it
VERDICTS = ("supported", "refuted", "conditional", "inconclusive", "exact", "untestable")


class DeadKnob(AssertionError):
    """Two arms of a contrast gave the same numbers in every run: the knob between them does nothing."""


@dataclass(frozen=True)
class Estimate:
    """An effect over seeds: mean, 95 % t-interval, p for the claim and p against it (both raw), the per-seed
    effects' standard deviation.
    """

    mean: float
    low: float
    high: float
    p: float
    against: float
    sd: float
    n: int


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % t-interval, t(0.975, n−1)·s/√n; half is 0 for a single value."""
    from scipy.special import stdtrit  # the inverse of Student's t distribution

    n = len(values)
    return fmean(values), float(stdtrit(n - 1, 1 - ALPHA / 2)) * stdev(values) / n**0.5 if n > 1 else 0.0


def estimate(effects: Sequence[float], contrast: Contrast) -> Estimate:
    """mean ± t(0.975, n−1)·s/√n of the paired effects.

    p        more, less: two-sided paired t-test against 0; same: the larger of the one-sided tests against
    ±least (TOST, Schuirmann 1987)
    against  more, less: one-sided test that the effect is smaller than `least`; same: two-sided test that it
    lies outside ±least
    Where all seeds agree to the last digit, t is infinite: a p is 0 or 1.
    """
    from scipy.special import stdtr  # Student's t distribution

    n, least, sign = len(effects), contrast.least, -1 if contrast.direction == "less" else 1
    if len(set(effects)) == 1:
        value = effects[0]
        agrees, differs = (
            (abs(value) < least, abs(value) > least)
            if contrast.direction == "same"
            else (value != 0, sign * value < least)
        )
        return Estimate(value, value, value, 0.0 if agrees else 1.0, 0.0 if differs else 1.0, 0.0, n)
    mean, half = interval(effects)
    sd = stdev(effects)
    error = sd / n**0.5

    def below(border: float) -> float:  # p of the one-sided test that the effect is smaller than the border
        return float(stdtr(n - 1, (mean - border) / error))

    def above(border: float) -> float:
        return float(stdtr(n - 1, (border - mean) / error))

    if contrast.direction == "same":
        p, against = max(below(least), above(-least)), min(1.0, 2 * min(above(least), below(-least)))
    else:
        p, against = min(1.0, 2 * min(below(0.0), above(0.0))), below(least) if sign > 0 else above(-least)
    return Estimate(mean, mean - half, mean + half, p, against, sd, n)


def adjust(ps: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment over the whole ledger: the chance of one false verdict in all of it stays
    below 5 %. statsmodels gives the same and empties Python's garbage at every call, half a second in a large
    process.

    adjusted p of the k-th smallest of n (k from 0) = max over j ≤ k of (n − j)·p_j, at most 1. Holm 1979
    """
    adjusted, highest = [0.0] * len(ps), 0.0
    for k, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, (len(ps) - k) * ps[i])
        adjusted[i] = min(1.0, highest)
    return adjusted


def judge(e: Estimate, p: float, against: float, contrast: Contrast) -> str:
    """A contrast's verdict from its estimate and its two p-values, adjusted over the ledger.

    supported: p < 5 %, and the effect has the claimed sign and at least the smallest size of interest
    (`same`: the interval lies inside ±least)
    refuted: against < 5 %: an effect of that sign and size (`same`: one so small) is excluded · else
    inconclusive
    """
    least, sign = contrast.least, -1 if contrast.direction == "less" else 1
    large_enough = (
        -least < e.low and e.high < least if contrast.direction == "same" else sign * e.mean >= least
    )
    if p < ALPHA and large_enough:
        return "supported"
    return "refuted" if against < ALPHA else "inconclusive"


def overall(verdicts: Sequence[str]) -> str:
    """A claim's verdict from those of its contrasts: all alike, conditional where some are supported and
    others refuted, else inconclusive.
    """
    kinds = set(verdicts)
    if len(kinds) == 1:
        return kinds.pop()
    return "conditional" if {"supported", "refuted"} <= kinds else "inconclusive"


def seeds_needed(sd: float, contrast: Contrast, tests: int = 1, most: int = 1000) -> int:
    """Seeds with which a paired t-test finds the smallest effect of interest in 80 % of cases, if the
    per-seed effects have this sd.

    The test's level is 5 % / tests: what Holm's adjustment asks of the smallest of so many p-values, so that
    a ledger that grows does not
    outgrow the plan.
    """
    from statsmodels.stats.power import TTestPower

    if sd == 0.0:
        return 2
    ratio, test = contrast.least / sd, TTestPower()
    return next((n for n in range(2, most) if test.power(ratio, n, ALPHA / tests) >= POWER), most)


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
