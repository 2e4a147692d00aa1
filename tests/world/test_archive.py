"""Archive: what is asked for stands in the list, where it should, and no name of a test list is ever read in
training.
"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.world.archive import KEPT, Archive
from llmlab.world.base import rng
from llmlab.world.records import ASK, FIELDS, STATE

archives = st.integers(2, 60).flatmap(lambda lines: st.builds(Archive, st.just(lines), st.integers(0, lines)))
seeds, splits = st.integers(0, 10_000), st.sampled_from(["train", "test"])


def wanted(question: str, names) -> tuple[str, str]:
    """(field, name) that a question asks for."""
    (found,) = [(f, n) for f in KEPT for n in names if question in [a.format(f=f, n=n) for a in ASK]]
    return found


def states(line: str, field: str, name: str, value: str) -> bool:
    """Does the line say so?"""
    return line in [s.format(f=field, n=name, v=value) for s in STATE]


def position(archive: Archive, p) -> int:
    """Line of the fact that is asked for; the checks on the way hold for every problem."""
    *lines, question = p.question.split("\n")
    names = p.meta["names"]
    assert len(lines) == len(set(names)) == archive.lines and all(
        re.search(rf"\b{n}\b", line) for n, line in zip(names, lines)
    )
    field, name = wanted(question, names)
    assert states(lines[names.index(name)], field, name, p.answer)
    return names.index(name)


@settings(max_examples=60, deadline=None)
@given(archives, seeds, splits)
def test_the_asked_name_stands_in_the_list_with_that_value_among_the_first_lines(archive, seed, split):
    for p in archive.problems(2, split=split, seed=seed):
        assert position(archive, p) < (archive.asked or archive.lines)


@pytest.mark.parametrize("asked, last", [(1, 0), (5, 4), (0, 19), (20, 19)])
def test_any_of_the_asked_lines_may_be_meant(asked, last):
    archive = Archive(20, asked)
    assert {position(archive, p) for p in archive.problems(300)} == set(range(last + 1))


@given(st.sampled_from(KEPT), st.sampled_from(KEPT), seeds)
def test_a_line_with_another_value_or_of_another_field_does_not_say_so(field, other, seed):
    r = rng(seed)
    value, wrong = FIELDS[field](r), FIELDS[other](r)
    line = r.choice(STATE).format(f=field, n="Bravik", v=value)
    assert states(line, field, "Bravik", value) and not states(line, field, "Bravin", value)
    assert states(line, other, "Bravik", wrong) == ((other, wrong) == (field, value))


@settings(max_examples=20, deadline=None)
@given(archives, seeds)
def test_only_the_right_value_scores(archive, seed):
    p = archive.problems(1, seed=seed)[0]
    assert (
        archive.score(p, p.answer + ".").reward == 1.0
        and archive.score(p, archive.solution(p)[-1]["content"]).reward == 1.0
    )
    assert archive.score(p, f"{p.answer} {p.answer}").reward == archive.score(p, "").reward == 0.0


@settings(max_examples=20, deadline=None)
@given(archives, seeds, st.integers(1, 8))
def test_a_document_is_a_list_and_questions_about_different_lines_of_it_with_right_answers(
    archive, seed, questions
):
    listed, _, rest = archive.document(rng(seed), questions).partition("\nQuestion: ")
    lines, pairs = listed.split("\n"), re.findall(r"Question: (.+)\nAnswer: (.+)\.", "Question: " + rest)
    names = [next(w for w in re.findall(r"[A-Z][a-z]+", line) if w not in ("The", "For")) for line in lines]
    asked = [(*wanted(question, names), answer) for question, answer in pairs]
    assert len(lines) == archive.lines and len({name for _, name, _ in asked}) == min(
        questions, archive.lines
    ) == len(pairs)
    assert all(states(lines[names.index(name)], field, name, answer) for field, name, answer in asked)


def test_names_of_test_lists_are_never_read_in_training():
    held_out = {n for p in Archive(40).problems(100) for n in p.meta["names"]}
    shown = {n for p in Archive(40).problems(100, split="train") for n in p.meta["names"]}
    read = set(re.findall(r"\w+", " ".join(Archive(40).document(rng("read", i)) for i in range(300))))
    assert len(held_out) > 2000 and not held_out & (shown | read) and shown & read


def test_problems_and_documents_are_a_function_of_the_seed():
    archive = Archive(10)
    assert archive.problems(5, seed=3) == archive.problems(5, seed=3) != archive.problems(5, seed=4)
    assert archive.document(rng(3)) == archive.document(rng(3)) != archive.document(rng(4))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Archive(1),
        lambda: Archive(201),
        lambda: Archive(10, 11),
        lambda: Archive(10, -1),
        lambda: Archive().problems(1, split="dev"),
    ],
)
def test_bad_settings_are_named(make):
    with pytest.raises(ValueError, match="not|unknown"):
        make()
