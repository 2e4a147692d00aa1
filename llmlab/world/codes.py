"""Codes: names with random four-digit codes: facts that nothing predicts, 13.3 bits each, to measure how much
a model can take in.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from . import words
from .base import rng
from .census import Census

FORMS = ("{n}:", "{n} has", "{n} dials", "Code of {n}:", "Number of {n}:", "Call {n}:")
BITS = math.log2(10_000)  # what one code holds
KNOWN = Census()
NAMES = [
    n for a in words.FIRST for b in words.LAST if (n := f"{a} {b}") not in KNOWN.people
]  # nobody whom a checkpoint has read about


@dataclass(frozen=True)
class Codes:
    """`size` names (at most 1,400) with a code each, a function of `seed`; every name has one wording that
    training never shows with it.
    """

    size: int = 200
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.size <= len(NAMES):
            raise ValueError(f"there are 1 to {len(NAMES)} names with codes, not {self.size}")

    @cached_property
    def codes(self) -> dict[str, str]:
        """Name -> four digits, each code equally likely."""
        r = rng("codes", self.seed)
        return {n: f"{r.randrange(10_000):04d}" for n in r.sample(NAMES, self.size)}

    def held_out(self, name: str) -> str:
        """The wording that is kept for the test."""
        return rng("codes held out", name).choice(FORMS)

    def cloze(self, name: str, form: str) -> tuple[str, str]:
        """(statement up to the code, the code)."""
        return form.format(n=name), f" {self.codes[name]}"

    def lesson(self, epoch: int, seed: int = 0) -> list[tuple[str, str]]:
        """Every name once, in an order and in wordings that are a function of (epoch, seed)."""
        r = rng("codes lesson", self.size, seed, epoch)
        names = r.sample(list(self.codes), self.size)
        return [self.cloze(n, r.choice([f for f in FORMS if f != self.held_out(n)])) for n in names]

    def exam(self) -> list[tuple[str, str]]:
        """Every name once, in its held-out wording."""
        return [self.cloze(n, self.held_out(n)) for n in self.codes]
