"""sft: supervised fine-tuning of the base model on conversations; the mask decides what is imitated."""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from .. import loop, objectives, probes
from ..tokens import chat
from ..tokens.batch import Batch, pad
from ..tokens.special import TEMPLATE
from ..world import corpora
from ..world.base import rng
from ..world.formulary import Formulary
from ..world.talk import Talk
from .base import Experiment, knob

SEEN = Formulary(size=1500, seed=1, names="train")  # the drugs of the domain stay unseen
MASKS = ("assistant", "all")


@dataclass(frozen=True)
class SFT(Experiment):
    """Show the base model conversations and watch it become an assistant."""

    name: ClassVar[str] = "sft"
    summary: ClassVar[str] = "supervised fine-tuning: formats, refusals and known facts in chat form"
    curves: ClassVar[dict[str, str]] = {
        "facts": "known facts in chat form (share right)",
        "formats": "asked-for formats (share right)",
        "refusals": "unsafe requests refused (share)",
        "general_loss": "loss on general text (nats per token)",
    }

    lr: float = knob(2e-3, 1e-5, 1e-2, scale="log", help="peak learning rate of AdamW")
    warmup: int = knob(10, 0, 200, unit="steps", help="steps of linear warm-up")
    steps: int = knob(200, 10, 2000, unit="steps", help="optimiser steps")
    batch: int = knob(16, 2, 64, unit="rows", help="conversations a step")
    mask: str = knob("assistant", choices=MASKS, help="assistant: only its turns are imitated; all: the user's too")
    probe: int = knob(20, 1, 500, unit="steps", help="steps between two readings of the probes")

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """Conversations of one step."""
        world, rows, i = Talk(("fact", "fact", "format", "format", "unsafe", "safe"), formulary=SEEN), [], 0
        while len(rows) < self.batch:
            problem, i = world.problem(rng("sft", seed, step, i), "train"), i + 1
            if problem:
                rows.append(chat.example(tok, problem.messages, world.solution(problem), problem.meta.get("tools")))
        ids, mask = pad([r for r, _ in rows], tok.pad_token_id or 0), pad([m for _, m in rows], 0).float()
        if self.mask == "all":
            mask = pad([[1] * len(r) for r, _ in rows], 0).float()
        return Batch(ids, mask)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The recipe, top to bottom."""
        model, tok = loaded.model, loaded.tok
        if not tok.chat_template and loaded.is_lab:
            tok.chat_template = TEMPLATE
        general = corpora.general(0, split="test")
        sets = {
            name: probes.batches(probes.question_rows(tok, Talk((kind,)), Talk((kind,)).problems(96, seed=7)))
            for name, kind in {"facts": "fact", "formats": "format", "refusals": "unsafe"}.items()
        }
        sets["general_loss"] = probes.text_rows(tok, [next(general) for _ in range(32)])
        yield from loop.train(
            model,
            lambda start: (self.batch_at(tok, seed, i).to(model.device) for i in count(start)),
            objectives.nll,
            n=self.steps,
            lr=self.lr,
            opts=loop.optimizers(model, "adamw", self.lr),
            warmup=self.warmup,
            every=self.probe,
            checkpoint=checkpoint,
            probe=lambda step: probes.read(model, sets),
        )
