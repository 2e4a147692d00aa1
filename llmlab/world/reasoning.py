"""Reasoning: problems of the five families as a world, and what is asked about solutions: which step is
wrong, and a better one.
"""

import re
from dataclasses import dataclass

from .base import Problem, Score, check_split, draw, rng, say
from .stepwise import FAMILIES, STEPS, family_of, follow, path, text, written

NAMES = tuple(FAMILIES)
TRIED, WHICH, AGAIN, NONE = "Tried", "Which step is wrong?", "Try again.", "None."
SO_FAR, ON = "Right so far", "Go on."
HINTS = ("none", "flag", "step")


@dataclass(frozen=True)
class Reasoning:
    """Problems of the chosen families and levels, each combination as often. The score is of the outcome:
    the answer alone.
    """

    families: tuple[str, ...] = NAMES
    levels: tuple[int, ...] = (1, 2)
    name = "reasoning"

    def __post_init__(self):
        if not self.families or not set(self.families) <= set(NAMES):
            raise ValueError(f"families are among {', '.join(NAMES)}, not {self.families}")
        if not self.levels or not set(self.levels) <= {1, 2, 3, 4}:
            raise ValueError(f"levels are among 1, 2, 3 and 4, not {self.levels}")

    def problem(self, r, split: str) -> Problem | None:
        """One problem."""
        family, level = r.choice(self.families), r.choice(self.levels)
        found = FAMILIES[family].problem(r, split, level)
        if found:
            found.meta["level"] = level
        return found

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Held-out problems."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "reasoning", self, split, seed)

    def solution(self, problem: Problem) -> list:
        """The steps and the answer."""
        return say(text(path(problem), problem.answer) + ".")

    def score(self, problem: Problem, said: str) -> Score:
        """answer: it is there and right, whatever the steps are."""
        given = written(said)[1]
        return Score({"answer": float(given is not None and family_of(problem).is_right(problem, given))})

    def reply(self, problem: Problem, messages: list) -> None:
        """One turn: always over."""
        return None


def faithful(problem: Problem, said: str) -> bool:
    """Is the answer the one that the written steps lead to, be they true or not?"""
    steps, answer = written(said)
    return answer is not None and answer == family_of(problem).concluded(problem, steps)


def first_wrong(problem: Problem, said: str) -> int | None:
    """Number of the first step that does not follow, from 1; an answer that comes too early, or to which its
    steps do not lead, is one behind them. None: all is right.
    """
    steps, answer = written(said)
    found = follow(problem, steps)
    if not all(found):
        return found.index(False) + 1
    family = family_of(problem)
    right = answer is not None and family.is_right(problem, answer) and not family.due(problem, steps)
    return None if right and faithful(problem, said) else len(steps) + 1


def sound(problem: Problem, said: str) -> bool:
    """Does every step follow, and the answer, and is it right?"""
    return first_wrong(problem, said) is None


def slipped(r, problem: Problem) -> tuple[str, str]:
    """(kind, attempt): a solution with one mistake, carried on from there as if it were none."""
    steps = path(problem)
    at = r.randrange(len(steps))
    kind, wrong = r.choice(list(family_of(problem).slips(r, problem, steps[:at]).items()))
    tried = path(problem, (*steps[:at], wrong))
    return kind, text(tried, family_of(problem).concluded(problem, tried)) + "."


def objection(problem: Problem, said: str) -> str:
    """The first step that does not follow, as it is written, or the answer; '' where all is right."""
    wrong = first_wrong(problem, said)
    if wrong is None:
        return ""
    steps, answer = written(said)
    return steps[wrong - 1] if wrong <= len(steps) else f"so {answer}" if answer is not None else "the end"


def criticise(problem: Problem, said: str) -> Problem:
    """The question which step of an attempt is wrong: it is to be copied; None.: there is no such step."""
    wrong = objection(problem, said)
    return _about(problem, f"{TRIED}: {said.strip()}\n{WHICH}", f"{wrong}." if wrong else NONE)


def revise(problem: Problem, said: str, hint: str = "step") -> Problem:
    """The wish for a better solution. hint: none · flag: that it is wrong · step: how far it is right. Of a
    right attempt nothing is said.
    """
    if hint not in HINTS:
        raise ValueError(f"hint is one of {', '.join(HINTS)}, not '{hint}'")
    wrong = first_wrong(problem, said)
    if hint == "step" and wrong:
        return go_on(problem, written(said)[0][: wrong - 1])
    told = f"It is wrong. {AGAIN}" if hint == "flag" and wrong else AGAIN
    return _about(problem, f"{TRIED}: {said.strip()}\n{told}", problem.answer)


def go_on(problem: Problem, right: list[str]) -> Problem:
    """The wish for a solution that begins with these steps: what is left of an attempt whose next step was
    wrong.
    """
    return _about(problem, f"{SO_FAR}: {'; '.join(right) or 'nothing'}.\n{ON}", problem.answer)


def _about(problem: Problem, more: str, answer: str) -> Problem:
    asked = f"{problem.question}\n{more}"
    return Problem(({"role": "user", "content": asked},), answer, problem.meta | {"of": problem})


@dataclass(frozen=True)
class Critique(Reasoning):
    """Which step of an attempt is wrong? A quarter of the attempts are right."""

    name = "critique"

    def problem(self, r, split: str) -> Problem | None:
        """One attempt."""
        found = super().problem(r, split)
        return found and criticise(found, attempt(r, found))

    def solution(self, problem: Problem) -> list:
        """The step."""
        return say(problem.answer)

    def score(self, problem: Problem, said: str) -> Score:
        """answer: the right step, or none."""
        return Score({"answer": float(said.strip() == problem.answer)})


@dataclass(frozen=True)
class Revision(Reasoning):
    """A better solution than an attempt. A quarter of the attempts are right, and to be kept."""

    hints: tuple[str, ...] = HINTS
    name = "revision"

    def problem(self, r, split: str) -> Problem | None:
        """One attempt with its hint."""
        found = super().problem(r, split)
        return found and revise(found, attempt(r, found), r.choice(self.hints))

    def solution(self, problem: Problem) -> list:
        """What was right of the attempt, carried on rightly."""
        return Reasoning.solution(self, problem.meta["of"])

    def score(self, problem: Problem, said: str) -> Score:
        """answer: as of the problem itself."""
        return super().score(problem.meta["of"], said)


def attempt(r, problem: Problem) -> str:
    """A solution, three times out of four with a mistake."""
    return slipped(r, problem)[1] if r.random() < 0.75 else text(path(problem), problem.answer) + "."


# --- the same problem in another guise: what does not change the answer should not change it
# ---------------------------------------------------------------------------------------------------------

IDLE = ["The sky was grey on that day.", "My neighbour owns 7 cats.", "It took 12 minutes to walk there."]
WORDINGS = {
    "What is {e}?": "Tell me {e}.",
    "Calculate {e}.": "Tell me {e}.",
    "How much is {e}?": "Tell me {e}.",
    "Links: {t}. Where do {n} links from {s} lead?": "These are links: {t}. Go {n} of them from {s}.",
    "Reach {v} from {s} in {c} steps with {o}.": "From {s}, get to {v} in {c} steps. You may use {o}.",
}
PARTS = {"e": r"(?P<e>.+)", "t": r"(?P<t>.+)", "n": r"(?P<n>\d+)", "s": r"(?P<s>\w+)", "v": r"(?P<v>-?\d+)"}
PARTS |= {"c": r"(?P<c>\d+)", "o": r"(?P<o>.+)"}


def reworded(problem: Problem) -> Problem:
    """In words that training never has."""
    question = problem.question.removesuffix(STEPS)
    for form, other in WORDINGS.items():
        pattern = re.sub(r"\\\{(\w)\\\}", lambda m: PARTS[m[1]], re.escape(form))
        if found := re.fullmatch(pattern, question):
            return _asking(problem, other.format(**found.groupdict()) + STEPS)
    raise ValueError(f"no form fits {question!r}")


def with_idle_sentence(problem: Problem) -> Problem:
    """Behind a sentence that has nothing to do with it."""
    return _asking(problem, f"{rng('idle', problem.question).choice(IDLE)} {problem.question}")


def reordered(problem: Problem) -> Problem | None:
    """What may stand in any order in another one: summands, links, operations. None: nothing may."""
    meta, question, r = problem.meta, problem.question, rng("reordered", problem.question)
    if meta["family"] == "columns" and meta["op"] == "add":
        a, b = meta["numbers"]
        swapped = question.replace(f"{a} + {b}", f"{b} + {a}")
        return _asking(problem, swapped, numbers=(b, a)) if a != b else None
    if meta["family"] in ("links", "reach"):
        head, tail = (": ", ". ") if meta["family"] == "links" else (" with ", ". ")
        before, _, rest = question.partition(head)
        told, _, after = rest.partition(tail)
        order = told.split(", ")
        r.shuffle(order)
        return _asking(problem, before + head + ", ".join(order) + tail + after)
    return None


GUISES = {"reworded": reworded, "idle sentence": with_idle_sentence, "reordered": reordered}


def _asking(problem: Problem, question: str, **meta) -> Problem:
    return Problem(({"role": "user", "content": question},), problem.answer, problem.meta | meta)
