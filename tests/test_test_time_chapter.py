"""Chapter 10: ways of picking one of k, revisions, searches and budgets, by hand and on the reasoner."""

from statistics import fmean
from types import SimpleNamespace

import pytest

from llmlab.chapters.c10_test_time import budget, revise, scale, search
from llmlab.models.load import load
from llmlab.train.attempts import Attempt
from llmlab.world.base import Problem, rng
from llmlab.world.given import Given, by_rule
from llmlab.world.reasoning import NONE, Reasoning, first_wrong, slipped
from llmlab.world.stepwise import path, text, written

PROBLEM = Problem((), "", {})


def attempt(answer: str, right: bool, logprob: float = -1.0, tokens: int = 10) -> Attempt:
    return Attempt(SimpleNamespace(problem=PROBLEM, text=answer), answer, right, right, tokens, logprob)


GROUP = [attempt("4", True), attempt("5", False), attempt("5", False), attempt("4", True), attempt("4", True)]


def test_ways_of_picking_one_of_all():
    at = {name: way(GROUP, 5) for name, way in scale.WAYS.items()}
    assert at["pass_at_k"] == 1.0 and at["pass_hat_k"] == 0.0 and at["voted"] == 1.0
    one = {name: way(GROUP, 1) for name, way in scale.WAYS.items() if name not in ("voted", "weighted")}
    assert all(v == pytest.approx(0.6) for v in one.values()), "of one there is nothing to pick"
    likely = [attempt("4", True, -1.0), attempt("5", False, -9.0)]
    assert scale.WAYS["likeliest"](likely, 2) == 1.0 and scale.WAYS["shortest"](likely, 2) == 0.5


def test_rates_of_a_verifier_and_the_mode():
    assert scale.rates([GROUP], [[1.0, 1.0, 0.0, 0.0, 1.0]]) == (pytest.approx(2 / 3), 0.5)
    assert scale.rates([[attempt("4", True)]], [[0.0]]) == (0.0, 0.0)
    assert scale.modal(GROUP) and not scale.modal(GROUP[1:3])


def test_an_adaptive_vote_spends_no_more_than_it_may():
    easy, hard = [attempt("4", True)] * 8, [*GROUP, attempt("4", True), *GROUP[3:]]
    right = fmean(a.right for a in hard)
    one, all_ = (scale.adaptive([easy, hard], k) for k in (1, 8))
    assert one == {"adaptive": pytest.approx((1 + right) / 2, abs=0.06), "adaptive_samples": 1.0}
    assert all_["adaptive"] == 1.0 and all_["adaptive_samples"] < 8, "the majority, and nobody needs all"
    for k in range(1, 9):
        assert scale.adaptive([easy, hard], k)["adaptive_samples"] <= k


def test_an_adaptive_vote_spends_on_the_hard_what_the_easy_leave(monkeypatch):
    """At five per problem the easy one stops after three, so that the other may take seven; a fixed vote
    takes five of each.
    """
    caps, stop = [], scale.first_of_margin
    monkeypatch.setattr(scale, "first_of_margin", lambda a, m: caps.append(len(a)) or stop(a, m))
    easy = [attempt("4", True)] * 16
    hard = [attempt(str(i), False) for i in range(15)] + [attempt("4", True)]
    assert scale.adaptive([easy, hard], 5)["adaptive_samples"] == 5 == (3 + caps[-1]) / 2


@pytest.fixture(scope="module")
def run():
    """A small run with two learned verifiers."""
    return list(scale.Scale(held=8, samples=8, steps=8, judged=4, fpr=0.2).rows(load("reasoner"), 0))


def test_a_run_of_scale(run):
    assert [r["step"] for r in run] == [0, 1, 2, 4, 8]
    one, last = run[1], run[-1]
    for name in ("pass_at_k", "pass_hat_k", "verified", "orm", "prm", "likeliest", "shortest", "expected"):
        assert one[name] == pytest.approx(one["single"], abs=1e-9), f"{name}: one sample is one sample"
    assert last["pass_hat_k"] <= last["single"] <= last["pass_at_k"]
    assert all(last["pass_at_k"] >= last[n] - 1e-9 for n in ("verified", "orm", "prm", "voted", "adaptive"))
    assert last["tokens"] == pytest.approx(8 * one["tokens"])


def test_own_problems_are_sampled_and_judged_by_their_own_rule():
    mine = [
        Problem(p.messages, p.answer, {})
        for p in Reasoning(("links",), (1,)).problems(8, split="train", seed=3)
    ]
    given = Given(tuple(mine[:4]), tuple(mine[4:]), "rule", by_rule)
    rows = list(scale.Scale(held=4, samples=4, steps=2).rows(load("reasoner"), 0, texts=given))
    assert rows[-1]["single"] > 0.9 and rows[0]["faults"] == 0.0


def test_a_remark_is_turned_into_a_wish():
    for i, p in enumerate(Reasoning().problems(20)):
        said = slipped(rng(i), p)[1]
        steps, at = written(said)[0], first_wrong(p, said)
        assert revise.criticised(p, said, NONE) is None
        if at <= len(steps) and steps.index(steps[at - 1]) == at - 1:
            asked = revise.criticised(p, said, f"{steps[at - 1]}.").question
            assert asked.endswith(f"Right so far: {'; '.join(steps[: at - 1]) or 'nothing'}.\nGo on.")
        assert "Right so far: nothing." in revise.criticised(p, said, "no step of it").question


def test_both_rates_of_change():
    yes, no = attempt("4", True), attempt("5", False)
    assert revise.moved([no, no, yes, yes], [yes, no, yes, no]) == {
        "wrong_to_right": 0.5,
        "right_to_wrong": 0.5,
    }
    assert revise.moved([yes], [yes]) == {"wrong_to_right": 0.0, "right_to_wrong": 0.0}


@pytest.mark.parametrize("feedback", revise.FEEDBACK)
def test_only_what_is_wrong_is_touched_where_somebody_says_so(feedback):
    rows = list(revise.Revise(feedback=feedback, level=1, steps=1, held=12).rows(load("reasoner"), 0))
    assert rows[1]["tokens"] > rows[0]["tokens"]
    if feedback in ("flag", "step", "resample"):
        assert rows[1]["right_to_wrong"] == 0.0 and rows[1]["accuracy"] >= rows[0]["accuracy"]


def test_between_two_sizes_the_logarithm_counts():
    line = [(10.0, 0.2), (40.0, 0.6)]
    assert search.between(line, 20.0) == pytest.approx(0.4)
    assert search.between(line, 5.0) == 0.2 and search.between(line, 99.0) == 0.6


@pytest.mark.parametrize("name", search.SCORES)
def test_every_score_is_from_a_beginning_to_a_number(name):
    loaded = load("reasoner")
    score = search.Search(score=name, judged=2, family="products", level=1).scorer(loaded, 0)
    p = Reasoning(("products",), (1,)).problems(1)[0]
    steps = path(p)
    nodes = [
        SimpleNamespace(problem=p, text=f"{steps[0]};", done=False, logprob=-1.0, depth=1),
        SimpleNamespace(problem=p, text=text(steps, p.answer) + ".", done=True, logprob=-1.0, depth=4),
    ]
    begun, done = score(nodes)
    assert all(isinstance(x, float) for x in (begun, done))
    assert name == "learned" or done >= begun, "two steps of training judge nothing yet"
    if name == "exact":
        assert begun == pytest.approx(0.9 / len(steps)) and done == 1.0


def test_how_many_samples_are_worth_it():
    worth = [0.3, 0.5, 0.6]
    assert [budget.reached(worth, w) for w in (0.2, 0.3, 0.4, 0.5, 0.9)] == pytest.approx([1, 1, 1.5, 2, 4])
    assert [budget.at([1.0, 1.8, 2.5], k) for k in (1, 1.5, 3, 4)] == pytest.approx([1, 1.4, 2.5, 2.5])


def test_a_budget_adds_up():
    experiment = budget.Budget(level=1, steps=4, probe=2, prompts=6, k=4, held=6, warmup=1)
    rows = list(experiment.rows(load("reasoner"), 0))
    spent = [r["spent"] for r in rows if "spent" in r]
    assert spent == sorted(spent) and spent[0] == 0.0 < spent[-1]
    learnt = sum(budget.UPDATE * r.get("tokens", 0) for r in rows)
    assert spent[-1] == pytest.approx(learnt + sum(r.get("sampled", 0.0) for r in rows))
    assert rows[0]["trained"] == rows[0]["first"] and rows[0]["need_check"] == 1.0
    assert rows[0]["break_even"] == budget.NEVER, "nothing was bought yet"
