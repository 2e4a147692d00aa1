"""Run: what an experiment did, stored under the hash of everything it depends on; a record that is not whole
or not ours is recomputed, never trusted.
"""

import json
import platform
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable

from .. import paths
from . import code
from . import record as sealed
from .record import Seal


class Interrupted(Exception):
    """The run was stopped by hand; what was computed is kept in its checkpoint."""


@dataclass
class Run:
    """One finished run. rows: a dict per step; probed numbers stand in the rows where they were read."""

    experiment: str
    knobs: dict
    seed: int
    model: str
    key: str
    rows: list[dict]
    seconds: float
    versions: dict = field(default_factory=dict)
    samples: list[dict] = field(default_factory=list)  # what the model said, where it was asked (samples.py)

    def curve(self, metric: str) -> dict[int, float]:
        """step -> value, where the metric was read."""
        return curve(self.rows, metric)

    @property
    def probed(self) -> list[str]:
        """The probes' metrics: those read before the first step too."""
        return [k for k in self.rows[0] if k != "step"]

    def metrics(self) -> dict[str, dict[str, float]]:
        """metric -> start and final value."""
        curves = {m: list(self.curve(m).values()) for m in self.probed}
        return {m: {"start": c[0], "final": c[-1]} for m, c in curves.items()}

    @property
    def notes(self) -> list[str]:
        """What the run had to say (a gate that stopped it)."""
        return [r["note"] for r in self.rows if "note" in r]

    def summary(self) -> dict:
        """The JSON object of `llmlab run --json`."""
        curves = {m: {str(s): v for s, v in self.curve(m).items()} for m in ["loss", *self.probed]}
        return {
            "experiment": self.experiment,
            "knobs": self.knobs,
            "seed": self.seed,
            "model": self.model,
            "key": self.key,
            "seconds": round(self.seconds, 2),
            "metrics": self.metrics(),
            "curves": curves,
            "notes": self.notes,
            "samples": self.samples,
        }


def curve(rows: list[dict], metric: str) -> dict[int, float]:
    """step -> value, where the metric was read.

    What an objective tells of every step's own batch may have a probe's name: then only the steps count at
    which other probes were read too.
    """
    read = [r for r in rows if metric in r]
    if rows and metric in rows[0] and len(read) == len(rows):
        others = [k for k in rows[0] if not all(k in r for r in rows)]
        read = [r for r in read if not others or any(k in r for k in others)]
    return {r["step"]: r[metric] for r in read}


def key(experiment, seed: int, fingerprint: str, texts: str = "") -> str:
    """Identity of a run and name of its record: hash of (experiment, knobs, seed, starting checkpoint, user's
    texts), whatever code computes it.
    """
    return named(experiment.name, experiment.settings(), seed, fingerprint, texts)


def named(name: str, settings: dict, seed: int, fingerprint: str, texts: str = "") -> str:
    """The same from an experiment's name and settings."""
    parts = [name, json.dumps(settings, sort_keys=True), str(seed), fingerprint, texts]
    return paths.hash_bytes(*(p.encode() for p in parts))


def seal(experiment, seed: int, fingerprint: str, texts: str = "") -> Seal:
    """What a record of this run must be sealed with today."""
    return Seal(key(experiment, seed, fingerprint, texts), code.of(experiment))


def record(name: str, key: str) -> Path:
    """Where a run is stored."""
    return paths.cache() / "runs" / name / f"{key}.json"


def store(run: Run, made_by: dict[str, str]) -> Path:
    """Write the record atomically, sealed with the code that made it."""
    path = record(run.experiment, run.key)
    sealed.write(path, Seal(run.key, made_by), content(run))
    return path


def content(run: Run) -> bytes:
    """The record's content; what was not asked stands in it nowhere."""
    kept = asdict(run)
    return json.dumps(kept if run.samples else {k: v for k, v in kept.items() if k != "samples"}).encode()


def find(name: str, wanted: Seal) -> Run | None:
    """The stored run (the user's own, or shipped), or None. One that other code made is left alone; a
    truncated, altered or foreign record is reported and ignored.
    """
    for path in (record(name, wanted.identity), paths.data() / "runs" / name / f"{wanted.identity}.json"):
        if path.exists():
            found, run = _read(path)
            if run is None or run.key != wanted.identity:
                warnings.warn(
                    f"the stored run '{path}' is truncated or was changed; it is not used", stacklevel=2
                )
            elif sealed.is_current(found, wanted):
                return run
    return None


def stored(experiment, seed: int = 0) -> Run | None:
    """The stored run of an experiment on its default model, or None where none is stored for today's code."""
    from ..models.load import fingerprint, resolve

    model = experiment.default_model
    return find(experiment.name, seal(experiment, seed, fingerprint(resolve(model), model)))


def rows_of(path: Path) -> list[dict]:
    """The rows of a whole record, whatever code made it; none where there is none."""
    run = _read(path)[1]
    return run.rows if run else []


def _read(path: Path) -> tuple[Seal | None, Run | None]:
    try:
        found, content = sealed.read(path)
        return found, Run(**json.loads(content))
    except (ValueError, TypeError, OSError):
        return None, None


def run(
    experiment,
    seed: int = 0,
    model: str = "",
    *,
    device: str = "cpu",
    texts=None,
    fresh: bool = False,
    again: bool = True,
    ask: bool = False,
    on_row: Callable[[dict], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Run:
    """The experiment's run, from its own starting model or another one: from the store if it is there, else
    computed, checkpointed every 45 s, and stored. again: a stored one will do; fresh: none will, nor what was
    begun. ask: the model answers a few prompts, before, half-way (not where a run is taken up) and after.

    An interrupted call (kill −9 too), made again, goes on where it was and ends bit-equal. Raises Interrupted
    when `stop` says so, paths.NoRoom before any work if nothing can be stored.
    """
    from ..train import loop

    loaded = experiment.load(model or experiment.default_model, device)
    wanted = seal(
        experiment, seed, loaded.fingerprint, "" if texts is None else paths.hash_bytes(repr(texts).encode())
    )
    known = find(experiment.name, wanted) if again and not fresh else None
    if known:
        if on_row:
            for row in known.rows:
                on_row(row)
        return known
    checkpoint = loop.Checkpoint(_unfinished(experiment.name, wanted))
    if fresh:
        checkpoint.clear()
    paths.writable(record(experiment.name, wanted.identity).parent)
    rows, said, took = _computed(experiment, loaded, seed, checkpoint, texts, ask, on_row, stop)
    done = Run(
        experiment.name, experiment.settings(), seed, model, wanted.identity, rows, took, versions(), said
    )
    store(done, wanted.code)
    experiment.place()
    checkpoint.clear()
    return done


def _computed(
    experiment, loaded, seed: int, checkpoint, texts, ask: bool, on_row, stop
) -> tuple[list[dict], list[dict], float]:
    """(rows, what the model said, seconds that the rows took). Raises Interrupted."""
    from . import samples

    said = samples.before(experiment, loaded, texts) if ask else []
    half = 0 if checkpoint.path.exists() else getattr(experiment, "steps", 0) // 2
    began, rows = time.time(), []
    stream = experiment.rows(loaded, seed, checkpoint=checkpoint, texts=texts)
    for row in stream:
        rows.append(row)
        if ask and half and row["step"] == half:
            said += samples.said(experiment, loaded, half, texts)
        if on_row:
            on_row(row)
        if stop and stop():
            stream.close()
            raise Interrupted(f"stopped by hand at step {row['step']}")
    took = time.time() - began
    said += samples.said(experiment, loaded, rows[-1]["step"], texts) if ask else []
    return rows, said, took


def _unfinished(name: str, wanted: Seal) -> Path:
    """Where the state of an unfinished run lies. Only the very code that began it goes on, so that it ends
    bit-equal; what other code began is removed.
    """
    folder = paths.writable(paths.cache() / "unfinished")
    paths.clear_killed(folder)
    mine = folder / f"{name}-{wanted.identity}-{paths.hash_bytes(json.dumps(wanted.code).encode())}.state"
    for other in folder.glob(f"{name}-{wanted.identity}-*.state"):
        if other != mine:
            other.unlink(missing_ok=True)
    return mine


def versions() -> dict[str, str]:
    """What a run was made with."""
    import torch
    import transformers

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }
