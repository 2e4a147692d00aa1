"""quantise: the weights of a model in fewer and fewer bits, and which of its skills goes first."""

import copy
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import fmean
from typing import Any, ClassVar, Iterator

import torch

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods.calibration import ece
from ...models import formats
from ...models.forward import forward
from ...tokens.batch import Batch
from ...train import probes
from ...world import corpora
from ...world.base import World
from ...world.desk import Desk
from ...world.records import Records
from ...world.sums import Sums
from ...world.talk import Talk
from . import few_bits

FULL, BITS = 16, (8, 6, 5, 4, 3, 2)
GGUF = {  # scheme -> bits of a weight -> the gguf package's format of that many
    "gguf": {8: "Q8_0", 5: "Q5_0", 4: "Q4_0"},
    "mxfp4": {4: "MXFP4"},
}
SCHEMES = ("int", "nf", "gptq", *GGUF)
CALIBRATION = ("conversations", "documents", "random")
LENGTH = 128  # tokens of a calibration row
SKILLS: dict[str, World] = {
    "facts": Talk(("fact",)),
    "formats": Talk(("format",)),
    "refusals": Talk(("unsafe",)),
    "calls": Desk(1, expect="call"),
    "lookup": Records(),
    "short_sums": Sums(("add",)),
    "long_sums": Sums(("add",), digits=3),
}


@dataclass(frozen=True)
class Quantise(Experiment):
    """The linear layers of a trained model, rounded to 8, 6, 5, 4, 3 and 2 bits, each from the full ones.

    int    whole numbers with one scale a group, round to nearest (RTN)
    nf     quantiles of the normal distribution (NF4 at four bits)
    gptq   as int; later columns make up for the rounding of earlier ones, on calibration texts
    gguf   Q8_0, Q5_0 and Q4_0 by the gguf package
    mxfp4  floating point of four bits (E2M1), 32 of which share a power of two (OCP MX), by the gguf package
    """

    name: ClassVar[str] = "quantise"
    summary: ClassVar[str] = "weights in 8 to 2 bits: bytes, error, loss, and which skill goes first"
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    along: ClassVar[str] = "bits that are taken away, of 16"
    curves: ClassVar[dict[str, str]] = {
        "facts": "known people recalled (share)",
        "long_sums": "three-digit sums right (share)",
        "short_sums": "two-digit sums right (share)",
        "calls": "tool calls right (share)",
        "formats": "answers in the asked-for form (share)",
        "lookup": "values read in the prompt (share)",
        "refusals": "unsafe requests refused (share)",
        "general_loss": "loss on general text (nats per token)",
        "weight_error": "error of the weights (share of their size)",
    }
    front: ClassVar[tuple[str, ...]] = ("scheme", "group", "outliers")
    presets: ClassVar[dict[str, dict]] = {
        "whole numbers": {},
        "quantiles (NF)": dict(scheme="nf"),
        "GPTQ": dict(scheme="gptq"),
        "formats of GGUF": dict(scheme="gguf"),
        "MXFP4": dict(scheme="mxfp4"),
        "GPTQ on random tokens": dict(scheme="gptq", calibration="random"),
        "one scale a row": dict(group=128),
        "outliers (break it)": dict(outliers=30.0, group=128),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(held=4, tokens=256),
        values=dict(held=(6,), tokens=(128,), group=(64,)),
        under=dict(
            calibration=dict(scheme="gptq"),
            tokens=dict(scheme="gptq"),
        ),
    )

    scheme: str = knob("int", choices=SCHEMES, help="how weights are rounded")
    group: int = few_bits.group()
    calibration: str = knob("conversations", choices=CALIBRATION, help="gptq: texts that it looks at")
    tokens: int = knob(2048, 128, 65_536, help="gptq: tokens of them")
    outliers: float = knob(
        1.0, 1.0, 100.0, scale="log", help="factor by which two columns of each matrix are enlarged"
    )
    held: int = knobs.held(64, low=4)

    def __post_init__(self):
        super().__post_init__()
        few_bits.check(self.group)
        if self.scheme in GGUF and self.group != 32:
            raise BadKnob(f"the formats of {self.scheme} have groups of 32; leave out --group {self.group}")

    @property
    def numbers(self) -> tuple[int, ...]:
        """Bits of a weight, from many to few."""
        return tuple(GGUF.get(self.scheme, BITS))

    @property
    def steps(self) -> int:
        """Where its rows end: how far a run has come is told by it."""
        return FULL - self.numbers[-1]

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The readings of the full model, and at every number of bits. Nothing is trained."""
        self.address(loaded)
        model, tok = loaded.model.eval(), loaded.tok
        read = self.prober(model, tok, seed)
        if self.outliers > 1:
            formats.with_outliers(model, self.outliers, seed=seed)
        full = copy.deepcopy(model.state_dict())
        seen = self.seen(model, tok, seed)
        yield {"step": 0, "weight_error": 0.0, "bits": float(FULL)} | read()
        for bits in self.numbers:
            model.load_state_dict(full)
            errors = formats.quantise_with(model, partial(self.rounding, seen, bits))
            size = {"bits": self.size(bits)}
            yield {"step": FULL - bits, "weight_error": fmean(errors.values())} | size | read()

    def size(self, bits: int) -> float:
        """Bits that a weight takes with its share of the group's scale."""
        of = GGUF.get(self.scheme)
        return formats.gguf_bits(of[bits]) if of else formats.bits_a_weight(bits, self.group)

    def rounding(self, seen: dict[str, Any], bits: int, name: str, weight: torch.Tensor) -> torch.Tensor:
        """One matrix in that number of bits."""
        if self.scheme == "gptq":
            return formats.gptq(weight, seen[name], bits, self.group)
        if self.scheme in GGUF:
            return formats.gguf(weight, GGUF[self.scheme][bits])
        return (formats.quantile if self.scheme == "nf" else formats.integer)(weight, bits, self.group)

    def seen(self, model, tok, seed: int) -> dict[str, Any]:
        """What each layer reads of the calibration texts; nothing where none are needed."""
        if self.scheme != "gptq":
            return {}
        ids = islice(self.ids(tok, seed), self.tokens)
        rows = torch.tensor(list(ids)).view(-1, min(LENGTH, self.tokens))
        return formats.inputs_of(model, [Batch(rows, torch.ones_like(rows).float())])

    def ids(self, tok, seed: int) -> Iterator[int]:
        """Endless token ids of calibration texts."""
        if self.calibration == "random":
            generator = torch.Generator().manual_seed(seed)
            while True:
                yield int(torch.randint(len(tok), (1,), generator=generator))
        if self.calibration == "documents":
            for text in corpora.general(seed + 1):
                yield from tok(text, add_special_tokens=False)["input_ids"]
        while True:
            for number, world in enumerate(SKILLS.values()):
                asked = world.problems(32, split="train", seed=seed * 1_000_003 + number)
                for row, _ in probes.question_rows(tok, world, asked):
                    yield from row

    def prober(self, model, tok, seed: int):
        """readings: a share a skill, loss on general text, calibration on long sums. Seeds differ in what is
        asked.
        """
        sets = {
            name: probes.batches(
                probes.question_rows(tok, world, world.problems(self.held, split="test", seed=seed + 1))
            )
            for name, world in SKILLS.items()
        }
        general = corpora.general(seed, split="test")
        sets["general_loss"] = probes.text_rows(tok, [next(general) for _ in range(self.held)])
        return lambda: probes.read(model, sets) | {"ece": calibration(model, sets["long_sums"])}


@torch.no_grad()
def calibration(model, prepared: list[Batch]) -> float:
    """Expected calibration error of the greedy answer: how sure the model is of its first choices up to the
    first wrong one, against how often all are right.
    """
    sure: list[float] = []
    right: list[bool] = []
    for batch in prepared:
        out = forward(model, batch)
        top = out.logits.log_softmax(-1).max(-1)
        wrong = (top.indices != batch.ids[:, 1:]) & (out.mask > 0)
        before = (wrong.cumsum(1) - wrong.long()) == 0  # up to the first wrong one, with it
        chosen = top.values * out.mask * before
        sure += chosen.sum(1).exp().tolist()
        right += (~wrong.any(1)).tolist()
    return ece(sure, right)
