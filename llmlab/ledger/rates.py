"""Learning rates of arms that are compared: for each, the same rates tried on a seed that no claim uses; the
best is what its claims take.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Iterable, Iterator

from .. import paths
from ..lab import code, pool, record
from ..lab.record import Seal
from .claims import Arm

PILOT = 100  # claims count their seeds from 0, or from a little above


@dataclass(frozen=True)
class Trials:
    """The arms of an experiment that are tuned alike: the rates tried for each, and the metric whose last
    reading is to be highest.

    reached   (metric, least) pairs: a rate at which one of these last readings is lower counts as 0
    exam      subjects of which the metric is one, where the experiment does not read it itself
    """

    metric: str
    rates: tuple[float, ...]
    arms: tuple[Arm, ...]
    reached: tuple[tuple[str, float], ...] = ()
    exam: tuple[str, ...] = ()

    def reading(self, run) -> float:
        """What a trial is judged by."""
        last = {
            metric: list(run.curve(metric).values())[-1]
            for metric in (self.metric, *(m for m, _ in self.reached))
        }
        return last[self.metric] if all(last[m] >= least for m, least in self.reached) else 0.0

    def runs(self) -> dict[tuple[str, float], Arm]:
        """(arm's label, rate) -> the arm at that rate, with the exam of the trial and not its own."""
        return {
            (a.label, lr): replace(a, knobs=a.knobs | {"lr": lr}, exam=self.exam, every=0)
            for a in self.arms
            for lr in self.rates
        }


def file(name: str):
    """Where the table of a part of the ledger lies."""
    return paths.data() / "sweeps" / f"{name}.rates"


def seal(trials: Iterable[Trials]) -> Seal:
    """What was tried, and the code that runs it."""
    trials = list(trials)
    tried = [
        [t.metric, *t.reached, *t.exam, label, arm.experiment, arm.knobs]
        for t in trials
        for (label, _), arm in t.runs().items()
    ]
    names = sorted({a.experiment for t in trials for a in t.arms})
    return Seal(
        paths.hash_bytes(json.dumps(tried, sort_keys=True).encode()),
        {n: h for name in names for n, h in code.named(name).items()},
    )


@lru_cache
def load(name: str) -> dict:
    """{"seed", "table": label -> rate -> metric's last reading}."""
    return json.loads(record.read(file(name))[1])


def is_current(name: str, trials: Iterable[Trials]) -> bool:
    """Was the table made by today's code from today's arms?"""
    return record.is_current(record.seal_of(file(name)), seal(trials))


def seals(parts: dict[str, Iterable[Trials]]) -> Iterator[tuple[str, Seal | None, Seal]]:
    """(part, seal that is there, seal that is wanted) of the table of each part of the ledger."""
    for part, trials in parts.items():
        yield part, record.seal_of(file(part)), seal(trials)


def best(row: dict[str, float]) -> float:
    """The rate with the highest reading; of equals the lowest."""
    read = {float(lr): value for lr, value in row.items()}
    return max(sorted(read), key=read.get)


def tried(arm: Arm) -> tuple[float, float, float] | None:
    """(lowest, highest, best) of the rates tried for an arm that runs at the best of them; None for an arm
    that was not tuned.
    """
    from . import TRIALS

    for name, trials in TRIALS.items():
        for t in trials:
            for a in t.arms:
                if _but_lr(a) == _but_lr(arm) and file(name).exists():
                    found = best(load(name)["table"][a.label])
                    return (min(t.rates), max(t.rates), found) if arm.knobs.get("lr") == found else None
    return None


def _but_lr(arm: Arm) -> tuple:
    return arm.experiment, {k: v for k, v in arm.knobs.items() if k != "lr"}


def build(name: str, trials: Iterable[Trials], executor=pool.run_all) -> Iterator[tuple[int, int, str]]:
    """Run what is not stored and write the table; yields (done, all, what)."""
    trials = list(trials)
    table: dict[str, dict[str, float]] = {a.label: {} for t in trials for a in t.arms}
    jobs: dict[tuple, list[tuple[Trials, str, float]]] = {}  # a run may be the trial of several arms
    for t in trials:
        for (label, lr), arm in t.runs().items():
            jobs.setdefault((arm.study(), PILOT), []).append((t, label, lr))
    for i, (job, run) in enumerate(executor(list(jobs)), start=1):
        for t, label, lr in jobs[job]:
            table[label][f"{lr:g}"] = round(t.reading(run), 4)
            said = f"{label}, lr {lr:g}: {table[label][f'{lr:g}']:g} in {run.seconds:.0f} s"
        yield i, len(jobs), said
    table = {label: dict(sorted(row.items(), key=lambda p: float(p[0]))) for label, row in table.items()}
    content = json.dumps({"seed": PILOT, "table": table}, indent=1)
    record.write(file(name), seal(trials), content.encode())
