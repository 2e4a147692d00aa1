"""qat: train a model for few bits. Rounding after training (PTQ), rounding at every step (QAT), and what the
steps are: right answers, the full model's probabilities, or reinforcement learning.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Iterator

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods import distillation, imitation
from ...methods.parts import token_mean
from ...methods.policy import Dials
from ...models import formats
from ...models.fake_quant import fake_quantise, plain, rounded_once
from ...models.frozen import frozen_copy
from ...tokens.batch import Batch
from ...train import loop, probes
from ...train.collect import Collector
from ...train.recipe import Read, Recipe, numbered
from ...train.rollout import evaluate
from ...world import corpora
from ...world.base import rng
from . import few_bits
from .quantise import SKILLS

TRAIN = ("kd", "sft", "grpo")
WEIGHED = {  # how a token counts that rounded weights sampled and full ones learn from
    "clipped": Dials(),
    "truncated": Dials(clip="capped", high=1.0),  # truncated importance sampling: min(ratio, 2)
    "none": Dials(),  # the ratio's old log-probs are the full weights' own
}
TURN = 18  # tokens of a sum
SCORED = dict(train="grpo", batch=128, lr=1e-4)  # batch and rate of claim C168


@dataclass(frozen=True)
class QAT(Experiment):
    """The same steps with full weights, which are rounded afterwards, or with rounded ones. All readings are
    of the rounded model, but for `full_sums` and `verbatim_sums`.

    kd    KL to the full model as it began, on questions of all skills: no new knowledge, only repair
    sft   the right answers to them
    grpo  three-digit sums, rewarded by the check
    """

    name: ClassVar[str] = "qat"
    summary: ClassVar[str] = (
        "training for few bits: round afterwards (PTQ) or at every step (QAT); KD, SFT, GRPO"
    )
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "long_sums": "three-digit sums right (share)",
        "full_sums": "the same with full weights (share)",
        "facts": "known people recalled (share)",
        "calls": "tool calls right (share)",
        "refusals": "unsafe requests refused (share)",
        "formats": "answers in the asked-for form (share)",
        "general_loss": "loss on general text (nats per token)",
        "weight_error": "error of the weights (share of their size)",
        "verbatim_sums": "sums, full weights, word for word (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("when", "bits", "train")
    presets: ClassVar[dict[str, dict]] = {
        "QAT, KL to the full model": {},
        "round afterwards (PTQ)": dict(when="ptq"),
        "QAT on right answers": dict(train="sft"),
        "GRPO, then rounded": dict(when="ptq", **SCORED),
        "GRPO with rounded weights": SCORED,
        "GRPO, sampler rounded": dict(when="ptq", sampler="rounded", importance="truncated", **SCORED),
        "the same, not corrected (break it)": dict(
            when="ptq", sampler="rounded", importance="none", **SCORED
        ),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, batch=4, held=4, lr=1e-3),
        values=dict(batch=(8,), held=(6,), probe=(4,), bits=(4,), group=(64,)),
        under=dict(
            sampler=dict(train="grpo", when="ptq", batch=16, steps=3),
            importance=dict(train="grpo", when="ptq", sampler="rounded", batch=16, steps=3),
        ),
        phases=[
            dict(train="grpo", batch=16, steps=3),
            dict(train="grpo", when="ptq", batch=16, steps=3),
            dict(train="grpo", when="ptq", sampler="rounded", batch=16, steps=3),
        ],
    )

    when: str = knob("qat", choices=("qat", "ptq"), help="rounding at every step, or after training")
    train: str = knob("kd", choices=TRAIN, help="what the steps are")
    sampler: str = knob("trained", choices=("trained", "rounded"), help="grpo: which weights sample")
    importance: str = knob("clipped", choices=tuple(WEIGHED), help="sampler rounded: ratio of its tokens")
    bits: int = knob(3, 2, 8, unit="bits", help="bits of a weight")
    group: int = few_bits.group()
    batch: int = knob(32, 2, 256, unit="rows", help="rows a step; grpo: eight samples a problem")
    lr: float = knobs.lr(5e-4)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, low=2)
    held: int = knobs.held(64, low=4)
    probe: int = knobs.probe(20)

    def __post_init__(self):
        super().__post_init__()
        few_bits.check(self.group)
        if self.sampler == "rounded" and (self.train, self.when) != ("grpo", "ptq"):
            raise BadKnob("--sampler rounded teaches full weights; add --train grpo --when ptq")
        if self.importance != "clipped" and self.sampler != "rounded":
            raise BadKnob(f"--importance {self.importance} is of rounded samples; add --sampler rounded")

    def taught(self, teacher, tok, device, seed: int, step: int) -> Batch:
        """Questions of all skills, as many of each; for kd with the full model's logits."""
        rows: list = []
        for i in range(self.batch):
            name, world = list(SKILLS.items())[i % len(SKILLS)]
            draw = rng("qat", name, seed, step, i).randrange(2**31)
            rows += probes.question_rows(tok, world, world.problems(1, split="train", seed=draw))
        batch = Batch.of_rows(tok, rows).to(device)
        return loop.add_logits(teacher, batch, "teacher_logits") if teacher is not None else batch

    def learnt(self, model, tok, seed: int) -> tuple:
        """(stream, objective)."""
        if self.train == "grpo":
            how = WEIGHED[self.importance]
            shape: dict = dict(prompts=self.batch // 8 or 1, group=8, max_new=TURN, skip=True)
            collector = Collector(model, tok, SKILLS["long_sums"], how, seed=seed, **shape)
            return partial(self.sampled, model, collector), how.objective(TURN)
        teacher = frozen_copy(plain(model)) if self.train == "kd" else None
        stream = numbered(partial(self.taught, teacher, tok, model.device, seed), model.device)
        return stream, distillation.forward_kl if teacher is not None else imitation.nll

    def sampled(self, model, stream, start: int) -> Iterator[Batch]:
        """The batches; while one is sampled, weights that are rounded are so once and not at every token."""
        batches = stream(start)
        rounded = self.when == "qat" or self.sampler == "rounded"
        while True:
            with rounded_once(model, self.bits, self.group) if rounded else nullcontext():
                batch = next(batches)
            yield self.weighed(model, batch) if self.sampler == "rounded" else batch

    def weighed(self, model, batch: Batch) -> Batch:
        """Tokens of the rounded weights, for the full ones. `mismatch`: KL(sampler ‖ trained), estimated on
        these tokens by the mean difference of their log-probs (nats).
        """
        own = loop.add_logprobs(model, batch, "old_logprobs")
        apart = token_mean(batch["old_logprobs"] - own["old_logprobs"], batch.mask[:, 1:])
        used = own if self.importance == "none" else batch
        return replace(used, info={**batch.info, "mismatch": float(apart)})

    def recipe(self, loaded, seed, texts=None):
        """The steps, on rounded weights or on full ones."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        if self.when == "qat":
            fake_quantise(model, self.bits, self.group)
        stream, objective = self.learnt(model, tok, seed)
        return Recipe(
            model,
            stream,
            objective,
            Read(self.prober(model, tok)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )

    def finish(self, trained):
        """What was trained with full weights is rounded, once."""
        if self.when == "ptq":
            formats.quantise_with(trained.model, self.rounding)

    @property
    def rounding(self):
        """How every matrix is rounded."""
        return formats.integers(self.bits, self.group)

    def prober(self, model, tok):
        """step -> readings of the rounded model. Sums are answered greedily and scored as for the reward:
        "82" and "82." are right, and a policy may come to prefer either.
        """
        sets: dict[str, Any] = {
            name: probes.batches(
                probes.question_rows(tok, world, world.problems(self.held, split="test", seed=7))
            )
            for name, world in SKILLS.items()
        }
        verbatim, general = sets.pop("long_sums"), corpora.general(0, split="test")
        asked = dict(n=self.held, seed=7, max_new=TURN)
        sums = lambda model: evaluate(model, tok, SKILLS["long_sums"], **asked).accuracy
        sets["general_loss"] = probes.text_rows(tok, [next(general) for _ in range(self.held)])

        def read(step: int) -> dict[str, float]:
            """The readings after a step."""
            full, low = plain(model), plain(model)
            errors = formats.quantise_with(low, self.rounding)
            return probes.read(low, sets) | {
                "long_sums": sums(low),
                "full_sums": sums(full),
                "verbatim_sums": probes.exact(full, verbatim),
                "weight_error": sum(errors.values()) / len(errors),
            }

        return read
