"""own: what the experiments on your own data share: a model trained whole or by adapters, a folder for what
was trained. The data is read by `forms`.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from .. import paths
from ..errors import UserError
from ..lab.experiment import Experiment
from ..models import adapters, quant
from ..models.load import Loaded, load, save
from ..train.wrap import wrapped
from .experiment import knob


@dataclass(frozen=True)
class Own(Experiment):
    """The part of an experiment that says what of the model is trained, and where it is kept."""

    takes_texts: ClassVar[bool] = True
    keeps: ClassVar[bool] = True

    method: str = knob(
        "full",
        choices=("full", "lora", "qlora"),
        help="full: every weight; lora: adapters; qlora: adapters on a base of 4 bits",
    )
    rank: int = knob(8, 1, 64, scale="log", help="rank of the adapters")
    targets: str = knob(
        "both", choices=tuple(adapters.TARGETS), help="matrices that carry adapters: attention, mlp or both"
    )

    out: str = field(
        default="", repr=False
    )  # folder for the trained model or its adapters: no knob, it changes nothing

    def settings(self) -> dict:
        """Knob -> value; where the model goes is no part of what the run is."""
        return super().settings() | {"out": ""}

    def load(self, name: str, device: str) -> Loaded:
        """The starting model; for qlora a folder or hub id is read in 4 bits, layer by layer."""
        return (
            quant.load_4bit(name, device)
            if self.method == "qlora" and name not in paths.LAB
            else load(name, device)
        )

    def ready(self, loaded: Loaded, seed: int) -> Loaded:
        """The model with what is to be trained of it."""
        method = "lora" if self.method == "qlora" and quant.layers4bit(loaded.model) else self.method
        # a model without a chat template has never read the marks of turns, and adapters on its blocks cannot
        # give them a meaning
        tokens = () if loaded.tok.chat_template else sorted(loaded.tok.added_tokens_decoder)
        return wrapped(loaded, method, seed, rank=self.rank, targets=self.targets, tokens=tokens)

    @property
    def _part(self) -> Path:
        """Beside `out`: what is written, or was of a run that was killed."""
        return Path(self.out).with_name(f"{Path(self.out).name}.part")

    def finish(self, trained: Loaded) -> None:
        """Write the trained model, or its adapters as PEFT saves them (what `llmlab serve` reads as
        TENANT/VERSION/), with the tokenizer, beside `out`.
        """
        if not self.out:
            return
        shutil.rmtree(self._part, ignore_errors=True)
        if adapters.has_adapters(trained.model):
            trained.model.save_pretrained(self._part)  # type: ignore[arg-type]
            trained.tok.save_pretrained(self._part)
        else:
            save(self._part, trained.model, trained.tok)

    def place(self) -> None:
        """The folder `out` is whole or not there. Raises UserError where it was filled by somebody else
        meanwhile; then what was trained stays beside.
        """
        if not self.out:
            return
        try:
            self._part.replace(self.out)
        except OSError as e:
            raise UserError(
                f"'{self.out}' cannot be put in place ({e.strerror}); what was trained lies in"
                f" '{self._part}': rename it"
            ) from None


def enough(found: list, what: str, path: str) -> tuple:
    """The records, of which one is to be held out. Raises UserError for less than two."""
    if len(found) < 2:
        raise UserError(
            f"'{path}' holds {len(found)} {what}{'s' * (len(found) != 1)}; at least two are needed, one to"
            " learn from and one to be held out"
        )
    return tuple(found)
