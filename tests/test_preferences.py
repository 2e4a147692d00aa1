"""Losses on pairs: closed forms, first values, what a mutant would break; pairs and their faults; reward
models and best-of-n.
"""

import math
from itertools import combinations, islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmlab.methods import preferences
from llmlab.chapters.c06_preferences import overopt, reward
from llmlab.chapters.c06_preferences.online import Online
from llmlab.chapters.c06_preferences.prefer import Prefer
from llmlab.models.forward import Out, forward, token_logprobs
from llmlab.models.frozen import frozen_copy
from llmlab.models.heads import Valued
from llmlab.models.load import load
from llmlab.tokens import chat, pairs
from llmlab.tokens.batch import Batch
from llmlab.world import tastes
from llmlab.world.base import rng


def made(seed, pairs=3, width=9, vocab=20, start=False):
    """A model's output on random pairs; `start`: the reference is the model itself."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocab, (2 * pairs, width), generator=g)
    mask = (torch.rand(2 * pairs, width, generator=g) < 0.6).float()
    mask[:, -1] = 1
    logits = torch.randn(2 * pairs, width - 1, vocab, generator=g, requires_grad=True)
    logprobs = token_logprobs(logits, ids[:, 1:])
    ref = logprobs.detach().clone() if start else -3 * torch.rand(2 * pairs, width - 1, generator=g)
    return Out(logits, logprobs, mask[:, 1:]), Batch(
        ids, mask, {"pair": torch.arange(pairs).repeat_interleave(2), "ref_logprobs": ref}
    )


SEEDS = st.integers(0, 10_000)


def plain_dpo(out, batch, beta):
    """As in the paper: -log sigmoid(beta · log-ratio of the chosen answer - beta · of the rejected one)."""
    ratio = ((out.logprobs - batch["ref_logprobs"]) * out.mask).sum(1)
    return torch.log1p(torch.exp(-beta * (ratio[0::2] - ratio[1::2]).double())).mean().float()


@given(SEEDS, st.floats(0.05, 2.0))
def test_without_smoothing_it_is_the_plain_dpo(seed, beta):
    out, batch = made(seed)
    assert torch.allclose(preferences.dpo(out, batch, beta=beta)[0], plain_dpo(out, batch, beta))


@given(SEEDS, st.floats(0.0, 0.5))
def test_the_first_loss_is_ln_2_whatever_the_smoothing(seed, smoothing):
    out, batch = made(seed, start=True)
    assert math.isclose(preferences.dpo(out, batch, smoothing=smoothing)[0].item(), math.log(2), abs_tol=1e-6)


def test_smoothing_is_least_where_the_chance_is_what_the_labels_say():
    margins = torch.linspace(-4, 4, 801)
    losses = [preferences.smoothed(m[None], 0.2).item() for m in margins]
    best = margins[losses.index(min(losses))]
    assert torch.sigmoid(best).item() == pytest.approx(0.8, abs=0.005)


@given(SEEDS, st.floats(0.1, 2.0))
def test_ipo_starts_at_its_closed_form_and_is_nothing_at_its_aim(seed, beta):
    out, batch = made(seed, start=True)
    assert preferences.ipo(out, batch, beta=beta)[0].item() == pytest.approx(1 / (2 * beta) ** 2, rel=1e-4)
    length = out.mask.sum(1, keepdim=True)
    gain = torch.tensor([[0.5], [-0.5]]).repeat(3, 1) / (2 * beta)  # per token, h_w - h_l = 1/(2 beta)
    there = batch.add(ref_logprobs=out.logprobs.detach() - gain.expand_as(out.logprobs))
    assert (
        preferences.ipo(out, there, beta=beta)[0].item() == pytest.approx(0.0, abs=1e-6)
        and (length > 0).all()
    )


@given(SEEDS)
def test_simpo_reads_no_reference_and_does_not_favour_length(seed):
    out, batch = made(seed)
    bare = Batch(batch.ids, batch.mask, {"pair": batch["pair"]})
    loss, info = preferences.simpo(out, bare, beta=2.0, gamma=0.0)
    means = (out.logprobs * out.mask).sum(1) / out.mask.sum(1)
    assert info["margin"].item() == pytest.approx(
        2 * (means[0::2] - means[1::2]).mean().item(), rel=1e-4, abs=1e-5
    )
    assert preferences.simpo(out, bare, beta=2.0, gamma=1.0)[0] > loss


@pytest.mark.parametrize("method", preferences.METHODS)
def test_a_step_down_each_loss_does_what_it_says(method):
    """Against the gradient the compared difference grows; imitation raises the chosen answer."""
    out, batch = made(3)
    loss, _ = preferences.objective(method, beta=0.5, gamma=0.0)(out, batch)
    (slope,) = torch.autograd.grad(loss, out.logprobs)
    chosen, rejected = slope[0::2][out.mask[0::2] > 0], slope[1::2][out.mask[1::2] > 0]
    assert (chosen < 0).all() and ((rejected == 0).all() if method == "sft" else (rejected > 0).all())
    assert (slope[out.mask == 0] == 0).all()


def test_the_likelihood_term_adds_up():
    out, batch = made(5)
    both = preferences.objective("dpo", beta=0.3, nll=0.7)(out, batch)[0]
    assert torch.allclose(both, plain_dpo(out, batch, beta=0.3) + 0.7 * preferences.nll_chosen(out, batch)[0])


def test_a_turned_sign_is_noticed():
    """The mutant that raises the rejected answer fails the test of the direction above."""
    out, batch = made(3)
    mutant = -preferences.dpo(out, batch, beta=0.5)[0]
    (slope,) = torch.autograd.grad(mutant, out.logprobs)
    assert (slope[0::2][out.mask[0::2] > 0] > 0).all()


# ---- pairs ----


@pytest.mark.parametrize("task", tastes.TASKS)
def test_train_and_test_never_share_a_question_and_the_three_answers_differ(task):
    sides = {split: tastes.choices(task, 60, split=split, seed=1) for split in ("train", "test")}
    asked = {split: {repr(c.messages) for c in found} for split, found in sides.items()}
    assert not asked["train"] & asked["test"]
    assert all(len({repr(t) for t in (c.best, c.usual, c.worst)}) == 3 for c in sides["train"])


@pytest.mark.parametrize("task", tastes.TASKS)
def test_only_the_last_turn_is_learnt(task):
    tok = load("chat").tok
    for c in tastes.choices(task, 8, seed=2):
        for turn in (c.best, c.usual):
            ids, mask = pairs.row(tok, c.messages, turn, c.tools)
            start = len(chat.prompt(tok, c.messages, c.tools))
            assert not any(mask[:start]) and all(mask[start : start + 2]) and len(ids) == len(mask)
            assert turn["content"] in tok.decode(ids[start:])


@given(st.floats(0, 1), st.floats(0, 0.5), st.integers(0, 50))
def test_faults_of_the_pairs_come_in_their_shares(coverage, noise, seed):
    choice = tastes.choices("style", 1, seed=0)[0]
    found = [tastes.pair(rng(seed, i), choice, coverage, noise) for i in range(300)]
    turned = sum(pair in [(choice.usual, choice.best), (choice.worst, choice.usual)] for pair in found) / 300
    covering = sum(choice.best in pair for pair in found) / 300
    assert abs(turned - noise) < 0.13 and abs(covering - coverage) < 0.13


def test_a_pool_of_examples_is_read_again():
    settings = dict(seed=3, examples=4, topics=5, coverage=1.0, noise=0.0)
    assert tastes.pairs("style", range(4), **settings) == tastes.pairs("style", range(4, 8), **settings)


def test_topics_limit_what_pairs_are_about():
    homes = {c.messages[-1]["content"] for c in tastes.choices("style", 40, topics=1)}
    assert homes and not any("pet" in q or "hobby" in q for q in homes)


# ---- own samples ----


def test_own_pairs_hold_a_right_and_a_wrong_sample_of_one_problem():
    loaded, knobs = load("chat"), Online(batch=4)
    from llmlab.chapters.c06_preferences.online import TASKS

    rows, mixed = knobs.pairs_at(loaded.model, loaded.tok, TASKS["sums"], seed=0, step=0)
    assert len(rows) == 8 and 0 < mixed <= 1
    for (ids_w, mask_w), (ids_l, mask_l) in zip(rows[0::2], rows[1::2]):
        assert ids_w[: mask_w.index(1)] == ids_l[: mask_l.index(1)] and ids_w != ids_l
    again, _ = knobs.pairs_at(frozen_copy(loaded.model), loaded.tok, TASKS["sums"], seed=0, step=0)
    assert again == rows


def test_offline_pairs_do_not_follow_the_model():
    """Offline, what is learnt from at a later step is what the first model writes; online it is not."""

    def later(refresh):
        loaded = load("chat")
        seen = []
        original = Online.pairs_at

        def watch(self, writer, *rest, **more):
            seen.append(writer is loaded.model)
            return original(self, writer, *rest, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Online, "pairs_at", watch)
            rows = Online(batch=2, steps=5, held=16, probe=500, refresh=refresh).rows(loaded, 0)
            list(islice(rows, 4))
            rows.close()
        return seen

    assert all(later(1)) and not any(later(0))


# ---- reward models ----


def test_the_head_begins_at_zero_and_every_pair_at_one_half():
    loaded = load("chat")
    judge, knobs = Valued(loaded.model), reward.Reward(batch=2)
    batch = knobs.batch_at(loaded.tok, 0, 0)
    loss, _ = preferences.bradley_terry(forward(judge, batch), batch)
    assert loss.item() == pytest.approx(math.log(2)) and torch.equal(
        reward.scores(judge, batch), torch.zeros(4)
    )


@pytest.mark.parametrize("planted, habit", reward.HABITS.items())
def test_a_planted_habit_decides_its_share_of_the_labels(planted, habit):
    honest, taken = reward.Reward(), reward.Reward(planted=planted, bias=1.0)
    labels = [taken.labelled(0, n) for n in range(120)]
    assert all(habit(w) >= habit(r) for _, w, r in labels)
    assert all((w, r) == (p.chosen, p.rejected) for p, w, r in (honest.labelled(0, n) for n in range(40)))


def test_figures_of_a_perfect_and_of_a_silent_judge():
    gold = torch.tensor([1.0, 0.9, 1.5, 1.4, 0.0, -0.1, 0.5, 0.4]).view(1, 2, 2, 2).repeat(5, 1, 1, 1)
    sure, silent = reward.compared(100 * gold, gold), reward.compared(torch.zeros_like(gold), gold)
    assert sure["accuracy"] == 1 and sure["calibration"] < 1e-3
    assert (
        silent["accuracy"] == 0.5
        and silent["calibration"] == pytest.approx(0)
        and silent["held_loss"] == pytest.approx(math.log(2))
    )
    wrong = reward.compared(-100 * gold, gold)
    assert wrong["accuracy"] == 0 and wrong["calibration"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_the_chance_to_be_the_best_of_n(n):
    weights = overopt.chances(n)
    assert weights.sum().item() == pytest.approx(1, abs=1e-5) and (weights[: n - 1] == 0).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overopt, "POOL", 7)
        few = overopt.chances(min(n, 7))
        drawn = [max(c) for c in combinations(range(7), min(n, 7))]
        assert few.tolist() == pytest.approx([drawn.count(i) / len(drawn) for i in range(7)])


def test_the_distance_to_oneself_is_nothing_and_grows():
    loaded = load("chat")
    start = frozen_copy(loaded.model)
    episodes = overopt.sampled(loaded.model, loaded.tok, 16, 2, 0)
    assert overopt.distance(start, loaded.tok, episodes) == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        for p in loaded.model.parameters():
            p.add_(0.03 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    assert overopt.distance(start, loaded.tok, overopt.sampled(loaded.model, loaded.tok, 16, 2, 0)) > 0.1


def test_the_first_probe_of_the_margin_is_nothing(shipped):
    rows = Prefer(steps=5, held=16, probe=500).rows(load("chat"), 0)
    first = next(iter(rows))
    rows.close()
    assert first["preferred"] == 0.0 and first["elsewhere"] < 0.5 and first["skill"] == 0.0
