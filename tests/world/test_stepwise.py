"""Stepwise, reasoning, verifiers: every step of any text is judged rightly, whatever stands before it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.world import verifiers
from llmlab.world.base import rng
from llmlab.world.reasoning import (
    GUISES,
    HINTS,
    NAMES,
    Critique,
    Reasoning,
    Revision,
    criticise,
    faithful,
    first_wrong,
    revise,
    slipped,
    sound,
)
from llmlab.world.stepwise import FAMILIES, SIGNS, evaluate, family_of, follow, path, text, written
from llmlab.world.sums import written_steps
from llmlab.world.verifiers import value, CHECKS, Verifier, dense

EVERY = Reasoning(levels=(1, 2, 3, 4))
PROBLEMS = EVERY.problems(250, seed=1) + EVERY.problems(250, split="train", seed=1)
WORLDS = [w(levels=(1, 2, 3, 4)) for w in (Reasoning, Critique, Revision)]


def solved(problem) -> str:
    return EVERY.solution(problem)[0]["content"]


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)
def test_the_demonstration_is_right_and_nothing_else_is(world):
    for split in ("train", "test"):
        for p in world.problems(80, split=split, seed=3):
            assert world.score(p, world.solution(p)[0]["content"]).reward == 1.0
            assert world.score(p, "so 17 b.").reward == 0.0
            assert world.reply(p, []) is None


def test_training_and_test_share_no_problem():
    asked = {s: {p.question for p in EVERY.problems(400, split=s, seed=4)} for s in ("train", "test")}
    assert not asked["train"] & asked["test"]


def test_columns_and_products_are_those_of_the_sums():
    for p in PROBLEMS:
        if p.meta["family"] in ("columns", "products"):
            op, (a, b) = p.meta["op"], p.meta["numbers"]
            assert path(p) == written_steps(op, (a, b))
            assert p.answer == str(evaluate(f"{a} {SIGNS[op]} {b}"))


def test_a_solution_is_sound_and_faithful():
    for p in PROBLEMS:
        assert all(follow(p, path(p))) and sound(p, solved(p)) and faithful(p, solved(p))
        assert written(solved(p)) == (path(p), p.answer)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(PROBLEMS) - 1), st.integers(0, 10_000))
def test_a_planted_mistake_is_the_first_that_is_found(i, seed):
    p, r = PROBLEMS[i], rng(seed)
    at = r.randrange(len(path(p)))
    for kind, wrong in family_of(p).slips(r, p, path(p)[:at]).items():
        tried = path(p, (*path(p)[:at], wrong))
        said = text(tried, family_of(p).concluded(p, tried))
        assert first_wrong(p, said) == at + 1 and not sound(p, said), kind
        assert follow(p, tried)[at + 1 :] == [True] * (len(tried) - at - 1), "what follows a mistake follows"


def test_every_kind_of_mistake_is_made():
    kinds = {(p.meta["family"], slipped(rng(i), p)[0]) for i, p in enumerate(PROBLEMS)}
    assert {k for _, k in kinds} == {"value", "carry", "zero", "rule", "jump"} and len(kinds) == 10


def test_an_answer_that_comes_too_early_or_out_of_nowhere_is_found():
    (p,) = Reasoning(("columns",), (2,)).problems(1)
    steps = path(p)
    assert first_wrong(p, text(steps[:-1], p.answer)) == len(steps), "a column is missing"
    assert first_wrong(p, text(steps, "1")) == len(steps) + 1 and not faithful(p, text(steps, "1"))
    assert first_wrong(p, "; ".join(steps)) == len(steps) + 1, "there is no answer"
    assert first_wrong(p, text([], p.answer)) == 1 and first_wrong(p, "") == 1


def test_reach_accepts_every_way_and_no_other():
    (p,) = [
        q for q in Reasoning(("reach",), (1,)).problems(200, seed=2) if q.question.startswith("Reach 9 ")
    ][:1]
    family, start = FAMILIES["reach"], p.meta["start"]
    ways = {f"{a} {b}" for a in p.meta["allowed"] for b in p.meta["allowed"]}
    right = {w for w in ways if evaluate(f"{start} {w}") == 9}
    assert {w for w in ways if family.is_right(p, w)} == right and p.answer in right
    assert not family.is_right(p, p.meta["allowed"][0]) and not family.is_right(p, "+ 1 + 1")


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_says_no_more_than_it_should(hint):
    for i, p in enumerate(PROBLEMS[:60]):
        said = slipped(rng(i), p)[1]
        asked, wrong = revise(p, said, hint).question, first_wrong(p, said)
        steps = written(said)[0]
        assert ("It is wrong." in asked) == (hint == "flag") and (said in asked) == (hint != "step")
        if hint == "step":
            told = "; ".join(steps[: wrong - 1]) or "nothing"
            assert asked.endswith(f"\nRight so far: {told}.\nGo on.")
        assert revise(p, solved(p), hint).question.endswith(f"{solved(p)}\nTry again."), "never called wrong"
        assert criticise(p, said).answer == f"{[*steps, written(said)[1]][wrong - 1]}."
        assert criticise(p, solved(p)).answer == "None."


@pytest.mark.parametrize("guise", GUISES.values(), ids=GUISES)
def test_a_guise_changes_the_question_and_not_the_answer(guise):
    found = [(p, guise(p)) for p in PROBLEMS]
    assert sum(q is not None for _, q in found) > 100
    for p, q in found:
        if q is not None:
            assert sound(q, solved(q)) and q.answer == p.answer
    assert sum(q is not None and q.question != p.question for p, q in found) > 100


def test_what_cannot_be_asked_is_said():
    with pytest.raises(ValueError, match="families are among columns"):
        Reasoning(("logic",))
    with pytest.raises(ValueError, match="levels are among"):
        Reasoning(levels=(5,))
    with pytest.raises(ValueError, match="hint is one of none, flag, step"):
        revise(PROBLEMS[0], "so 1.", "all")


# --- verifiers
# ---------------------------------------------------------------------------------------------------------


def test_the_exact_checks_accept_what_is_right_and_nothing_else():
    for i, p in enumerate(PROBLEMS):
        wrong = slipped(rng(i), p)[1]
        assert CHECKS["outcome"](p, solved(p)) and CHECKS["process"](p, solved(p))
        assert not CHECKS["process"](p, wrong)
        assert CHECKS["outcome"](p, wrong) == (EVERY.score(p, wrong).reward == 1.0)


@pytest.mark.parametrize("hole", [c for c in CHECKS if c not in ("outcome", "process")])
def test_a_hole_lets_wrong_answers_pass_and_stops_no_right_one(hole):
    (p,) = [q for q in Reasoning(("columns",), (1,)).problems(60) if q.answer[-1] not in "0"][:1]
    wrong = {"ending": "so 770.", "last_character": f"so 77{p.answer[-1]}.", "form": "1 + 1 = 3; so 5."}[hole]
    assert CHECKS[hole](p, wrong) and not CHECKS["outcome"](p, wrong)
    assert all(CHECKS[hole](q, solved(q)) for q in PROBLEMS) and not CHECKS[hole](p, "")


def test_random_errors_have_the_rates_that_are_set_and_the_same_key_the_same_verdict():
    verifier = Verifier("outcome", fpr=0.3, fnr=0.1)
    right = [verifier.accepts(p, solved(p), i) for i in range(10) for p in PROBLEMS]
    wrong = [verifier.accepts(p, "so 1 x.", i) for i in range(10) for p in PROBLEMS]
    assert sum(right) / len(right) == pytest.approx(0.9, abs=0.02)
    assert sum(wrong) / len(wrong) == pytest.approx(0.3, abs=0.02)
    assert right[: len(PROBLEMS)] == [verifier.accepts(p, solved(p), 0) for p in PROBLEMS]
    assert Verifier().accepts(PROBLEMS[0], solved(PROBLEMS[0])), "without rates it is the check"


def test_the_dense_reward_rises_step_by_step():
    for i, p in enumerate(PROBLEMS[:120]):
        steps = path(p)
        rewards = [dense(p, "; ".join(steps[:n])) for n in range(1, len(steps) + 1)] + [dense(p, solved(p))]
        assert rewards == sorted(rewards) and rewards[-1] == 1.0 and len(set(rewards)) == len(rewards)
        wrong = slipped(rng(i), p)[1]
        assert dense(p, wrong) == pytest.approx((first_wrong(p, wrong) - 1) / (len(steps) + 1))
    assert verifiers.dense(PROBLEMS[0], "") == 0.0


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="0123456789abcrotevn +-*=();so.", max_size=60))
def test_no_text_breaks_a_checker(name, said):
    for p in Reasoning((name,), (1, 3)).problems(3, seed=5):
        for check in CHECKS.values():
            check(p, said)
        assert 0.0 <= dense(p, said) <= 1.0 and first_wrong(p, said) is not None or sound(p, said)


def test_a_step_of_a_search_that_leads_nowhere_is_worth_nothing():
    """Against all ways to the end."""
    from itertools import product

    for p in Reasoning(("reach",), (1, 2)).problems(30):
        family, meta = FAMILIES["reach"], p.meta
        for step in family.due(p, []):
            operation = " ".join(step.split(" = ")[0].split(" ")[1:3])
            ends = {
                evaluate(f"{meta['start']} {' '.join((operation, *rest))}")
                for rest in product(meta["allowed"], repeat=meta["count"] - 1)
            }
            assert family.leads(p, [step]) == (meta["target"] in ends)
            assert value(p, [step]) == (1 / meta["count"] if meta["target"] in ends else 0.0)
        assert value(p, path(p)) == 1.0 and value(p, []) == 0.0


def test_elsewhere_the_value_of_a_beginning_is_its_share_of_right_steps():
    for i, p in enumerate(Reasoning(("columns", "products", "strings", "links")).problems(20)):
        steps = path(p)
        assert value(p, steps[:2]) == pytest.approx(2 / len(steps))
        wrong = written(slipped(rng(i), p)[1])[0]
        assert value(p, wrong) < 1.0
