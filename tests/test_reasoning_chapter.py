"""Chapter 09: what is shown, kept, rewarded and read, by hand; and that each of it moves a model the way it
should.
"""

from statistics import fmean
from types import SimpleNamespace

import pytest
import torch

from llmlab.chapters.c09_reasoning import behaviours, calibrate, contaminate, decompose, process, star
from llmlab.errors import UserError
from llmlab.models.load import load
from llmlab.train.attempts import Attempt
from llmlab.train.recipe import GaveUp
from llmlab.world.base import Problem, rng
from llmlab.world.given import Given, by_rule
from llmlab.world.reasoning import Reasoning, slipped, sound
from llmlab.world.stepwise import path, text, written
from llmlab.world.verifiers import Verifier

PRODUCTS = Reasoning(("products",), (1,))


@pytest.fixture(scope="module")
def reasoner():
    return load("reasoner")


def solved(p: Problem) -> str:
    return text(path(p), p.answer) + "."


def tried(p: Problem, said: str, **more) -> Attempt:
    """An attempt without a model."""
    right = PRODUCTS.score(p, said).reward == 1.0
    answer = written(said)[1] or said
    episode = SimpleNamespace(problem=p, text=said, ids=[1, 2], mask=[0, 1])
    return Attempt(episode, answer, right, right and sound(p, said), len(said), -1.0, **more)


# ---- decompose ----


@pytest.mark.parametrize("shown", decompose.SHOWN)
def test_what_is_taught_ends_in_the_answer_and_asks_for_steps_where_it_shows_them(reasoner, shown):
    experiment = decompose.Decompose(shown=shown)
    for p in experiment.world().problems(5):
        said, asked = experiment.solution(reasoner.tok, p), experiment.posed(p).question
        assert said.endswith(f"so {p.answer}.") and ("Show the steps." in asked) == (shown == "steps")
        steps = "; ".join(path(p))
        if shown == "filler":
            dots = said.partition(";")[0].split()
            assert set(dots) == {"."} and len(dots) == len(reasoner.tok(steps)["input_ids"])
        assert (steps in said) == (shown == "steps")


def test_a_step_of_training_holds_as_many_learnt_tokens_whatever_is_shown(reasoner):
    counts, rows = {}, {}
    for shown in decompose.SHOWN:
        batch = decompose.Decompose(shown=shown, tokens=600).batch_at(reasoner.tok, 0, 3)
        counts[shown], rows[shown] = int(batch.mask.sum()), len(batch)
    assert all(600 <= n < 700 for n in counts.values()), counts
    assert rows["answer"] > 3 * rows["steps"], "answers alone leave room for more problems"


def test_a_broken_solution_is_true_up_to_its_last_step():
    from llmlab.world.stepwise import follow

    for p in Reasoning().problems(40):
        steps = decompose.broken(p)
        assert follow(p, steps) == [True] * (len(steps) - 1) + [False]


# ---- self-training ----


def group(n_right: int, n_wrong: int) -> list[Attempt]:
    p = PRODUCTS.problems(1, split="train")[0]
    return [tried(p, solved(p))] * n_right + [tried(p, slipped(rng(i), p)[1]) for i in range(n_wrong)]


def test_who_is_accepted():
    some = group(2, 3)
    assert star.Star().accepted(some, 0, 0) == [True, True, False, False, False]
    assert all(star.Star(check="none").accepted(some, 0, 0))
    assert star.Star(check="majority").accepted(group(3, 1), 0, 0) == [True, True, True, False]
    assert star.Star(fpr=1.0, fnr=1.0).accepted(some, 0, 0) == [False, False, True, True, True]
    lost = [tried(some[0].episode.problem, solved(some[0].episode.problem))]
    own = [Attempt(SimpleNamespace(problem=Problem((), "", {})), "4", ok, ok, 1, 0.0, f)
           for ok, f in ((True, ""), (False, ""), (False, "timeout"))]  # fmt: skip
    assert star.Star().accepted(own, 0, 0) == [True, False, None], "a time-out is no verdict"
    assert star.Star().accepted(lost, 0, 0) == [True]


def test_what_is_kept_of_the_accepted():
    some = group(3, 0)
    assert len(star.chosen(some, "all")) == 3 and len(star.chosen(some, "distinct")) == 1
    p = some[0].episode.problem
    long = tried(p, "1 + 1 = 2; " + solved(p))
    assert star.chosen([long, *some], "shortest") == [some[0]] and star.chosen([], "shortest") == []


@pytest.mark.parametrize("order, first, last", [("easy_first", 1, 3), ("hard_first", 3, 1)])
def test_a_curriculum_goes_through_the_levels(order, first, last):
    experiment = star.Star(curriculum=order, level=3, steps=45, each=15)
    assert experiment.world(0).levels == (first,) and experiment.world(2).levels == (last,)
    assert star.Star(curriculum="mixed", level=3).world(1).levels == (1, 2, 3)


def test_five_checkers_with_their_own_errors_beat_one_and_five_with_the_same_do_not():
    p = PRODUCTS.problems(1)[0]
    said = slipped(rng(0), p)[1]
    shares = {
        (n, e): fmean(Verifier("outcome", 0.3, 0.0, n, e).accepts(p, said, i) for i in range(4000))
        for n, e in ((1, "independent"), (5, "independent"), (5, "shared"))
    }
    assert shares[5, "independent"] == pytest.approx(0.163, abs=0.02), "Σ C(5,i) .3^i .7^(5−i), i ≥ 3"
    assert shares[5, "shared"] == pytest.approx(0.3, abs=0.025) == shares[1, "independent"]


def test_a_round_that_keeps_nothing_ends_the_run_and_the_first_says_what_to_do(reasoner):
    hopeless = star.Star(family="products", level=4, k=2, prompts=4, each=2, steps=4)
    with pytest.raises(UserError, match="round 1 keeps none of 8 samples"):
        hopeless.collected(reasoner.model, reasoner.tok, 0, 0, None)
    with pytest.raises(GaveUp, match="round 2 keeps none"):
        hopeless.collected(reasoner.model, reasoner.tok, 0, 1, None)


def test_agreement_ends_it_where_it_is_asked_to(reasoner):
    sure = star.Star(family="links", level=1, check="majority", stop=0.6, k=2, prompts=4)
    with pytest.raises(GaveUp, match="agree with the vote"):
        sure.collected(reasoner.model, reasoner.tok, 0, 0, None)


def test_self_training_on_verified_samples_makes_right_ones_likelier():
    # short solutions, and a start that is right in one sample of three: two rounds are enough
    experiment = star.Star(family="reach", level=1, lr=3e-4, prompts=64, each=10, steps=20, probe=20, held=64)
    rows = [r for r in experiment.rows(load("reasoner"), 0) if "pass_at_1" in r]
    assert rows[-1]["pass_at_1"] > rows[0]["pass_at_1"] + 0.02
    assert rows[-1]["precision"] == 1.0 and rows[-1]["asked_faults"] == 0.0


def test_own_problems_take_the_place_of_the_labs(reasoner):
    mine = [Problem(p.messages, p.answer, {}) for p in PRODUCTS.problems(24, split="train", seed=3)]
    given = Given(tuple(mine[:18]), tuple(mine[18:]), "rule", by_rule)
    experiment = star.Star(prompts=12, k=4, each=2, steps=2, batch=4, held=6, probe=2, warmup=0)
    rows = list(experiment.rows(load("reasoner"), 0, texts=given))
    assert rows[-1]["precision"] == 1.0 and "harder" not in rows[-1] and rows[-1]["faults"] == 0.0


# ---- process rewards ----


def test_rewards_of_outcome_and_steps():
    p = PRODUCTS.problems(1)[0]
    right, wrong = solved(p), slipped(rng(1), p)[1]
    episodes = [SimpleNamespace(problem=p, text=t, group=0) for t in (right, wrong)]
    reward = lambda **k: process.Process(**k).rewards(None, episodes).tolist()  # noqa: E731
    assert reward(reward_func="outcome") == [1.0, 0.0]
    steps = reward(reward_func="dense")
    assert steps[0] == 1.0 and 0 <= steps[1] < 1.0
    assert reward(reward_func="both") == [1.0, pytest.approx(steps[1] / 2)]
    assert reward(reward_func="hard") == [1.0, 0.0], "one is right, so the outcome decides"
    alone = [SimpleNamespace(problem=p, text=wrong, group=1)]
    assert process.Process(reward_func="hard").rewards(None, alone).tolist() == [pytest.approx(steps[1])]


def test_checks_are_counted(reasoner):
    found = {}
    for kind in ("outcome", "dense", "hard"):
        experiment = process.Process(reward_func=kind, level=1, prompts=4, group=4)
        stream = experiment.recipe(reasoner, 0).stream
        found[kind] = next(stream(0)).info["checks"]
    assert found["outcome"] == 1.0 and found["dense"] > 3.0
    assert 1.0 <= found["hard"] < found["dense"]


# ---- calibration ----


@pytest.mark.parametrize(
    "said, sure",
    [("so 4. Sure: 7.", 0.75), ("so 4. Sure: 0.", 0.05), ("so 4.", 1.0), ("so 4. Sure: 12.", 1.0)],
)
def test_the_stated_chance(said, sure):
    assert calibrate.chance(said) == pytest.approx(sure)


def test_the_brier_term_pays_an_honest_figure_best():
    p = PRODUCTS.problems(1)[0]
    world = calibrate.Stated(("products",), (1,))
    said = [f"{solved(p)} Sure: {d}." for d in (9, 0)] + [f"so 1. Sure: {d}." for d in (9, 0)]
    episodes = [SimpleNamespace(problem=p, text=t, score=world.score(p, t)) for t in said]
    honest = calibrate.Calibrate().rewards(episodes)
    assert honest.argmax() == 0 and honest.argmin() == 2
    assert honest[0] == pytest.approx(1 - 0.05**2) and honest[3] == pytest.approx(-(0.05**2))
    plain = calibrate.Calibrate(reward_func="outcome").rewards(episodes)
    assert plain.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_the_form_is_taught_with_digits_that_mean_nothing(reasoner):
    batch = calibrate.Calibrate().shown_digits(reasoner.model, reasoner.tok, 0, 0)
    said = [reasoner.tok.decode(row) for row in batch.ids]
    digits = [t.partition("Sure: ")[2][0] for t in said]
    assert len(set(digits)) > 5 and all(d.isdigit() for d in digits)


# ---- contamination ----


def test_the_leak_lies_in_the_data_and_the_rest_of_the_test_does_not():
    for form in contaminate.FORMS:
        experiment = contaminate.Contaminate(leak=0.25, form=form, held=16, size=20, copies=3)
        data, test = experiment.data(0), [p.question for p in experiment.test]
        asked = [p.question for p in data]
        assert len(data) == 20 + 3 * 4 and experiment.cut == 4
        leaked = [q for q in asked if q in test]
        assert len(leaked) == (12 if form == "same" else 0)
        assert not set(asked) & set(test[4:])
        assert {p.answer for p in data[20:]} == {p.answer for p in experiment.test[:4]}


# ---- readings ----


def test_readings_by_hand():
    some = [group(3, 1), group(0, 4)]
    found = behaviours.sampled(some)
    assert found["pass_at_1"] == 3 / 8 and found["pass_at_k"] == 0.5 and found["voted"] == 0.5
    assert found["unsound"] == 0.0
    assert behaviours.confidence(some[0])[:3] == [0.75] * 3
    sure = behaviours.calibrated([group(4, 0)])
    assert sure["ece"] == 0.0 and sure["brier"] == 0.0 and sure["aurc"] == 0.0


def test_what_a_guise_costs_is_paired(monkeypatch, reasoner):
    asked = PRODUCTS.problems(4)
    plain = [p.question for p in asked]

    def greedy(model, tok, world, problems, longest):
        return [q.question == plain[0] or "cats" in q.question for q in problems]

    monkeypatch.setattr(behaviours, "greedy", greedy)
    found = behaviours.robust(None, None, PRODUCTS, asked, 9)
    assert found["greedy"] == 0.25 and found["drop_reworded"] == 0.25
    assert "drop_reordered" not in found, "a product's factors are not summands"


def test_a_verifier_learns_and_the_model_that_writes_stays_as_it_was():
    from llmlab.chapters.c09_reasoning.verify import Verify

    loaded = load("reasoner")
    before = [p.clone() for p in loaded.model.parameters()]
    score = Verify(level=1, solutions=64, steps=20, batch=16, lr=1e-3).scorer(loaded, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, loaded.model.parameters()))
    asked = PRODUCTS.problems(32)
    right = score([(p, solved(p)) for p in asked])
    wrong = score([(p, slipped(rng(i), p)[1]) for i, p in enumerate(asked)])
    assert fmean(right) > fmean(wrong)
