"""Stored runs: what the notebooks' static figures and the drills show, shipped in data/runs and computed
again when the code that made them changes.
"""

import shutil
from pathlib import Path
from typing import Iterator

from .. import paths
from ..lab import pool, record, registry, runs
from ..lab.record import Seal
from . import drills

SEEDS = (0, 1, 2)


def figures() -> list:
    """The experiments whose runs the chapters draw over the seeds: RUNS of their `shipped`, (name, knobs)
    pairs.
    """
    return [registry.get(name)(**knobs) for part in registry.every("shipped") for name, knobs in part.RUNS]


def jobs() -> list[tuple]:
    """(experiment, seed) of every run to ship: what is drawn, and what a drill links to, with the default run
    that it is compared with.
    """
    links = [d.link for d in drills.load()]
    linked = [(e, link.seed) for link in links for e in (link.experiment(), registry.get(link.name)())]
    return list(dict.fromkeys([(e, s) for e in figures() for s in SEEDS] + linked))


def wanted() -> list[tuple[tuple, Seal]]:
    """((experiment, seed), the seal that its record must have today) of every run to ship."""
    from ..models.load import fingerprint, resolve

    asked = jobs()
    prints = {name: fingerprint(resolve(name), name) for name in {e.default_model for e, _ in asked}}
    return [((e, s), runs.seal(e, s, prints[e.default_model])) for e, s in asked]


def place(experiment, seal: Seal) -> Path:
    """Where a shipped run lies."""
    return paths.data() / "runs" / experiment.name / f"{seal.identity}.json"


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """(name, seal that is there, seal that is wanted) of every run to ship."""
    for (experiment, seed), seal in wanted():
        yield f"{experiment.name} seed {seed}", record.seal_of(place(experiment, seal)), seal


def missing() -> dict[tuple, Seal]:
    """(experiment, seed) -> seal of those that are not shipped, or were made by other code."""
    return {job: s for job, s in wanted() if not record.is_current(record.seal_of(place(job[0], s)), s)}


def build() -> Iterator[str]:
    """Compute what is missing, put it into data/runs, drop what nothing asks for; a line per run."""
    lacking = missing()
    for (experiment, seed), done in pool.run_all(lacking):
        target = place(experiment, lacking[experiment, seed])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(runs.record(experiment.name, done.key), target)
        yield f"{experiment.name} seed {seed}: {done.seconds:.0f} s"
    asked = {place(experiment, seal) for (experiment, _), seal in wanted()}
    for old in (paths.data() / "runs").glob("*/*.json"):
        if old not in asked:
            old.unlink()
