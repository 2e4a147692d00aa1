"""The variance of the policy gradient: the estimators are those of the textbook, and the rules are compared
on the same samples.
"""

from itertools import islice

import pytest
import torch

from llmlab.chapters.c07_reinforcement_learning.variance import (
    WEIGHTS,
    Variance,
    fit_critic,
    moments,
    policy_gradient,
    pushes,
)
from llmlab.lab.experiment import BadKnob
from llmlab.models.forward import forward
from llmlab.models.heads import Valued
from llmlab.models.load import load
from llmlab.tokens.chat import stop_ids
from llmlab.world.arena import TASKS

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
    assert mean["pass_at_1"] == other["pass_at_1"]
    assert mean["variance"] == pytest.approx(other["variance"] * (7 / 8) ** 2, rel=1e-4)


def test_a_group_takes_an_offset_out_and_nothing_else_does(chat):
    grouped = [read(chat, advantage="group_mean", offset=x)["variance"] for x in (0.0, 5.0)]
    alone = [read(chat, advantage="no_baseline", offset=x)["variance"] for x in (0.0, 5.0)]
    assert grouped[1] == pytest.approx(grouped[0], rel=1e-3) and alone[1] > 10 * alone[0]


def test_rows_without_an_advantage_have_no_gradient(chat):
    batch = Variance(**SMALL).batch(chat, TASKS["sums"](3), "measure", 0, 0)
    advantages = torch.arange(16.0)[:, None] * (torch.arange(16) % 2)[:, None]
    stops = torch.tensor(sorted(stop_ids(chat.tok)))
    found, pushed = policy_gradient(chat.model, batch, advantages, stops)
    out = forward(chat.model, batch)
    loss = (advantages * out.logprobs * out.mask).sum() / 16
    expected = torch.cat(
        [g.flatten() for g in torch.autograd.grad(loss, list(chat.model.parameters()))]
    ).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert not pushed[::2].any() and pushed[1::2].all()
    assert not any(x.any() for x in policy_gradient(chat.model, batch, torch.zeros(16, 1), stops))


def test_the_push_is_the_derivative_of_all_logits_but_the_stops(chat):
    batch = Variance(**SMALL, task="filler", size=2).batch(chat, TASKS["filler"](2), "measure", 0, 0)
    stops, weights = (
        torch.tensor(sorted(stop_ids(chat.tok))),
        torch.randn(16, 1, generator=torch.Generator().manual_seed(0)),
    )
    _, found = policy_gradient(chat.model, batch, weights, stops)
    out = forward(chat.model, batch)
    more = torch.zeros(16, requires_grad=True)
    logits = out.logits.detach() + more[:, None, None] * torch.ones(out.logits.shape[-1]).index_fill(
        0, stops, 0.0
    )
    logprobs = logits.log_softmax(-1).gather(-1, batch.ids[:, 1:, None])[..., 0]
    (weights * logprobs * out.mask).sum().backward()
    torch.testing.assert_close(found, more.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_length_without_content_is_pushed_by_the_mean_of_an_answer_only(weight):
    """Closed form: an answer goes on with probability q at each token; the score of that choice is (1 - q) a
    token and -q at the stop, so it sums to 0 in expectation; divided by the length its expectation is (1 - q)
    - E[1 / length], below 0: an advantage below 0 makes going on likelier.
    """
    q, n = 0.9, 200_000
    torch.manual_seed(0)
    length = 1 + torch.distributions.Geometric(torch.tensor(1 - q, dtype=torch.float64)).sample((n,))
    score = (length - 1) * (1 - q) - q
    each = torch.tensor([WEIGHTS[weight](torch.ones(1, int(x)))[0, 0] for x in length[:2000].tolist()])
    share = {"answer": torch.ones_like(length), "mean": 1 / length}[weight]
    torch.testing.assert_close(each.double(), share[:2000], atol=1e-6, rtol=1e-6)
    expected = {"answer": 0.0, "mean": (1 - q) + (1 - q) / q * torch.tensor(1 - q).log().item()}[weight]
    mean, error = float((score * share).mean()), float((score * share).std() / n**0.5)
    assert mean == pytest.approx(expected, abs=5 * error) and (abs(expected) > 50 * error) == (
        weight == "mean"
    )


def test_pushes_are_read_apart_for_right_and_wrong():
    found = pushes(torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([-1.0, 2.0, 0.0, -3.0]))
    scale = (14 / 4) ** 0.5
    assert found == pytest.approx({"pass_at_1": 0.5, "wrong_push": 1 / scale, "right_push": -2 / scale})
    assert pushes(torch.zeros(2), torch.zeros(2)) == {"pass_at_1": 0.0, "wrong_push": 0.0, "right_push": 0.0}


def test_the_critics_fit_is_the_best_linear_one(chat):
    made = Variance(**SMALL)
    batches = [made.batch(chat, TASKS["sums"](3), "fit", 0, i) for i in range(3)]
    valued = Valued(chat.model)
    fit_critic(valued, batches)

    def error():
        with torch.no_grad():
            return sum(
                float(((forward(valued, b).values - b["rewards"][:, None]).square() * b.mask[:, 1:]).sum())
                for b in batches
            )

    best = error()
    for change in (lambda: valued.head.bias.data.add_(0.05), lambda: valued.head.weight.data.mul_(0.9)):
        change()
        assert error() > best
        fit_critic(valued, batches)


def test_one_sample_has_no_group():
    with pytest.raises(BadKnob, match="choose --group 2 or more"):
        Variance(group=1)
