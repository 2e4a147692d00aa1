"""calibrate: the reasoner says how sure it is; rewards for right answers alone, or for right answers and an
honest figure (RLCR).
"""

from dataclasses import dataclass
from functools import partial
from itertools import count
from statistics import fmean
from typing import ClassVar, Iterator

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import imitation
from ...methods.calibration import area, auc, brier, ece, risk_coverage
from ...methods.policy import Dials
from ...models.frozen import frozen_copy
from ...tokens import chat
from ...tokens.batch import Batch
from ...train.attempts import Attempt, attempts
from ...train.collect import Collector
from ...train.recipe import Read, Recipe
from ...train.rollout import Episode
from ...world.base import Problem, Score, rng, say
from ...world.reasoning import NAMES, Reasoning

LONGEST = 156
SURE = " Sure: "  # stands between the solution and a digit
DIGITS = 10
REWARDS = ("outcome", "brier")
FORM = 5e-4  # rate of the steps that teach the form


@dataclass(frozen=True)
class Stated(Reasoning):
    """Problems whose solution ends with a digit from 0 to 9: how sure."""

    name = "stated"

    def score(self, problem: Problem, said: str) -> Score:
        """answer: that of the solution, whatever is said of it."""
        return super().score(problem, said.partition(SURE)[0])


@dataclass(frozen=True)
class Calibrate(Experiment):
    """First the form is taught: own solutions, each with a digit drawn at random, so that it means nothing.
    Then GRPO.

    outcome  1 for a right answer
    brier    the same less (c − right)², c the stated chance (digit + ½) / 10; no digit counts as certainty
    """

    name: ClassVar[str] = "calibrate"
    summary: ClassVar[str] = "stated confidence: GRPO for the answer alone, or with a Brier term (RLCR)"
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "pass_at_1": "samples right (share)",
        "stated": "stated chance of being right (probability)",
        "ece": "calibration error of it (share)",
        "brier": "Brier score of it (points)",
        "auc": "right surer than wrong (probability)",
        "aurc": "risk over coverage, mean (share)",
        "form": "a digit is stated (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("reward_func", "weight", "steps")
    presets: ClassVar[dict[str, dict]] = {
        "with a Brier term": {},
        "outcome alone (break it)": dict(reward_func="outcome"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(form=3, steps=6, warmup=1, probe=3, prompts=4, group=4, held=4, lr=3e-3),
        values=dict(form=(2,), prompts=(6,), group=(8,), held=(6,), probe=(2,), weight=(0.5,)),
        under=dict(lr=dict(form=1)),
        phases=[dict(reward_func="outcome", family="products", level=1)],
    )

    reward_func: str = knob("brier", choices=REWARDS, help="what a sample is rewarded for")
    weight: float = knob(1.0, 0.0, 4.0, help="brier: weight of its term")
    family: str = knob("reach", choices=NAMES, help="kind of problem")
    level: int = knob(2, 1, 4, help="difficulty")
    form: int = knob(15, 1, 500, unit="steps", help="steps of SFT on the form, in front of `steps`")
    prompts: int = knob(8, 2, 128, help="problems a step")
    group: int = knob(8, 2, 64, help="samples per problem")
    lr: float = knobs.lr(3e-4)
    warmup: int = knobs.warmup(3)
    steps: int = knobs.steps(40, low=2, high=1000)
    held: int = knobs.held(32, low=4)
    probe: int = knobs.probe(20)

    @property
    def world(self) -> Stated:
        """What is asked."""
        return Stated((self.family,), (self.level,))

    def shown_digits(self, writer, tok, seed: int, step: int) -> Batch:
        """Own solutions with meaningless digits."""
        asked = self.world.problems(16, split="train", seed=seed * 1_000_003 + step)
        groups = attempts(writer, tok, self.world, asked, 2, max_new=LONGEST, seed=step)
        rows = []
        for i, a in enumerate(a for g in groups for a in g):
            digit = rng("sure", seed, step, i).randrange(DIGITS)
            rows.append(chat.example(tok, a.episode.problem.messages, say(f"{a.text}{SURE}{digit}.")))
        return Batch.of_rows(tok, rows)

    def rewards(self, episodes: list[Episode]) -> torch.Tensor:
        """Of each sample [B]."""
        right = torch.tensor([float(e.score.reward) for e in episodes])
        if self.reward_func == "outcome":
            return right
        sure = torch.tensor([chance(e.text) for e in episodes])
        return right - self.weight * (sure - right) ** 2

    def recipe(self, loaded, seed, texts=None):
        """SFT on the form, then GRPO; one stream, whose first batches have another objective."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        writer, policy = frozen_copy(model), Dials()
        collector = Collector(
            model,
            tok,
            self.world,
            policy,
            seed=seed,
            prompts=self.prompts,
            group=self.group,
            max_new=LONGEST,
            rewards=self.rewards,
            skip=True,
        )
        return Recipe(
            model,
            partial(self.stream, writer, tok, seed, collector),
            either(imitation.nll, policy.objective(LONGEST)),
            Read(lambda step: self.readings(model, tok)),
            self.form + self.steps,
            lambda step: FORM if step < self.form else self.lr,
            every=self.probe,
            warmup=self.warmup,
        )

    def stream(self, writer, tok, seed: int, collector: Collector, start: int) -> Iterator[Batch]:
        """Batches from number `start`."""
        for step in count(start):
            if step < self.form:
                yield self.shown_digits(writer, tok, seed, step).to(writer.device)
            else:
                yield next(collector(step))

    def readings(self, model, tok) -> dict[str, float]:
        """Eight samples of each held-out problem."""
        asked = self.world.problems(self.held, seed=7)
        groups = attempts(model, tok, self.world, asked, 8, max_new=LONGEST, seed=7)
        every: list[Attempt] = [a for g in groups for a in g]
        sure, right = [chance(a.text) for a in every], [a.right for a in every]
        return {
            "pass_at_1": fmean(right),
            "stated": fmean(sure),
            "ece": ece(sure, right),
            "brier": brier(sure, right),
            "auc": auc(sure, right),
            "aurc": area(risk_coverage(sure, right)),
            "form": fmean(SURE in a.text for a in every),
        }


def chance(said: str) -> float:
    """The stated chance: the middle of the digit's tenth; 1 where none is stated."""
    digit = said.partition(SURE)[2].strip().removesuffix(".")
    return (int(digit) + 0.5) / DIGITS if len(digit) == 1 and digit in "0123456789" else 1.0


def either(first, then):
    """The objective of a batch: that of a policy where it has advantages, else the first."""
    return lambda out, batch: (then if "advantages" in batch.given else first)(out, batch)
