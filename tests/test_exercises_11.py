"""The exercises of chapter 11 against the library: the reference of each is what the library does."""

import pytest
import torch

from llmlab.learn.exercises import get
from llmlab.methods import distillation
from llmlab.models import formats
from llmlab.models.forward import Out
from llmlab.tokens.batch import Batch


def batch(teacher, **more) -> Batch:
    """Rows of which every token is learnt."""
    n, t = teacher.shape[:2]
    return Batch(
        torch.zeros(n, t + 1, dtype=torch.long), torch.ones(n, t + 1), {"teacher_logits": teacher} | more
    )


def logits(*shape):
    return torch.randn(*shape) * 2


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(11)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_divergence_is_the_librarys(beta):
    teacher, student = logits(2, 3, 7), logits(2, 3, 7)
    loss, _ = distillation.objective(beta)(Out(student, None, torch.ones(2, 3)), batch(teacher))
    ours = get("generalised_jsd").reference(teacher.view(-1, 7), student.view(-1, 7), beta)
    assert float(ours) == pytest.approx(float(loss), rel=1e-4)


def test_temperature_is_the_librarys():
    teacher, student = logits(2, 3, 7), logits(2, 3, 7).requires_grad_()
    loss, _ = distillation.forward_kl(Out(student, None, torch.ones(2, 3)), batch(teacher), temperature=3.0)
    loss.backward()
    ours, gradient = get("softened_kl").reference(teacher.view(-1, 7), student.detach().view(-1, 7), 3.0)
    assert float(ours) == pytest.approx(float(loss.detach()), rel=1e-4)
    torch.testing.assert_close(gradient, student.grad.view(-1, 7), rtol=1e-4, atol=1e-6)


def test_the_reward_of_a_token_is_the_librarys(monkeypatch):
    from llmlab.chapters.c11_distillation import distill

    student, teacher, mask = -torch.rand(2, 4), -torch.rand(2, 4), torch.ones(2, 4)
    rows = Batch(torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5), {"old_logprobs": student})
    monkeypatch.setattr(distill.loop, "add_logprobs", lambda model, b, name: b.add(**{name: teacher}))
    rewards, reverse = get("token_rewards").reference(student, teacher, mask)
    torch.testing.assert_close(rewards, distill.rewarded_tokens(None, rows)["advantages"])
    assert reverse == pytest.approx(float((student - teacher).mean()))


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_top_k_are_the_librarys_and_a_lower_bound(k):
    teacher, student = logits(2, 3, 7), logits(2, 3, 7)
    ids, logprobs = (x.view(2, 3, -1) for x in distillation.top_k(teacher.view(-1, 7), k))
    out = Out(student, None, torch.ones(2, 3))
    loss, _ = distillation.forward_kl(out, batch(teacher, teacher_ids=ids, teacher_logprobs=logprobs))
    ours = get("top_k_kl").reference(teacher.view(-1, 7), student.view(-1, 7), k)
    assert float(ours.mean()) == pytest.approx(float(loss), rel=1e-4)
    whole = get("top_k_kl").reference(teacher.view(-1, 7), student.view(-1, 7), 7)
    assert (ours <= whole + 1e-6).all()


def test_the_columns_are_the_librarys(monkeypatch):
    from llmlab.chapters.c11_distillation import teaching

    hints, prompts, answers, v = [4, 2], [2, 3], [2, 3], 5
    width = max(p + a for p, a in zip(prompts, answers))
    ids, mask = torch.zeros(2, width, dtype=torch.long), torch.zeros(2, width)
    for row, (p, a) in enumerate(zip(prompts, answers)):
        mask[row, p : p + a] = 1
    said = logits(2, max(h + a for h, a in zip(hints, answers)) - 1, v)
    monkeypatch.setattr(teaching.Batch, "of_rows", lambda tok, rows: Batch(*map(padded, zip(*rows))))
    monkeypatch.setattr(teaching.loop, "add_logits", lambda model, b, name: b.add(**{name: said}))
    theirs = teaching.add_teacher(None, None, Batch(ids, mask), [[1] * h for h in hints])["teacher_logits"]
    whole = torch.cat([said, torch.zeros(2, 1, v)], 1)
    ours = get("columns_behind_hints").reference(whole, hints, prompts, answers, width)
    torch.testing.assert_close(ours, theirs)


def padded(rows):
    """Lists of numbers as a tensor, zeros on the right."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)


@pytest.mark.parametrize("bits, group", [(8, 16), (4, 8), (3, 4), (2, 8)])
def test_rounding_is_the_librarys(bits, group):
    weights = torch.randn(6, 16)
    rounded, cost = get("rounded_in_groups").reference(weights, bits, group)
    torch.testing.assert_close(rounded, formats.integer(weights, bits, group))
    assert cost == formats.bits_a_weight(bits, group)


def test_one_model_merges_into_itself():
    base, model = torch.randn(9), torch.randn(9)
    for found in get("merged").reference(base, model[None], 9):
        torch.testing.assert_close(found, model)
