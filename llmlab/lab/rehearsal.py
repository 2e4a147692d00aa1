"""Rehearsals: short runs of every experiment that pass through all of its phases and turn each of its knobs,
kept with all their rows in the rehearsal book. What changes no row of the book changes no behaviour.

An experiment states its own in `rehearsal`, a dict of:
short   knobs of a run of a few steps, through warm-up, decay and the readings in between
values  knob -> values to turn it to, where its lowest one (each, for a choice) costs minutes or shows nothing
under   knob -> other knobs under which it has something to do
phases  further settings, for what the short run does not pass: a gate that rolls back, a second stage
small   constant of its module -> its value while knobs are turned (readings that ask fewer problems)
clock   readings that are seconds, which no two runs share
"""

import copy
import gzip
import importlib
import json
import platform
import sys
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Iterable, Iterator
from unittest import mock

from .. import paths
from . import code, pool, record
from .experiment import Experiment
from .record import Seal

SEED, OTHER = 3, 4  # above 0, so that a changed multiple of the seed shows
ROWS = 8  # rows of each of its sets that a small reading reads
FEW, MANY = 16, range(41, 1001)  # held-out problems that it asks, where it would ask so many
TURNED = 5  # rows of a run that turns a knob: the reading before the first step, and four steps
Rows = list[dict]


@dataclass(frozen=True)
class Rehearsal:
    """One short run. small: its readings ask little. rows: how many of its rows are kept; None is all of
    them. alone: (label of the run beside it, the knob that differs).
    """

    label: str
    experiment: Experiment
    seed: int = SEED
    small: bool = True
    rows: int | None = None
    alone: tuple[str, str] | None = None


def plan(cls) -> list[Rehearsal]:
    """All rehearsals of an experiment."""
    stated = {"values": {}, "under": {}, "phases": [], "small": {}, "clock": ()} | cls.rehearsal
    short = cls(**stated["short"])
    whole = replace(short, probe=short.steps) if "probe" in short.settings() else short
    found = [
        Rehearsal("whole", whole, small=False),
        Rehearsal("short", short),
        Rehearsal("seed", short, OTHER),
    ]
    found += [Rehearsal(_label(p), cls(**(stated["short"] | p))) for p in stated["phases"]]
    for knob in cls.knobs():
        beside, start = "short", short
        if knob.name in stated["under"]:
            start = cls(**(stated["short"] | stated["under"][knob.name]))
            beside = f"for {knob.name}: {_label(stated['under'][knob.name])}"
            found.append(Rehearsal(beside, start, rows=TURNED))
        for value in _values(knob, getattr(start, knob.name), stated["values"].get(knob.name)):
            turned = replace(start, **{knob.name: value})
            found.append(Rehearsal(f"{knob.name} {value}", turned, rows=TURNED, alone=(beside, knob.name)))
    twice = {r.label for i, r in enumerate(found) if r.label in {other.label for other in found[:i]}}
    if twice:  # their rows would lie under one label, so the book would never be complete
        raise ValueError(f"{cls.name} states two rehearsals alike: {', '.join(sorted(twice))}")
    return found


def _label(settings: dict) -> str:
    return ", ".join(f"{k} {v}" for k, v in settings.items())


def _values(knob, here, stated) -> list:
    """Values of a knob other than the one it stands on: as stated, all choices, or its lowest (highest)
    one.
    """
    if stated is None:
        near = {"steps": (here + 2,), "probe": (2,)}.get(knob.name) if knob.kind is int else None
        stated = near or knob.choices or ((knob.low,) if here != knob.low else (knob.high,))
    return [knob.kind(v) for v in stated if v != here]


def perform(r: Rehearsal) -> Rows:
    """The rows of one rehearsal, from its experiment's own checkpoint, on one thread: two give other last
    bits.
    """
    inner = _inner(r.experiment)
    with _one_thread(), _small(type(inner)) if r.small else nullcontext():
        rows = r.experiment.rows(fresh(inner.default_model), r.seed)
        with closing(rows):
            return json.loads(json.dumps(list(islice(rows, r.rows))))


def _inner(experiment):
    """What a study or an engine stands around; else the experiment itself."""
    return experiment.of or experiment


@lru_cache(maxsize=2)
def _loaded(name: str):
    from ..models.load import load

    return load(name)


def fresh(name: str):
    """A checkpoint that may be trained."""
    return copy.deepcopy(_loaded(name))


@contextmanager
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _small(cls):
    """Meanwhile readings ask few held-out problems and read a few rows of each set, and the experiment's
    module has the constants that the rehearsal states.
    """
    from ..train import probes

    read = probes.read

    def few_rows(model, sets):
        return read(model, {n: [b.pick(slice(0, ROWS)) for b in batches[:1]] for n, batches in sets.items()})

    patches = [
        mock.patch.object(probes, "read", few_rows),
        *(mock.patch.object(world, "problems", _few(world.problems)) for world in _worlds()),
        *(
            mock.patch.object(_module(cls, name), name.rpartition(".")[2], value)
            for name, value in cls.rehearsal.get("small", {}).items()
        ),
    ]
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def _few(problems):
    def few(world, n, *, split="test", **settings):
        return problems(world, FEW if split == "test" and n in MANY else n, split=split, **settings)

    return few


def _worlds() -> list[type]:
    """All classes that say how their problems are drawn."""
    homes = [module for name, module in list(sys.modules.items()) if name.startswith("llmlab.world.")]
    return list(
        {c for home in homes for c in vars(home).values() if isinstance(c, type) and "problems" in vars(c)}
    )


def _module(cls, name: str):
    """The experiment's module, or the one beside it that a dotted name begins with."""
    beside = name.rpartition(".")[0]
    home = cls.__module__.rpartition(".")[0]
    return importlib.import_module(f"{home}.{beside}" if beside else cls.__module__)


# --- the book
# ---------------------------------------------------------------------------------------------------


class Book:
    """The rehearsals of one experiment with their rows, and the machine that they were made on."""

    def __init__(self, name: str, wanted: list[Rehearsal]):
        self.name, self.wanted = name, wanted

    @property
    def file(self) -> Path:
        """Where it lies."""
        return paths.data() / "rehearsals" / f"{self.name}.book"

    @property
    def asked(self) -> dict[str, list]:
        """label -> what is rehearsed under it, as it is stated today: knobs, seed, what makes its readings
        small, rows.
        """
        small = [
            type(_inner(self.wanted[0].experiment)).rehearsal.get("small", {}),
            ROWS,
            FEW,
            MANY.start,
            MANY.stop,
        ]
        said = {r.label: [r.experiment.settings(), r.seed, r.small and small, r.rows] for r in self.wanted}
        return json.loads(json.dumps(said))

    @property
    def seal(self) -> Seal:
        """Of the rehearsals as they are stated today, by today's code."""
        asked = json.dumps(self.asked, sort_keys=True).encode()
        return Seal(paths.hash_bytes(asked), code.of(self.wanted[0].experiment))

    @property
    def defaults(self) -> dict:
        """What the knobs that nobody names are set to."""
        return json.loads(json.dumps(type(_inner(self.wanted[0].experiment))().settings()))

    def read(self) -> dict:
        """machine, asked, defaults and rows (label -> rows). Raises OSError or record.Damaged."""
        return json.loads(gzip.decompress(record.read(self.file)[1]))

    def write(
        self,
        rows: dict[str, Rows],
        made_by: dict[str, str] | None = None,
        made_on: dict[str, str] | None = None,
    ) -> None:
        """Keep the rows, as those of today's code on this machine unless it is said whose they are."""
        kept = {r.label: rows[r.label] for r in self.wanted}
        said = {"machine": made_on or machine(), "asked": self.asked, "defaults": self.defaults}
        content = json.dumps(said | {"rows": kept})
        seal = Seal(self.seal.identity, made_by) if made_by else self.seal
        record.write(self.file, seal, gzip.compress(content.encode(), mtime=0))

    @property
    def clock(self) -> tuple[str, ...]:
        """Readings that no two runs share."""
        return type(_inner(self.wanted[0].experiment)).rehearsal.get("clock", ())


def books(others: Iterable[tuple[str, list[Rehearsal]]] = ()) -> dict[str, Book]:
    """name -> book of all experiments, and of what stands around experiments."""
    from . import registry

    every = [(name, plan(registry.get(name))) for name in registry.NAMES]
    return {name: Book(name, wanted) for name, wanted in [*every, *others]}


def machine() -> dict[str, str]:
    """What the last bits of a number depend on beside the code."""
    import torch

    return {
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def performed(
    wanted: dict[str, list[Rehearsal]], workers: int | None = None
) -> Iterator[tuple[str, Rehearsal, Rows]]:
    """(name, rehearsal, rows) of all, in the order in which they end, on all cores."""
    jobs = [(name, r) for name, every in wanted.items() for r in every]
    for (name, r), rows in pool.each(_job, jobs, workers):
        yield name, r, rows


def _job(name: str, r: Rehearsal) -> Rows:
    return perform(r)


def differences(before: Rows, after: Rows, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    """In words, where rows of a rehearsal are not those of before. New readings beside the old ones are
    none.
    """
    if len(before) != len(after):
        yield f"{len(after)} rows, there were {len(before)}"
    for old, new in zip(before, after):
        for name in old:
            if name not in leave_out and not _same(old[name], new.get(name)):
                yield f"step {old.get('step')}: {name} is {new.get(name)}, it was {old[name]}"


def _same(a, b) -> bool:
    return a == b or (a != a and b != b)


# How far another machine's last bits bring a reading, measured with other vector instructions (none, AVX2)
# and with two threads. What learns from no sample stays within 5e-5 of the book at every step. What learns
# from samples of its own does so up to its first batch; later one of them falls otherwise, in some runs soon,
# in most never, and a few steps behind that nothing is comparable any more.
RELATIVE, ABSOLUTE = 5e-4, 3e-4
FLOATING = {"chosen_reward", "rejected_reward", "proxy"}  # learned rewards: rounding moves them all together,
FLOATS = 5e-3  # because only their differences are learned
# readings of a step that learns from samples of its own, and what is read of the samples
ON_POLICY = {"reward", "ratio_max", "mixed", "sampled"}
DRAWN = ON_POLICY | {"tokens", "entropy", "drawn", "frac_reward_zero_std", "grad_norm", "round_kept"}
COUNTED = range(1, 33)  # answers that a reading of a rehearsal counts
PARTS = 0.3  # how much one sample that falls otherwise moves what is read of a batch of samples


def learns_from_samples(rows: Iterable[Rows]) -> bool:
    """Does any of an experiment's rehearsals?"""
    return any(ON_POLICY & row.keys() for every in rows for row in every)


def far(before: Rows, after: Rows, leave_out: tuple[str, ...] = (), samples: bool = False) -> Iterator[str]:
    """In words, where rows are further from those of before than another machine's last bits can bring them:
    the alarm for an upgrade of a library.

    Behind its first batch of samples a run may part from the book. That shows at what is read of the samples
    (DRAWN), which moves a little; a loss that moves alone is no such thing. Behind it only names, words and
    rates count. samples: other rehearsals learn from samples; this one may too, and imitate them without
    saying so: then it shows at the number of tokens.
    """
    told = [row["step"] for row in before if row["step"] and ON_POLICY & row.keys()]
    batch, shows = (told[0], DRAWN) if told else (1 if samples else None, {"tokens"})
    parted = False
    for old, new in zip(before, after):
        off = [n for n in old if n not in leave_out and not _near(n, old[n], new.get(n))]
        if batch is not None and old["step"] > batch:
            parting = bool(shows & set(off))
            little = shows | (before[0].keys() if told else set())  # probes may read samples too
            off = [
                n
                for n in off
                if n == "lr"
                or not _both_numbers(old[n], new.get(n))
                or not (parted or (_moved(old[n], new[n]) if n in little else parting))
            ]
            parted = parted or parting
        for name in off:
            yield f"step {old['step']}: {name} is {new.get(name)}, it was {old[name]}"
    if len(before) != len(after) and not parted:
        yield f"{len(after)} rows, there were {len(before)}"


def one_answer(before: Rows, after: Rows, leave_out: tuple[str, ...] = ()) -> bool:
    """Is all that differs one answer, of few that are asked, where last bits decide between two? In one row
    at most two readings (one may be a part of the other), each a share of a few answers that moves by what
    one of them does. A loss is no such share: it has digits without end.
    """
    if len(before) != len(after):
        return False
    off = [
        (old["step"], old[name], new.get(name))
        for old, new in zip(before, after)
        for name in old
        if name not in leave_out and not _near(name, old[name], new.get(name))
    ]
    shares = all(_of_few(x) for _, *both in off for x in both)
    return (
        len({step for step, *_ in off}) == 1 and len(off) <= 2 and shares and all(_moved(*o[1:]) for o in off)
    )


def _of_few(x) -> bool:
    """Is it k / n for an n that a rehearsal asks?"""
    return (
        isinstance(x, (int, float)) and 0 <= x <= 1 and any(abs(x * n - round(x * n)) < 1e-9 for n in COUNTED)
    )


def _near(name: str, a, b) -> bool:
    if not _both_numbers(a, b):
        return a == b
    most = RELATIVE * max(abs(a), abs(b)) + (FLOATS if name in FLOATING else ABSOLUTE)
    return _same(a, b) or abs(a - b) <= most


def _moved(a, b) -> bool:
    """Is it what one sample more or less does?"""
    return abs(a - b) <= PARTS * max(abs(a), abs(b), 1.0)


def _both_numbers(a, b) -> bool:
    return all(isinstance(x, (int, float)) for x in (a, b))
