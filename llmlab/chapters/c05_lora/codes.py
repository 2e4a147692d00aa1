"""codes: names with random codes taught to the base model, by full fine-tuning or adapters: how much can a
low rank take in?
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import imitation
from ...models import adapters
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import probes
from ...train.recipe import Read, Recipe, numbered
from ...train.wrap import cost, wrapped
from ...world import codes, corpora
from ...world.census import Census
from ...world.codes import Codes
from ...world.sums import Sums

HELD = 512  # problems a probe


@dataclass(frozen=True)
class CodeBook(Experiment):
    """Teach the base random four-digit codes. Nothing predicts them: each takes 13.3 bits of room in the
    weights that are trained.
    """

    name: ClassVar[str] = "codes"
    summary: ClassVar[str] = (
        "capacity: random codes learnt by heart, with all weights or with adapters of a low rank"
    )
    presets: ClassVar[dict[str, dict]] = {
        "full": {"method": "full", "lr": 0.002},
        "LoRA r 8": {"rank": 8},
        "LoRA r 1 (break it)": {"rank": 1},
        "LoRA r 64": {"rank": 64},
    }
    front: ClassVar[tuple[str, ...]] = ("people", "rank", "lr")
    curves: ClassVar[dict[str, str]] = {
        "recalled": "codes right in unseen wordings (share)",
        "kilobits": "code bits stored (kbit)",
        "people": "questions about known people right (share)",
        "sums": "two-digit sums right (share)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, people=20),
        values=dict(batch=(2,), people=(40,), rank=(2,)),
        phases=[dict(method="full", lr=2e-3)],
        small=dict(HELD=16),
    )

    people: int = knob(200, 20, len(codes.NAMES), scale="log", help="names with a code each")
    method: str = knob(
        "lora", choices=("full", "lora"), help="full: every weight is trained; lora: only adapters are"
    )
    rank: int = knob(8, 1, 64, scale="log", help="rank of the adapters")
    alpha: float = knob(32.0, 1.0, 256.0, scale="log", help="the adapters' change is alpha / rank · B A")
    targets: str = knob(
        "both", choices=tuple(adapters.TARGETS), help="matrices that carry adapters: attention, mlp or both"
    )
    lr: float = knobs.lr(4e-3, low=1e-5, high=1e-1)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(400)
    batch: int = knob(32, 2, 512, unit="codes", help="codes a step")
    probe: int = knobs.probe(100)

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """Codes of one step, names in turn, so that every name is read equally often; the loss is on the
        codes alone.
        """
        world, places = (
            Codes(self.people),
            [divmod(i, self.people) for i in range(step * self.batch, (step + 1) * self.batch)],
        )
        lessons = {epoch: world.lesson(epoch, seed) for epoch in {e for e, _ in places}}
        rows = [chat.continuation(tok, *lessons[epoch][place]) for epoch, place in places]
        return Batch.of_rows(tok, rows)

    def prepare(self, tok) -> dict[str, list[Batch]]:
        """The probes' rows: all codes (at most 512 names) in wordings never read with that name, and what the
        base knew before.
        """
        general, exam = corpora.general(0, split="test"), Codes(self.people).exam()[:HELD]
        sets = {"recalled": probes.batches(probes.cloze_rows(tok, exam))}
        for name, world in (("people", Census()), ("sums", Sums(("add",)))):
            sets[name] = probes.batches(probes.question_rows(tok, world, world.problems(HELD, seed=7)))
        return sets | {"general_loss": probes.text_rows(tok, [next(general) for _ in range(96)])}

    def recipe(self, loaded, seed, texts=None):
        """The codes, and what is stored of them in bits."""
        loaded = wrapped(loaded, self.method, seed, rank=self.rank, alpha=self.alpha, targets=self.targets)
        model, tok = loaded.model, loaded.tok
        sets, price = self.prepare(tok), cost(model)

        def read(step):
            stored = max(0.0, codes.BITS - missing_bits(model, sets["recalled"]))
            return probes.read(model, sets) | {"kilobits": stored * self.people / 1000} | price

        return Recipe(
            model,
            numbered(partial(self.batch_at, tok, seed), model.device),
            imitation.nll,
            Read(read),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
            partly=True,
        )


def missing_bits(model, prepared: list[Batch]) -> float:
    """Mean −log₂ p of a row's masked tokens together, in bits a row: what the model would still have to be
    told.
    """
    tokens, rows = sum(float(b.mask.sum()) for b in prepared), sum(map(len, prepared))
    return probes.loss(model, prepared) * tokens / rows / math.log(2)
