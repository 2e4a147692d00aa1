"""specialists: several models that each learnt one part become one model that has them all."""

from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods import distillation, imitation
from ...models.adapters import adapt, merged
from ...models.frozen import frozen_copy
from ...models.load import Loaded
from ...tokens.batch import Batch
from ...train import loop, probes
from ...train.attempts import attempts
from ...train.recipe import Read, Recipe, numbered
from ...train.rollout import Episode
from ...world.base import Problem, World
from ...world.desk import Desk
from ...world.talk import Talk
from . import teaching
from .parts import PARTS, Parts

HOW = ("opd", "average", "ties", "mix")
MERGES = ("average", "ties")  # no step is taken
LONGEST = 64  # tokens of an answer
KEPT: dict[str, World] = {"known": Talk(("fact",)), "calls": Desk(1, expect="call")}  # not to be lost
KNOWN = 32  # questions about each


@dataclass(frozen=True)
class Specialists(Experiment):
    """One specialist a part, all from one starting model by the same LoRA SFT; then one model by `how`.

    opd      on-policy distillation from many: a new adapter answers problems of all parts itself, and the
             part's specialist says what it thinks of every token (MOPD, arXiv 2606.30406)
    average  the starting weights + scale · mean of the specialists' changes: 1 is a model soup (arXiv
             2203.05482), the number of specialists is task arithmetic's sum (arXiv 2212.04089)
    ties     the starting weights + scale · of each matrix the larger changes, and the mean of those that have
             the sign of their sum (TIES, arXiv 2306.01708)
    mix      a new adapter, SFT on right solutions of the problems that opd asks

    The merges take no step, so their curves are flat.
    """

    name: ClassVar[str] = "specialists"
    summary: ClassVar[str] = (
        "several specialists into one model: on-policy distillation, mean or TIES of their weights, mixed SFT"
    )
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "mean": "mean accuracy of the parts (share)",
        "specialist_mean": "mean of the specialists, own parts (share)",
        "links": "chains of links right (share)",
        "strings": "strings right (share)",
        "calls": "tool calls right (share)",
        "known": "known people recalled (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("how", "scale", "lr")
    presets: ClassVar[dict[str, dict]] = {
        "on-policy distillation": {},
        "the same, reverse KL": dict(beta=1.0),
        "average (model soup)": dict(how="average"),
        "sum (task arithmetic)": dict(how="average", scale=2.0),
        "TIES": dict(how="ties"),
        "SFT on mixed data": dict(how="mix"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, batch=3, held=4, taught=3, rank=2),
        values=dict(batch=(6,), held=(6,), probe=(4,), beta=(0.5, 1.0), taught=(5,), rank=(4,)),
        under=dict(
            how=dict(taught=12, lr=5e-3),  # changes large enough that merges differ
            density=dict(how="ties"),
            scale=dict(how="average"),
        ),
    )

    how: str = knob("opd", choices=HOW, help="how the specialists, or their data, become one model")
    taught: int = knob(60, 2, 1000, unit="steps", help="steps of SFT that make each specialist")
    rank: int = knob(8, 1, 64, scale="log", help="rank of every adapter")
    beta: float = knob(0.0, 0.0, 1.0, help="opd: β of the KL: 0 forward, 1 reverse (TRL's beta)")
    density: float = knob(0.5, 0.05, 0.95, unit="share", help="ties: share of each matrix that is kept")
    scale: float = knob(1.0, 0.1, 4.0, help="average, ties: factor of the merged change")
    batch: int = knob(8, 2, 128, unit="rows", help="rows a step")
    lr: float = knobs.lr(2e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(40, low=2)
    held: int = knobs.held(32, low=4)
    probe: int = knobs.probe(20)

    def __post_init__(self):
        super().__post_init__()
        if self.beta != 0.0 and self.how != "opd":
            raise BadKnob(f"--beta is read by --how opd, not by {self.how}")
        if self.density != 0.5 and self.how != "ties":
            raise BadKnob(f"--density is read by --how ties, not by {self.how}")
        if self.scale != 1.0 and self.how not in MERGES:
            raise BadKnob(f"--scale is read by --how average and ties, not by {self.how}")

    def turn(self, names: tuple[str, ...], seed: int, step: int) -> list[Problem]:
        """The problems of a step, as many of each part."""
        each = -(-self.batch // len(names))
        asked = {n: PARTS[n].problems(each, split="train", seed=seed * 1_000_003 + step) for n in names}
        return [Parts.of(n, asked[n][i]) for i in range(each) for n in names][: self.batch]

    def shown(self, tok, names: tuple[str, ...], seed: int, step: int) -> Batch:
        """Right solutions of a step's problems."""
        return Batch.of_rows(tok, probes.question_rows(tok, Parts(), self.turn(names, seed, step)))

    def adapted(self, model, seed: int):
        """With a new adapter; all adapters of a run begin alike."""
        return adapt(model, rank=self.rank, seed=seed)

    def specialist(self, loaded: Loaded, name: str, seed: int) -> nn.Module:
        """A copy of the starting model after SFT on one part, its adapter merged; frozen."""
        model = self.adapted(frozen_copy(loaded.model), seed)
        stream = numbered(partial(self.shown, loaded.tok, (name,), seed + 1), model.device)(0)
        how: dict[str, Any] = dict(n=self.taught, lr=self.lr, warmup=self.warmup)
        for _ in loop.steps(model, stream, imitation.nll, **how):
            pass
        return frozen_copy(merged(model))

    def change(self, changes: list[Tensor]) -> Tensor:
        """One change of a weight from the specialists' changes of it, all of one shape."""
        if self.how == "ties":
            from peft.utils import merge_utils

            weights = changes[0].new_ones(len(changes))
            return self.scale * merge_utils.ties(changes, weights, self.density)
        return self.scale * torch.stack(changes).mean(0)

    @torch.no_grad()
    def merge(self, model, many: dict[str, nn.Module]):
        """The starting model, in place, with one change in every weight that the specialists changed."""
        theirs = [dict(m.named_parameters()) for m in many.values()]
        for name, weight in model.named_parameters():
            changes = [t[name] - weight for t in theirs]
            if any(c.any() for c in changes):
                weight += self.change(changes)
        return model

    def learnt(self, student, tok, many: dict[str, nn.Module], seed: int) -> tuple:
        """(stream, objective) of the steps that follow the specialists."""
        if self.how != "opd":
            return numbered(partial(self.shown, tok, tuple(PARTS), seed), student.device), imitation.nll
        turn, taught = partial(self.turn, tuple(PARTS), seed), partial(add_specialists, many, tok)
        stream = teaching.OnPolicy(student, tok, Parts(), turn, taught, seed, max_new=LONGEST)
        return stream, distillation.objective(self.beta)

    def recipe(self, loaded, seed, texts=None):
        """The specialists are made; what follows makes one model of them."""
        self.address(loaded)
        many = {name: self.specialist(loaded, name, seed) for name in PARTS}
        merges = self.how in MERGES
        student = self.merge(loaded.model, many) if merges else self.adapted(loaded.model, seed)
        stream, objective = self.learnt(student, loaded.tok, many, seed)
        return Recipe(
            student,
            stream,
            objective,
            Read(self.prober(student, loaded.tok, many)),
            0 if merges else self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
            partly=True,
        )

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The rows of the steps; of a merge the first one at every reading."""
        row: dict = {}
        for row in super().rows(loaded, seed, checkpoint, texts):
            yield row
        if self.how in MERGES:
            marks = sorted({*range(self.probe, self.steps, self.probe), self.steps})
            yield from (row | {"step": step} for step in marks)

    def prober(self, student, tok, many: dict[str, nn.Module]):
        """step -> readings: all parts, their mean, what is to be kept; each specialist on its own part."""
        asked = {n: world.problems(self.held, split="test", seed=7) for n, world in PARTS.items()}
        kept = {
            name: probes.batches(probes.question_rows(tok, w, w.problems(KNOWN, split="test", seed=1)))
            for name, w in KEPT.items()
        }

        def right(model, name: str) -> float:
            how: dict[str, Any] = dict(max_new=LONGEST, temperature=0.0)
            return fmean(a.right for (a,) in attempts(model, tok, PARTS[name], asked[name], 1, **how))

        own = {f"specialist_{name}": right(model, name) for name, model in many.items()}
        own |= {"specialist_mean": fmean(own.values())}

        def read(step: int) -> dict[str, float]:
            found = {name: right(student, name) for name in PARTS}
            return found | {"mean": fmean(found.values())} | probes.read(student, kept) | own

        return read


def add_specialists(teachers: dict, tok, batch: Batch, episodes: list[Episode]) -> Batch:
    """The batch with teacher_logits [B,T-1,V], each row's by the specialist of its part."""
    parts = [Parts.name_of(e.problem) for e in episodes]
    rows = {name: [i for i, part in enumerate(parts) if part == name] for name in teachers if name in parts}
    said = [
        teaching.add_teacher(teachers[name], tok, batch.pick(torch.tensor(here)))["teacher_logits"]
        for name, here in rows.items()
    ]
    order = torch.tensor([i for here in rows.values() for i in here])
    return batch.add(teacher_logits=torch.cat(said)[order.argsort()])
