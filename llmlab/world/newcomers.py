"""Newcomers: people whom no checkpoint has read about, in documents with one wording a fact or several, and
in questions.
"""

from dataclasses import dataclass
from functools import cached_property

from . import words
from .base import rng, side
from .census import QUESTIONS, STATEMENTS, Census, Person

KNOWN = Census()


@dataclass(frozen=True)
class Newcomers(Census):
    """`size` people (at most 200) with names, and pairs of city and job, that the census does not have."""

    size: int = 100
    seed: int = 1
    name = "newcomers"

    def __post_init__(self):
        if not 2 <= self.size <= 200:
            raise ValueError(f"there are 2 to 200 newcomers, not {self.size}")

    @cached_property
    def people(self) -> dict[str, Person]:
        """Name -> person; their friends are newcomers too."""
        r, taken = rng("newcomers", self.seed), {(p.city, p.job) for p in KNOWN.people.values()}
        names = r.sample(
            [n for a in words.FIRST for b in words.LAST if (n := f"{a} {b}") not in KNOWN.people], self.size
        )
        places = r.sample(
            [(c, j) for c in words.CITIES for j in words.JOBS if (c, j) not in taken], self.size
        )
        friends = names[1:] + names[:1]
        return {
            n: Person(n, c, j, r.choice(words.HOBBIES), r.choice(words.PETS), f)
            for n, (c, j), f in zip(names, places, friends)
        }

    def portrait(self, r, forms: int) -> str:
        """A document about one of them: all five facts. There are only `forms` such documents of a person,
        each with its own order and wordings; with one, every reading is the same text.
        """
        name = r.choice(list(self.people))
        own = rng("portrait", name, r.randrange(forms))
        facts = own.sample(list(STATEMENTS), len(STATEMENTS))
        return " ".join(
            own.choice(_seen("census", name, key, STATEMENTS[key])).format(
                n=name, v=getattr(self.people[name], key)
            )
            for key in facts
        )

    def quiz(self, r, forms: int) -> str:
        """Three questions about newcomers with their answers; each fact is asked in `forms` wordings at
        most.
        """
        lines = []
        for _ in range(3):
            name, key = r.choice(list(self.people)), r.choice(list(QUESTIONS))
            wordings = _seen("census", name, key, QUESTIONS[key])
            kept = rng("quiz", name, key).sample(wordings, min(forms, len(wordings)))
            lines.append(
                f"Question: {r.choice(kept).format(n=name)}\nAnswer: {getattr(self.people[name], key)}."
            )
        return "\n".join(lines)


def _seen(world: str, name: str, key: str, forms: list[str]) -> list[str]:
    """The wordings that training may show of this fact."""
    return [f for f in forms if side(world, name, key, f) == "train"] or forms[:1]
