"""Grid: which knobs of an experiment a sweep turns, over which values and with how many seeds."""

import json
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from .. import paths
from . import registry, runs
from .record import Seal


@dataclass(frozen=True)
class Grid:
    """Which knobs are swept over which values, and with how many seeds; the other knobs keep their defaults.

    together: knobs of which every combination is run; alone: knobs that are turned one at a time, from the
    defaults.
    """

    experiment: str
    together: dict[str, tuple] = field(default_factory=dict)
    alone: dict[str, tuple] = field(default_factory=dict)
    seeds: int = 5

    @property
    def file(self) -> Path:
        """Where the sweep lies."""
        return paths.data() / "sweeps" / f"{self.experiment}.sweep"

    @property
    def axes(self) -> dict[str, tuple]:
        """All swept knobs with their values."""
        return self.together | self.alone

    @property
    def default(self) -> dict:
        """The swept knobs on their defaults."""
        settings = registry.get(self.experiment)().settings()
        return {axis: settings[axis] for axis in self.axes}

    @property
    def columns(self) -> dict[str, str]:
        """axis -> its column in the file: a curve may have the axis's name (what is paid, and who pays)."""
        curves = registry.get(self.experiment).curves
        return {axis: f"knob {axis}" if axis in curves else axis for axis in self.axes}

    def points(self) -> list[dict]:
        """All settings of the grid."""
        default = self.default
        combined = [default | dict(zip(self.together, values)) for values in product(*self.together.values())]
        return combined + [
            default | {axis: value}
            for axis, values in self.alone.items()
            for value in values
            if value != default[axis]
        ]

    def jobs(self) -> list[tuple]:
        """(experiment, seed) of every run; a seed of all points first, so that an unfinished sweep already
        covers the grid.
        """
        cls = registry.get(self.experiment)
        return [(cls(**point), seed) for seed in range(self.seeds) for point in self.points()]

    @property
    def seal(self) -> Seal:
        """Of everything that the sweep depends on: its grid, the run at its defaults, and the experiment's
        code.
        """
        from ..models.load import fingerprint, resolve

        default = registry.get(self.experiment)()
        run = runs.seal(default, 0, fingerprint(resolve(default.default_model), default.default_model))
        return Seal(identity(self.together, self.alone, self.seeds, run.identity), run.code)


def identity(together: dict, alone: dict, seeds: int, default_run: str) -> str:
    """Hash of a grid and of the run at its defaults."""
    design = json.dumps([together, alone, seeds], sort_keys=True)
    return paths.hash_bytes(design.encode(), default_run.encode())
