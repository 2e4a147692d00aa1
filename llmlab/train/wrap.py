"""Wrapping: what the experiments with adapters share: how a loaded model gets them, and how its unfinished
run is kept.
"""

from dataclasses import replace

from ..models import adapters, flops, memory, quant
from ..models.load import Loaded
from . import loop


def wrapped(loaded: Loaded, method: str, seed: int, scheme: str = "nf4", **settings) -> Loaded:
    """full: the model as it is · lora: with adapters · qlora: with adapters on weights of 4 bits (`scheme`).
    In place; `settings` as in adapt().
    """
    if method == "full":
        return loaded
    if method == "qlora":
        quant.quantise(loaded.model, scheme)
    return replace(loaded, model=adapters.adapt(loaded.model, seed=seed, **settings))


def cost(model) -> dict[str, float]:
    """What training the model costs, whatever it is taught: memory (MB, activations left out), and
    computation of 4 × 32 tokens (GFLOP; the products of 4-bit layers cannot be counted).
    """
    held = {"megabytes": memory.planned(model).total / 1e6}
    return held if quant.layers4bit(model) else held | {"gflop": flops.step_gflop(model)}


class Checkpoint(loop.Checkpoint):
    """The checkpoint of a run that trains a part of the model: only that part is kept; the rest is made again
    as it was at the start.
    """

    @classmethod
    def of(cls, checkpoint: loop.Checkpoint | None) -> "Checkpoint | None":
        """One in the place of another."""
        return checkpoint and cls(checkpoint.path, checkpoint.seconds)

    def tick(self, model, opts, extra, now=False) -> None:
        """Save if it is time (or `now`)."""
        super().tick(Trained(model), opts, extra, now)

    def load(self, model, opts):
        """Restore the trained part and the optimisers in place."""
        return super().load(Trained(model), opts)


class Trained:
    """The trained parameters of a model, as loop.Checkpoint asks for them. (4-bit weights could not be read
    back in place.)
    """

    def __init__(self, model):
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}

    def state_dict(self) -> dict:
        """Name -> parameter."""
        return self.parameters

    def load_state_dict(self, found: dict) -> None:
        """Read them back in place."""
        for name, p in self.parameters.items():
            p.data.copy_(found[name])
