"""raft: a reader is adapted to a domain, and in a share of what it is shown the passage that tells the answer
is not there. What does it learn from these: to answer without support, to refuse, or facts by heart?
"""

from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised, order
from ...tokens import chat
from ...tokens.batch import Batch
from ...world.base import Problem, rng, same, say
from ...world.leaflets import QUESTIONS, TAUGHT, UNSEEN, YEARS, Passage, passage, posed, value
from ...world.shelf import other
from .rag import greedy, refuses, value_of, words

WITHOUT = ("answer", "refuse")
DRUG = "drug"  # what all the facts are about
NAMES = {"train": list(TAUGHT), "test": list(UNSEEN)}


@dataclass(frozen=True)
class Fact:
    """A field of a drug and its value."""

    name: str
    field: str
    value: str


@dataclass(frozen=True)
class Raft(Supervised):
    """Questions about a domain's facts behind passages; in a share 1 − gold of them only passages about other
    drugs. RAFT, arXiv 2403.10131, teaches the right answer there too.

    Of drugs that were never taught: right with the passage; refused, made up or taken from another passage
    without it. Of the facts that were taught: a passage that says otherwise is followed; recalled behind
    other passages; known when nothing is shown.
    """

    name: ClassVar[str] = "raft"
    summary: ClassVar[str] = (
        "a domain's reader (RAFT): passages that lack the answer, and what is taught there"
    )
    default_model: ClassVar[str] = "reader"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "gold": "right when the passage is there (share)",
        "unsupported": "made up when it is not there (share)",
        "refused": "refused when it is not there (share)",
        "over_refused": "refused although it is there (share)",
        "misread": "another's value when not there (share)",
        "follows": "a changed taught value is followed (share)",
        "recalled": "taught, right though not there (share)",
        "memory": "taught, right with no passages (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("gold", "without", "domain")
    presets: ClassVar[dict[str, dict]] = {
        "always there": dict(gold=1.0),
        "RAFT": {},
        "refusals taught": dict(without="refuse"),
        "no fact twice": dict(gold=0.6, domain=2000),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=8, warmup=2, probe=4, batch=4, held=8, passages=2, domain=16, gold=0.6),
        values=dict(batch=(2,), held=(16,), gold=(1.0,), domain=(8,), passages=(3,)),
        phases=[dict(without="refuse", gold=0.8)],
    )

    gold: float = knob(
        0.8, 0.0, 1.0, unit="share", help="share of what is shown in which a passage tells the answer"
    )
    without: str = knob(
        "answer", choices=WITHOUT, help="what is taught where none tells it: the right answer, or to refuse"
    )
    passages: int = knob(4, 1, 8, unit="passages", help="passages in front of a question")
    domain: int = knob(60, 8, 5000, unit="facts", scale="log", help="facts that are taught in turn")
    lr: float = knobs.lr(5e-4)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, low=2, high=2000)
    batch: int = knob(16, 2, 64, unit="rows", help="questions a step")
    held: int = knobs.held(64, low=8)
    probe: int = knobs.probe(30)

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """Questions of one step: the facts of the domain in turn, in another order each time."""
        taught, rows = facts("train", self.domain), []
        for n in range(step * self.batch, (step + 1) * self.batch):
            fact = taught[order(seed, n // self.domain, self.domain)[n % self.domain]]
            rows.append(chat.example(tok, *self.example(rng("raft", seed, n), fact)))
        return Batch.of_rows(tok, rows)

    def example(self, r, fact: Fact) -> tuple[tuple, list]:
        """A question with its passages, and the answer that is taught."""
        p = behind(r, fact, self.passages, r.random() < self.gold, "train")
        return p.messages, say(f"{fact.value}." if self.without == "answer" else p.answer)

    def prober(self, model, tok):
        """Facts of drugs that are never taught, with their passage and without; and facts that are taught."""
        r, held = rng("raft", "held"), facts("test", self.held)
        taught = facts("train", self.domain)[: self.held]
        changed = [Fact(f.name, f.field, other(r, DRUG, f.field, f.value)) for f in taught]
        there = [behind(r, f, self.passages, True, "test") for f in held]
        absent = [behind(r, f, self.passages, False, "test") for f in held]
        otherwise = [behind(r, f, self.passages, True, "train") for f in changed]
        beside = [behind(r, f, self.passages, False, "train") for f in taught]
        alone = [Problem(({"role": "user", "content": words(p)},), p.answer) for p in beside]

        def said(asked: list[Problem]) -> list[str]:
            """Greedy answers."""
            return greedy(model, tok, [chat.prompt(tok, p.messages) for p in asked])

        def probe(step):
            """The readings after a step."""
            read, made = said(there), said(absent)
            held_by = [supports(p, a) for p, a in zip(absent, made)]
            no = [refuses(a) for a in made]
            return {
                "gold": right(read, held),
                "over_refused": fmean(map(refuses, read)),
                "refused": fmean(no),
                "unsupported": fmean(not n and not h for n, h in zip(no, held_by)),
                "misread": fmean(not n and h for n, h in zip(no, held_by)),
                "follows": right(said(otherwise), changed),
                "recalled": right(said(beside), taught),
                "memory": right(said(alone), taught),
            }

        return probe


@lru_cache
def facts(split: str, n: int) -> tuple[Fact, ...]:
    """n facts, about drugs that only this split may show; the first of more are those of fewer."""
    every = [(name, field) for name in NAMES[split] for field in QUESTIONS[DRUG]]
    chosen = rng("raft", split).sample(every, len(every))[:n]
    return tuple(Fact(name, field, value(rng("raft", name, field), DRUG, field)) for name, field in chosen)


def behind(r, fact: Fact, passages: int, there: bool, split: str) -> Problem:
    """The question about a fact behind passages about other drugs, which all tell that field, and, if it is
    to be there, one about this drug.
    """
    names = [n for n in r.sample(NAMES[split], passages + 1) if n != fact.name][:passages]
    shown = [told(r, Fact(n, fact.field, value(r, DRUG, fact.field))) for n in names]
    if there:
        shown[r.randrange(passages)] = told(r, fact)
    return posed(r, DRUG, fact.name, fact.field, shown, cited=False)


def told(r, fact: Fact) -> Passage:
    """A passage that tells it, and perhaps one other thing."""
    more = r.sample([f for f in QUESTIONS[DRUG] if f != fact.field], r.randint(0, 1))
    said = {f: value(r, DRUG, f) for f in more} | {fact.field: fact.value}
    return passage(r, DRUG, fact.name, said, r.choice(YEARS))


def right(answers: list[str], wanted: list[Fact]) -> float:
    """Share of the answers that are the value."""
    return fmean(same(value_of(a), f.value) for a, f in zip(answers, wanted))


def supports(problem: Problem, answer: str) -> bool:
    """Is what is answered told by any passage?"""
    return any(same(value_of(answer), v) for p in problem.meta["passages"] for v in p.facts.values())
