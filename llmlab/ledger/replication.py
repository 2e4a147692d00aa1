"""Replication: readings drawn by lot from the ledger, run again with seeds that no record has, and held
against what the stored seeds predict for a new one.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Iterator

from ..lab import code, pool, record, runs
from ..lab.record import Seal
from . import CLAIMS, declarations, results
from .claims import Reading
from .runner import Executor, kept
from .statistics import LEVEL, interval

READINGS = 20
SEEDS = (100, 101, 102)  # no claim goes so far


@dataclass(frozen=True)
class Drawn:
    """A reading of a counted contrast, and its value in each of the record's seeds."""

    claim: str
    reading: Reading
    values: tuple[float, ...]

    @property
    def predicted(self) -> tuple[float, float]:
        """The 98 % prediction interval of one more seed, mean ± t(0.99, n−1)·s·√(1 + 1/n)."""
        mean, half = interval(self.values, LEVEL)
        half *= (len(self.values) + 1) ** 0.5  # from that of the mean, t·s/√n
        return mean - half, mean + half

    def told(self, new: Iterable[float]) -> dict:
        """What is kept of it."""
        low, high = self.predicted
        return {
            "claim": self.claim,
            "arm": self.reading.arm.label,
            "metric": self.reading.metric,
            "how": self.reading.manner,
            "values": list(self.values),
            "low": low,
            "high": high,
            "new": list(new),
        }


def file() -> Path:
    """Where the last replication lies."""
    return declarations.file().with_name("replication")


def readings() -> list[Drawn]:
    """All that can be drawn: each reading of a counted contrast of a current record once, but those that
    every seed has alike (a start, what stays at its ceiling): they predict nothing.
    """
    records, found = results.load(), {}
    for claim in CLAIMS.values():
        kept_of = records.get(claim.id)
        if not claim.contrasts or not results.is_current(claim, kept_of):
            continue
        for contrast, stored in zip(claim.contrasts, kept_of["contrasts"]):
            for reading, term in zip(contrast.terms, stored["terms"]):
                drawn = Drawn(claim.id, reading, tuple(term["values"]))
                if contrast.counts and len(set(drawn.values)) > 1:
                    found.setdefault((reading.arm.key, reading.metric, reading.manner), drawn)
    return list(found.values())


def lot(number: int, n: int = READINGS) -> list[Drawn]:
    """n of them by lot; the same number draws the same."""
    every = readings()
    return random.Random(f"replication {number}").sample(every, min(n, len(every)))


def run(
    number: int,
    executor: Executor = pool.run_all,
    on_run: Callable[[int, int, str], None] = lambda done, of, what: None,
) -> list[dict]:
    """Run the drawn readings' arms with new seeds and keep what came out; what is stored is not run again."""
    drawn = lot(number)
    jobs = {(d.reading.arm.study(), seed): d.reading.arm.label for d in drawn for seed in SEEDS}
    found = {job: stored for job in jobs if (stored := runs.stored(*job))}
    missing = [job for job in jobs if job not in found]
    on_run(len(found), len(jobs), "")
    for job, run_ in executor(missing):
        found[job] = run_
        on_run(len(found), len(jobs), f"{jobs[job]}, seed {job[1]}")
    told = [
        d.told(round(d.reading.of(kept(found[d.reading.arm.study(), s])), 6) for s in SEEDS) for d in drawn
    ]
    made_by = {n: h for d in drawn for n, h in code.named(d.reading.arm.experiment).items()}
    record.write(file(), Seal(f"lot {number}", made_by), json.dumps(told, ensure_ascii=False).encode())
    return told


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """("replication", the seal that is there, the same by today's code)."""
    found = record.seal_of(file())
    names = found.code if found else ()
    here = {n: h for name in names for n, h in code.named(name).items()}
    yield "replication", found, Seal(found.identity if found else "", here)


def load() -> list[dict]:
    """The last replication, if today's code would run it alike; else nothing. Readings whose arms have got
    another design since then are left out; those of more seeds are not.
    """
    try:
        content = record.read(file())[1]
    except (OSError, record.Damaged):
        return []
    now = {(d.claim, d.reading.arm.label, d.reading.metric, d.reading.manner): d.values for d in readings()}

    def as_drawn(one: dict) -> bool:
        """Does the ledger still hold the values that predicted it?"""
        values = now.get((one["claim"], one["arm"], one["metric"], one["how"]), ())
        return list(values[: len(one["values"])]) == one["values"]

    return [] if record.stale(seals()) else [one for one in json.loads(content) if as_drawn(one)]


def inside(told: Iterable[dict]) -> Iterator[bool]:
    """Of each new value: does it lie where the stored seeds predict it?"""
    for one in told:
        yield from (one["low"] <= value <= one["high"] for value in one["new"])


def summary(told: list[dict]) -> str:
    """How many came back."""
    if not told:
        return "nothing is replicated yet; run: llmlab claims replicate"
    every = list(inside(told))
    return (
        f"{len(told)} readings drawn by lot, {len(every) // len(told)} new seeds each: {sum(every)} of"
        f" {len(every)} new values are inside the 98 % prediction interval of the stored seeds."
    )
