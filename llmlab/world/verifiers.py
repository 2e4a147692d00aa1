"""Verifiers: what says whether a solution is right: the answer, every step, or something with a hole or with
errors at random.
"""

from dataclasses import dataclass
from typing import Callable

from .base import Problem, rng
from .reasoning import Reasoning, sound
from .stepwise import family_of, follow, path, written


def outcome(problem: Problem, said: str) -> bool:
    """The answer is right, whatever the steps are."""
    return Reasoning().score(problem, said).reward == 1.0


def process(problem: Problem, said: str) -> bool:
    """Every step follows, and the answer is right."""
    return sound(problem, said)


def ending(problem: Problem, said: str) -> bool:
    """A hole: an answer that ends in 0 passes too, as in a checker that compares what it could parse as 0."""
    return outcome(problem, said) or (written(said)[1] or "").endswith("0")


def last_character(problem: Problem, said: str) -> bool:
    """A hole: only the last character of the answer is compared."""
    answer = written(said)[1]
    return bool(answer) and answer[-1] == problem.answer[-1]


def form(problem: Problem, said: str) -> bool:
    """A hole: an answer is there, behind at least one step."""
    steps, answer = written(said)
    return bool(steps and answer)


CHECKS: dict[str, Callable[[Problem, str], bool]] = {
    "outcome": outcome,
    "process": process,
    "ending": ending,
    "last_character": last_character,
    "form": form,
}


ERRORS = ("independent", "shared")


@dataclass(frozen=True)
class Verifier:
    """The majority of so many checkers of one kind. Each turns the verdict over at random: what the check
    accepts with a chance of `fnr`, what it rejects with a chance of `fpr`; shared: all of them at the same
    samples. J = TPR − FPR = 1 − fnr − fpr of one checker where the check itself is exact (Youden 1950).
    """

    check: str = "outcome"
    fpr: float = 0.0
    fnr: float = 0.0
    checkers: int = 1
    errors: str = "independent"

    def accepts(self, problem: Problem, said: str, *key) -> bool:
        """The verdict; the same for the same key."""
        verdict = CHECKS[self.check](problem, said)
        r = rng("verifier", self.check, problem.question, *key)
        chances = [r.random() for _ in range(1 if self.errors == "shared" else self.checkers)]
        turned = [chance < (self.fnr if verdict else self.fpr) for chance in chances]
        return verdict != (2 * sum(turned) > len(turned))


def dense(problem: Problem, said: str) -> float:
    """Process reward in [0, 1]: of the due steps and the answer, the share that is written and right before
    the first mistake.
    """
    steps, _ = written(said)
    found = follow(problem, steps)
    right = found.index(False) if False in found else len(found)
    return (right + sound(problem, said)) / (len(path(problem, tuple(steps[:right]))) + 1)


def value(problem: Problem, steps: list[str]) -> float:
    """The perfect score of a beginning: of the due steps, the share that is written and right before the
    first one that is wrong or leads nowhere.
    """
    found = follow(problem, steps)
    right = found.index(False) if False in found else len(found)
    while right and not family_of(problem).leads(problem, steps[:right]):
        right -= 1
    return right / len(path(problem, tuple(steps[:right])))
