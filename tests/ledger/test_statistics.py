"""The rules from values to verdicts: closed forms, parity with scipy and statsmodels, and what each verdict
means.
"""

import random
from statistics import mean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from llmlab.ledger import statistics
from llmlab.ledger.claims import Arm, Contrast, contrast

ARM = Arm("an arm", "cpt")


def rule(direction="more", least=0.05, counts=True) -> Contrast:
    return contrast("a contrast", direction, ARM("people"), ARM("people", "start"), least, counts=counts)


values = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=6, max_size=12).filter(
    lambda v: len(set(v)) > 1
)


@given(values)
def test_the_interval_is_mean_and_t_times_standard_error(v):
    e = statistics.estimate(v, rule())
    half = stats.t.ppf(0.975, len(v) - 1) * stdev(v) / len(v) ** 0.5
    assert e.mean == pytest.approx(mean(v)) and e.sd == pytest.approx(stdev(v))
    assert (e.low, e.high) == pytest.approx((mean(v) - half, mean(v) + half))
    assert e.p == pytest.approx(stats.ttest_rel(v, [0.0] * len(v)).pvalue)


@given(values)
def test_same_takes_the_larger_of_the_two_one_sided_tests(v):
    e = statistics.estimate(v, rule("same", 0.3))
    t = [(0.3 - mean(v)) / (stdev(v) / len(v) ** 0.5), (mean(v) + 0.3) / (stdev(v) / len(v) ** 0.5)]
    assert e.p == pytest.approx(max(stats.t.sf(x, len(v) - 1) for x in t), abs=1e-12)


AGREE = [
    (0.2, "more", 0, 1),
    (0.2, "less", 0, 0),
    (0.0, "more", 1, 0),
    (0.0, "same", 0, 1),
    (0.2, "same", 1, 0),
]


@pytest.mark.parametrize("effect, direction, p, against", AGREE)
def test_seeds_that_agree_to_the_last_digit_are_certain(effect, direction, p, against):
    e = statistics.estimate([effect] * 6, rule(direction))
    assert (e.low, e.mean, e.high) == (effect,) * 3 and (e.p, e.against) == (p, against)


@given(values)
def test_the_p_against_a_claim_says_whether_the_effect_may_be_as_large_as_claimed(v):
    more, less = statistics.estimate(v, rule("more")), statistics.estimate([-x for x in v], rule("less"))
    assert (
        more.against
        == pytest.approx(less.against)
        == pytest.approx(stats.ttest_1samp(v, 0.05, alternative="less").pvalue)
    )
    assert (more.against < 0.025) == (more.high < 0.05)


def test_holm_by_hand():
    assert (
        statistics.adjust([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
        and statistics.adjust([]) == []
    )


CASES = [  # effects around a mean, direction, what it is
    (0.30, 0.01, "more", "supported"),
    (-0.30, 0.01, "less", "supported"),
    (0.30, 0.01, "less", "refuted"),  # the wrong sign
    (0.02, 0.01, "more", "refuted"),  # too small to matter
    (0.05, 0.20, "more", "inconclusive"),
    (0.01, 0.01, "same", "supported"),
    (0.30, 0.01, "same", "refuted"),
    (0.00, 0.20, "same", "inconclusive"),
]


@pytest.mark.parametrize("centre, spread, direction, verdict", CASES)
def test_what_each_verdict_means(centre, spread, direction, verdict):
    v = [centre + spread * x for x in (-1, 1, -0.5, 0.5, -0.2, 0.2)]
    e = statistics.estimate(v, rule(direction))
    assert statistics.judge(e, e.p, e.against, rule(direction)) == verdict


def test_a_large_effect_with_a_bad_adjusted_p_is_no_support():
    e = statistics.estimate([0.3, 0.31, 0.29, 0.3, 0.32, 0.28], rule())
    assert (
        statistics.judge(e, 0.06, 1.0, rule()) == "inconclusive"
        and statistics.judge(e, 0.04, 1.0, rule()) == "supported"
    )


def test_a_significant_effect_below_the_smallest_of_interest_is_no_support():
    v = [0.030, 0.034, 0.026, 0.031, 0.029, 0.030]
    e = statistics.estimate(v, rule())
    assert e.p < 1e-4 and statistics.judge(e, e.p, e.against, rule()) == "refuted"


@pytest.mark.parametrize(
    "parts, whole",
    [
        (["supported"] * 3, "supported"),
        (["refuted"], "refuted"),
        (["supported", "refuted"], "conditional"),
        (["supported", "inconclusive"], "inconclusive"),
        (["supported", "refuted", "inconclusive"], "conditional"),
        (["refuted", "inconclusive"], "inconclusive"),
    ],
)
def test_a_claims_verdict_from_its_contrasts(parts, whole):
    assert statistics.overall(parts) == whole


def test_the_seeds_needed_give_eighty_percent_power():
    """Simulated: with that many seeds the paired t-test finds the smallest effect of interest in 80 % of
    draws, with one fewer in less.
    """
    sd, r = 0.06, random.Random(0)
    n = statistics.seeds_needed(sd, rule())
    assert statistics.seeds_needed(0.0, rule()) == 2 and n > statistics.seeds_needed(0.03, rule())

    def found(size):
        draws = [[r.gauss(0.05, sd) for _ in range(size)] for _ in range(2000)]
        return mean(float(stats.ttest_1samp(d, 0).pvalue < 0.05) for d in draws)

    assert found(n) > 0.77 and found(n - 3) < 0.80


def test_among_many_tests_more_seeds_are_needed():
    """Simulated at the level that Holm asks of the smallest of 100 p-values."""
    sd, r = 0.06, random.Random(0)
    n = statistics.seeds_needed(sd, rule(), tests=100)
    assert n > statistics.seeds_needed(sd, rule())
    draws = [[r.gauss(0.05, sd) for _ in range(n)] for _ in range(2000)]
    assert mean(float(stats.ttest_1samp(d, 0).pvalue < 0.05 / 100) for d in draws) > 0.77


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=40))
def test_holm_is_that_of_statsmodels(ps):
    from statsmodels.stats.multitest import multipletests

    theirs = [float(p) for p in multipletests(ps, 0.05, method="holm")[1]] if ps else []
    assert statistics.adjust(ps) == theirs
