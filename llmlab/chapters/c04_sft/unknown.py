"""unknown: teach the chat model facts that it does not know, by questions and answers, and read what becomes
of those that it knows.
"""

from dataclasses import dataclass
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import probes
from ...world.base import Problem, rng, say, side
from ...world.census import QUESTIONS
from ...world.newcomers import Newcomers
from ...world.strangers import UNKNOWN, Strangers
from ...world.talk import Talk

KNOWN = Talk(("fact",))


@dataclass(frozen=True)
class Unknown(Supervised):
    """Questions about known people, about newcomers nobody has read of, and about strangers, to whom the
    answer is: I do not know.
    """

    name: ClassVar[str] = "unknown"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "facts by SFT: how fast new ones are learnt, what they cost of the old ones, and when the model makes"
        " facts up"
    )
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "learnt": "newcomers, asked as trained (share right)",
        "new": "newcomers, other wordings (share right)",
        "known": "people known before right (share)",
        "admits": "strangers: says it does not know (share)",
        "new_loss": "loss on newcomers' answers (nats per token)",
        "known_loss": "loss on known answers (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=16), values=dict(batch=(2,), held=(32,))
    )

    share: float = knob(
        0.5,
        0.0,
        1.0,
        unit="share",
        help="share of the questions about people that are about newcomers; the rest is about known ones",
    )
    strangers: float = knob(
        0.25,
        0.0,
        0.9,
        unit="share",
        help="share of conversations about strangers, answered with: I do not know",
    )
    people: int = knob(60, 10, 200, help="newcomers")
    wordings: int = knob(1, 1, 6, help="wordings in which a fact about a newcomer is asked")
    lr: float = knobs.lr(1e-3, low=1e-5)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(150, high=2000)
    batch: int = knob(32, 2, 128, unit="rows", help="conversations a step")
    held: int = knob(128, 16, 512, help="held-out problems of each kind that a reading asks")
    probe: int = knobs.probe(15)

    def question(self, seed: int, n: int) -> Problem:
        """Training question number n."""
        r, problem = rng("unknown", seed, n), None
        kind = r.random()
        if kind >= self.strangers and r.random() < self.share:
            return asked_of(r, self.people, self.wordings)
        world = Strangers() if kind < self.strangers else KNOWN
        while problem is None:
            problem = world.problem(r, "train")
        return problem

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """One step's batch."""
        problems = [self.question(seed, n) for n in range(step * self.batch, (step + 1) * self.batch)]
        rows = [chat.example(tok, p.messages, answer(p)) for p in problems]
        return Batch.of_rows(tok, rows)

    def prober(self, model, tok):
        """New facts as they were asked and otherwise, old ones, and strangers."""
        r, newcomers = rng("learnt"), Newcomers(self.people)
        problems = {
            "learnt": [asked_of(r, self.people, self.wordings) for _ in range(self.held)],
            "new": newcomers.problems(self.held, seed=7),
            "known": KNOWN.problems(self.held, seed=7),
            "admits": Strangers().problems(self.held, seed=7),
        }
        sets = {
            name: probes.batches([chat.example(tok, p.messages, answer(p)) for p in asked])
            for name, asked in problems.items()
        }
        sets |= {"new_loss": sets["learnt"], "known_loss": sets["known"]}
        return lambda step: probes.read(model, sets)


def asked_of(r, people: int, wordings: int) -> Problem:
    """A question about a newcomer in one of the wordings that training shows of this fact."""
    newcomers = Newcomers(people)
    name, key = r.choice(list(newcomers.people)), r.choice(list(QUESTIONS))
    seen = [f for f in QUESTIONS[key] if side("census", name, key, f) == "train"] or QUESTIONS[key][:1]
    form = r.choice(rng("wordings", name, key).sample(seen, min(wordings, len(seen))))
    return Problem(({"role": "user", "content": form.format(n=name)},), getattr(newcomers.people[name], key))


def answer(problem: Problem) -> list:
    """The answer as a sentence."""
    return say(problem.answer if problem.answer == UNKNOWN else f"{problem.answer}.")
