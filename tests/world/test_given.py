"""Problems from outside: which answer a text gives, when two are the same, and how a set is divided."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlab.world.base import Problem
from llmlab.world.given import Given, boxed, by_rule, equal, final, number

TEXTS = {  # what people's models write -> the answer in it
    "Thus \\boxed{42}.": "42",
    "First \\boxed{1}, then \\boxed{\\frac{1}{2}}": "\\frac{1}{2}",
    "\\boxed{unclosed and then 7": "7",
    "48/2 = 24\n48 + 24 = 72\n#### 72": "72",
    "The answer is $1,200.": "1,200",
    "**Answer:** Paris": "Paris",
    "**Final Answer: 3/4**": "3/4",
    "45 * 3 = 135; 135 + 900 = 1035; so 1035.": "1035",
    "3 apples and 4 pears make 7 fruits": "7",
    "I count 12 of them.\nThat is all.": "12",
    "Paris.": "Paris",
    "": "",
    "   \n\n": "",
}


@pytest.mark.parametrize("text, wanted", TEXTS.items())
def test_the_final_answer_of_what_people_write(text, wanted):
    assert final(text) == wanted


@pytest.mark.parametrize(
    "a, b",
    [("1,200.00", "1200"), ("0.5", "1/2"), ("$5", "5"), ("5 %", "5%"), ("Blue.", " blue "), ("-3", "-3.0")],
)
def test_equal_answers(a, b):
    assert equal(a, b) and equal(b, a)


@pytest.mark.parametrize("a, b", [("12", "1,2,3"), ("5", "-5"), ("0.1", "0.10001"), ("", "0"), ("1/0", "1")])
def test_unequal_answers(a, b):
    assert not equal(a, b)


@given(st.fractions(), st.text(max_size=20))
def test_a_number_is_exact_and_other_text_is_none(value, text):
    assert number(str(value)) == value
    assert number(text) is None or isinstance(number(text), Fraction)


@given(st.text(max_size=60))
def test_no_text_breaks_it(text):
    assert isinstance(final(text), str)
    assert boxed(text) is None or "\\boxed{" in text


@given(st.text(alphabet="ab{}\\", max_size=12).filter(lambda t: t.count("{") == t.count("}")))
def test_braces_inside_a_box_are_part_of_it(inside):
    depth, closes_early = 0, False
    for c in inside:
        depth += (c == "{") - (c == "}")
        closes_early = closes_early or depth < 0
    if not closes_early:
        assert boxed("\\boxed{" + inside + "}") == inside.strip()


def problem(i: int) -> Problem:
    return Problem(({"role": "user", "content": f"What is {i} + {i}?"},), str(2 * i), {})


def test_sides_stay_apart_and_a_seed_orders_them():
    world = Given(tuple(map(problem, range(8))), tuple(map(problem, range(8, 12))), "rule", by_rule)
    train, test = ({p.question for p in world.problems(99, split=s, seed=1)} for s in ("train", "test"))
    assert len(train) == 8 and len(test) == 4 and not train & test
    assert world.problems(3, split="train", seed=1) == world.problems(3, split="train", seed=1)
    orders = {tuple(p.answer for p in world.problems(8, split="train", seed=s)) for s in range(5)}
    assert len(orders) > 1
    assert world.score(problem(8), "so 16.").reward == 1.0 and world.score(problem(8), "so 17.").reward == 0.0
    with pytest.raises(ValueError, match="unknown split"):
        world.problems(1, split="dev")
