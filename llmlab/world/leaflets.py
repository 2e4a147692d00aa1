"""Leaflets: what is to be found, read and cited: look-alike passages about drugs and people, of several
years, some of which say 'it' where the name should stand.
"""

import re
from dataclasses import dataclass, replace

from . import words
from .base import Message, Problem, Score, check_split, draw, rng, same, say, side
from .census import QUESTIONS as OF_PEOPLE
from .census import STATEMENTS as ABOUT_PEOPLE
from .desk import SYSTEM, TOOLS, call
from .formulary import STEMS, Formulary
from .formulary import QUESTIONS as OF_DRUGS
from .formulary import STATEMENTS as ABOUT_DRUGS
from .records import ASK, STATE, unseen_name
from .records import FIELDS as OF_THINGS

QUESTIONS = {
    "drug": OF_DRUGS,
    "person": OF_PEOPLE,
    "thing": {f: [a.format(f=f, n="{n}") for a in ASK] for f in OF_THINGS},
}
STATEMENTS = {
    "drug": ABOUT_DRUGS,
    "person": ABOUT_PEOPLE,
    "thing": {f: [s.format(f=f, n="{n}", v="{v}") for s in STATE] for f in OF_THINGS},
}
UNNAMED = {  # a sentence that can be read only beside the one that names
    "class": "It belongs to the class {v}.",
    "use": "It is given for {v}.",
    "dose": "One tablet holds {v} mg.",
    "conflict": "It must not meet {v}.",
    "code": "It is filed as {v}.",
    "city": "The home is in {v}.",
    "job": "The trade is that of a {v}.",
    "hobby": "Sundays belong to {v}.",
    "pet": "A {v} lives in the house.",
    "friend": "The best friend is {v}.",
}
SUBJECTS = ("drug", "person")  # of the shelf; to learn to read, invented things are told of too
YEARS = range(2001, 2025)
ABSENT, CITE = "Not in the documents.", "Cite it."
SEARCH = [t for t in TOOLS if t["function"]["name"] == "search"]
TAUGHT = Formulary(size=1500, seed=1, names="train").drugs  # those whose names the chats hold


@dataclass(frozen=True)
class Passage:
    """What stands under one number: who it is about, of which year, which fields it tells."""

    subject: str
    name: str
    year: int
    facts: dict[str, str]
    text: str

    def shown(self, number: int) -> str:
        """The passage with its number."""
        return f"({self.year}) {marked(self.text, number)}"


def marked(text: str, number: int) -> str:
    """The number behind every sentence, and behind what was cut off. (With a number in front of the passage
    the lab model still cited by chance after 1,000 steps: what it copies must stand beside its source.)
    """
    found = re.sub(r"\.(?= |$)", f" [{number}].", text)
    return found if found.endswith(".") else f"{found} [{number}]"


def together(passages: list[Passage]) -> str:
    """Numbered from 1, on one line, so that a tool's result and a prompt read alike."""
    return " ".join(p.shown(i) for i, p in enumerate(passages, 1))


def value(r, subject: str, field: str) -> str:
    """A value that the field may have: it belongs to nobody, so it can only be read."""
    if subject == "thing":
        return OF_THINGS[field](r)
    if subject == "person":
        pools = {"city": words.CITIES, "job": words.JOBS, "hobby": words.HOBBIES, "pet": words.PETS}
        return r.choice(pools[field]) if field in pools else f"{r.choice(words.FIRST)} {r.choice(words.LAST)}"
    kind, uses = r.choice(list(STEMS.values()))
    return {
        "class": kind,
        "use": r.choice(uses),
        "dose": str(r.choice(range(5, 100, 5))),
        "conflict": kind,
        "code": str(r.randint(1000, 9999)),
    }[field]


def name(r, subject: str, split: str) -> str:
    """A drug, a person or an invented thing that only this split may show."""
    if subject == "thing":
        return unseen_name(r, split)
    while True:
        if subject == "drug":
            return r.choice(list(TAUGHT if split == "train" else UNSEEN))
        found = f"{r.choice(words.FIRST)} {r.choice(words.LAST)}"
        if side("leaflets", found) == split:
            return found


UNSEEN = Formulary(size=1500, seed=2).drugs


def passage(
    r, subject: str, about: str, facts: dict[str, str], year: int, unnamed: float = 0.3, listed: float = 0.0
) -> Passage:
    """The facts in a random order, as a list ('X: dose 95.') with a chance of `listed`, else in sentences,
    of which the first names, and each other one says 'it' with a chance of `unnamed`.
    """
    order, as_list = r.sample(list(facts), len(facts)), r.random() < listed
    sentences = []
    for i, f in enumerate(order):
        form = r.choice(STATEMENTS[subject][f])
        if i and subject != "thing" and r.random() < unnamed:
            form = UNNAMED[f]
        if as_list:
            form = f"{{n}}: {f} {{v}}."
        sentences.append(form.format(n=about, v=facts[f]))
    return Passage(subject, about, year, facts, " ".join(sentences))


@dataclass(frozen=True)
class Reading:
    """Questions behind `passages` look-alikes, to be answered with the value and the passage's number.

    absent   share of the questions whose passage is not among them
    stale    share beside whose passage an older one stands that says something else
    longest  fields that a passage tells at most
    by_tool  the passages come as the result of a search, and the model has to ask for them
    cited    share of the questions that ask for the passage's number too
    listed   chance that a passage is a list ('X: dose 95.'), which is the easiest to read
    """

    passages: int = 4
    absent: float = 0.0
    stale: float = 0.0
    longest: int = 3
    by_tool: bool = False
    listed: float = 0.0
    cited: float = 1.0
    subjects: tuple[str, ...] = SUBJECTS
    name = "reading"

    def __post_init__(self):
        if not 1 <= self.passages <= 16:
            raise ValueError(f"there are 1 to 16 passages, not {self.passages}")
        if not (0 <= self.absent <= 1 and 0 <= self.stale <= 1):
            raise ValueError("absent and stale are shares from 0 to 1")

    def problem(self, r, split: str) -> Problem:
        """One question with its passages."""
        subject = r.choice(self.subjects)
        field = r.choice(list(QUESTIONS[subject]))
        names: list[str] = []
        while len(names) < self.passages:
            if (found := name(r, subject, split)) not in names:
                names.append(found)
        shown = [self._passage(r, subject, n, field) for n in names]
        asked = r.choice(shown)
        if r.random() < self.absent:
            silent = [self._passage(r, subject, asked.name, field, False)]  # about it, and tells other things
            others = [p for p in shown if p is not asked]
            shown = others + silent if r.random() < 0.5 or not others else others
        elif r.random() < self.stale and self.passages > 1:
            other = next(p for p in shown if p is not asked)
            older = replace(
                self._passage(r, subject, asked.name, field), year=r.choice(range(1980, asked.year))
            )
            shown[shown.index(other)] = older
        r.shuffle(shown)
        return posed(r, subject, asked.name, field, shown, self.by_tool, r.random() < self.cited)

    def _passage(self, r, subject: str, about: str, field: str, tells: bool = True) -> Passage:
        others = [f for f in QUESTIONS[subject] if f != field]
        told = r.sample(others, r.randint(0 if tells else 1, self.longest - 1)) + [field] * tells
        facts = {f: value(r, subject, f) for f in told}
        return passage(r, subject, about, facts, r.choice(YEARS), listed=self.listed)

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Questions about names that training never shows."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "reading", self, split, seed)

    def solution(self, problem: Problem) -> list[Message]:
        """The value with its citation, after the search where there is one to make."""
        turn = problem.meta["call"]
        return ([turn, self.reply(problem, [turn])] if turn else []) + say(problem.answer)

    def score(self, problem: Problem, text: str) -> Score:
        """answer: the value, or that it is not there; citation: the number of the passage that says it, where
        it is asked for.
        """
        said, _, cited = text.strip().removesuffix(".").partition(" [")
        wanted, _, right = problem.answer.removesuffix(".").partition(" [")
        return Score({"answer": float(same(said, wanted)), "citation": float(cited == right)})

    def reply(self, problem: Problem, messages: list[Message]) -> Message | None:
        """The passages, once a search was made."""
        if not messages[-1].get("tool_calls"):
            return None
        return {"role": "tool", "content": together(problem.meta["passages"])}


def answer(shown: list[Passage], about: str, field: str, cited: bool = True) -> str:
    """What the latest of the passages about it says, with its number if it is asked for; or that none is."""
    telling = [(p.year, i, p) for i, p in enumerate(shown, 1) if p.name == about and field in p.facts]
    if not telling:
        return ABSENT
    _, number, latest = max(telling, key=lambda t: t[:2])
    return f"{latest.facts[field]} [{number}]." if cited else f"{latest.facts[field]}."


def posed(
    r, subject: str, about: str, field: str, shown: list[Passage], by_tool: bool = False, cited: bool = True
) -> Problem:
    """A question with its passages in front or behind a search."""
    question = r.choice(QUESTIONS[subject][field]).format(n=about) + f" {CITE}" * cited
    system: list[Message] = [{"role": "system", "content": SYSTEM}] if by_tool else []
    text = question if by_tool else f"{together(shown)}\n{question}"
    turn = call("search", query=f"{about} {field}") if by_tool else None
    meta: dict = {"passages": shown, "call": turn, "tools": SEARCH if by_tool else None, "cited": cited}
    meta |= {"name": about, "field": field}
    right = answer(shown, about, field, cited)
    return Problem((*system, {"role": "user", "content": text}), right, meta)


@dataclass(frozen=True)
class Interview(Reading):
    """The same with `more` further questions about the same passages, the other names and fields among them:
    what is read once teaches several times.
    """

    more: int = 4
    name = "interview"

    def solution(self, problem: Problem) -> list[Message]:
        """The answer, then question and answer in turns."""
        shown, r = problem.meta["passages"], rng("interview", problem.question)
        first, cited = (problem.meta["name"], problem.meta["field"]), problem.meta["cited"]
        told = list(dict.fromkeys((p.subject, p.name, f) for p in shown for f in p.facts))
        told = [t for t in told if t[1:] != first]
        turns = super().solution(problem)
        for subject, about, field in r.sample(told, min(self.more, len(told))):
            if r.random() < self.absent:
                field = r.choice(list(QUESTIONS[subject]))  # told of others, most often not of this one
            asked = r.choice(QUESTIONS[subject][field]).format(n=about) + f" {CITE}" * cited
            turns += [{"role": "user", "content": asked}, *say(answer(shown, about, field, cited))]
        return turns
