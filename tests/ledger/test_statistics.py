"""The rules from values to verdicts: closed forms, parity with scipy and statsmodels, and what each verdict
means.
"""

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


values = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=5, max_size=20).filter(
    lambda v: len(set(v)) > 1
)


@given(values)
def test_the_interval_is_mean_and_t_times_standard_error(v):
    e = statistics.estimate(v)
    half = stats.t.ppf(0.99, len(v) - 1) * stdev(v) / len(v) ** 0.5
    assert e.mean == pytest.approx(mean(v)) and e.sd == pytest.approx(stdev(v))
    assert (e.low, e.high) == pytest.approx((mean(v) - half, mean(v) + half))


@given(values)
def test_an_interval_that_leaves_a_border_out_has_a_p_below_two_percent(v):
    """Interval and p are one test: for each thing that can be found, p ≤ 0.02 exactly where it is found."""
    for direction in ("more", "less", "same"):
        e = statistics.estimate(v)
        found = statistics.part(e, rule(direction, 0.3))
        p = statistics.p_value(e, rule(direction, 0.3), found)
        if found != "open":
            assert p <= 0.02 + 1e-9, (direction, found)


@given(values)
def test_p_is_that_of_scipys_t_test(v):
    e = statistics.estimate(v)
    assert statistics.p_value(e, rule(), "as claimed") == pytest.approx(stats.ttest_1samp(v, 0.0).pvalue)
    assert statistics.p_value(e, rule(), "too small") == pytest.approx(stats.ttest_1samp(v, 0.05).pvalue)
    assert statistics.p_value(e, rule("less"), "too small") == pytest.approx(
        stats.ttest_1samp(v, -0.05).pvalue
    )


CASES = [  # effects around a mean, direction, what it is
    (0.30, 0.01, "more", "as claimed"),
    (-0.30, 0.01, "less", "as claimed"),
    (0.30, 0.01, "less", "reversed"),
    (-0.30, 0.01, "more", "reversed"),
    (0.02, 0.01, "more", "too small"),
    (0.0, 0.01, "more", "too small"),
    (-0.02, 0.01, "less", "too small"),
    (0.05, 0.20, "more", "open"),
    (0.01, 0.01, "same", "as claimed"),
    (0.30, 0.01, "same", "differs"),
    (-0.30, 0.01, "same", "differs"),
    (0.00, 0.20, "same", "open"),
]


@pytest.mark.parametrize("centre, spread, direction, found", CASES)
def test_what_each_part_means(centre, spread, direction, found):
    v = [centre + spread * x for x in (-1, 1, -0.5, 0.5, 0.1)]
    assert statistics.part(statistics.estimate(v), rule(direction)) == found


@given(values)
def test_more_and_less_are_mirror_images(v):
    turned = [-x for x in v]
    one, other = statistics.estimate(v), statistics.estimate(turned)
    assert statistics.part(one, rule("more")) == statistics.part(other, rule("less"))


def test_a_sure_effect_below_the_smallest_of_interest_is_no_support():
    v = [0.030, 0.034, 0.026, 0.031, 0.029]
    assert statistics.part(statistics.estimate(v), rule()) == "too small"


@pytest.mark.parametrize("value, found", [(0.2, "as claimed"), (0.0, "too small"), (-0.2, "reversed")])
def test_seeds_that_agree_to_the_last_digit(value, found):
    e = statistics.estimate([value] * 5)
    assert (e.low, e.mean, e.high) == (value,) * 3 and statistics.part(e, rule()) == found
    assert statistics.p_value(e, rule(), found) == 0.0


C, R, S, P = "as claimed", "reversed", "too small", "open"
WHOLES = [
    ([C, C, C], True, "supported"),
    ([R], True, "refuted"),
    ([R, S, "differs"], True, "refuted"),
    ([C, R], True, "conditional"),
    ([C, R], False, "supported in part, refuted in part"),  # no knob that the parts differ in
    ([C, R, P], True, "supported in part, refuted in part"),
    ([C, P], True, "supported in part"),
    ([S, P], True, "refuted in part"),
    ([P, P], True, "open"),
]


@pytest.mark.parametrize("parts, depends, whole", WHOLES)
def test_a_claims_verdict_from_its_parts(parts, depends, whole):
    assert statistics.overall(parts, depends, [0.001] * len(parts)) == whole


def test_a_condition_is_adjusted_for_the_claims_parts():
    """A condition is a disjunction: with three parts the smallest p must be below 2 % / 3."""
    assert statistics.overall([C, R, C], True, [0.006, 0.001, 0.001]) == "conditional"
    assert statistics.overall([C, R, C], True, [0.015, 0.012, 0.011]) == "supported in part, refuted in part"


def test_the_verdict_reads_the_first_look_at_which_nothing_is_open():
    clear, late = [0.3, 0.31, 0.29, 0.3, 0.32] * 4, [0.3, -0.3, 0.2, -0.2, 0.1] + [0.31, 0.29, 0.3] * 5
    assert statistics.look([clear], [rule()]) == 5
    assert statistics.look([late], [rule()]) == 20
    assert statistics.look([late[:19]], [rule()]) == 10 and statistics.look([late[:8]], [rule()]) == 5
    assert statistics.look([clear, late], [rule(), rule()]) == 20
    assert statistics.look([clear], [rule()], first=10) == 10


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []


def test_false_share_by_hand():
    assert statistics.false_share([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert statistics.false_share([]) == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=40))
def test_holm_and_benjamini_hochberg_are_those_of_statsmodels(ps):
    from statsmodels.stats.multitest import multipletests

    for method, ours in (("holm", statistics.holm), ("fdr_bh", statistics.false_share)):
        theirs = [float(p) for p in multipletests(ps, 0.05, method=method)[1]] if ps else []
        assert ours(ps) == pytest.approx(theirs, abs=1e-12)
