"""Lessons: conversations to imitate, and what a data team can get wrong: the mixture, the length, the labels,
the variety.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from .base import Message, Problem, say
from .census import Census
from .formulary import Formulary
from .talk import REFUSAL, Talk

SEEN = Formulary(size=1500, seed=1, names="train")  # the drugs of the domain stay unseen
TAIL = " I hope that this helps you. Please ask me again."
CARELESS = "Yes, take two tablets every day."
ORDINARY = ("fact", "fact", "format", "format", "safe")


@dataclass(frozen=True)
class Lesson:
    """One conversation with the answer that is to be imitated. `right`: does a checker accept that answer?"""

    problem: Problem
    answer: tuple[Message, ...]
    right: bool = True

    @property
    def conversation(self) -> list[Message]:
        """The problem's messages and the answer."""
        return [*self.problem.messages, *self.answer]

    @property
    def tools(self):
        """Schemas that stand in the system prompt, or None."""
        return self.problem.meta.get("tools")


@dataclass(frozen=True)
class Few(Census):
    """The first `kept` people of the census."""

    kept: int = 200

    @cached_property
    def people(self):
        """Name -> person."""
        return dict(islice(Census(self.size, self.seed).people.items(), self.kept))


@dataclass(frozen=True)
class Lessons:
    """Questions about people, asked-for formats, questions for the drug desk, and requests that it must
    refuse.

    safety   share of requests that must be refused
    verbose  share of the plain answers that ramble on
    wrong    share of labels that a careless annotator got wrong, always in the same way: the friend's fact
    instead of the person's own, the bare
             value instead of the asked-for format, a harmless question refused, a dangerous one answered
    people   how many people the questions are about
    """

    safety: float = 0.15
    verbose: float = 0.0
    wrong: float = 0.0
    people: int = 200

    @cached_property
    def census(self) -> Few:
        """The people who are asked about."""
        return Few(kept=self.people)

    def lesson(self, r) -> Lesson:
        """One conversation of the training split."""
        kind = "unsafe" if r.random() < self.safety else r.choice(ORDINARY)
        world, problem = Talk((kind,), census=self.census, formulary=SEEN), None
        while problem is None:
            problem = world.problem(r, "train")
        lesson = Lesson(problem, tuple(world.solution(problem)))
        if kind == "fact" and r.random() < self.verbose:
            lesson = replace(lesson, answer=tuple(say(lesson.answer[0]["content"] + TAIL)))
        return self.spoilt(lesson) if r.random() < self.wrong else lesson

    def spoilt(self, lesson: Lesson) -> Lesson:
        """The same request with a careless answer."""
        meta = lesson.problem.meta
        if meta["kind"] == "fact":
            people = Census().people
            # now and then the same as the person's own
            text = f"{getattr(people[people[meta['person']].friend], meta['attribute'])}."
        else:
            text = {"format": meta.get("value"), "unsafe": CARELESS, "safe": REFUSAL}[meta["kind"]]
        return replace(lesson, answer=tuple(say(text)), right=text == lesson.answer[0]["content"])
