"""The exact claims of chapters 06 and 07 hold, and a mutant of what they rest on makes them fail."""

import pytest

from llmlab.chapters.c06_preferences import checks as prefer_checks
from llmlab.chapters.c07_reinforcement_learning import checks as policy_checks
from llmlab.methods import advantages, preferences


@pytest.mark.parametrize(
    "check",
    [
        policy_checks.memory_of_roles,
        policy_checks.ranking_within_a_group,
        policy_checks.weights_of_grpo,
        prefer_checks.reference_is_a_table,
        prefer_checks.loss_is_cross_entropy,
        prefer_checks.solves_the_penalised_problem,
    ],
    ids=lambda f: f.__name__,
)
def test_it_holds_and_says_what_it_found(check):
    assert any(c.isdigit() for c in check())


def test_without_centring_equal_rewards_have_a_gradient(monkeypatch):
    monkeypatch.setattr(advantages, "group_norm", advantages.no_baseline)
    with pytest.raises(AssertionError, match="equal rewards have a gradient"):
        policy_checks.ranking_within_a_group()


def test_without_the_deviation_problems_weigh_alike(monkeypatch):
    monkeypatch.setattr(advantages, "group_norm", advantages.group_mean)
    with pytest.raises(AssertionError, match="the weight at p"):
        policy_checks.weights_of_grpo()


def test_a_margin_of_the_other_sign_is_no_cross_entropy(monkeypatch):
    monkeypatch.setattr(preferences, "prefer", lambda margin: -preferences.F.logsigmoid(-margin).mean())
    with pytest.raises(AssertionError, match="is not the cross-entropy"):
        prefer_checks.loss_is_cross_entropy()
