"""dpo: preference optimisation of the chat model from pairs; margins, and chosen and rejected log-probs
apart.
"""

from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import ClassVar

import torch

from ...lab.experiment import Experiment, knob
from ...methods import objectives
from ...models.forward import forward
from ...models.frozen import frozen_copy
from ...tokens import chat
from ...tokens.pairs import pair_batch
from ...train import loop, probes
from ...world import talk
from ...world.talk import Talk


@dataclass(frozen=True)
class DPO(Experiment):
    """Teach the chat model to prefer polite answers, from pairs alone."""

    name: ClassVar[str] = "dpo"
    summary: ClassVar[str] = "direct preference optimisation: polite answers preferred to blunt ones"
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict[str, str]] = {
        "preferred": "held-out pairs ordered rightly (share)",
        "polite": "polite and right answers (share)",
        "chosen_logprob": "log-prob of chosen answers (nats)",
        "rejected_logprob": "log-prob of rejected answers (nats)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4),
        values=dict(batch=(2,)),
        phases=[dict(nll=0.0, pairs="all")],
    )

    beta: float = knob(0.1, 0.01, 2.0, scale="log", help="strength of the pull to the reference")
    nll: float = knob(
        0.5,
        0.0,
        2.0,
        help=(
            "weight of the likelihood of the chosen answer; 0 is plain DPO, which only pushes the rejected"
            " one away here"
        ),
    )
    lr: float = knob(1e-3, 1e-6, 1e-2, scale="log", help="peak learning rate of AdamW")
    warmup: int = knob(5, 0, 200, unit="steps", help="steps of linear warm-up")
    steps: int = knob(60, 5, 1000, unit="steps", help="optimiser steps")
    batch: int = knob(16, 2, 64, unit="pairs", help="pairs a step")
    pairs: str = knob(
        "style",
        choices=("style", "all"),
        help="style: right answers, polite or blunt; all: also wrong and padded ones",
    )
    probe: int = knob(10, 1, 500, unit="steps", help="steps between two readings of the probes")

    def objective(self):
        """dpo + nll · nll_chosen (as in RPO, arXiv 2404.19733)."""
        terms = ((1.0, partial(objectives.dpo, beta=self.beta)), (self.nll, objectives.nll_chosen))
        return partial(objectives.weighted_sum, terms=terms if self.nll else terms[:1])

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The recipe, top to bottom."""
        model, tok = loaded.model, loaded.tok
        reference = frozen_copy(model)
        held = talk.pairs(96, split="test", seed=7, kinds=self.pairs)
        judged = [loop.add_logprobs(reference, pair_batch(tok, held).to(model.device), "ref_logprobs")]
        polite = probes.batches(
            [
                chat.example(
                    tok, p.messages, [{"role": "assistant", "content": f"Gladly: {p.problem.answer}."}]
                )
                for p in held
            ]
        )
        facts = probes.batches(
            probes.question_rows(tok, Talk(("fact",)), Talk(("fact",)).problems(96, seed=7))
        )

        def stream(start):
            for step in count(start):
                batch = pair_batch(
                    tok, talk.pairs(self.batch, split="train", seed=seed * 100_003 + step, kinds=self.pairs)
                ).to(model.device)
                yield loop.add_logprobs(reference, batch, "ref_logprobs")

        def probe(step):
            return pair_figures(model, judged) | {
                "polite": probes.exact(model, polite),
                "blunt": probes.exact(model, facts),
            }

        yield from loop.train(
            model,
            stream,
            self.objective(),
            n=self.steps,
            lr=self.lr,
            opts=loop.optimizers(model, "adamw", self.lr),
            warmup=self.warmup,
            probe=probe,
            every=self.probe,
            checkpoint=checkpoint,
        )


@torch.no_grad()
def pair_figures(model, batches) -> dict[str, float]:
    """Of held-out pairs: share whose margin over the reference is positive, and mean log-probs of both
    sides.
    """
    margins, chosen, rejected = [], [], []
    for batch in batches:
        out = forward(model, batch)
        total, base = (out.logprobs * out.mask).sum(1), (batch["ref_logprobs"] * out.mask).sum(1)
        margins.append((total - base)[0::2] - (total - base)[1::2])
        chosen.append(total[0::2])
        rejected.append(total[1::2])
    return {
        "preferred": float((torch.cat(margins) > 1e-6).float().mean()),
        "chosen_logprob": float(torch.cat(chosen).mean()),
        "rejected_logprob": float(torch.cat(rejected).mean()),
    }
