"""Shelf: a library of leaflets, one for each drug of the domain and each newcomer, some with an older
edition that says something else; and questions whose answer one leaflet tells.
"""

from dataclasses import dataclass
from functools import cached_property

from .base import Problem, check_split, draw, rng
from .formulary import BOILERPLATE, Formulary
from .leaflets import STATEMENTS, YEARS, Passage, passage, posed, value
from .newcomers import Newcomers


@dataclass(frozen=True)
class Leaflet:
    """One document: `told` is what it says, of whom, and of which year; `latest`: no newer edition says
    otherwise.
    """

    source: str
    told: Passage
    latest: bool
    text: str


@dataclass(frozen=True)
class Shelf:
    """`drugs` and `people` with a leaflet each.

    stale    share of them with an older edition, in which every value is another
    unnamed  chance that a sentence after the first says 'it' instead of the name
    noise    sentences of boilerplate in a leaflet
    """

    drugs: int = 120
    people: int = 80
    stale: float = 0.0
    unnamed: float = 0.3
    noise: int = 1
    name = "shelf"

    @cached_property
    def facts(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Name -> (subject, field -> value) as they are today."""
        of_drugs = {
            n: ("drug", {f: d.get(f) for f in STATEMENTS["drug"]})
            for n, d in Formulary(self.drugs).drugs.items()
        }
        of_people = {
            n: ("person", {f: getattr(p, f) for f in STATEMENTS["person"]})
            for n, p in Newcomers(self.people).people.items()
        }
        return of_drugs | of_people

    @cached_property
    def leaflets(self) -> list[Leaflet]:
        """All documents, the latest edition of a name before its older one."""
        found = []
        for i, (name, (subject, facts)) in enumerate(self.facts.items()):
            r = rng("shelf", name)
            year = r.choice(YEARS[10:])
            found.append(self._leaflet(r, i, name, subject, facts, year, True))
            if r.random() < self.stale:
                old = {f: other(r, subject, f, facts[f]) for f in facts}
                found.append(self._leaflet(r, i, name, subject, old, year - r.randint(1, 9), False))
        return found

    def _leaflet(
        self, r, number: int, name: str, subject: str, facts: dict, year: int, latest: bool
    ) -> Leaflet:
        told = passage(r, subject, name, facts, year, self.unnamed)
        sentences = [s + "." for s in told.text.removesuffix(".").split(". ")]
        for _ in range(self.noise):
            sentences.insert(r.randint(1, len(sentences)), r.choice(BOILERPLATE).format(i=r.randint(1, 48)))
        return Leaflet(f"{number:04}-{year}.txt", told, latest, " ".join(sentences))

    def problem(self, r, split: str) -> Problem:
        """One question; told in full by the latest leaflet of its name."""
        leaflet = r.choice([x for x in self.leaflets if x.latest])
        field = r.choice(list(leaflet.told.facts))
        found = posed(r, leaflet.told.subject, leaflet.told.name, field, [leaflet.told])
        return Problem(found.messages, leaflet.told.facts[field], found.meta | {"source": leaflet.source})

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Questions about the leaflets; the reader has read none of their names."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "shelf", self, split, seed)


@dataclass(frozen=True)
class Edition(Shelf):
    """A shelf on which some names have a new edition with other values, and some are withdrawn."""

    changed: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()

    @cached_property
    def facts(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Name -> (subject, field -> value) on this day."""
        found = dict(Shelf(self.drugs, self.people).facts)
        for n in self.withdrawn:
            del found[n]
        for n in self.changed:
            (subject, was), r = found[n], rng("edition", n)
            found[n] = subject, {f: other(r, subject, f, v) for f, v in was.items()}
        return found


def other(r, subject: str, field: str, than: str) -> str:
    """Another value of a field."""
    while (found := value(r, subject, field)) == than:
        pass
    return found
