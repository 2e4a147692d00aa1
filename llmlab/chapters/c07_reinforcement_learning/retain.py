"""retain: four ways to the same accuracy on questions with many right answers, and what is forgotten on
each.
"""

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import ClassVar, Iterator

import torch

from ...lab.experiment import Experiment, knob
from ...methods import advantages, objectives
from ...models.forward import forward
from ...models.frozen import frozen_copy
from ...tokens import chat
from ...tokens.batch import Batch, pad
from ...train import loop, probes
from ...train.rollout import evaluate, on_policy
from ...world import corpora
from ...world.base import Problem, rng, say
from ...world.sums import Sums
from ...world.talk import Talk

WAYS = ("one", "any", "own", "reward")
MANY, FACTS, SUMS = Talk(("many",)), Talk(("fact",)), Sums(("add",), digits=3)
HELD = 96  # problems a probe
LONGEST = 12  # tokens that a name takes at most


@dataclass(frozen=True)
class Retain(Experiment):
    """Name somebody of whom something is true: learnt until a given share of the answers is right, then read
    on.

    one     imitate a right answer: always the same one to a question
    any     imitate a right answer: another one every time
    own     imitate those of the model's own samples that are right (rejection sampling)
    reward  GRPO: the same samples, the wrong ones too
    """

    name: ClassVar[str] = "retain"
    summary: ClassVar[str] = (
        "forgetting at matched accuracy: imitation of one answer, of any, of the model's own, or a reward"
    )
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict[str, str]] = {
        "skill": "sampled answers right (share)",
        "known": "known facts (share right)",
        "sums": "three-digit sums right (share)",
        "kl": "KL(start ‖ now) on general text (nats)",
        "general_loss": "loss on general text (nats per token)",
        "distinct": "different answers among right ones (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, prompts=8, group=4, lr=3e-3),
        values=dict(prompts=(2,), group=(2,), until=(0.1,)),
        under=dict(until=dict(way="one", probe=2)),
        small=dict(HELD=16),
    )

    way: str = knob(
        "reward",
        choices=WAYS,
        help="one, any: imitate given answers; own: imitate the right ones of its samples; reward: GRPO",
    )
    until: float = knob(
        0.6, 0.1, 1.0, unit="share", help="share of sampled answers right at which the training ends"
    )
    lr: float = knob(5e-4, 1e-6, 1e-2, scale="log", help="peak learning rate of AdamW")
    warmup: int = knob(5, 0, 100, unit="steps", help="steps of linear warm-up")
    steps: int = knob(80, 5, 1000, unit="steps", help="optimiser steps at most")
    prompts: int = knob(8, 2, 128, help="questions a step")
    group: int = knob(8, 2, 32, help="samples a question; for any: right answers a question")
    probe: int = knob(10, 1, 500, unit="steps", help="steps between two readings of the probes")

    def stream(self, model, tok, seed: int, start: int) -> Iterator[Batch]:
        """Batches from number `start`."""
        if self.way in ("one", "any"):
            return (self.shown_at(tok, seed, step).to(model.device) for step in count(start))
        return on_policy(
            model,
            tok,
            MANY,
            prompts=self.prompts,
            group=self.group,
            advantage=advantages.group_norm,
            seed=seed,
            max_new=LONGEST,
            start=start,
        )

    def shown_at(self, tok, seed: int, step: int) -> Batch:
        """Right answers to imitate: the same one whenever the question comes, or drawn anew."""
        asked = MANY.problems(self.prompts, split="train", seed=seed * 1_000_003 + step)
        answers = [(p, a) for i, p in enumerate(asked) for a in self.answers(p, rng("any", seed, step, i))]
        rows = [chat.example(tok, p.messages, say(a + ".")) for p, a in answers]
        return Batch(
            pad([ids for ids, _ in rows], tok.pad_token_id or 0), pad([mask for _, mask in rows], 0).float()
        )

    def answers(self, problem: Problem, r) -> list[str]:
        """What is imitated of one question."""
        people = problem.meta["answers"]
        return [people[0]] if self.way == "one" else [r.choice(people) for _ in range(self.group)]

    def objective(self, out, batch):
        """The policy gradient for a reward; else the likelihood of what is shown, or of the samples that are
        right.
        """
        if self.way == "reward":
            loss, info = objectives.grpo(out, batch)
            return loss, info | {"reward": batch["rewards"].mean()}
        right = batch["rewards"][:, None] if self.way == "own" else torch.ones_like(out.mask)
        loss = -objectives.token_mean(out.logprobs, out.mask * right)
        return loss, objectives.detached(nll=loss)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The recipe, top to bottom; when the skill is there, the last reading stands for the steps that are
        left.
        """
        model, tok = loaded.model, loaded.tok
        training = loop.train(
            model,
            partial(self.stream, model, tok, seed),
            self.objective,
            n=self.steps,
            lr=self.lr,
            opts=loop.optimizers(model, "adamw", self.lr),
            warmup=self.warmup,
            probe=prober(model, tok),
            every=self.probe,
            checkpoint=checkpoint,
        )
        with closing(training):
            for row in training:
                yield row
                if row.get("skill", 0.0) >= self.until:
                    break
        kept = {name: row[name] for name in self.curves}
        yield from ({"step": step} | kept for step in self.left(row["step"]))

    def left(self, step: int) -> list[int]:
        """Steps after `step` at which the probes would be read."""
        return [s for s in range(step + 1, self.steps + 1) if s % self.probe == 0 or s == self.steps]


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
            "known": evaluate(model, tok, FACTS, n=HELD, seed=7, max_new=LONGEST).accuracy,
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
        (objectives.kl(old, now(model, b)) * b.mask[:, 1:].to(old.device)).sum()
        for b, old in zip(batches, before)
    ]
    model.train(was)
    return float(sum(sums) / sum(b.mask[:, 1:].sum() for b in batches))
