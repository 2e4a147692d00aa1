"""merging: an adapter and few bits: which weights it learns beside, and how both are deployed."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import imitation
from ...models import formats
from ...models.adapters import adapt, merged
from ...models.frozen import frozen_copy
from ...tokens.batch import Batch
from ...train import probes
from ...train.recipe import Read, Recipe, numbered
from ...world.base import World
from ...world.desk import Desk
from . import few_bits
from .parts import PARTS

BASES = ("rounded", "full")
KEPT: dict[str, World] = {"calls": Desk(1, expect="call")}  # not to be lost


@dataclass(frozen=True)
class Merging(Experiment):
    """LoRA SFT beside rounded weights Q(W) (QLoRA) or beside the full ones W. At every reading the adapter's
    change Δ = α/r · B A is deployed in three ways, whatever it was trained beside:

    unrounded  W + Δ, in 16 bits
    beside     Q(W) + Δ: the adapter stays in 16 bits beside rounded weights
    merged     Q(W + Δ): merged, then rounded
    """

    name: ClassVar[str] = "merging"
    summary: ClassVar[str] = "LoRA and few bits: trained beside full or rounded weights; merged or beside"
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "beside": "new skill, adapter beside Q(W) (share)",
        "merged": "new skill, merged, then rounded (share)",
        "unrounded": "new skill, nothing rounded (share)",
        "calls_beside": "tool calls, adapter beside Q(W) (share)",
        "calls_merged": "tool calls, merged, then rounded (share)",
        "calls_unrounded": "tool calls, nothing rounded (share)",
        "change": "RMS of Δ over one grid step (ratio)",
    }
    front: ClassVar[tuple[str, ...]] = ("base", "bits", "lr")
    presets: ClassVar[dict[str, dict]] = {
        "trained beside 4 bits (QLoRA)": {},
        "trained beside full weights": dict(base="full"),
        "3 bits": dict(bits=3),
        "3 bits, trained beside full weights": dict(base="full", bits=3),
        "one scale a row (break it)": dict(base="full", group=128),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, batch=3, held=4, rank=2, lr=5e-3),
        values=dict(batch=(6,), held=(6,), probe=(4,), bits=(2, 3), group=(64,), rank=(4,)),
    )

    base: str = knob("rounded", choices=BASES, help="the weights that the adapter is trained beside")
    bits: int = knob(4, 2, 8, unit="bits", help="bits of a rounded weight")
    group: int = few_bits.group()
    part: str = knob("strings", choices=tuple(PARTS), help="the new skill")
    rank: int = knob(8, 1, 64, scale="log", help="rank of the adapter")
    batch: int = knob(16, 2, 128, unit="rows", help="rows a step")
    lr: float = knobs.lr(2e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(80, low=2)
    held: int = knobs.held(64, low=4)
    probe: int = knobs.probe(40)

    def __post_init__(self):
        super().__post_init__()
        few_bits.check(self.group)

    @property
    def rounding(self):
        """How every matrix is rounded."""
        return formats.integers(self.bits, self.group)

    def shown(self, tok, seed: int, step: int) -> Batch:
        """Right solutions of a step's problems."""
        world = PARTS[self.part]
        asked = world.problems(self.batch, split="train", seed=seed * 1_000_003 + step)
        return Batch.of_rows(tok, probes.question_rows(tok, world, asked))

    def recipe(self, loaded, seed, texts=None):
        """SFT of the adapter alone."""
        self.address(loaded)
        full = frozen_copy(loaded.model)
        if self.base == "rounded":
            formats.quantise_with(loaded.model, self.rounding)
        student = adapt(loaded.model, rank=self.rank, seed=seed)
        return Recipe(
            student,
            numbered(partial(self.shown, loaded.tok, seed), student.device),
            imitation.nll,
            Read(self.prober(full, student, loaded.tok)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
            partly=True,
        )

    def deployed(self, full, change: dict[str, Tensor]) -> dict[str, Any]:
        """The three models of one change. name of a linear layer -> Δ [out, in]"""
        beside = frozen_copy(full)
        formats.quantise_with(beside, self.rounding)
        both = with_change(frozen_copy(full), change)
        low = frozen_copy(both)
        formats.quantise_with(low, self.rounding)
        return {"unrounded": both, "beside": with_change(beside, change), "merged": low}

    def prober(self, full, student, tok):
        """step -> readings of the three deployed models."""
        new, sets = PARTS[self.part], {}
        for name, world, seed in (("", new, 7), *((f"{n}_", w, 1) for n, w in KEPT.items())):
            asked = world.problems(self.held, split="test", seed=seed)
            sets[name] = probes.batches(probes.question_rows(tok, world, asked))
        step_of_grid = {n: self.step_of(layer.weight) for n, layer in formats.linears(full).items()}

        def read(step: int) -> dict[str, float]:
            """The readings after a step."""
            change = change_of(student)
            found = {
                f"{skill}{how}": probes.exact(model, rows)
                for how, model in self.deployed(full, change).items()
                for skill, rows in sets.items()
            }
            steps = [(change[n] / step_of_grid[n]).pow(2).mean() for n in change]
            return found | {"change": float(torch.stack(steps).mean().sqrt())}

        return read

    def step_of(self, weight: Tensor) -> Tensor:
        """The distance of two neighbouring levels at each weight [out, in]."""
        rows = weight.detach().view(len(weight), -1, self.group)
        step = rows.abs().amax(-1, keepdim=True) / (2 ** (self.bits - 1) - 1)
        return step.clamp_min(1e-12).expand_as(rows).reshape(weight.shape)


@torch.no_grad()
def change_of(student) -> dict[str, Tensor]:
    """Name of a linear layer -> Δ [out, in], what merging the adapter adds to its weight."""
    before = {n: w.base_layer.weight for n, w in layers(student).items()}
    return {n: w.weight - before[n] for n, w in formats.linears(merged(student)).items() if n in before}


def layers(student) -> dict[str, Any]:
    """Name, as the base model has it -> layer that carries an adapter."""
    inside = student.get_base_model()
    return {n: m for n, m in inside.named_modules() if hasattr(m, "base_layer")}


@torch.no_grad()
def with_change(model, change: dict[str, Tensor]):
    """The model with Δ added to its weights, in place."""
    for name, layer in formats.linears(model).items():
        if name in change:
            layer.weight += change[name]
    return model
