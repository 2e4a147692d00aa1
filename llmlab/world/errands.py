"""Errands: questions of which some need a tool and some do not: known and unknown people, easy and hard sums,
small talk. The desk's census knows everybody; the lab model has read about half of them.
"""

from dataclasses import dataclass
from functools import cached_property

from .base import Message, Problem, Score, check_split, draw, rng, same, say, side
from .census import QUESTIONS, Census, Person
from .desk import SYSTEM, TOOLS, Desk, call
from .newcomers import Newcomers
from .sums import SIGNS, Sums
from .talk import IDENTITY

KINDS = ("known", "unknown", "easy", "half", "hard", "talk")
DIRECT = ("known", "easy", "talk")  # what the chat model answers rightly from memory
SUMS = {
    "easy": Sums(("add",), digits=2),
    "half": Sums(("add",), digits=3),  # two of three right from memory
    "hard": Sums(("multiply",), digits=2),
}
OFFERED = [t for t in TOOLS if t["function"]["name"] in ("calculator", "census")]


class Everyone(Census):
    """The people of the census and 200 newcomers, of whom no checkpoint has read."""

    @cached_property
    def people(self) -> dict[str, Person]:
        """Name -> person."""
        return Census().people | NEW.people


NEW = Newcomers(200)
DESK = Desk(census=Everyone())


@dataclass(frozen=True)
class Errands:
    """Questions of the chosen kinds, each answered from memory or by one call.

    meta: kind, call (the assistant turn that gets the answer, None where no tool helps), tools
    """

    kinds: tuple[str, ...] = KINDS
    name = "errands"

    def __post_init__(self):
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise ValueError(f"kinds are among {', '.join(KINDS)}, not {self.kinds}")

    def problem(self, r, split: str) -> Problem | None:
        """One question of a random kind; names, pairs of operands and forms decide the split."""
        kind = r.choice(self.kinds)
        found = self._sum(r, kind, split) if kind in SUMS else getattr(self, f"_{kind}")(r, split)
        if found is None:
            return None
        text, answer, turn = found
        messages = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": text})
        return Problem(messages, answer, {"kind": kind, "call": turn, "tools": OFFERED})

    def _known(self, r, split):
        p = Census().question(r, split)
        if p is None:
            return None
        return p.question, p.answer, call("census", person=p.meta["person"], field=p.meta["attribute"])

    def _unknown(self, r, split):
        name, key = r.choice(list(NEW.people)), r.choice(list(QUESTIONS))
        if side("errands", name) != split:
            return None
        answer = getattr(NEW.people[name], key)
        return r.choice(QUESTIONS[key]).format(n=name), answer, call("census", person=name, field=key)

    def _sum(self, r, kind, split):
        p = SUMS[kind].problem(r, split)
        if p is None:
            return None
        a, b = p.meta["numbers"]
        return p.question, p.answer, call("calculator", expression=f"{a} {SIGNS[p.meta['op']]} {b}")

    def _talk(self, r, split):
        text = r.choice(list(IDENTITY))  # six questions: the same in training and test, on purpose
        return text, IDENTITY[text], None

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Held-out questions."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "errands", self.kinds, split, seed)

    def solution(self, problem: Problem) -> list[Message]:
        """From memory where the chat model can, else by the call."""
        return self.answered(problem, problem.meta["kind"] not in DIRECT)

    @staticmethod
    def answered(problem: Problem, by_call: bool) -> list[Message]:
        """The answer, by a call (where a tool helps) or from memory."""
        turn = problem.meta["call"]
        before = [turn, DESK.result(turn)] if by_call and turn else []
        return before + say(problem.answer.removesuffix(".") + ".")

    def score(self, problem: Problem, text: str) -> Score:
        """answer: the last word is right, however it was found."""
        return Score({"answer": float(same(text, problem.answer))})

    def reply(self, problem: Problem, messages: list[Message]) -> Message | None:
        """Run a call; None: there was none, the conversation is over."""
        return DESK.result(messages[-1]) if messages[-1].get("tool_calls") else None


def lesson(*key, kinds: tuple[str, ...] = KINDS) -> Problem:
    """One question of the training split, a function of its key."""
    r, found = rng("errands", *key), None
    while found is None:
        found = Errands(kinds).problem(r, "train")
    return found
