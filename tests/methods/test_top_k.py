"""The teacher's top k: exact for all of the vocabulary, a lower bound for less, and what TRL's tail gives."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trl.experimental.server_distillation.server_distillation_trainer import _add_tail_bucket

from llmlab.methods import distillation
from llmlab.methods.distillation import top_k, with_tail
from llmlab.models.forward import Out, placed
from llmlab.models.load import load
from llmlab.tokens.batch import Batch
from llmlab.train import loop

OBJECTIVES = {
    "forward_kl": distillation.forward_kl,
    "reverse_kl": distillation.reverse_kl,
    "js": partial(distillation.js, beta=0.3),
}
V = 12


def case(seed: int, spread: float = 2.0):
    """Student logits with a gradient, and a batch with the teacher's logits."""
    g = torch.Generator().manual_seed(seed)
    mask = (torch.rand(3, 6, generator=g) < 0.6).float()
    mask[0, 1] = 1
    batch = Batch(torch.zeros(3, 6, dtype=torch.long), mask)
    student, teacher = (spread * torch.randn(3, 5, V, generator=g, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), batch.add(teacher_logits=teacher)


def compact(batch: Batch, k: int) -> Batch:
    """The same batch with the teacher's top k in place of all of its logits."""
    there = batch.mask[:, 1:] > 0
    ids, logprobs = top_k(batch["teacher_logits"][there], k)
    columns = dict(teacher_ids=placed(ids, there), teacher_logprobs=placed(logprobs, there))
    return Batch(batch.ids, batch.mask).add(**columns)


def value(objective, logits, batch):
    mask = batch.mask[:, 1:]
    loss, info = objective(Out(logits, torch.zeros_like(mask), mask), batch)
    return loss, torch.autograd.grad(loss, logits)[0], info["agreement"]


@pytest.mark.parametrize("name", OBJECTIVES)
@given(seed=st.integers(0, 99))
def test_all_of_the_vocabulary_is_exact(name, seed):
    logits, batch = case(seed)
    full, all_of_it = (value(OBJECTIVES[name], logits, b) for b in (batch, compact(batch, V)))
    for one, other in zip(full, all_of_it):
        assert torch.allclose(one.double(), other.double(), atol=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
@given(seed=st.integers(0, 99), spread=st.sampled_from([0.1, 2.0, 20.0]))
def test_less_is_a_lower_bound_that_grows_with_k(name, seed, spread):
    logits, batch = case(seed, spread)
    losses = [float(value(OBJECTIVES[name], logits, compact(batch, k))[0].detach()) for k in range(1, V + 1)]
    assert all(0 <= one + 1e-9 and one <= other + 1e-9 for one, other in zip(losses, losses[1:]))
    assert value(OBJECTIVES[name], logits, compact(batch, 2))[1].isfinite().all()


def test_a_tail_that_is_shared_out_alike_costs_nothing():
    logits, batch = case(0)
    same = batch.add(teacher_logits=logits)
    assert abs(value(distillation.forward_kl, logits, compact(same, 3))[0]) < 1e-12


def test_the_tail_is_that_of_trl():
    logprobs = torch.randn(7, V, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    ids = logprobs.topk(3).indices
    theirs, _ = _add_tail_bucket(logprobs.gather(-1, ids), torch.ones(7, 3, dtype=torch.bool))
    assert torch.allclose(with_tail(logprobs, ids), theirs, atol=1e-5)


def test_without_the_tail_nothing_would_be_bounded():
    """Negative control: renormalised on the k tokens the divergence can be larger than the whole one."""
    teacher, student = torch.tensor([0.02, 0.01, 0.97]), torch.tensor([0.01, 0.02, 0.97])
    kl = lambda p, q: float((p * (p / q).log()).sum())
    renormalised = kl(teacher[:2] / teacher[:2].sum(), student[:2] / student[:2].sum())
    assert renormalised > kl(teacher, student)


def test_the_column_is_made_without_all_logits():
    chat = load("chat")
    batch = Batch(torch.randint(5, 900, (2, 9)), torch.tensor([[0.0] * 5 + [1] * 4] * 2))
    made = loop.add_top_k(chat.model, batch, 4)
    assert made["teacher_ids"].shape == (2, 8, 4) and made["teacher_logprobs"].shape == (2, 8, 5)
    wanted = compact(loop.add_logits(chat.model, batch, "teacher_logits"), 4)
    assert torch.equal(made["teacher_ids"], wanted["teacher_ids"])
    there = batch.mask[:, 1:] > 0
    assert torch.allclose(made["teacher_logprobs"][there].exp().sum(-1), torch.ones(8), atol=1e-5)
