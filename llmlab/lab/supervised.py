"""Supervised: what all experiments have in common that imitate: next-token loss on the tokens under the mask,
AdamW, probes along the way.
"""

from functools import lru_cache
from itertools import count
from typing import Callable, ClassVar

from ..methods import objectives
from ..tokens.batch import Batch
from ..tokens.special import TEMPLATE
from ..train import loop
from ..world.base import rng
from .experiment import Experiment


class Supervised(Experiment):
    """A recipe of three parts, which a subclass supplies: how the model is addressed, a step's batch, what is
    read. Its knobs include lr, warmup, steps and probe.
    """

    chats: ClassVar[bool] = (
        False  # does it speak in conversations? then a lab model without a template gets ours
    )

    def address(self, loaded) -> None:
        """Give the tokenizer its chat template."""
        if self.chats and not loaded.tok.chat_template and loaded.is_lab:
            loaded.tok.chat_template = TEMPLATE

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

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The recipe, top to bottom."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        batch = self.batches(model, tok, seed)
        yield from loop.train(
            model,
            lambda start: (batch(step).to(model.device) for step in count(start)),
            objectives.nll,
            n=self.steps,
            lr=self.lr,
            opts=loop.optimizers(model, "adamw", self.lr),
            warmup=self.warmup,
            every=self.probe,
            checkpoint=checkpoint,
            probe=self.prober(model, tok),
        )


@lru_cache
def order(seed: int, epoch: int, n: int) -> list[int]:
    """The numbers 0 … n−1 in the order of one epoch."""
    return rng("order", seed, epoch).sample(range(n), n)
