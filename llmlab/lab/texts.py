"""Texts: what the models of a stored sweep say, of one seed a setting, beside the sweep."""

import gzip
import json
from pathlib import Path
from typing import Iterator

from . import record, runs, sweeps
from . import samples as ask
from .grid import Grid
from .record import Seal


def file(grid: Grid) -> Path:
    """Where they lie."""
    return grid.file.with_suffix(".said")


def key(settings: dict, grid: Grid) -> str:
    """A point of the grid in one word."""
    return json.dumps({axis: settings[axis] for axis in grid.axes}, sort_keys=True)


def load(name: str) -> dict[str, list[dict]]:
    """key -> samples; nothing where they are missing, damaged or made by other code."""
    grid = sweeps.GRIDS.get(name)
    try:
        found, raw = record.read(file(grid)) if grid else (None, b"")
    except (OSError, record.Damaged):
        return {}
    if not grid or not record.is_current(found, grid.seal):
        return {}
    return json.loads(gzip.decompress(raw))


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """(experiment, seal that is there, seal that is wanted) of every sweep's texts."""
    for grid in sweeps.GRIDS.values():
        yield grid.experiment, record.seal_of(file(grid)), grid.seal


def build(grid: Grid) -> Iterator[tuple[int, int]]:
    """Run the first seed of every point and keep what its model says; yields (done, all). What was run
    before is not run again.
    """
    from . import pool

    jobs = [(e, seed) for e, seed in grid.jobs() if seed == 0]
    found = {}
    for i, ((experiment, _), samples) in enumerate(pool.each(asked, jobs), start=1):
        found[key(experiment.settings(), grid)] = samples
        yield i, len(jobs)
    raw = gzip.compress(json.dumps(found, sort_keys=True).encode(), mtime=0)
    record.write(file(grid), grid.seal, raw)


def asked(experiment, seed: int) -> list[dict]:
    """The samples of a run; it is run again where it was stored without, and not at all where its model says
    nothing.
    """
    if not ask.asked(experiment):
        return []
    found = runs.stored(experiment, seed)
    if found is None or not found.samples:
        found = runs.run(experiment, seed, experiment.default_model, again=False, ask=True)
    once = experiment.name in ask.FIXED
    return [s for s in found.samples if not (once and s["step"])]
