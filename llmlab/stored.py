"""Stored runs: what the notebooks' static figures show, over several seeds, shipped in data/runs and computed again when the code that made
them changes.
"""

import shutil
from typing import Iterator

from . import paths, runs
from .experiments.cpt import CPT

SEEDS = (0, 1, 2)
EXPERIMENTS = [CPT(replay=0.0), CPT(), CPT(lr=5e-3, replay=0.0, steps=100), CPT(lr=5e-3, replay=0.0, steps=100, gate=20, tolerance=0.2)]


def wanted() -> list[tuple]:
    """(experiment, seed, file name) of every run to ship."""
    from .models.load import fingerprint, resolve

    prints = {name: fingerprint(resolve(name), name) for name in {e.default_model for e in EXPERIMENTS}}
    return [(e, s, f"{runs.key(e, s, prints[e.default_model])}.json") for e in EXPERIMENTS for s in SEEDS]


def missing() -> list[tuple]:
    """Those that are not shipped, or were made by other code."""
    return [(e, s, file) for e, s, file in wanted() if not (paths.data() / "runs" / e.name / file).exists()]


def build() -> Iterator[str]:
    """Compute what is missing, put it into data/runs, drop what is stale; a line per run."""
    for experiment, seed, file in missing():
        done = runs.run(experiment, seed)
        target = paths.data() / "runs" / experiment.name / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(runs.store(done), target)
        yield f"{experiment.name} seed {seed}: {done.seconds:.0f} s"
    current = {(e.name, file) for e, _, file in wanted()}
    for old in (paths.data() / "runs").glob("*/*.json"):
        if (old.parent.name, old.name) not in current:
            old.unlink()
