"""The variance of the policy gradient: the estimators are those of the textbook, and the rules are compared on the same samples."""

from itertools import islice

import pytest
import torch

from llmlab.arena import TASKS
from llmlab.experiments.base import BadKnob
from llmlab.experiments.variance import Variance, fit_critic, moments, policy_gradient
from llmlab.models.forward import forward
from llmlab.models.heads import Valued
from llmlab.models.load import load

SMALL = dict(prompts=2, group=8, fit=3, steps=2)


@pytest.fixture(scope="module")
def chat():
    return load("chat")


def read(chat, n=3, **knobs):
    return list(islice(Variance(**(SMALL | knobs)).rows(chat, 0), n))[-1]


def test_moments_are_those_of_the_sample():
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    found = moments(x.sum(0), float(x.square().sum()), 12)
    assert found["variance"] == pytest.approx(float(x.var(0).sum()))
    pairs = x @ x.T
    assert found["signal"] == pytest.approx(float((pairs.sum() - pairs.trace()) / (12 * 11)))
    assert found["agreement"] == pytest.approx(found["signal"] / (found["signal"] + found["variance"]))


def test_moments_have_no_bias():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(4000, 3, 5, generator=g, dtype=torch.float64) * 2 + 0.5
    found = [moments(row.sum(0), float(row.square().sum()), 3) for row in x]
    assert sum(f["variance"] for f in found) / 4000 == pytest.approx(20, rel=0.03)
    assert sum(f["signal"] for f in found) / 4000 == pytest.approx(1.25, rel=0.15)


def test_the_rules_see_the_same_samples_and_the_mean_is_a_shrunk_leave_one_out(chat):
    """Their gradients differ by the factor 7/8 (C128), so their variances by its square."""
    mean, other = read(chat, advantage="group_mean"), read(chat, advantage="leave_one_out")
    assert mean["sampled"] == other["sampled"]
    assert mean["variance"] == pytest.approx(other["variance"] * (7 / 8) ** 2, rel=1e-4)


def test_a_group_takes_an_offset_out_and_nothing_else_does(chat):
    grouped = [read(chat, advantage="group_mean", offset=x)["variance"] for x in (0.0, 5.0)]
    alone = [read(chat, advantage="no_baseline", offset=x)["variance"] for x in (0.0, 5.0)]
    assert grouped[1] == pytest.approx(grouped[0], rel=1e-3) and alone[1] > 10 * alone[0]


def test_rows_without_an_advantage_have_no_gradient(chat):
    batch = Variance(**SMALL).batch(chat, TASKS["sums"](3), "measure", 0, 0)
    advantages = torch.arange(16.0)[:, None] * (torch.arange(16) % 2)[:, None]
    found = policy_gradient(chat.model, batch, advantages)
    out = forward(chat.model, batch)
    loss = (advantages * out.logprobs * out.mask).sum() / 16
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(chat.model.parameters()))]).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert not policy_gradient(chat.model, batch, torch.zeros(16, 1)).any()


def test_the_critics_fit_is_the_best_linear_one(chat):
    made = Variance(**SMALL)
    batches = [made.batch(chat, TASKS["sums"](3), "fit", 0, i) for i in range(3)]
    valued = Valued(chat.model)
    fit_critic(valued, batches)

    def error():
        with torch.no_grad():
            return sum(float(((forward(valued, b).values - b["rewards"][:, None]).square() * b.mask[:, 1:]).sum()) for b in batches)

    best = error()
    for change in (lambda: valued.head.bias.data.add_(0.05), lambda: valued.head.weight.data.mul_(0.9)):
        change()
        assert error() > best
        fit_critic(valued, batches)


def test_one_sample_has_no_group():
    with pytest.raises(BadKnob, match="choose --group 2 or more"):
        Variance(group=1)
