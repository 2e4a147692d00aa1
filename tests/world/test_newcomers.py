"""Newcomers: the census does not know them, all that is said of them is true, and no held-out wording is ever
shown.
"""

import re
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.world.base import rng, side
from llmlab.world.census import QUESTIONS, STATEMENTS, Census
from llmlab.world.newcomers import Newcomers

KNOWN, NEW = Census(), Newcomers(60)
FACTS = [(p, key) for p in NEW.people.values() for key in STATEMENTS]
# true sentence, or question -> (name, key, wording)
STATED = {
    form.format(n=p.name, v=getattr(p, key)): (p.name, key, form)
    for p, key in FACTS
    for form in STATEMENTS[key]
}
ASKED = {form.format(n=p.name): (p.name, key, form) for p, key in FACTS for form in QUESTIONS[key]}


def sentences(text: str) -> list[str]:
    """Sentences with their full stops."""
    return [s.strip() for s in re.findall(r"[^.]+\.", text)]


def portraits(forms: int, n: int = 3000) -> dict[str, set[str]]:
    """Name -> different portraits among n."""
    found = defaultdict(set)
    for i in range(n):
        text = NEW.portrait(rng("portraits", i), forms)
        found[STATED[sentences(text)[0]][0]].add(text)
    return found


def answers(forms: int, n: int = 1500) -> list[tuple[str, str]]:
    """(question, answer) of n quizzes."""
    return [
        pair
        for i in range(n)
        for pair in re.findall(r"Question: (.+)\nAnswer: (.+)\.", NEW.quiz(rng("quizzes", i), forms))
    ]


@pytest.mark.parametrize("size, seed", [(20, 1), (100, 1), (200, 1), (200, 2)])
def test_newcomers_share_no_name_and_no_pair_of_city_and_job_with_the_census(size, seed):
    people = Newcomers(size, seed).people
    places, taken = (
        {(p.city, p.job) for p in people.values()},
        {(p.city, p.job) for p in KNOWN.people.values()},
    )
    assert len(people) == len(places) == size
    assert not people.keys() & KNOWN.people.keys() and not places & taken
    assert {p.friend for p in people.values()} == people.keys()


def test_more_newcomers_than_free_places_are_refused():
    with pytest.raises(ValueError):
        Newcomers(201).people  # noqa: B018


def test_people_and_texts_are_a_function_of_the_seed():
    again = Newcomers(60)
    assert again.people == NEW.people != Newcomers(60, seed=2).people
    for make in (Newcomers.portrait, Newcomers.quiz):
        texts = [[make(world, rng("same", i), 5) for i in range(20)] for world in (NEW, again)]
        assert texts[0] == texts[1] and len(set(texts[0])) > 15


def test_with_one_form_every_portrait_of_a_person_is_the_same_text():
    found = portraits(1)
    assert found.keys() == NEW.people.keys() and all(len(texts) == 1 for texts in found.values())


def test_with_five_forms_a_person_has_several_portraits_and_at_most_five():
    found = portraits(5)
    assert found.keys() == NEW.people.keys() and all(1 < len(texts) <= 5 for texts in found.values())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 20))
def test_a_portrait_states_the_five_true_facts_of_one_person_in_train_wordings(seed, forms):
    found = [
        STATED[s] for s in sentences(NEW.portrait(rng(seed), forms))
    ]  # a KeyError is a sentence that is not true
    assert len({name for name, _, _ in found}) == 1 and sorted(key for _, key, _ in found) == sorted(
        STATEMENTS
    )
    assert all(side("census", *fact) == "train" for fact in found)


def test_a_stranger_s_portrait_would_be_seen_as_untrue_and_a_held_out_wording_as_held_out():
    strangers = Newcomers(60, seed=2)
    told = [s for i in range(50) for s in sentences(strangers.portrait(rng(i), 5))]
    assert len(told) == 250 and sum(s in STATED for s in told) < 5
    assert 0.1 < sum(side("census", *fact) == "test" for fact in STATED.values()) / len(STATED) < 0.3


@pytest.mark.parametrize("forms", [1, 2, 20])
def test_a_quiz_has_right_answers_and_keeps_to_its_wordings(forms):
    wordings = defaultdict(set)
    for question, answer in answers(forms):
        name, key, form = ASKED[question]
        assert answer == getattr(NEW.people[name], key) and side("census", name, key, form) == "train"
        wordings[name, key].add(form)
    assert len(wordings) == len(FACTS) and max(map(len, wordings.values())) == min(forms, 6)


def test_a_quiz_has_three_questions():
    assert len(answers(5, n=100)) == 300


@pytest.mark.parametrize("forms", [1, 20])
def test_a_test_question_was_never_asked_of_that_person_in_that_wording(forms):
    shown = {ASKED[question] for question, _ in answers(forms)}
    held_out = {ASKED[p.question] for p in NEW.problems(400)}
    assert len(held_out) > 200 and not shown & held_out
    assert {fact[:2] for fact in shown} >= {
        fact[:2] for fact in held_out
    }  # the fact itself was asked, in other words
    assert shown & {ASKED[p.question] for p in NEW.problems(400, split="train")}
