"""trl: an experiment whose steps TRL's trainer makes: our data, our learning-rate schedule, our probes; its
loop, collator, loss and optimiser.

With torchrun every process takes its part of each batch. A run is not checkpointed: interrupted, it begins
anew.
"""

import os
import tempfile
import warnings
from dataclasses import dataclass, replace

from ..errors import UserError
from ..lab.experiment import Experiment
from . import distill, dpo, grpo, pairs, policy, prefer, sft
from .trainer import OURS, PASSED, settings, streamed, watch, without, world_size

# Each says KIND, FIXED and DIALS (settings), logged and build; where there is need, also CANNOT (what is
# refused), PASSED (knobs that are no setting)
# and UNREAD (readings that only our loop can make).
METHODS = (sft, dpo, grpo, policy, prefer, pairs, distill)


@dataclass(frozen=True)
class TRL(Experiment):
    """`of` through the trainer of TRL that does the same. Raises UserError if there is none."""

    of: Experiment
    name = "trl"

    def __post_init__(self):
        method(self.of)

    @property
    def default_model(self) -> str:
        """That of the experiment."""
        return self.of.default_model

    @property
    def steps(self) -> int:
        """Those of the experiment."""
        return self.of.steps  # type: ignore[attr-defined]

    @property
    def curves(self) -> dict[str, str]:
        """Those of the experiment."""
        return type(self.of).curves

    def settings(self) -> dict:
        """What the record's key holds: the experiment, its knobs, and how many processes share a batch."""
        return {"of": self.of.name, "knobs": self.of.settings(), "processes": world_size()}

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The experiment's rows as TRL's trainer makes them."""
        how = method(self.of)
        made = without(self.of.recipe(loaded, seed, texts), getattr(how, "UNREAD", ()))

        def work(hand_over) -> None:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                given = settings(made, folder) | arguments(self.of)
                trainer = how.build(self.of, made, loaded.tok, seed, given)
                watch(trainer, made, hand_over, how.logged(self.of))
                trainer.train()

        yield {"step": 0} | made.probe(0)
        yield from streamed(work)
        if first():
            self.of.finish(replace(loaded, model=made.model))

    def place(self) -> None:
        """That of the experiment."""
        if first():
            self.of.place()


def first() -> bool:
    """Of the processes that torchrun starts, one writes."""
    return os.environ.get("RANK", "0") == "0"


def method(experiment: Experiment):
    """The module that says this experiment in TRL's words. Raises UserError for what TRL has no words for."""
    found = next((m for m in METHODS if isinstance(experiment, m.KIND)), None)
    if found is None:
        raise UserError(f"--engine trl does not run '{experiment.name}' yet; use --engine lab")
    for is_so, why in getattr(found, "CANNOT", ()):
        if is_so(experiment):
            raise UserError(why)
    return found


def arguments(experiment: Experiment) -> dict:
    """The settings of TRL's config that say the experiment's knobs."""
    how = method(experiment)
    dials = [how.DIALS[k.name](experiment) for k in experiment.knobs() if k.name in how.DIALS]
    return how.FIXED | {argument: value for said in dials for argument, value in said.items()}


def told(experiment: Experiment) -> list[dict[str, str]]:
    """A row for each argument that a knob decides: all knobs, then what is always the same."""
    how, rows = method(experiment), []
    passed = PASSED | getattr(how, "PASSED", {})
    for k in experiment.knobs():
        given = (
            how.DIALS[k.name](experiment)
            if k.name in how.DIALS
            else dict([passed.get(k.name, ("train_dataset", "decides our data"))])
        )
        rows += [_row(k.name, getattr(experiment, k.name), *pair) for pair in given.items()]
    return rows + [_row("", "", *pair) for pair in (how.FIXED | OURS).items()]


def _row(knob: str, value, argument: str, given) -> dict[str, str]:
    return {"knob": knob, "value": str(value), "TRL's argument": argument, "its value": str(given)}
