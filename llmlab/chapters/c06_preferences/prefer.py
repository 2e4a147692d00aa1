"""prefer: learning from pairs: which loss, on which taste, and what is wrong with the pairs."""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import torch

from ...lab.experiment import Experiment, knob
from ...methods import preferences
from ...models.forward import forward
from ...models.frozen import frozen_copy
from ...tokens import turns
from ...tokens.batch import Batch
from ...train import loop, probes
from ...world import corpora, tastes
from ...world.talk import Talk

PART = 64  # rows that a reading forwards at once


@dataclass(frozen=True)
class Prefer(Experiment):
    """Show the chat model pairs of answers, and watch what becomes of both of them and of all others."""

    name: ClassVar[str] = "prefer"
    summary: ClassVar[str] = (
        "preference optimisation on six tastes: DPO, IPO, SimPO, ORPO or plain imitation, and pairs with"
        " faults"
    )
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict[str, str]] = {
        "skill": "best answer given, greedy (share)",
        "preferred": "held-out pairs ordered rightly (share)",
        "chosen_logprob": "log-prob of chosen answers (nats)",
        "rejected_logprob": "log-prob of rejected answers (nats)",
        "elsewhere": "probability of any other answer (share)",
        "facts": "known facts in plain chat form (share)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=16),
        values=dict(batch=(2,), examples=(6,), held=(32,)),
        under=dict(
            gamma=dict(method="simpo"), examples=dict(batch=16), topics=dict(batch=16), noise=dict(batch=16)
        ),
        phases=[
            dict(method="orpo", nll=0.5),
            dict(method="ipo", task="sums"),
            dict(examples=6, coverage=0.5, noise=0.5, smoothing=0.2, topics=2),
        ],
    )

    task: str = knob(
        "style",
        choices=tuple(tastes.TASKS),
        help=(
            "what is preferred: a polite style, another name, German, right decisions to call, honesty after"
            " a failed call, right sums"
        ),
    )
    method: str = knob(
        "dpo",
        choices=tuple(preferences.METHODS),
        help="the loss; sft imitates the chosen answers and never sees the rejected ones",
    )
    beta: float = knob(
        0.1,
        0.01,
        5.0,
        scale="log",
        help=(
            "strength of the pull to the reference (dpo, ipo), of the contrast (orpo), or scale of the margin"
            " (simpo)"
        ),
    )
    nll: float = knob(
        0.0, 0.0, 2.0, help="weight of the likelihood of the chosen answer, added to the method's loss"
    )
    smoothing: float = knob(
        0.0, 0.0, 0.4, unit="share", help="share of the labels that dpo takes to be wrong"
    )
    gamma: float = knob(1.0, 0.0, 5.0, help="head start that simpo asks of the chosen answer")
    coverage: float = knob(
        1.0,
        0.0,
        1.0,
        unit="share",
        help="share of the pairs that hold the best answer; the others hold the usual one and a worse one",
    )
    noise: float = knob(0.0, 0.0, 0.5, unit="share", help="share of the pairs that are turned round")
    examples: int = knob(0, 0, 2000, help="different pairs, read again and again; 0: every one is new")
    topics: int = knob(
        5, 1, 5, help="kinds of questions about people that the pairs cover; all are asked in the end"
    )
    lr: float = knob(1e-3, 1e-6, 1e-2, scale="log", help="peak learning rate of AdamW")
    warmup: int = knob(5, 0, 200, unit="steps", help="steps of linear warm-up")
    steps: int = knob(60, 5, 1000, unit="steps", help="optimiser steps")
    batch: int = knob(16, 2, 64, unit="pairs", help="pairs a step")
    held: int = knob(96, 16, 512, help="held-out problems that a reading asks")
    probe: int = knob(20, 1, 500, unit="steps", help="steps between two readings of the probes")

    def objective(self):
        """The method's loss, and `nll` times that of the chosen answers."""
        return preferences.objective(
            self.method, beta=self.beta, smoothing=self.smoothing, gamma=self.gamma, nll=self.nll
        )

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """The pairs of one step."""
        numbers = range(step * self.batch, (step + 1) * self.batch)
        settings = dict(examples=self.examples, topics=self.topics, coverage=self.coverage, noise=self.noise)
        return turns.contrast(
            tok,
            [
                (c.messages, w, r, c.tools)
                for c, w, r in tastes.pairs(self.task, numbers, seed=seed, **settings)
            ],
        )

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The recipe, top to bottom."""
        model, tok = loaded.model, loaded.tok
        reference = frozen_copy(model)
        objective = self.objective()

        def stream(start):
            for step in count(start):
                batch = self.batch_at(tok, seed, step).to(model.device)
                yield (
                    loop.add_logprobs(reference, batch, "ref_logprobs")
                    if preferences.METHODS[self.method].reference
                    else batch
                )

        yield from loop.train(
            model,
            stream,
            objective,
            n=self.steps,
            lr=self.lr,
            opts=loop.optimizers(model, "adamw", self.lr),
            warmup=self.warmup,
            probe=prober(model, tok, reference, self.task, self.held),
            every=self.probe,
            checkpoint=checkpoint,
        )


def prober(model, tok, reference, task: str, n: int):
    """step -> what became of the held-out pairs, and of what the model knew."""
    held = tastes.choices(task, n, split="test", seed=7)
    encoded = [turns.row(tok, c.messages, turn, c.tools) for c in held for turn in (c.best, c.usual)]
    order = sorted(
        range(len(held)), key=lambda i: len(encoded[2 * i][0])
    )  # rows of a part are of like length
    parts = [
        [encoded[2 * i + side] for i in order[at : at + PART // 2] for side in (0, 1)]
        for at in range(0, n, PART // 2)
    ]
    judged = [
        loop.add_logprobs(reference, turns.of_rows(tok, part).to(model.device), "ref_logprobs")
        for part in parts
    ]
    general, facts = corpora.general(0, split="test"), Talk(("fact",))
    sets = {
        "skill": probes.batches(encoded[0::2]),
        "facts": probes.batches(probes.question_rows(tok, facts, facts.problems(n, seed=7))),
        "general_loss": probes.text_rows(tok, [next(general) for _ in range(24)]),
    }
    return lambda step: probes.read(model, sets) | figures(model, judged)


@torch.no_grad()
def figures(model, judged: list[Batch]) -> dict[str, float]:
    """Of held-out pairs: the share whose margin over the reference is positive, mean log-probs of both sides,
    and the probability of all else.
    """
    chosen, rejected, margins = [], [], []
    for batch in judged:
        out = forward(model, batch)
        total, base = (out.logprobs * out.mask).sum(1), (batch["ref_logprobs"] * out.mask).sum(1)
        margins.append((total - base)[0::2] - (total - base)[1::2])
        chosen.append(total[0::2])
        rejected.append(total[1::2])
    w, r = torch.cat(chosen), torch.cat(rejected)
    return {
        "preferred": float((torch.cat(margins) > 1e-6).float().mean()),
        "chosen_logprob": float(w.mean()),
        "rejected_logprob": float(r.mean()),
        "elsewhere": float((1 - w.exp() - r.exp()).clamp(min=0).mean()),
    }
