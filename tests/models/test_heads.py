"""The value head: zero at first, one number a token, and otherwise the model it stands on."""

import torch

from llmlab.train import loop
from llmlab.methods import policy, preferences
from llmlab.models.forward import forward
from llmlab.models.frozen import frozen_copy
from llmlab.models.heads import Valued
from llmlab.train.rollout import evaluate
from llmlab.train.sample import sample
from llmlab.tokens.batch import Batch
from llmlab.world import Sums


def batch(B=3, T=9):
    g = torch.Generator().manual_seed(0)
    return Batch(torch.randint(5, 60, (B, T), generator=g), torch.ones(B, T))


def test_values_are_zero_at_first_one_a_token_and_the_rest_is_the_models(tiny):
    valued = Valued(tiny.model)
    out, plain = forward(valued, batch()), forward(tiny.model, batch())
    assert out.values.shape == out.logprobs.shape and not out.values.any()
    assert torch.equal(out.logits, plain.logits)


def test_it_is_sampled_and_evaluated_as_the_model_is(tiny):
    settings = dict(k=2, max_new=5, stop=(1,), temperature=1.0)
    one, two = (
        sample(m, [[5, 6, 7], [8, 9]], generator=torch.Generator().manual_seed(3), **settings)
        for m in (tiny.model, Valued(tiny.model))
    )
    assert one.ids == two.ids and one.logprobs == two.logprobs
    assert evaluate(Valued(tiny.model), tiny.tok, Sums(), n=2, max_new=4).accuracy == 0.0


def test_the_value_at_a_token_does_not_see_what_follows(tiny):
    valued = Valued(tiny.model)
    torch.nn.init.normal_(valued.head.weight)
    a = batch()
    b = Batch(a.ids.clone().index_fill_(1, torch.tensor([6, 7]), 3), a.mask)
    one, two = forward(valued, a).values, forward(valued, b).values
    torch.testing.assert_close(one[:, :6], two[:, :6])
    assert not torch.allclose(one[:, 6:], two[:, 6:])


def test_the_critic_learns_a_return_and_its_copy_does_not_move(tiny):
    valued, rows = Valued(tiny.model), batch()
    copy = frozen_copy(valued)
    given = rows.add(returns=torch.full((3, 8), 0.7), old_values=torch.full((3, 8), 0.7))
    done = list(loop.steps(valued, [given] * 40, policy.ppo_value, n=40, lr=1e-2))
    assert done[-1]["loss"] < 0.05 * done[0]["loss"]
    assert not forward(copy, rows).values.any() and not any(p.requires_grad for p in copy.parameters())


def test_a_reward_head_learns_pairs(tiny):
    """bradley_terry reads the same head, at the last token."""
    valued, rows = Valued(tiny.model), batch(B=4).add(pair=torch.tensor([0, 0, 1, 1]))
    done = list(loop.steps(valued, [rows] * 30, preferences.bradley_terry, n=30, lr=1e-2))
    assert done[-1]["accuracy"] == 1.0 and done[0]["loss"] > 0.69


def test_its_state_comes_back(tiny):
    valued = Valued(tiny.model)
    torch.nn.init.normal_(valued.head.weight)
    other = Valued(frozen_copy(tiny.model))
    other.load_state_dict(valued.state_dict())
    assert torch.equal(forward(valued, batch()).values, forward(other, batch()).values)
    assert {id(p) for p in valued.parameters()} > {id(p) for p in tiny.model.parameters()}
