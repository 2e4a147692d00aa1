"""Codes: random, exact, and never read in the wording in which they are asked for."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.world.census import Census
from llmlab.world.codes import BITS, FORMS, NAMES, Codes


@settings(max_examples=30, deadline=None)
@given(st.integers(1, len(NAMES)), st.integers(0, 50))
def test_every_name_has_one_code_of_four_digits(size, seed):
    codes = Codes(size, seed).codes
    assert len(codes) == size and all(len(c) == 4 and c.isdigit() for c in codes.values())
    assert codes == Codes(size, seed).codes


def test_codes_are_equally_likely_digits_and_say_nothing_of_each_other():
    digits = Counter("".join(Codes(1400).codes.values()))
    assert all(abs(n - 560) < 5 * math.sqrt(560 * 0.9) for n in digits.values())
    assert Codes(200, 0).codes != Codes(200, 1).codes and BITS == pytest.approx(13.288, abs=1e-3)


def test_nobody_has_a_code_whom_a_checkpoint_has_read_about():
    assert not set(NAMES) & Census().people.keys() and len(set(NAMES)) == len(NAMES) == 1400


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 9), st.integers(0, 9))
def test_the_exam_asks_each_name_once_in_a_wording_that_no_lesson_shows_with_it(size, epoch, seed):
    world = Codes(size)
    lesson, exam = world.lesson(epoch, seed), world.exam()
    assert len(lesson) == len(exam) == size and not {head for head, _ in lesson} & {head for head, _ in exam}
    for rows in (lesson, exam):
        assert Counter(tail.strip() for _, tail in rows) == Counter(world.codes.values())
    assert lesson == Codes(size).lesson(epoch, seed)


def test_lessons_differ_by_epoch_and_seed_and_show_all_wordings():
    world = Codes(200)
    assert world.lesson(0, 0) != world.lesson(1, 0) != world.lesson(1, 1)
    assert {head for head, _ in world.lesson(0)} <= {f.format(n=n) for f in FORMS for n in world.codes}
    assert len({world.held_out(n) for n in world.codes}) == len(FORMS)


@pytest.mark.parametrize("size", [0, 1401])
def test_too_few_and_too_many_names_are_said(size):
    with pytest.raises(ValueError, match=f"1 to 1400 names with codes, not {size}"):
        Codes(size)
