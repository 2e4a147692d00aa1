"""Errands, mishaps, leaflets, shelf: demonstrations score 1, splits share nothing, faults are as told."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.world.census import Census
from llmlab.world.desk import call, parse
from llmlab.world.errands import KINDS, NEW, Errands
from llmlab.world.leaflets import ABSENT, CITE, Interview, Reading, answer, marked
from llmlab.world.mishaps import Mishaps, orders
from llmlab.world.mishaps import KINDS as MISHAPS
from llmlab.world.shelf import Shelf

WORLDS = [
    Errands(),
    *(Mishaps((k,), s) for k in MISHAPS for s in ("text", "masked", "absent")),
    *(Reading(n, absent=0.3, stale=0.3, by_tool=t) for n in (1, 3, 8) for t in (False, True)),
]


def played(world, problem) -> str:
    """The last words of the demonstration; the world's replies in it are those that it gives."""
    turns = world.solution(problem)
    for i, turn in enumerate(turns):
        if turn["role"] == "tool":
            assert turn == world.reply(problem, [*problem.messages, *turns[:i]])
    assert world.reply(problem, [*problem.messages, *turns]) is None
    return turns[-1]["content"]


@pytest.mark.parametrize("world", WORLDS, ids=repr)
def test_the_demonstration_is_right(world):
    for split in ("train", "test"):
        for p in world.problems(30, split=split, seed=1):
            lost = isinstance(world, Mishaps) and world.says != "text" and p.meta["kind"] == "renamed"
            assert world.score(p, played(world, p)).reward == (0.0 if lost else 1.0)  # nobody told the word
            assert world.score(p, "something else").reward == 0.0


def test_errands_of_test_are_about_people_whom_training_never_names():
    world = Errands(("unknown",))
    names = {
        split: {
            p.meta["call"]["tool_calls"][0]["function"]["arguments"]["person"]
            for p in world.problems(150, split=split)
        }
        for split in ("train", "test")
    }
    assert not names["train"] & names["test"] and names["test"] <= set(NEW.people) - set(Census().people)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_errand_has_an_answer_from_memory_or_by_call(kind):
    for p in Errands((kind,)).problems(20, seed=3):
        assert (p.meta["call"] is None) == (kind == "talk")
        if p.meta["call"]:
            assert json.loads(Errands.answered(p, True)[1]["content"])["result"] == p.answer


def test_an_order_that_timed_out_is_counted_twice_only_where_it_was_placed_twice():
    world = Mishaps(("placed",))
    for p in world.problems(20, seed=5):
        wise, rash = world.solution(p), [p.meta["turn"]]
        rash.append(world.reply(p, [*p.messages, *rash]))
        rash += [p.meta["turn"]]
        rash.append(world.reply(p, [*p.messages, *rash]))
        assert orders(p, [*p.messages, *wise]) == 1
        assert orders(p, [*p.messages, *rash]) == 1 + p.meta["placed"]


def test_only_the_text_of_an_error_tells_the_word():
    for says in ("text", "masked", "absent"):
        world = Mishaps(("renamed",), says)
        for p in world.problems(10, seed=4):
            told = world.reply(p, [*p.messages, p.meta["turn"]])["content"]
            assert (p.meta["word"] in told) == (says == "text")


@given(st.text(max_size=60), st.sampled_from(MISHAPS))
@settings(max_examples=60, deadline=None)
def test_whatever_is_called_gets_an_answer(text, kind):
    world = Mishaps((kind,))
    p = world.problems(1, seed=0)[0]
    for turn in (parse(f"<tool_call>{text}"), call("order", drug=text), call(text, drug=p.meta["drug"])):
        found = world.reply(p, [*p.messages, turn])
        assert found["role"] == "tool" and isinstance(json.loads(found["content"]), dict)


def test_the_latest_edition_is_the_answer_and_nothing_is_made_up():
    for p in Reading(4, stale=1.0).problems(40, seed=6):
        shown = [x for x in p.meta["passages"] if x.name == p.meta["name"]]
        latest = max(shown, key=lambda x: x.year)
        assert len(shown) == 2 and p.answer.startswith(latest.facts[p.meta["field"]])
    for p in Reading(4, absent=1.0).problems(40, seed=6):
        assert p.answer == ABSENT
        assert not any(x.name == p.meta["name"] and p.meta["field"] in x.facts for x in p.meta["passages"])


def test_an_answer_and_a_citation_are_scored_apart():
    world = Reading(4)
    p = next(p for p in world.problems(20, seed=7) if p.answer.endswith("[2]."))
    value = p.answer.partition(" [")[0]
    assert world.score(p, f" {value} [1].").parts == {"answer": 1.0, "citation": 0.0}
    assert world.score(p, f" {value}.").parts == {"answer": 1.0, "citation": 0.0}
    assert world.score(p, "nothing [2].").parts == {"answer": 0.0, "citation": 1.0}


def test_further_questions_have_the_same_passages_and_their_own_answers():
    world = Interview(4, absent=0.2, longest=2)
    for p in world.problems(30, seed=8):
        turns, shown = world.solution(p), p.meta["passages"]
        asked = [t["content"] for t in turns if t["role"] == "user"]
        assert len(set(asked)) == len(asked) and all(q.endswith(CITE) for q in asked)
        for question, said in zip(asked, [t["content"] for t in turns if t["role"] == "assistant"][1:]):
            told = {answer(shown, x.name, f) for x in shown for f in x.facts if x.name in question}
            assert said == ABSENT or said in told


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("A is b. C is d.", "A is b [3]. C is d [3]."),
        ("A is", "A is [3]"),
        ("3.5 mg of A.", "3.5 mg of A [3]."),
    ],
)
def test_the_number_stands_behind_every_sentence(text, wanted):
    assert marked(text, 3) == wanted


def test_a_shelf_holds_each_name_once_and_older_editions_say_other_things():
    shelf = Shelf(drugs=10, people=5, stale=1.0)
    assert len(shelf.leaflets) == 30 and sum(x.latest for x in shelf.leaflets) == 15
    for new, old in zip(shelf.leaflets[::2], shelf.leaflets[1::2]):
        assert new.told.name == old.told.name and new.told.year > old.told.year
        assert all(new.told.facts[f] != old.told.facts[f] for f in new.told.facts)
    p = shelf.problems(1, seed=1)[0]
    source = next(x for x in shelf.leaflets if x.source == p.meta["source"])
    assert source.latest and p.answer in source.text


def test_leaflets_of_training_and_test_share_no_name():
    names = {s: {p.meta["name"] for p in Reading(1).problems(300, split=s)} for s in ("train", "test")}
    assert not names["train"] & names["test"]


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Errands(("none",)), "kinds are among"),
        (lambda: Mishaps(("none",), "loud"), "says is one of"),
        (lambda: Mishaps(()), "kinds are among"),
        (lambda: Reading(0), "1 to 16 passages"),
        (lambda: Reading(2, absent=2.0), "shares from 0 to 1"),
    ],
)
def test_what_cannot_be_is_said(make, said):
    with pytest.raises(ValueError, match=said):
        make()
