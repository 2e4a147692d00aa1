"""Given: problems with their answers from outside the lab, in any wording, and a rule or a check of the
user's that says whether what was written gives the answer.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Callable

from .base import Message, Problem, Score, bare, check_split, rng, say
from .stepwise import written

Judge = Callable[[Problem, str], tuple[bool, str]]  # (problem, what was written) -> (is it right?, fault)
NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?")
FRACTION = re.compile(r"\\d?frac\{(\d+)\}\{(\d+)\}")
UNIT = re.compile(rf"({NUMBER.pattern})\s*[^\W\d].*")  # a number and words without another number
MARKED = re.compile(r"(?:####|answer is:?|answer:)\s*(.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Given:
    """Problems to learn from and problems that are held out. told: what judges them, so that another check is
    another set.
    """

    train: tuple[Problem, ...]
    test: tuple[Problem, ...]
    told: str
    judge: Judge = field(repr=False, compare=False)
    name = "given"

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """n of a side, or as many as there are, in an order of the seed's."""
        every = self.train if check_split(split) == "train" else self.test
        return rng("given", split, seed).sample(every, min(n, len(every)))

    def solution(self, problem: Problem) -> list[Message]:
        """The answer alone: nothing else is given."""
        return say(problem.answer)

    def score(self, problem: Problem, text: str) -> Score:
        """answer: what judges them accepts it."""
        right, fault = self.judge(problem, text)
        return Score({"answer": float(right)}, fault)

    def reply(self, problem: Problem, messages: list) -> None:
        """One turn: always over."""
        return None


def by_rule(problem: Problem, text: str) -> tuple[bool, str]:
    """Is the final answer of a text the right one?"""
    return equal(final(text), problem.answer), ""


def final(text: str) -> str:
    """The answer at the end of a text: in the last \\boxed{…}; else behind the last '####' or 'answer is';
    else behind the lab's own 'so'; else the last number of the last line that has one; else the last line.
    """
    if (inside := boxed(text)) is not None:
        return inside
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or [""]
    for line in reversed(lines):
        if found := MARKED.search(line):
            return bare(found[1].strip("* $"))
    if (given := written(text)[1]) is not None:
        return given
    numbered = [line for line in lines if NUMBER.search(line)]
    return NUMBER.findall(numbered[-1])[-1] if numbered else bare(lines[-1])


def boxed(text: str) -> str | None:
    """What stands in the last \\boxed{…} whose braces close; None: there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for i in range(begin - 1, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[begin:i].strip()
    return None


def equal(given: str, wanted: str) -> bool:
    """The same number, whatever unit is behind it, or the same words up to case, space, a full stop and signs
    of money and per cent.
    """
    a, b = plain(given), plain(wanted)
    y = number(b)
    x = number(a if y is None else without_unit(a))
    return x == y if x is not None and y is not None else a == b


def plain(text: str) -> str:
    """Without what does not belong to a value."""
    value = FRACTION.sub(r"\1/\2", bare(text).strip("$€£% ").removesuffix("\\"))
    return " ".join(value.split()).casefold()


def without_unit(text: str) -> str:
    """The number in front of words that hold no other number; else the text."""
    found = UNIT.fullmatch(text)
    return found[1] if found and not NUMBER.search(text[len(found[1]) :]) else text


def number(text: str) -> Fraction | None:
    """The exact value of a number with commas, a decimal point or a fraction; None: it is no number."""
    try:
        return Fraction(text.replace(",", "")) if NUMBER.fullmatch(text) else None
    except (ValueError, ZeroDivisionError):
        return None
