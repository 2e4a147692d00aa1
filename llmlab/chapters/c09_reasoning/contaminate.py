"""contaminate: some of the test problems lie in the training data: what the test then says, and how the leak
is seen.
"""

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised, order
from ...methods.calibration import auc
from ...models.forward import forward_trained
from ...tokens import chat
from ...tokens.batch import Batch, Row
from ...train.attempts import attempts
from ...world.base import Problem, say
from ...world.reasoning import GUISES, NAMES, Reasoning, reworded
from ...world.stepwise import path, text

LONGEST = 150
FORMS = ("same", "reworded")
LEAST = 0.2  # share of a solution's tokens that Min-K% looks at


@dataclass(frozen=True)
class Contaminate(Supervised):
    """SFT on a fixed set of worked problems, of which a share are test problems.

    leaked   accuracy on the test problems that were trained on
    clean    on as many that were not
    fresh    on problems that a generator makes now, the same for all seeds: what is really known
    seen_loss, seen_min_k  does the likelihood of its solution tell a leaked problem from a clean one? (AUC)
    """

    name: ClassVar[str] = "contaminate"
    summary: ClassVar[str] = "test problems in the training data: what the test says then, and how it is seen"
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "reported": "right on the whole test (share)",
        "leaked": "right on what leaked (share)",
        "clean": "right on the rest of the test (share)",
        "fresh": "right on newly made problems (share)",
        "guised": "leaked ones in another guise, right (share)",
        "seen_loss": "leak seen by the loss (probability)",
        "seen_min_k": "leak seen by Min-K% (probability)",
    }
    front: ClassVar[tuple[str, ...]] = ("leak", "form", "copies")
    presets: ClassVar[dict[str, dict]] = {
        "half of the test leaked": {},
        "in other words": dict(form="reworded"),
        "nothing leaked": dict(leak=0.0),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=6, warmup=1, probe=3, batch=4, held=8, size=24, lr=3e-3),
        values=dict(batch=(3,), held=(6,), size=(30,), probe=(2,), copies=(3,)),
        phases=[dict(form="reworded", family="reach", level=1)],
    )

    leak: float = knob(0.5, 0.0, 0.9, unit="share", help="test problems that are in the training data")
    form: str = knob("same", choices=FORMS, help="how they appear there: word by word, or reworded")
    copies: int = knob(1, 1, 16, help="copies of each of them")
    family: str = knob("products", choices=NAMES, help="kind of problem")
    level: int = knob(2, 1, 4, help="difficulty")
    size: int = knob(256, 8, 4096, help="other problems in the training data")
    lr: float = knobs.lr(1e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(90, low=2)
    batch: int = knob(24, 2, 128, unit="rows", help="solutions a step")
    held: int = knobs.held(48, low=4)
    probe: int = knobs.probe(30)

    @property
    def world(self) -> Reasoning:
        """What is asked."""
        return Reasoning((self.family,), (self.level,))

    @cached_property
    def test(self) -> list[Problem]:
        """The test; whether a problem of it leaked goes by its place (see `cut`)."""
        return self.world.problems(self.held, seed=7)

    @property
    def cut(self) -> int:
        """That many problems of the test leaked, the first ones."""
        return round(self.leak * self.held)

    def data(self, seed: int) -> list[Problem]:
        """The training data: ordinary problems, and the leaked ones in their form and number."""
        form = (lambda p: p) if self.form == "same" else reworded
        leaked = [form(p) for p in self.test[: self.cut]] * self.copies
        return self.world.problems(self.size, split="train", seed=seed + 1) + leaked

    def batches(self, model, tok, seed: int):
        """step -> its batch: the data in an order of the epoch's."""
        rows = [solved(tok, p) for p in self.data(seed)]

        def batch_at(step: int) -> Batch:
            numbers = range(step * self.batch, (step + 1) * self.batch)
            chosen = [rows[order(seed, n // len(rows), len(rows))[n % len(rows)]] for n in numbers]
            return Batch.of_rows(tok, chosen)

        return batch_at

    def prober(self, model, tok):
        """Greedy accuracy on each part of the test, and how well the leak is seen."""
        fresh = self.world.problems(self.held, seed=8)
        guised = [q for p in self.test[: self.cut] for g in GUISES.values() if (q := g(p))]

        def right(asked: list[Problem]) -> list[bool]:
            if not asked:
                return [False]
            tried = attempts(model, tok, self.world, asked, 1, max_new=LONGEST, temperature=0.0)
            return [g[0].right for g in tried]

        def probe(step: int) -> dict[str, float]:
            """The readings after a step."""
            said = right(self.test)
            return {
                "reported": fmean(said),
                "leaked": fmean(said[: self.cut] or [0.0]),
                "clean": fmean(said[self.cut :]),
                "fresh": fmean(right(fresh)),
                "guised": fmean(right(guised)),
                **self.seen(model, tok),
            }

        return probe

    def seen(self, model, tok) -> dict[str, float]:
        """AUC of the mean log-prob of a solution, and of the mean over its least likely tokens (Min-K%, Shi
        et al. 2024), for having leaked.
        """
        every = logprobs(model, tok, [solved(tok, p) for p in self.test])
        leaked = [i < self.cut for i in range(self.held)]
        least = [fmean(sorted(x)[: max(1, round(LEAST * len(x)))]) for x in every]
        return {"seen_loss": auc([fmean(x) for x in every], leaked), "seen_min_k": auc(least, leaked)}


def solved(tok, problem: Problem) -> Row:
    """A problem with its solution, which is learnt."""
    return chat.example(tok, problem.messages, say(text(path(problem), problem.answer) + "."))


@torch.no_grad()
def logprobs(model, tok, rows: list[Row]) -> list[list[float]]:
    """Log-prob of every learnt token, row by row."""
    model.eval()
    out = forward_trained(model, Batch.of_rows(tok, rows).to(model.device))
    return [x[m > 0].tolist() for x, m in zip(out.logprobs, out.mask)]
