"""Recipe: what a run is made of, as a value: who learns, from which batches, towards what, read how, on which
schedule.
"""

from dataclasses import dataclass
from typing import Any, Callable, Iterator

import torch

from ..methods.parts import Objective
from ..tokens.batch import Batch


class GaveUp(Exception):
    """A probe ends the training; the message says why."""


class Probe:
    """step -> readings of the model. What a probe may do beside that has its default here: nothing."""

    unit = 1  # a checkpoint may be taken after multiples of so many steps only

    def __call__(self, step: int) -> dict:
        """The readings after a step."""
        raise NotImplementedError

    def note(self, row: dict) -> None:
        """See the row of a step, before the readings are added to it."""

    def resume(self, rows: list[dict]) -> None:
        """Take up the state from the rows of an interrupted run."""

    def restore(self) -> bool:
        """Put the model back to what it was after the last whole unit of steps; says whether it did."""
        return False


class Read(Probe):
    """A probe that only reads: a function step -> readings."""

    def __init__(self, function: Callable[[int], dict]):
        self.function = function

    def __call__(self, step):
        return self.function(step)


@dataclass(frozen=True)
class Recipe:
    """model · stream(i): the batches from number i on, each a function of its number (and, on-policy, of the
    model as it is then) · objective · probe, read before the first step, every `every` steps and at the end ·
    steps · lr: the peak rate, or a function of the step · warmup, final: loop.rate's · opts: optimisers; None
    is AdamW for all that is trained · unit: a checkpoint is taken after multiples of so many steps only,
    because in between model and optimiser are not the whole state (a batch of samples is used again) ·
    partly: only a part of the model is trained, and kept in the checkpoint.
    """

    model: Any
    stream: Callable[[int], Iterator[Batch]]
    objective: Objective
    probe: Probe
    steps: int
    lr: float | Callable[[int], float]
    every: int = 10
    warmup: int = 0
    final: float = 0.1
    opts: list[torch.optim.Optimizer] | None = None
    unit: int = 1
    partly: bool = False


def numbered(batch_at: Callable[[int], Batch], device) -> Callable[[int], Iterator[Batch]]:
    """A stream of batches that are functions of their numbers."""

    def stream(start: int) -> Iterator[Batch]:
        step = start
        while True:
            yield batch_at(step).to(device)
            step += 1

    return stream
