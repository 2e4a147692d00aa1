"""trl: an experiment whose steps TRL's trainer makes: our data, our learning-rate schedule, our probes; its loop, collator, loss and optimiser.

With torchrun every process takes its part of each batch. A run is not checkpointed: interrupted, it begins anew.
"""

import sys
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from .. import recipe
from ..errors import UserError
from ..experiments.base import Experiment
from . import dpo, grpo, sft
from .trainer import OURS, PASSED, Recipe, streamed, watch, world_size

METHODS = (sft, dpo, grpo)


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
        return self.of.steps

    @property
    def curves(self) -> dict[str, str]:
        """Those of the experiment."""
        return type(self.of).curves

    def settings(self) -> dict:
        """What the record's key holds: the experiment, its knobs, its recipe, and how many processes share a batch."""
        code = recipe.version(str(Path(sys.modules[type(self.of).__module__].__file__)))
        return {"of": self.of.name, "knobs": self.of.settings(), "recipe": code, "processes": world_size()}

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The experiment's rows as TRL's trainer makes them."""
        how, made = method(self.of), Recipe.of(self.of.rows(loaded, seed, texts=texts))

        def work(hand_over) -> None:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trainer = how.build(self.of, made, loaded.tok, seed, made.settings(folder) | arguments(self.of))
                watch(trainer, made, hand_over, how.LOGGED)
                trainer.train()

        yield made.first
        yield from streamed(work)
        if hasattr(self.of, "finish"):
            self.of.finish(replace(loaded, model=made.model))


def method(experiment: Experiment):
    """The module that says this experiment in TRL's words. Raises UserError."""
    found = next((m for m in METHODS if isinstance(experiment, m.KIND)), None)
    if found is None:
        raise UserError(f"--engine trl does not run '{experiment.name}' yet; use --engine lab")
    return found


def arguments(experiment: Experiment) -> dict:
    """The settings of TRL's config that say the experiment's knobs."""
    how = method(experiment)
    dials = [how.DIALS[k.name](experiment) for k in experiment.knobs() if k.name in how.DIALS]
    return how.FIXED | {argument: value for said in dials for argument, value in said.items()}


def told(experiment: Experiment) -> list[tuple[str, str, str, str]]:
    """Rows (knob, its value, TRL's argument, the argument's value): all knobs, then what is always the same."""
    how, rows = method(experiment), []
    for k in experiment.knobs():
        given = how.DIALS[k.name](experiment) if k.name in how.DIALS else dict([PASSED.get(k.name, ("train_dataset", "decides our data"))])
        rows += [(k.name, str(getattr(experiment, k.name)), argument, str(value)) for argument, value in given.items()]
    return rows + [("", "", argument, str(value)) for argument, value in (how.FIXED | OURS).items()]
