"""specialists: several models that each learnt one part become one model that has them all."""

from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, ClassVar

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

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
ONE = "one"  # the merged adapter's name


@dataclass(frozen=True)
class Specialists(Experiment):
    """One specialist a part, all from one starting model by the same LoRA SFT; then one model by `how`.

    opd      on-policy distillation from many: a new adapter answers problems of all parts itself, and the
             part's specialist says what it thinks of every token (MOPD, arXiv 2606.30406)
    average  mean of the specialists' adapters, A and B each (model soups, arXiv 2203.05482)
    ties     of A and B each the larger numbers, and the mean of those that have the sign of their sum
             (TIES, arXiv 2306.01708)
    mix      a new adapter, SFT on right solutions of the problems that opd asks, about as many tokens

    The merges take no step, so their curves are flat.
    """

    name: ClassVar[str] = "specialists"
    summary: ClassVar[str] = (
        "several specialists into one model: on-policy distillation, averaged or TIES-merged LoRA, mixed SFT"
    )
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "mean": "mean accuracy of the parts (share)",
        "specialist_mean": "mean of the specialists, own parts (share)",
        "links": "chains of links right (share)",
        "strings": "strings right (share)",
        "columns": "columns right (share)",
        "calls": "tool calls right (share)",
        "known": "known people recalled (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("how", "parts", "lr")
    presets: ClassVar[dict[str, dict]] = {
        "on-policy distillation": {},
        "the same, reverse KL": dict(beta=1.0),
        "average": dict(how="average"),
        "TIES": dict(how="ties"),
        "SFT on mixed data": dict(how="mix"),
        "two specialists averaged": dict(how="average", parts=2),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, batch=3, held=4, taught=3, rank=2),
        values=dict(batch=(6,), held=(6,), probe=(4,), beta=(0.5, 1.0), taught=(5,), rank=(4,)),
        under=dict(density=dict(how="ties")),
    )

    how: str = knob("opd", choices=HOW, help="how the specialists, or their data, become one model")
    parts: int = knob(3, 2, len(PARTS), help="specialists: links, strings of two functions, then columns")
    taught: int = knob(40, 2, 1000, unit="steps", help="steps of SFT that make each specialist")
    rank: int = knob(8, 1, 64, scale="log", help="rank of every adapter")
    beta: float = knob(0.0, 0.0, 1.0, help="opd: β of the KL: 0 forward, 1 reverse (TRL's beta)")
    density: float = knob(0.5, 0.05, 0.95, unit="share", help="ties: share of each adapter's numbers kept")
    batch: int = knob(9, 3, 128, unit="rows", help="rows a step")
    lr: float = knobs.lr(5e-3)
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

    @property
    def names(self) -> tuple[str, ...]:
        """The parts that have a specialist."""
        return tuple(PARTS)[: self.parts]

    def turn(self, names: tuple[str, ...], seed: int, step: int) -> list[Problem]:
        """The problems of a step, as many of each part."""
        each = -(-self.batch // len(names))
        asked = {n: PARTS[n].problems(each, split="train", seed=seed * 1_000_003 + step) for n in names}
        return [Parts.of(n, asked[n][i]) for i in range(each) for n in names][: self.batch]

    def shown(self, tok, names: tuple[str, ...], seed: int, step: int) -> Batch:
        """Right solutions of a step's problems."""
        return Batch.of_rows(tok, probes.question_rows(tok, Parts(), self.turn(names, seed, step)))

    def adapted(self, model, seed: int) -> PeftModel:
        """With a new adapter; all adapters of a run begin alike, as parts of a soup have to."""
        return adapt(model, rank=self.rank, seed=seed)

    def specialist(self, loaded: Loaded, name: str, seed: int) -> PeftModel:
        """A copy of the starting model after SFT on one part, frozen."""
        model = self.adapted(frozen_copy(loaded.model), seed)
        stream = numbered(partial(self.shown, loaded.tok, (name,), seed + 1), model.device)(0)
        how: dict[str, Any] = dict(n=self.taught, lr=self.lr, warmup=self.warmup)
        for _ in loop.steps(model, stream, imitation.nll, **how):
            pass
        return frozen_copy(model)

    def merge(self, model, many: dict[str, PeftModel], seed: int) -> PeftModel:
        """The starting model with the specialists' adapters as one, by PEFT, which works on A and on B and
        takes the root of a weight for each of them: 1/n² is the mean of A and of B. TIES has the mean in its
        last step already.
        """
        one = self.adapted(model, seed)
        names, n = list(many), len(many)
        ties: dict[str, Any] = dict(weights=[1.0] * n, combination_type="ties", density=self.density)
        mean: dict[str, Any] = dict(weights=[1.0 / n**2] * n, combination_type="linear")
        with torch.random.fork_rng():  # PEFT draws every new adapter, though all its numbers are replaced
            for name, specialist in many.items():
                one.add_adapter(name, one.peft_config["default"])
                set_peft_model_state_dict(one, get_peft_model_state_dict(specialist), name)
            one.add_weighted_adapter(names, adapter_name=ONE, **(ties if self.how == "ties" else mean))
        one.set_adapter(ONE)
        return one

    def learnt(self, student: PeftModel, tok, many: dict[str, PeftModel], seed: int) -> tuple:
        """(stream, objective) of the steps that follow the specialists."""
        if self.how != "opd":
            return numbered(partial(self.shown, tok, self.names, seed), student.device), imitation.nll
        teachers = {name: merged(model).eval() for name, model in many.items()}
        turn, taught = partial(self.turn, self.names, seed), partial(add_specialists, teachers, tok)
        stream = teaching.OnPolicy(student, tok, Parts(), turn, taught, seed, max_new=LONGEST)
        return stream, distillation.objective(self.beta)

    def recipe(self, loaded, seed, texts=None):
        """The specialists are made; what follows makes one model of them."""
        self.address(loaded)
        many = {name: self.specialist(loaded, name, seed) for name in self.names}
        student = (
            self.merge(loaded.model, many, seed) if self.how in MERGES else self.adapted(loaded.model, seed)
        )
        stream, objective = self.learnt(student, loaded.tok, many, seed)
        return Recipe(
            student,
            stream,
            objective,
            Read(self.prober(student, loaded.tok, many)),
            0 if self.how in MERGES else self.steps,
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

    def prober(self, student: PeftModel, tok, many: dict[str, PeftModel]):
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
            mean = fmean(found[name] for name in self.names)
            return found | {"mean": mean} | probes.read(student, kept) | own

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
