"""retain: four methods to the same accuracy on questions with many right answers, and what is forgotten under
each.
"""

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import parts
from ...methods.policy import Dials
from ...models.forward import forward
from ...models.frozen import frozen_copy
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import probes
from ...train.collect import Collector
from ...train.recipe import Read, Recipe, numbered
from ...train.rollout import evaluate
from ...world import corpora
from ...world.base import Problem, rng, say
from ...world.sums import Sums
from ...world.talk import Talk

METHODS = ("sft_one", "sft_any", "rejection_sampling", "grpo")
MANY, FACTS, SUMS = Talk(("many",)), Talk(("fact",)), Sums(("add",), digits=3)
HELD = 96  # problems a probe
LONGEST = 12  # tokens that a name takes at most


@dataclass(frozen=True)
class Retain(Experiment):
    """Name somebody of whom something is true: learnt until a given share of the answers is right, then read
    on.

    sft_one             imitate a right answer: always the same one to a question
    sft_any             imitate a right answer: another one every time
    rejection_sampling  imitate those of the model's own samples that are right
    grpo                the same samples, the wrong ones too
    """

    name: ClassVar[str] = "retain"
    summary: ClassVar[str] = (
        "forgetting at matched accuracy: imitation of one answer, of any, of the model's own, or a reward"
    )
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict[str, str]] = {
        "skill": "sampled answers right (share)",
        "general_recall": "known facts (share right)",
        "sums": "three-digit sums right (share)",
        "kl": "KL(start ‖ now) on general text (nats)",
        "general_loss": "loss on general text (nats per token)",
        "distinct": "different answers among right ones (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, prompts=8, group=4, lr=3e-3),
        values=dict(prompts=(2,), group=(2,), until=(0.1,)),
        under=dict(until=dict(method="sft_one", probe=2)),
        small=dict(HELD=16),
    )

    method: str = knob(
        "grpo",
        choices=METHODS,
        help=(
            "sft_one, sft_any: imitate given answers; rejection_sampling: the right ones of its samples; or"
            " GRPO"
        ),
    )
    until: float = knob(
        0.6, 0.1, 1.0, unit="share", help="share of sampled answers right at which the training ends"
    )
    lr: float = knobs.lr(5e-4)
    warmup: int = knobs.warmup(5, high=100)
    steps: int = knob(80, 5, 1000, unit="steps", help="optimiser steps at most")
    prompts: int = knob(8, 2, 128, help="questions a step")
    group: int = knob(8, 2, 32, help="samples a question; for sft_any: right answers a question")
    probe: int = knobs.probe(10)

    def shown_at(self, tok, seed: int, step: int) -> Batch:
        """Right answers to imitate: the same one whenever the question comes, or drawn anew."""
        asked = MANY.problems(self.prompts, split="train", seed=seed * 1_000_003 + step)
        answers = [(p, a) for i, p in enumerate(asked) for a in self.answers(p, rng("any", seed, step, i))]
        rows = [chat.example(tok, p.messages, say(a + ".")) for p, a in answers]
        return Batch.of_rows(tok, rows)

    def answers(self, problem: Problem, r) -> list[str]:
        """What is imitated of one question."""
        people = problem.meta["answers"]
        return [people[0]] if self.method == "sft_one" else [r.choice(people) for _ in range(self.group)]

    def objective(self):
        """The policy gradient for a reward; else the likelihood of what is shown, or of the samples that are
        right.
        """
        return {"grpo": Dials().objective(LONGEST), "rejection_sampling": right_ones}.get(self.method, nll)

    def recipe(self, loaded, seed, texts=None):
        """Answers to imitate, or samples."""
        model, tok = loaded.model, loaded.tok
        if self.method in ("sft_one", "sft_any"):
            stream = numbered(partial(self.shown_at, tok, seed), model.device)
        else:
            settings = dict(prompts=self.prompts, group=self.group, max_new=LONGEST)
            stream = Collector(model, tok, MANY, Dials(), seed=seed, **settings)
        return Recipe(
            model,
            stream,
            self.objective(),
            Read(prober(model, tok)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """When the skill is there, the last reading stands for the steps that are left."""
        with closing(super().rows(loaded, seed, checkpoint, texts)) as training:
            for row in training:
                yield row
                if row.get("skill", 0.0) >= self.until:
                    break
        kept = {name: row[name] for name in self.curves}
        yield from ({"step": step} | kept for step in self.left(row["step"]))

    def left(self, step: int) -> list[int]:
        """Steps after `step` at which the probes would be read."""
        return [s for s in range(step + 1, self.steps + 1) if s % self.probe == 0 or s == self.steps]


def nll(out, batch):
    """Minus the mean log-prob of what is shown."""
    loss = -parts.token_mean(out.logprobs, out.mask)
    return loss, parts.detached(nll=loss)


def right_ones(out, batch):
    """The same, over the samples that are right (rejection sampling)."""
    loss = -parts.token_mean(out.logprobs, out.mask * batch["rewards"][:, None])
    return loss, parts.detached(nll=loss)


def prober(model, tok):
    """What is practised, how varied it is, and what must be kept."""
    start, general = frozen_copy(model), corpora.general(0, split="test")
    texts = probes.text_rows(tok, [next(general) for _ in range(16)])
    before = [now(start, batch) for batch in texts]

    def probe(step):  # sampled and scored: with or without a full stop is the policy's own choice
        """The readings after a step."""
        found = evaluate(
            model, tok, MANY, n=2 * HELD, split="train", seed=7, temperature=1.0, max_new=LONGEST
        )
        right = found.rows[found.rows["reward"] == 1]
        return {
            "skill": found.accuracy,
            "distinct": len(right.groupby(["question", "text"])) / max(1, len(right)),
            "general_recall": evaluate(model, tok, FACTS, n=HELD, seed=7, max_new=LONGEST).accuracy,
            "sums": evaluate(model, tok, SUMS, n=HELD, seed=7, max_new=18).accuracy,
            "kl": moved(model, texts, before),
            "general_loss": probes.loss(model, texts),
        }

    return probe


@torch.no_grad()
def now(model, batch: Batch) -> torch.Tensor:
    """The model's log-probs of every next token. [B,T-1,V]"""
    return forward(model.eval(), batch.to(model.device)).logits.log_softmax(-1)


def moved(model, batches: list[Batch], before: list[torch.Tensor]) -> float:
    """Mean over the tokens of KL(before ‖ now): how much of what it would have said it no longer says."""
    was = model.training
    sums = [
        (parts.kl(old, now(model, b)) * b.mask[:, 1:].to(old.device)).sum() for b, old in zip(batches, before)
    ]
    model.train(was)
    return float(sum(sums) / sum(b.mask[:, 1:].sum() for b in batches))
