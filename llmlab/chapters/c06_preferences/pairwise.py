"""Pairwise: the preference family: a loss on pairs of answers, against a frozen reference where the loss has
one.
"""

from dataclasses import dataclass
from typing import Callable, Iterator

import torch

from ...lab.experiment import Experiment, knob
from ...methods import preferences
from ...methods.parts import Objective
from ...models.forward import forward_trained
from ...models.frozen import frozen_copy
from ...tokens.batch import Batch
from ...train.recipe import Read, Recipe
from ...train.reference import Reference


class Pairwise(Experiment):
    """A recipe of three parts, which a subclass supplies: a step's pairs, the loss, what is read."""

    lr: float
    warmup: int
    steps: int
    probe: int

    def loss(self) -> Objective:
        """The loss on pairs."""
        raise NotImplementedError

    @property
    def compares(self) -> bool:
        """Does the loss read a reference?"""
        return True

    @property
    def unit(self) -> int:
        """Steps after which a run can be taken up again."""
        return 1

    def pairs_from(self, model, tok, reference, seed: int) -> Callable[[int], Iterator[Batch]]:
        """The pairs of the steps from a number on."""
        raise NotImplementedError

    def prober(self, model, tok, reference) -> Callable[[int], dict[str, float]]:
        """step -> readings."""
        raise NotImplementedError

    def recipe(self, loaded, seed, texts=None):
        """Pairs, their log-probs under the reference, and the loss."""
        model, tok = loaded.model, loaded.tok
        reference = frozen_copy(model)
        beside = Reference(reference)
        pairs = self.pairs_from(model, tok, reference, seed)

        def stream(start):
            for batch in pairs(start):
                batch = batch.to(model.device)
                yield beside(batch) if self.compares else batch

        return Recipe(
            model,
            stream,
            self.loss(),
            Read(self.prober(model, tok, reference)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
            unit=self.unit,
        )


@dataclass(frozen=True)
class PairLoss:
    """The knobs of a loss on pairs, for experiments that let one choose among the losses."""

    beta: float = knob(
        0.1,
        0.01,
        5.0,
        scale="log",
        help=(
            "β: strength of the pull to the reference (dpo; ipo asks a margin of 1/(2β) a token), of the"
            " contrast (orpo), or scale of the margin (simpo)"
        ),
    )
    nll: float = knob(0.0, 0.0, 2.0, help="weight of the likelihood of the chosen answer, added to the loss")
    smoothing: float = knob(
        0.0, 0.0, 0.4, unit="share", help="share of the labels that dpo takes to be wrong"
    )
    gamma: float = knob(1.0, 0.0, 5.0, help="head start that simpo asks of the chosen answer")

    def objective(self, method: str) -> Objective:
        """A method's loss, and `nll` times that of the chosen answers."""
        settings = dict(beta=self.beta, smoothing=self.smoothing, gamma=self.gamma, nll=self.nll)
        return preferences.objective(method, **settings)


@torch.no_grad()
def readings(model, judged: list[Batch]) -> dict[str, float]:
    """Of held-out pairs: the share whose margin over the reference is positive, mean log-probs of both sides,
    and the probability of all else.
    """
    chosen, rejected, margins = [], [], []
    for batch in judged:
        out = forward_trained(model, batch)
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
