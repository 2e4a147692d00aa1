"""Supervised: what all experiments have in common that imitate: next-token loss on the tokens under the mask,
AdamW, probes along the way.
"""

from functools import lru_cache
from typing import Callable

from ..methods import imitation
from ..tokens.batch import Batch
from ..train.recipe import Read, Recipe, numbered
from ..world.base import rng
from .experiment import Experiment


class Supervised(Experiment):
    """A recipe of three parts, which a subclass supplies: how the model is addressed, a step's batch, what is
    read.
    """

    lr: float
    warmup: int
    steps: int
    probe: int

    def batches(self, model, tok, seed: int) -> Callable[[int], Batch]:
        """step -> its batch, a function of (knobs, seed, step) and of the model as it is before the first
        step.
        """
        return lambda step: self.batch_at(tok, seed, step)

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """The batch of one step."""
        raise NotImplementedError

    def prober(self, model, tok) -> Callable[[int], dict[str, float]]:
        """step -> readings."""
        raise NotImplementedError

    def recipe(self, loaded, seed, texts=None) -> Recipe:
        """Next-token loss on what is under the mask."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        return Recipe(
            model,
            numbered(self.batches(model, tok, seed), model.device),
            imitation.nll,
            Read(self.prober(model, tok)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )


@lru_cache
def order(seed: int, epoch: int, n: int) -> list[int]:
    """The numbers 0 … n−1 in the order of one epoch."""
    return rng("order", seed, epoch).sample(range(n), n)
