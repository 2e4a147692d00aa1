"""Advantages: closed forms by hand, identities, and wrong versions that the same checks must reject."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.methods import advantages as adv

RULES = list(adv.ADVANTAGES.values())
BASELINED = [adv.group_mean, adv.group_norm, adv.leave_one_out]
REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0, 3.0, 5.0])
GROUP = torch.tensor([7, 7, 7, 7, 2, 2])


def close(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype))


# ---- checks: they take the implementation, so that a mutant can be put in its place ----


def check_group_mean(group_mean):
    close(group_mean(REWARDS, GROUP)[:, 0], [0.5, -0.5, -0.5, 0.5, -1.0, 1.0])


def check_group_norm(group_norm):
    # group 7: variance (4 · 0.25) / 3; group 2: variance (1 + 1) / 1
    a, b = 0.5 / (math.sqrt(1 / 3) + 1e-4), 1 / (math.sqrt(2) + 1e-4)
    close(group_norm(REWARDS, GROUP)[:, 0], [a, -a, -a, a, -b, b])


def check_leave_one_out(leave_one_out):
    close(leave_one_out(REWARDS, GROUP)[:, 0], [2 / 3, -2 / 3, -2 / 3, 2 / 3, -2.0, 2.0])


def naive_gae(rewards, values, mask, gamma, lam):
    """The definition as a double sum over the positions that act: A_t = sum_k (gamma lam)^k delta_{t+k}."""
    result = torch.zeros_like(values)
    for b in range(len(values)):
        acts = mask[b].nonzero()[:, 0].tolist()
        for i, t in enumerate(acts):
            for k, s in enumerate(acts[i:]):
                following = values[b, acts[i + k + 1]] if i + k + 1 < len(acts) else 0.0
                result[b, t] += (gamma * lam) ** k * (rewards[b, s] + gamma * following - values[b, s])
    return result


def check_gae(gae):
    torch.manual_seed(0)
    rewards, values = torch.randn(2, 5), torch.randn(2, 5)
    mask = torch.tensor([[0.0, 1, 1, 0, 1], [1.0, 1, 0, 0, 0]])  # a prompt, a tool turn in between, padding
    actual, returns = gae(rewards, values, mask, gamma=0.9, lam=0.8)
    expected = naive_gae(rewards, values, mask, 0.9, 0.8)
    close(actual, expected)
    close(returns, (expected + values) * mask)


def test_group_mean():
    check_group_mean(adv.group_mean)


def test_group_norm():
    check_group_norm(adv.group_norm)


def test_leave_one_out():
    check_leave_one_out(adv.leave_one_out)


def test_gae():
    check_gae(adv.gae)


def grouped(rewards, group, center, scale):
    """A baseline written with loops over groups, for mutants."""
    out = torch.empty(len(rewards), 1)
    for g in group.unique():
        r = rewards[group == g]
        out[group == g, 0] = (r - center(r)) / scale(r)
    return out


MUTANTS = {
    "group_norm: biased std": (
        check_group_norm,
        lambda r, g: grouped(r, g, torch.mean, lambda x: x.std(correction=0) + 1e-4),
    ),
    "group_norm: std of the batch": (
        check_group_norm,
        lambda r, g: grouped(r, g, torch.mean, lambda x: r.std() + 1e-4),
    ),
    "group_norm: mean of the batch": (
        check_group_norm,
        lambda r, g: grouped(r, g, lambda x: r.mean(), lambda x: x.std() + 1e-4),
    ),
    "group_norm: no std": (check_group_norm, adv.group_mean),
    "group_mean: with std": (check_group_mean, adv.group_norm),
    "group_mean: median": (check_group_mean, lambda r, g: grouped(r, g, torch.median, lambda x: 1.0)),
    "leave_one_out: the sample inside its baseline": (check_leave_one_out, adv.group_mean),
    "gae: holes counted as steps": (
        check_gae,
        lambda r, v, m, gamma, lam: adv.gae(r * m, v * m, torch.ones_like(m), gamma, lam),
    ),
    "gae: lam forgotten": (check_gae, lambda r, v, m, gamma, lam: adv.gae(r, v, m, gamma, 1.0)),
    "gae: discount on the reward only": (
        check_gae,
        lambda r, v, m, gamma, lam: adv.gae(gamma * r, v, m, 1.0, lam),
    ),
}


def test_reference_of_the_mutants_is_right():
    check_group_norm(lambda r, g: grouped(r, g, torch.mean, lambda x: x.std() + 1e-4))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_fails(name):
    check, mutant = MUTANTS[name]
    with pytest.raises(
        AssertionError, match="not close|^assert"
    ):  # a wrong number, not a wrong shape or type
        check(mutant)


# ---- identities ----


@pytest.mark.parametrize("rule", RULES)
def test_shape_and_type(rule):
    assert rule(torch.tensor([1, 0, 1]), torch.tensor([0, 0, 1])).shape == (3, 1)
    assert rule(torch.tensor([1, 0, 1]), torch.tensor([0, 0, 1])).dtype == torch.float32


@pytest.mark.parametrize("rule", BASELINED)
def test_lone_sample_has_no_advantage(rule):
    assert rule(torch.tensor([5.0]), torch.tensor([0])).item() == 0


def groups(max_groups=4, max_size=6):
    reward = st.floats(-5, 5, width=32)
    return st.lists(st.lists(reward, min_size=2, max_size=max_size), min_size=1, max_size=max_groups)


def columns(rows):
    rewards = torch.tensor([r for group in rows for r in group])
    return rewards, torch.tensor([i for i, group in enumerate(rows) for _ in group])


@settings(max_examples=50, deadline=None)
@given(groups())
def test_mean_is_a_shrunk_leave_one_out(rows):
    """C128: r_i - mean = (G-1)/G · leave-one-out."""
    rewards, group = columns(rows)
    size = torch.bincount(group)[group][:, None]
    close(adv.group_mean(rewards, group), (size - 1) / size * adv.leave_one_out(rewards, group))


@settings(max_examples=50, deadline=None)
@given(groups())
def test_advantages_sum_to_zero_in_each_group(rows):
    rewards, group = columns(rows)
    for rule in BASELINED:
        sums = torch.zeros(len(rows)).index_add(0, group, rule(rewards, group)[:, 0])
        torch.testing.assert_close(sums, torch.zeros(len(rows)), atol=1e-4, rtol=0)


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5, width=32), st.integers(1, 9))
def test_equal_rewards_give_exactly_zero(reward, size):
    """C074, C079, exactly: a rounding residue would be blown up to a full step by AdamW."""
    rewards, group = torch.full((size,), reward), torch.zeros(size, dtype=torch.long)
    assert not adv.informative(rewards, group).any()
    for rule in BASELINED:
        assert rule(rewards, group).count_nonzero() == 0


@settings(max_examples=50, deadline=None)
@given(groups(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows, random):
    rewards, group = columns(rows)
    order = list(range(len(rewards)))
    random.shuffle(order)
    for rule in [*RULES, adv.informative]:
        close(rule(rewards[order], group[order]).float(), rule(rewards, group)[order].float())


@settings(max_examples=50, deadline=None)
@given(groups(), st.integers(-3, 3))
def test_a_constant_per_prompt_changes_nothing(rows, shift):
    rewards, group = columns(rows)
    rewards = rewards.round(decimals=2)
    for rule in [adv.group_mean, adv.leave_one_out]:
        torch.testing.assert_close(
            rule(rewards + shift * group, group), rule(rewards, group), atol=1e-5, rtol=1e-5
        )


def test_a_baseline_leaves_the_expected_gradient_unchanged_and_lowers_its_variance():
    """C070 by exact enumeration: three answers, groups of two, every joint outcome weighted with its
    probability.
    """
    logits, reward = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64), torch.tensor([1.0, 4.0, 6.0])
    p = logits.softmax(0)
    score = torch.eye(3) - p  # gradient of log p(a) with respect to the logits, one row an answer
    exact = p @ (reward[:, None] * score)  # gradient of E[r]

    def moments(rule):
        weights, grads = [], []
        for a in range(3):
            for b in range(3):
                advantage = rule(reward[[a, b]], torch.tensor([0, 0]))
                weights.append(p[a] * p[b])
                grads.append((advantage * score[[a, b]]).mean(0))
        weights, grads = torch.stack(weights), torch.stack(grads)
        mean = weights @ grads
        return mean, weights @ (grads - mean).square().sum(1)

    mean_raw, variance_raw = moments(adv.no_baseline)
    mean_loo, variance_loo = moments(adv.leave_one_out)
    mean_group, _ = moments(adv.group_mean)
    torch.testing.assert_close(mean_raw, exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(mean_loo, exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        mean_group, exact / 2, atol=1e-6, rtol=0
    )  # (G-1)/G: a scale, not a bias of direction
    assert variance_loo < variance_raw


# ---- the smaller functions ----


def test_informative():
    rewards, group = torch.tensor([1.0, 1, 0, 0, 0.3, 0.3]), torch.tensor([0, 1, 1, 0, 2, 2])
    assert adv.informative(rewards, group).tolist() == [True, True, True, True, False, False]


def test_overlong_penalty():
    close(
        adv.overlong_penalty(torch.tensor([0, 80, 85, 90, 100, 130]), max_len=100, buffer=20),
        [0.0, 0, -0.25, -0.5, -1, -1],
    )
    with pytest.raises(ValueError, match="at least one token"):
        adv.overlong_penalty(torch.tensor([1]), max_len=10, buffer=0)


def test_last_token_and_token_rewards():
    mask = torch.tensor([[0.0, 1, 1, 0], [1.0, 0, 0, 1]])
    assert adv.last_token(mask).tolist() == [2, 3]
    assert adv.last_token(torch.tensor([[1.0, 0, 0]])).tolist() == [0]
    close(adv.token_rewards(torch.tensor([2, -1]), mask), [[0.0, 0, 2, 0], [0.0, 0, 0, -1]])


def test_gae_by_hand():
    rewards, values, mask = torch.tensor([[0.0, 0, 1]]), torch.tensor([[0.5, 0.6, 0.8]]), torch.ones(1, 3)
    advantages, returns = adv.gae(rewards, values, mask, gamma=1.0, lam=0.5)
    close(advantages, [[0.1 + 0.5 * (0.2 + 0.5 * 0.2), 0.2 + 0.5 * 0.2, 0.2]])  # deltas: 0.1, 0.2, 0.2
    close(returns, [[0.75, 0.9, 1.0]])


def test_ends_of_gae():
    """lam = 0 is the one-step error of the critic, lam = 1 the observed return minus the critic."""
    torch.manual_seed(1)
    rewards, values, mask = torch.randn(2, 4), torch.randn(2, 4), torch.ones(2, 4)
    following = torch.cat([values[:, 1:], torch.zeros(2, 1)], 1)
    close(adv.gae(rewards, values, mask, gamma=1.0, lam=0.0)[0], rewards + following - values)
    to_go = rewards.flip(1).cumsum(1).flip(1)
    close(adv.gae(rewards, values, mask, gamma=1.0, lam=1.0)[0], to_go - values)


def test_gae_defaults():
    """No discount (the answer is one episode) and lam 0.95, as in InstructGPT and TRL's former PPOTrainer."""
    rewards, values, mask = torch.randn(2, 4), torch.randn(2, 4), torch.ones(2, 4)
    close(adv.gae(rewards, values, mask)[0], adv.gae(rewards, values, mask, gamma=1.0, lam=0.95)[0])


def test_gae_does_not_read_masked_positions():
    rewards, values, mask = (
        torch.randn(2, 5),
        torch.randn(2, 5),
        torch.tensor([[0.0, 1, 1, 0, 0], [0.0, 1, 0, 1, 0]]),
    )
    clean = adv.gae(rewards, values, mask)
    dirty = adv.gae(rewards.masked_fill(mask == 0, torch.nan), values.masked_fill(mask == 0, torch.nan), mask)
    close(torch.stack(dirty), torch.stack(clean))


def test_whiten():
    torch.manual_seed(0)
    x, mask = torch.randn(3, 6) * 4 + 2, (torch.rand(3, 6) > 0.4).float()
    white = adv.whiten(x.masked_fill(mask == 0, torch.nan), mask)
    assert white[mask == 0].count_nonzero() == 0
    close(white[mask > 0].mean(), 0.0)
    close(white[mask > 0].std(), 1.0)
    assert (
        adv.whiten(torch.full((1, 3), 0.1), torch.ones(1, 3)).abs().max() < 1e-3
    )  # nothing to tell apart: no advantage
