"""Scaling and calibration: closed forms against enumeration and simulation, and the estimators that are
biased.
"""

import random
from itertools import combinations, permutations
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.methods import calibration
from llmlab.methods.scaling import (
    best_of_n,
    drawn_until_right,
    first_of_margin,
    imitated,
    pass_at_k,
    pass_hat_k,
    precision,
    selected_at_k,
    vote,
    voted_at_k,
)

RIGHT = st.lists(st.booleans(), min_size=1, max_size=8)


@given(RIGHT, st.data())
def test_pass_at_k_and_pass_hat_k_are_means_over_all_subsets(right, data):
    k = data.draw(st.integers(1, len(right)))
    subsets = list(combinations(right, k))
    assert pass_at_k(len(right), sum(right), k) == pytest.approx(fmean(map(any, subsets)))
    assert pass_hat_k(len(right), sum(right), k) == pytest.approx(fmean(map(all, subsets)))


def test_one_minus_one_minus_p_to_the_k_is_biased_and_pass_at_k_is_not():
    """human-eval's reason for its estimator: 1 − (1 − c/n)^k falls short."""
    p, n, k, r = 0.3, 8, 4, random.Random(0)
    draws = [sum(r.random() < p for _ in range(n)) for _ in range(20_000)]
    truth = 1 - (1 - p) ** k
    assert fmean(pass_at_k(n, c, k) for c in draws) == pytest.approx(truth, abs=0.005)
    assert fmean(1 - (1 - c / n) ** k for c in draws) < truth - 0.02


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7), st.data())
def test_selected_at_k_is_the_mean_over_all_subsets_and_orders(samples, data):
    """Among equal scores each is taken as often."""
    k = data.draw(st.integers(1, len(samples)))
    taken = []
    for subset in combinations(samples, k):
        best = max(score for score, _ in subset)
        taken.append(fmean(right for score, right in subset if score == best))
    assert selected_at_k(*zip(*samples), k) == pytest.approx(fmean(taken))


@given(RIGHT)
def test_selection_by_the_truth_is_pass_at_k_and_by_chance_pass_at_1(right):
    for k in range(1, len(right) + 1):
        exact = selected_at_k([float(r) for r in right], right, k)
        assert exact == pytest.approx(pass_at_k(len(right), sum(right), k))
        assert selected_at_k([0.0] * len(right), right, k) == pytest.approx(fmean(right))


def test_a_vote_takes_the_commonest_then_the_earliest_and_weights_count():
    assert vote(["b", "a", "a"]) == "a" and vote(["b", "a"]) == "b"
    assert vote(["a", "a", "b"], [1.0, 1.0, 3.0]) == "b"
    assert voted_at_k(["a", "a", "b"], [True, True, False], 3) == 1.0
    assert voted_at_k(["a", "a", "b"], [False, False, True], 3) == 0.0, "a wrong mode wins every vote"
    assert voted_at_k(["a", "b"], [True, False], 1) == 0.5


def test_few_subsets_are_all_voted_on_and_many_are_drawn():
    answers, right = ["a", "b", "b", "c"], [True, False, False, True]
    assert voted_at_k(answers, right, 3) == fmean([0, 2 / 3, 2 / 3, 0]), "abb, abc twice, bbc"
    assert voted_at_k(answers[::-1], right[::-1], 3) == voted_at_k(answers, right, 3), "in any order"
    many = [str(i % 5) for i in range(30)]
    of_zero = [m == "0" for m in many]
    assert voted_at_k(many, of_zero, 7, draws=4000) == pytest.approx(0.2, abs=0.03)


@given(RIGHT, st.data())
def test_drawing_until_a_right_one_is_the_mean_over_all_orders(right, data):
    k = data.draw(st.integers(1, len(right)))
    right = right[:6]
    k = min(k, len(right))
    used = [next((i for i, r in enumerate(order[:k], 1) if r), k) for order in permutations(right)]
    assert drawn_until_right(len(right), sum(right), k) == pytest.approx(fmean(used))


@settings(max_examples=30)
@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(1, 12))
def test_best_of_n_is_what_a_simulation_gives(p, tpr, fpr, n):
    r, hits, trials = random.Random(1), 0, 3000
    for _ in range(trials):
        samples = [r.random() < p for _ in range(n)]
        accepted = [s for s in samples if r.random() < (tpr if s else fpr)]
        hits += (accepted or samples[-1:])[0]
    assert hits / trials == pytest.approx(best_of_n(p, n, tpr, fpr), abs=0.04)


def test_best_of_n_ends_at_the_precision_and_falls_where_the_verifier_prefers_wrong_ones():
    assert best_of_n(0.2, 400, 0.9, 0.3) == pytest.approx(precision(0.2, 0.9, 0.3))
    assert best_of_n(0.3, 8) == pytest.approx(pass_at_k(10**6, 3 * 10**5, 8), abs=1e-4)
    assert best_of_n(0.3, 8, 0.5, 0.5) == pytest.approx(0.3), "a coin selects nothing"
    assert best_of_n(0.3, 8, 0.2, 0.6) < best_of_n(0.3, 2, 0.2, 0.6) < 0.3
    assert precision(0.1, 1.0, 0.1) == pytest.approx(0.526, abs=1e-3) and precision(0.5, 0.0, 0.0) == 0.0


@pytest.mark.parametrize("call", [pass_at_k, pass_hat_k])
def test_more_than_there_are_cannot_be_asked_for(call):
    with pytest.raises(ValueError, match="k is from 1 to the number of samples, 3, not 4"):
        call(3, 1, 4)


# --- calibration
# ---------------------------------------------------------------------------------------------------------


def test_brier_and_ece_by_hand():
    confidence, right = [0.9, 0.9, 0.1, 0.6], [True, False, False, True]
    assert calibration.brier(confidence, right) == pytest.approx((0.01 + 0.81 + 0.01 + 0.16) / 4)
    assert calibration.ece(confidence, right) == pytest.approx(2 / 4 * 0.4 + 1 / 4 * 0.1 + 1 / 4 * 0.4)
    assert calibration.bins(confidence, right)[-1] == (0.9, 0.5, 2)
    assert calibration.bins([1.0], [True]) == [(1.0, 1.0, 1)], "certainty falls into the last bin"


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_who_says_the_mean_is_calibrated_and_who_knows_is_perfect(right):
    share = fmean(right)
    assert calibration.ece([share] * len(right), right) == pytest.approx(0.0, abs=1e-9)
    assert calibration.brier([share] * len(right), right) == pytest.approx(share * (1 - share))
    known = [float(r) for r in right]
    assert calibration.brier(known, right) == calibration.ece(known, right) == 0.0
    curve = calibration.risk_coverage(known, right)
    assert curve[-1] == (1.0, pytest.approx(1 - share)) and [c for c, _ in curve] == sorted(
        c for c, _ in curve
    )
    assert calibration.area(curve) <= calibration.area(calibration.risk_coverage([-k for k in known], right))


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=12))
def test_auc_is_the_share_of_pairs_in_order(samples):
    scores, right = zip(*samples)
    pairs = [(a, b) for a, x in samples if x for b, y in samples if not y]
    expected = fmean(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) if pairs else 0.5
    assert calibration.auc(scores, right) == pytest.approx(expected)
    assert calibration.auc([-s for s in scores], right) == pytest.approx(1 - expected)


@given(st.floats(0.01, 0.99), st.floats(0.05, 1.0), st.floats(0.05, 1.0), st.integers(0, 6))
def test_a_round_of_imitation_multiplies_the_odds_by_tpr_over_fpr(p, tpr, fpr, rounds):
    odds = p / (1 - p) * (tpr / fpr) ** rounds
    assert imitated(p, tpr, fpr, rounds) == pytest.approx(odds / (1 + odds), abs=1e-9)


def test_the_sign_of_j_decides_where_imitation_ends():
    assert imitated(0.1, 0.6, 0.5, 200) > 0.99 and imitated(0.9, 0.5, 0.6, 200) < 0.01
    assert imitated(0.3, 0.5, 0.5, 50) == pytest.approx(0.3), "a verifier that is no better than chance"
    assert imitated(0.3, 1.0, 0.0, 1) == 1.0


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(1, 13))
def test_a_vote_that_stops_early_stops_at_the_first_such_lead(answers, margin):
    answer, used = first_of_margin(answers, margin)

    def lead(n: int) -> int:
        counts = sorted((answers[:n].count(c) for c in "abc"), reverse=True)
        return counts[0] - counts[1]

    assert all(lead(n) < margin for n in range(1, used))
    assert lead(used) >= margin or used == len(answers)
    assert answer == vote(answers[:used])


def test_a_margin_of_one_takes_the_first_answer():
    assert first_of_margin(["b", "a", "a"], 1) == ("b", 1)
    assert first_of_margin(["b", "a", "a", "a"], 2) == ("a", 4)
