"""leaflet: questions about new drugs, asked without anything to read, and the same behind the leaflet that a
teacher reads.
"""

from dataclasses import dataclass

from ...world.base import OneTurn, Problem, Score, check_split, draw, rng, same
from ...world.formulary import QUESTIONS, Formulary
from ...world.leaflets import passage, posed

FIELDS = ("class", "use", "dose", "conflict")
HINTS = ("passage", "cited", "other", "none")


@dataclass(frozen=True)
class Leaflet(OneTurn):
    """Questions about `drugs` invented drugs. Training and test ask for the same facts in other words."""

    drugs: int = 10
    name = "leaflet"

    @property
    def shelf(self) -> list:
        """The drugs, whose names no checkpoint has seen."""
        return list(Formulary(size=self.drugs, seed=4).drugs.values())

    def problem(self, r, split: str) -> Problem:
        """One question; the last wording of each field is for the test."""
        drug, field = r.choice(self.shelf), r.choice(FIELDS)
        wording = QUESTIONS[field][-1] if split == "test" else r.choice(QUESTIONS[field][:-1])
        meta = {"name": drug.name, "field": field}
        return Problem(
            ({"role": "user", "content": wording.format(n=drug.name)},), f"{drug.get(field)}.", meta
        )

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Questions of a split."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "leaflet", self, split, seed)

    def score(self, problem: Problem, text: str) -> Score:
        """answer: the value, with a citation or without."""
        return Score({"answer": float(same(text.partition(" [")[0], problem.answer))})

    def hinted(self, problem: Problem, hint: str) -> Problem:
        """What the teacher reads. passage: the drug's leaflet before the question · cited: it is asked for
        the leaflet's number, too · other: another drug's leaflet · none: the question alone.
        """
        if hint == "none":
            return problem
        r, about = rng("leaflet", problem.question), problem.meta["name"]
        told = next(d for d in self.shelf if (d.name != about) == (hint == "other"))
        facts = {f: told.get(f) for f in FIELDS}
        shown = passage(r, "drug", told.name, facts, 2020, unnamed=0.0, listed=1.0)
        behind = posed(r, "drug", about, problem.meta["field"], [shown], cited=hint == "cited")
        return Problem(behind.messages, problem.answer, problem.meta)
