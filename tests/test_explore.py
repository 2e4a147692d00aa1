"""Who finds an answer that no pair contains."""

import copy
from types import SimpleNamespace

import pytest

from llmlab.chapters.c06_preferences import explore
from llmlab.chapters.c06_preferences.explore import ASKED, Explore, answered, best_and_worst
from llmlab.models.load import load
from llmlab.train import probes
from llmlab.world.base import Score
from llmlab.world.tastes import NAME, Graded


@pytest.fixture(scope="module")
def chat():
    return load("chat")


def paid(reward):
    return SimpleNamespace(score=Score({"answer": reward}))


def test_the_reward_is_one_for_the_best_answer_a_half_for_the_usual_one_nothing_for_any_other():
    for world in (Graded("identity"), Graded("style")):
        for p in world.problems(20, split="train", seed=3):
            c = p.meta["choice"]
            found = [world.score(p, turn["content"]).reward for turn in (c.best, c.usual, c.worst)]
            assert found == [1.0, 0.5, 0.0]


def test_given_pairs_never_say_the_new_name_and_those_that_are_wanted_do(chat):
    batch = Explore(method="offline").given(chat.tok, seed=1, step=2)
    assert not any(NAME in text for text in chat.tok.batch_decode(batch.ids))
    best = [answered(chat.tok, p, "best")[0] for p in ASKED.problems(8, split="train", seed=1)]
    assert any(NAME in text for text in chat.tok.batch_decode(best))


def test_of_a_group_the_best_against_the_worst_and_of_equals_one_against_itself():
    low, half, high = paid(0.0), paid(0.5), paid(1.0)
    assert best_and_worst([half, low, high, half]) == (high, low)
    assert best_and_worst([half, low]) == (half, low)
    one, other = best_and_worst([half, paid(0.5)])
    assert one is other


@pytest.mark.parametrize("mass", [0.0, 0.3])
def test_the_habit_has_the_probability_that_was_asked_for(mass):
    loaded, e = load("chat"), Explore(mass=mass)
    e.address(loaded)
    model = e.primed(loaded.model, loaded.tok, seed=0)
    held = probes.batches([answered(loaded.tok, p, "best") for p in ASKED.problems(32, split="test", seed=7)])
    assert explore.probability(model, held) == pytest.approx(mass, abs=0.08)


def test_samples_find_what_given_pairs_do_not_hold(monkeypatch):
    primed, habits = Explore.primed, []

    def once(self, model, tok, seed):
        """The three begin with one habit, which is trained for the first of them."""
        if not habits:
            habits.append(copy.deepcopy(primed(self, model, tok, seed).state_dict()))
        model.load_state_dict(habits[0])
        return model

    monkeypatch.setattr(Explore, "primed", once)
    found = {}
    for method in explore.METHODS:
        e = Explore(method=method, mass=0.1, steps=15, warmup=2, held=16, probe=15)
        rows = [r for r in e.rows(load("chat"), 0) if "best_prob" in r]
        found[method] = rows[-1]["best_prob"] - rows[0]["best_prob"]
    assert found["online"] > 0.4 and found["grpo"] > 0.4
    assert found["offline"] < 0.02
