"""Sweeps: an experiment over a grid of knobs and several seeds, computed once and shipped, so that a slider
answers at once.
"""

import io
import json
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Iterator

from . import registry, runs
from .. import paths
from ..errors import UserError
from . import record
from .record import Seal


class NoSweep(UserError):
    """There is no current sweep of this experiment."""


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
        """Of everything that the sweep depends on: its grid, the run at its defaults, and the experiment's code."""
        from ..models.load import fingerprint, resolve

        default = registry.get(self.experiment)()
        run = runs.seal(default, 0, fingerprint(resolve(default.default_model), default.default_model))
        design = json.dumps([self.together, self.alone, self.seeds], sort_keys=True)
        return Seal(paths.hash_bytes(design.encode(), run.identity.encode()), run.code)


GRIDS = {
    grid.experiment: grid
    for grid in (
        Grid("topology", {"loss": ("assistant", "all", "pairs"), "lr": (5e-4, 2e-3)}),
        Grid("cpt", {"replay": (0.0, 0.1, 0.2, 0.5), "lr": (5e-4, 2e-3, 5e-3), "warmup": (0, 20)}),
        Grid("extend", {"init": ("pieces", "mean", "random", "small"), "warmup": (0, 20)}),
        Grid("sft", {"examples": (10, 30, 100, 300, 0)}),
        Grid("template", {"trained": ("control", "literal"), "served": ("control", "literal")}),
        Grid("traces", {"retry": (0.0, 0.1, 0.3, 0.6)}),
        Grid("codes", {"people": (100, 200, 400), "rank": (1, 8, 64)}),
        Grid(
            "prefer",
            together={"nll": (0.0, 0.5), "coverage": (0.0, 1.0)},
            alone={
                "task": ("style", "identity", "german", "decide", "failed", "sums"),
                "method": ("sft", "dpo", "ipo", "simpo", "orpo"),
                "smoothing": (0.0, 0.2),
                "noise": (0.0, 0.3),
                "examples": (0, 20),
                "topics": (1, 5),
            },
        ),
        Grid(
            "policy",
            alone={
                "paid": ("strict", "crash"),
                "advantage": ("group_norm", "group_mean", "leave_one_out", "no_baseline", "critic"),
                "clip": ("symmetric", "none"),
                "aggregation": ("sequence_mean", "token_mean", "fixed_length"),
                "leash": ("none", "reward", "k3"),
                "epochs": (1, 4),
            },
        ),
    )
}


@dataclass(frozen=True)
class Curves:
    """One run of a sweep, in the shape that figures read."""

    seed: int
    table: dict[str, dict[int, float]]

    def curve(self, metric: str) -> dict[int, float]:
        """step -> value."""
        return self.table.get(metric, {})


class Sweep:
    """A stored sweep: `at(knobs)` gives the runs of a grid point in no time."""

    def __init__(self, grid: Grid, frame):
        self.grid, self.default = grid, registry.get(grid.experiment)()
        axes = list(grid.columns.values())
        metrics = [c for c in frame.columns if c not in (*axes, "seed", "step")]
        self._runs: dict[tuple, list[Curves]] = {}
        for key, rows in frame.groupby([*axes, "seed"], sort=True):
            table = {m: dict(zip(rows["step"], rows[m])) for m in metrics}
            self._runs.setdefault(tuple(key[:-1]), []).append(Curves(int(key[-1]), table))

    def at(self, settings: dict) -> list[Curves]:
        """The runs with these settings (all knobs by name), one a seed; empty if the point is not stored."""
        default = self.default.settings()
        if any(settings[k] != default[k] for k in settings if k not in self.grid.axes):
            return []
        return self._runs.get(tuple(settings.get(a, default[a]) for a in self.grid.axes), [])

    def every(self) -> list[Curves]:
        """All runs."""
        return [run for runs_ in self._runs.values() for run in runs_]

    def turned(self) -> dict[str, list[Curves]]:
        """Each knob turned alone, defaults first: 'knob value' -> its runs."""
        default = self.grid.default
        others = [
            (axis, value)
            for axis, values in self.grid.axes.items()
            for value in values
            if value != default[axis]
        ]
        return {"defaults": self.at(default)} | {
            f"{axis} {value}": self.at(default | {axis: value}) for axis, value in others
        }

    def missing(self, settings: dict) -> list[str]:
        """Why `at` is empty: the knobs that stand on a value that was not swept; none if each was swept, but
        not together.
        """
        default = self.default.settings()
        return [
            k
            for k in settings
            if (settings[k] not in self.grid.axes[k] if k in self.grid.axes else settings[k] != default[k])
        ]


def load(name: str) -> Sweep | None:
    """The shipped sweep of an experiment; None if there is none, or if it was made by other code (stale) or
    damaged.
    """
    if name not in GRIDS or not GRIDS[name].file.exists():
        return None
    return Sweep(GRIDS[name], _read(GRIDS[name])) if is_current(GRIDS[name]) else None


def need(name: str) -> Sweep:
    """The shipped sweep of an experiment. Raises NoSweep where load() gives None."""
    found = load(name)
    if found is None:
        raise NoSweep(
            f"the stored sweep of '{name}' is missing or stale (made by other code); run: llmlab build sweeps"
        )
    return found


def is_current(grid: Grid) -> bool:
    """Was the stored sweep made from today's grid, code and checkpoint, and is it whole?"""
    return record.is_current(record.seal_of(grid.file), grid.seal)


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """(experiment, seal that is there, seal that is wanted) of every sweep."""
    for grid in GRIDS.values():
        yield grid.experiment, record.seal_of(grid.file), grid.seal


def build(grid: Grid) -> Iterator[tuple[int, int]]:
    """Compute what is missing on all cores and write the sweep; yields (runs done, runs in all)."""
    from . import pool

    jobs, rows = grid.jobs(), []
    shown = list(registry.get(grid.experiment).curves)
    for i, ((experiment, seed), run) in enumerate(pool.run_all(jobs), start=1):
        point = {column: getattr(experiment, axis) for axis, column in grid.columns.items()} | {"seed": seed}
        rows += [
            point | {"step": r["step"]} | {m: round(r[m], 4) for m in shown}
            for r in run.rows
            if shown[0] in r
        ]
        yield i, len(jobs)
    _write(grid, rows)


def _write(grid: Grid, rows: list[dict]) -> None:
    import pandas as pd

    keys = [*grid.columns.values(), "seed", "step"]
    frame = pd.DataFrame(rows).sort_values(keys, ignore_index=True)
    frame = frame.astype({m: "float32" for m in frame.columns if m not in keys})
    record.write(grid.file, grid.seal, frame.to_parquet(compression="zstd", index=False))


def _read(grid: Grid):
    import pandas as pd

    return pd.read_parquet(io.BytesIO(record.read(grid.file)[1]))
