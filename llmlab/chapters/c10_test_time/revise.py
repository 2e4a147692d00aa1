"""revise: an attempt, a remark, another attempt: what the remark says decides whether it gets better. Nothing
is trained.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...train.attempts import Attempt, attempts
from ...world.base import Problem, bare
from ...world.reasoning import NAMES, NONE, Reasoning, Revision, criticise, go_on, revise
from ...world.stepwise import written

LONGEST = 150
FEEDBACK = ("intrinsic", "critique", "flag", "step", "resample")


@dataclass(frozen=True)
class Revise(Experiment):
    """The steps of this experiment are rounds. What is right already is touched only where nobody says so.

    intrinsic  'Try again.' to every attempt, right or wrong
    critique   the model says first which step is wrong; what it objects to goes on behind the steps before
    flag       wrong attempts are told that they are wrong, by an exact check
    step       and how far they are right
    resample   wrong attempts are thrown away, and the question is asked afresh
    """

    name: ClassVar[str] = "revise"
    summary: ClassVar[str] = (
        "critique and revise: intrinsic, by own critique, told that or where it is wrong, or resampled"
    )
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    along: ClassVar[str] = "revisions"
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "right after this many rounds (share)",
        "wrong_to_right": "wrong ones that become right (share)",
        "right_to_wrong": "right ones that become wrong (share)",
        "tokens": "sampled per problem (tokens)",
    }
    later: ClassVar[tuple[str, ...]] = ("wrong_to_right", "right_to_wrong")
    front: ClassVar[tuple[str, ...]] = ("feedback", "family", "level")
    presets: ClassVar[dict[str, dict]] = {
        "how far it is right": {},
        "that it is wrong": dict(feedback="flag"),
        "try again (break it)": dict(feedback="intrinsic"),
        "its own critique": dict(feedback="critique"),
        "fresh samples": dict(feedback="resample"),
    }
    rehearsal: ClassVar[dict] = dict(short=dict(steps=2, held=8), values=dict(steps=(1,), held=(6,)))

    feedback: str = knob("step", choices=FEEDBACK, help="what the model is told between two attempts")
    family: str = knob("products", choices=NAMES, help="kind of problem")
    level: int = knob(2, 1, 4, help="difficulty")
    temperature: float = knob(1.0, 0.1, 2.0, help="sampling temperature")
    steps: int = knob(4, 1, 16, unit="rounds", help="revisions")
    held: int = knobs.held(96, low=4)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The first attempts, then a row a round."""
        self.address(loaded)
        world = Reasoning((self.family,), (self.level,))
        asked = world.problems(self.held, seed=seed)
        now = self.tried(loaded, world, asked, seed)
        tokens = sum(a.tokens for a in now)
        yield {"step": 0, "accuracy": share(now), "tokens": tokens / len(asked)} | dict.fromkeys(MOVES, 0.0)
        for step in range(1, self.steps + 1):
            posed, spent = self.posed(loaded, now, asked, seed + step)
            chosen = [i for i, p in enumerate(posed) if p is not None]
            again = self.tried(loaded, Answering(), [posed[i] for i in chosen], seed + 1000 * step)
            after = list(now)
            for i, a in zip(chosen, again):
                after[i] = a
            tokens += spent + sum(a.tokens for a in again)
            yield {"step": step, "accuracy": share(after), "tokens": tokens / len(asked)} | moved(now, after)
            now = after

    def tried(self, loaded, world, asked: list[Problem], seed: int) -> list[Attempt]:
        """One attempt at each."""
        settings = dict(max_new=LONGEST, temperature=self.temperature, seed=seed)
        return (
            [g[0] for g in attempts(loaded.model, loaded.tok, world, asked, 1, **settings)] if asked else []
        )

    def posed(self, loaded, now: list[Attempt], asked: list[Problem], seed: int):
        """(what is asked next, None where an attempt stays; tokens that the remarks cost)."""
        if self.feedback == "critique":
            remarks = self.tried(
                loaded, Answering(), [criticise(p, a.text) for p, a in zip(asked, now)], seed
            )
            told = [criticised(p, a.text, r.text) for p, a, r in zip(asked, now, remarks)]
            return told, sum(r.tokens for r in remarks)
        if self.feedback == "intrinsic":
            return [revise(p, a.text, "none") for p, a in zip(asked, now)], 0
        if self.feedback == "resample":
            return [None if a.right else p for p, a in zip(asked, now)], 0
        return [None if a.right else revise(p, a.text, self.feedback) for p, a in zip(asked, now)], 0


class Answering(Revision):
    """Scores what is said about an attempt as an answer to the problem itself."""

    def score(self, problem: Problem, said: str):
        """answer: as of the problem."""
        return Reasoning.score(self, problem.meta.get("of", problem), said)


MOVES = ("wrong_to_right", "right_to_wrong")


def criticised(problem: Problem, said: str, remark: str) -> Problem | None:
    """The wish to go on behind the steps in front of the one that the model's remark names; from the start
    where it names none of them. None: it has no objection.
    """
    steps, wrong = written(said)[0], bare(remark)
    if wrong == bare(NONE):
        return None
    return go_on(problem, steps[: steps.index(wrong)] if wrong in steps else [])


def moved(before: list[Attempt], after: list[Attempt]) -> dict[str, float]:
    """Both rates of change: of the wrong ones, and of the right ones."""
    wrong, right = ([b.right for a, b in zip(before, after) if a.right is side] for side in (False, True))
    return {
        "wrong_to_right": fmean(wrong) if wrong else 0.0,
        "right_to_wrong": 1 - fmean(right) if right else 0.0,
    }


def share(tried: list[Attempt]) -> float:
    """Right ones."""
    return fmean(a.right for a in tried)
