"""Wrapping: what the experiments with adapters share: how a loaded model gets them, and what training it
costs.
"""

from dataclasses import replace

from ..models import adapters, flops, memory, quant
from ..models.load import Loaded


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
