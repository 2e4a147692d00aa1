"""Sweeps: an experiment over a grid of knobs and several seeds, computed once and shipped, so that a slider
answers at once.
"""

import io
from dataclasses import dataclass
from typing import Iterator

from ..errors import UserError
from . import record, registry
from .grid import Grid
from .record import Seal


class NoSweep(UserError):
    """There is no current sweep of this experiment."""


GRIDS = {grid.experiment: grid for part in registry.every("shipped") for grid in part.SWEEPS}


@dataclass(frozen=True)
class Curves:
    """One run of a sweep, in the shape that figures read."""

    seed: int
    table: dict[str, dict[int, float]]
    experiment: str = ""

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
            self._runs.setdefault(tuple(key[:-1]), []).append(Curves(int(key[-1]), table, grid.experiment))

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
