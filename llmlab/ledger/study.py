"""Study: an experiment whose model sits an exam before the first step, at the end, and every so many steps if
asked to.
"""

from dataclasses import dataclass

from ..lab.experiment import Experiment
from ..models.frozen import frozen_copy
from . import exams

DRIFT = "drift"  # the one subject that compares the model with what it was


@dataclass(frozen=True)
class Study(Experiment):
    """`of` with an exam in the subjects of `exam`. The training is that of the experiment, bit for bit: an
    exam takes no random numbers.
    """

    of: Experiment
    exam: tuple[str, ...] = ()
    every: int = 0
    name = "study"

    @property
    def default_model(self) -> str:
        return self.of.default_model

    @property
    def steps(self) -> int:
        return self.of.steps  # type: ignore[attr-defined]

    @property
    def curves(self) -> dict[str, str]:
        """The experiment's own curves, then the exam's."""
        named = {s: label for s, label in exams.LABELS.items() if s.split(".")[0] in self.exam}
        return (
            type(self.of).curves
            | named
            | ({m: exams.LABELS[m] for m in ("distance", "likeness")} if DRIFT in self.exam else {})
        )

    def settings(self) -> dict:
        """What the record's key holds: the experiment, its knobs, and the exam."""
        return {"of": self.of.name, "knobs": self.of.settings(), "exam": list(self.exam), "every": self.every}

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The experiment's rows with the exam's readings added."""
        start, readers = frozen_copy(loaded.model) if DRIFT in self.exam else None, None
        for row in self.of.rows(loaded, seed, checkpoint=checkpoint, texts=texts):
            if readers is None:  # the experiment may have extended the tokenizer, or given it a template
                readers = [exams.SUBJECTS[s](loaded.tok, self.of) for s in self.exam if s != DRIFT]
                readers += [exams.Drift(start, loaded.tok)] if start else []
            if (
                self._due(row) and "examined" not in row
            ):  # the rows of an interrupted run come with their readings
                row |= {"examined": 1} | {k: v for reader in readers for k, v in reader(loaded.model).items()}
            yield row

    def _due(self, row: dict) -> bool:
        step = row["step"]
        return step == 0 or step == self.of.steps or bool(self.every and step % self.every == 0)  # type: ignore[attr-defined]
