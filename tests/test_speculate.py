"""Speculative decoding changes nothing of what the large model would say."""

from itertools import product
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from llmlab.errors import UserError
from llmlab.models.load import load
from llmlab.tokens import chat
from llmlab.train import speculate as module
from llmlab.train.sample import sample
from llmlab.train.speculate import acceptance, residual, speculate
from llmlab.world.reasoning import Reasoning

V, STOP = 3, 2


class Table(torch.nn.Module):
    """A language model of V tokens: what comes next depends on the last one."""

    config = SimpleNamespace(max_position_embeddings=99, model_type="table")

    def __init__(self, seed: int):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.logits = torch.nn.Parameter(1.5 * torch.randn(V, V, generator=draw, dtype=torch.float64))

    def forward(self, input_ids, use_cache=False):
        return SimpleNamespace(logits=self.logits[input_ids])

    def chance(self, ids: list[int]) -> float:
        """Of a continuation of [0]."""
        rows = self.logits.detach().softmax(-1)
        return float(torch.stack([rows[a, b] for a, b in zip([0, *ids], ids)]).prod())


LARGE, SMALL = Table(1), Table(2)


# ---- the algebra of one token ----


def distributions(n: int):
    whole = st.lists(st.integers(0, 20), min_size=n, max_size=n).filter(any)
    return whole.map(lambda x: torch.tensor(x, dtype=torch.float64) / sum(x))


def emitted(p, q, rest=residual) -> torch.Tensor:
    """Chance of each token: proposed and kept, or drawn after any rejection."""
    kept = q * acceptance(p, q)
    rejected = 1 - kept.sum()
    return kept + (rejected * rest(p, q) if rejected > 1e-12 else 0)


@settings(max_examples=300, deadline=None)
@given(st.integers(2, 6).flatmap(lambda n: st.tuples(distributions(n), distributions(n))))
def test_one_token_has_the_large_models_distribution_whatever_the_draft_is(both):
    p, q = both
    assert torch.allclose(emitted(p, q), p, atol=1e-12)
    kept = float((q * acceptance(p, q)).sum())
    assert kept == pytest.approx(1 - float((p - q).abs().sum()) / 2), "1 − total variation"


def test_drawing_from_p_after_a_rejection_is_found_by_the_algebra():
    p, q = torch.tensor([0.7, 0.3]).double(), torch.tensor([0.2, 0.8]).double()
    assert not torch.allclose(emitted(p, q, rest=lambda p, q: p), p, atol=1e-2)


# ---- the code itself, over all of its coins ----


class Coins:
    """In place of chance: every way that the coins can fall, one after the other, with its probability."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(module, "draw", lambda probs, _: self.fall(probs.tolist()))
        monkeypatch.setattr(module, "happens", lambda chance, _: bool(self.fall([1 - chance, chance])))

    def fall(self, probs: list[float]) -> int:
        if len(self.path) == self.at:
            self.path.append(0)
            self.sizes.append(len(probs))
        i, self.at = self.path[self.at], self.at + 1
        self.chance *= probs[i]
        return i

    def every(self, run):
        """(result, probability) of each way."""
        self.path: list[int] = []
        self.sizes: list[int] = []
        while True:
            self.at, self.chance = 0, 1.0
            yield run(), self.chance
            while self.path and self.path[-1] + 1 == self.sizes[-1]:
                self.path.pop(), self.sizes.pop()
            if not self.path:
                return
            self.path[-1] += 1


def exactly(monkeypatch, gamma: int, max_new: int) -> dict[tuple, float]:
    """Continuation -> its probability."""
    found: dict[tuple, float] = {}
    how = dict(gamma=gamma, max_new=max_new, stop={STOP})
    for out, chance in Coins(monkeypatch).every(lambda: speculate(LARGE, SMALL, [0], **how)):
        if chance:
            found[tuple(out.ids)] = found.get(tuple(out.ids), 0.0) + chance
    return found


def wanted(max_new: int) -> dict[tuple, float]:
    """The same of the large model alone."""
    every = {w[: w.index(STOP) + 1] if STOP in w else w for w in product(range(V), repeat=max_new)}
    return {w: LARGE.chance(list(w)) for w in every}


@pytest.mark.parametrize("gamma, max_new", [(1, 2), (2, 2), (1, 3), (2, 3)])
def test_continuations_have_exactly_the_large_models_probabilities(monkeypatch, gamma, max_new):
    found = exactly(monkeypatch, gamma, max_new)
    assert found == pytest.approx(wanted(max_new), abs=1e-9) and sum(found.values()) == pytest.approx(1)


def test_negative_control_p_in_place_of_the_residual_is_another_distribution(monkeypatch):
    monkeypatch.setattr(module, "residual", lambda p, q: p)
    found, right = exactly(monkeypatch, 2, 2), wanted(2)
    assert max(abs(found.get(w, 0.0) - right[w]) for w in right) > 0.02


# ---- by samples ----


def p_value() -> float:
    """Of 4,000 pairs of next tokens against the large model's own distribution."""
    draw = torch.Generator().manual_seed(0)
    how = dict(gamma=2, max_new=2, stop=set(), generator=draw)
    counts = {w: 0 for w in product(range(V), repeat=2)}
    for _ in range(4_000):
        counts[tuple(speculate(LARGE, SMALL, [0], **how).ids)] += 1
    return chisquare(list(counts.values()), [4_000 * LARGE.chance(list(w)) for w in counts]).pvalue


def test_samples_of_the_next_two_tokens_fit_the_large_model():
    assert p_value() > 0.01


def test_negative_control_the_samples_of_the_mutant_do_not(monkeypatch):
    monkeypatch.setattr(module, "residual", lambda p, q: p)
    assert p_value() < 1e-4


# ---- real models ----


@pytest.fixture(scope="module")
def reasoner():
    return load("reasoner")


@pytest.mark.parametrize("draft", ["chat", "reasoner"])
@pytest.mark.parametrize("gamma", [1, 4])
def test_greedy_is_bit_for_bit_what_sample_gives(reasoner, draft, gamma):
    small, stop = load(draft).model, chat.stop_ids(reasoner.tok)
    prompts = [chat.prompt(reasoner.tok, p.messages) for p in Reasoning(("strings",), (2,)).problems(3)]
    how = dict(max_new=48, temperature=0.0, stop=stop)
    for prompt in prompts:
        alone = sample(reasoner.model, [prompt], **how)
        out = speculate(reasoner.model, small, prompt, gamma=gamma, **how)
        assert out.ids == alone.ids[0] and (out.ids[-1] in stop) == alone.stopped[0]
        assert out.accepted <= out.drafted and out.forwards <= len(out.ids)
        assert len(out.ids) - out.forwards <= out.accepted < len(out.ids) + 1
        if draft == "reasoner":
            assert out.accepted == out.drafted and out.forwards == -(-len(out.ids) // (gamma + 1))


def test_a_seed_gives_the_same_and_the_models_keep_their_modes(reasoner):
    small = load("chat").model.train()
    prompt = chat.prompt(reasoner.tok, Reasoning(("strings",), (1,)).problems(1)[0].messages)
    how = dict(max_new=20, stop=chat.stop_ids(reasoner.tok))
    first, again, other = (
        speculate(reasoner.model, small, prompt, generator=torch.Generator().manual_seed(s), **how)
        for s in (0, 0, 1)
    )
    assert first == again and small.training and first.drafted and other.ids


def test_the_longest_answer_is_kept():
    for max_new in range(1, 7):
        out = speculate(LARGE, SMALL, [0], gamma=3, max_new=max_new, stop=set())
        assert len(out.ids) == max_new and out.ids[out.accepted + out.forwards :] == []


@pytest.mark.parametrize("how", [dict(gamma=0), dict(max_new=0), dict(prompt=[])])
def test_nothing_to_do_is_refused(how):
    with pytest.raises(UserError, match="at least 1"):
        speculate(LARGE, SMALL, **(dict(prompt=[0], max_new=2, stop=set()) | how))
