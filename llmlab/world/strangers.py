"""Strangers: names of Verania that belong to nobody: whoever says a fact about them has made it up."""

from dataclasses import dataclass

from . import words
from .base import OneTurn, Problem, ask, check_split, draw, side
from .census import QUESTIONS, Census
from .newcomers import Newcomers

UNKNOWN = "I do not know."
TAKEN = {*Census().people, *Newcomers(200).people}
NAMES = [n for a in words.FIRST for b in words.LAST if (n := f"{a} {b}") not in TAKEN]


@dataclass(frozen=True)
class Strangers(OneTurn):
    """Questions whose only right answer is that one does not know. The name decides the split."""

    name = "strangers"

    def problem(self, r, split: str) -> Problem | None:
        """One question."""
        name, key = r.choice(NAMES), r.choice(list(QUESTIONS))
        if side("strangers", name) != split:
            return None
        messages, meta = ask(r.choice(QUESTIONS[key]).format(n=name), attribute=key, person=name)
        return Problem(messages, UNKNOWN, meta)

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Questions about names that training never shows."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "strangers", split, seed)
