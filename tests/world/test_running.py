"""Running sums: every step adds the next digit, what is written is right, and the order of the digits never
decides the split.
"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.world.base import SPLITS, rng, side
from llmlab.world.running import Running, running
from llmlab.world.sums import step_is_right

numbers = st.lists(st.integers(0, 9), min_size=2, max_size=12).map(tuple)
terms, seeds, splits = st.integers(2, 12), st.integers(0, 10_000), st.sampled_from(SPLITS)


class Dealt:
    """In place of a generator: deals the given digits."""

    def __init__(self, digits):
        self.left = list(digits)

    def randint(self, low, high):
        return self.left.pop(0)


def splits_of(digits) -> list[str]:
    """The splits to which this sum belongs."""
    return [s for s in SPLITS if Running(len(digits)).problem(Dealt(digits), s)]


def asked(question: str) -> tuple[int, ...]:
    """The digits of a question."""
    return tuple(map(int, re.findall(r"\d+", question)))


def solved(sheet: str) -> list[tuple[tuple[int, ...], str]]:
    """(digits, what stands behind 'Answer: ') of a worksheet."""
    return [(asked(q), a) for q, a in re.findall(r"Question: (.+)\nAnswer: (.+)\.", sheet)]


@given(numbers)
def test_every_step_is_true_adds_the_next_digit_and_goes_on_from_the_last_total(digits):
    steps = running(digits)
    totals = [int(step.split(" = ")[1]) for step in steps]
    assert all(map(step_is_right, steps)) and totals == [sum(digits[:i]) for i in range(2, len(digits) + 1)]
    assert [step.split(" = ")[0] for step in steps] == [
        f"{t} + {d}" for t, d in zip((digits[0], *totals), digits[1:])
    ]


def test_steps_by_hand():
    assert running((3, 7, 1)) == ["3 + 7 = 10", "10 + 1 = 11"] and running((0, 0)) == ["0 + 0 = 0"]


@settings(max_examples=60, deadline=None)
@given(terms, seeds, splits)
def test_the_answer_is_the_sum_and_ends_the_steps(n, seed, split):
    world = Running(n)
    for p in world.problems(3, split=split, seed=seed):
        digits = asked(p.question)
        assert (
            len(digits) == n
            and digits == p.meta["numbers"]
            and p.answer == str(sum(digits)) == world.text(p, steps=False)
        )
        assert world.text(p, steps=True) == "; ".join([*running(digits), f"so {p.answer}"])


@settings(max_examples=60, deadline=None)
@given(terms, seeds, st.integers(1, 9), st.sampled_from(["", ".", " .", "\n"]))
def test_the_right_answer_scores_one_at_once_and_in_steps_and_a_wrong_one_nothing(n, seed, off, tail):
    world = Running(n)
    p = world.problems(1, seed=seed)[0]
    steps, wrong = world.text(p, steps=True).removesuffix(p.answer), str(int(p.answer) + off)
    assert world.score(p, p.answer + tail).reward == world.score(p, steps + p.answer + tail).reward == 1.0
    for bad in (
        wrong,
        steps + wrong,
        steps,
        steps.removesuffix("; so "),
        f"{p.answer} {p.answer}",
        f"so {p.answer}; so {wrong}",
        "so",
        "",
    ):
        assert world.score(p, bad + tail).reward == 0.0, bad


def test_steps_are_not_paid():
    world = Running()
    p = world.problems(1)[0]
    assert (
        world.score(p, f"1 + 1 = 3; so {p.answer}").reward
        == world.score(p, world.solution(p)[-1]["content"]).reward
        == 1.0
    )


@given(numbers.flatmap(lambda digits: st.tuples(st.just(digits), st.permutations(digits))))
def test_a_sum_is_on_one_side_in_every_order_of_its_digits(pair):
    digits, permuted = pair
    assert len(splits_of(digits)) == 1 and splits_of(digits) == splits_of(permuted)


@settings(max_examples=20, deadline=None)
@given(terms, seeds, seeds)
def test_train_and_test_share_no_sum_in_any_order(n, seed, other):
    train, test = (
        {tuple(sorted(p.meta["numbers"])) for p in Running(n).problems(40, split=s, seed=k)}
        for s, k in (("train", seed), ("test", other))
    )
    assert train and test and not train & test


def test_problems_are_a_function_of_the_seed():
    assert Running().problems(5, seed=3) == Running().problems(5, seed=3) != Running().problems(5, seed=4)


@settings(max_examples=40, deadline=None)
@given(terms, seeds, st.floats(0, 1))
def test_a_worksheet_holds_three_right_train_sums(n, seed, scratchpads):
    found = solved(Running(n).worksheet(rng(seed), scratchpads))
    assert len(found) == 3
    for digits, answer in found:
        at_once = str(sum(digits))
        assert side("running", tuple(sorted(digits))) == "train"
        assert answer in (at_once, "; ".join([*running(digits), f"so {at_once}"]))


@pytest.mark.parametrize("scratchpads, low, high", [(0.0, 0.0, 0.0), (0.3, 0.25, 0.35), (1.0, 1.0, 1.0)])
def test_worksheets_show_their_steps_as_often_as_they_should(scratchpads, low, high):
    found = [
        answer for i in range(400) for _, answer in solved(Running().worksheet(rng("sheet", i), scratchpads))
    ]
    assert len(found) == 1200 and low <= sum("; so " in answer for answer in found) / 1200 <= high


@pytest.mark.parametrize(
    "make", [lambda: Running(1), lambda: Running(13), lambda: Running().problems(1, split="dev")]
)
def test_bad_settings_are_named(make):
    with pytest.raises(ValueError, match="not|unknown"):
        make()
