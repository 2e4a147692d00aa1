"""What a claim is: words, arms, metric, direction and smallest effect, all fixed before the first run. No
torch: a page of results opens at once.
"""

import json
import shlex
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Callable

from .. import paths
from ..errors import UserError

NATS, CHARS = "nats per token", "nats per character"  # units
STEPS = "optimiser steps, tokens a step, seed (data order)"  # what is matched between arms of equal length
KINDS = ("exact", "measured", "systems", "definition")
DIRECTIONS = ("more", "less", "same")
# how a reading is taken off a run's curve. before: the last but one; early: mean over steps 10 to 40, where
# the dip of continued pretraining lies
HOWS: dict[str, Callable[[dict[int, float]], float]] = {
    "start": lambda c: c[min(c)],
    "final": lambda c: c[max(c)],
    "before": lambda c: c[sorted(c)[-2]],
    "early": lambda c: _mean([v for s, v in c.items() if 10 <= s <= 40]),
    "highest": lambda c: max(c.values()),
    "lowest": lambda c: min(c.values()),
    "mean": lambda c: _mean([v for s, v in c.items() if s > min(c)]),
}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True)
class Arm:
    """One setting of an experiment: the knobs that differ from their defaults, and the exam that its model
    sits (every so many steps).
    """

    label: str
    experiment: str
    knobs: dict = field(default_factory=dict)
    exam: tuple[str, ...] = ()
    every: int = 0

    def study(self):
        """The experiment that is run (imports torch)."""
        from ..lab import registry
        from .study import Study

        experiment = registry.get(self.experiment)(**self.knobs)
        return Study(experiment, self.exam, self.every) if self.exam else experiment

    def value(self, knob: str):
        """The arm's value of a knob: its own, or the experiment's default (imports torch)."""
        from ..lab import registry

        return getattr(registry.get(self.experiment)(**self.knobs), knob)

    @property
    def command(self) -> str:
        """What runs it in a terminal, at seed 0 and without the exam."""
        knobs = (f"--{name} {shlex.quote(str(value))}" for name, value in self.knobs.items())
        return " ".join(["llmlab run", self.experiment, *knobs])

    @cached_property
    def key(self) -> str:
        """Short name in the results: what is run, whatever it is called here."""
        parts = {k: v for k, v in asdict(self).items() if k != "label"}
        return paths.hash_bytes(json.dumps(parts, sort_keys=True).encode())[:10]

    def __call__(self, metric: str, how: str = "final", at: tuple[str, float] | None = None) -> "Reading":
        """A reading of this arm's runs."""
        return Reading(self, metric, how, at=at)


@dataclass(frozen=True)
class Reading:
    """A number of each run of an arm: a metric and how it is read off the curve (`HOWS`); readings add,
    subtract and scale.

    at   (another metric, value): it is read where that metric first gets to the value, so that arms are
         compared when they have learnt as much; `how` is then not asked
    """

    arm: Arm
    metric: str
    how: str = "final"
    weight: float = 1.0
    at: tuple[str, float] | None = None

    def __post_init__(self):
        if self.how not in HOWS:
            raise ValueError(f"a reading is {', '.join(HOWS)}, not '{self.how}'")

    def __neg__(self) -> "Reading":
        return replace(self, weight=-self.weight)

    @property
    def manner(self) -> str:
        """How it is read, as records keep it."""
        return f"at {self.at[0]} {self.at[1]:g}" if self.at else self.how

    def of(self, curves: dict[str, dict[int, float]]) -> float:
        """The number, without its weight, from a run's curves by metric. Raises NeverThere."""
        curve = curves[self.metric]
        if not self.at:
            return HOWS[self.how](curve)
        try:
            return first_at(curve, curves[self.at[0]], self.at[1])
        except NeverThere as e:
            raise NeverThere(f"{self.arm.label}: '{self.at[0]}' {e}") from None


class NeverThere(UserError):
    """A run does not get to the value at which it is to be read."""


def first_at(curve: dict[int, float], along: dict[int, float], value: float) -> float:
    """`curve` where `along` first crosses the value, linear between two steps that have both. Raises
    NeverThere.
    """
    steps = sorted(curve.keys() & along.keys())
    for before, after in zip(steps, steps[1:]):
        a, b = along[before], along[after]
        if a != b and min(a, b) <= value <= max(a, b):
            share = (value - a) / (b - a)
            return curve[before] + share * (curve[after] - curve[before])
    raise NeverThere(f"goes from {along[steps[0]]:.3g} to {along[steps[-1]]:.3g} and is never {value:g}")


@dataclass(frozen=True)
class Contrast:
    """An effect: the weighted sum of readings, seed by seed, and what the claim says of it.

    direction   more or less: the claim's sign; same: no difference as large as `least`
    least       smallest effect of interest, in `unit`
    counts      False: shown beside the claim (a price, a side effect): it has an interval and no verdict
    """

    label: str
    terms: tuple[Reading, ...]
    direction: str
    least: float
    unit: str
    counts: bool = True

    def __post_init__(self):
        if self.direction not in DIRECTIONS:
            raise ValueError(f"a direction is {', '.join(DIRECTIONS)}, not '{self.direction}'")
        if self.least <= 0:
            raise ValueError(f"the smallest effect of interest is above 0, not {self.least}")

    @property
    def arms(self) -> list[Arm]:
        """The arms, each once, in order."""
        return list({t.arm.key: t.arm for t in self.terms}.values())


def _rules(contrasts: tuple[Contrast, ...]) -> list[list]:
    return [
        [c.direction, c.least, c.unit, c.counts]
        + [[t.arm.key, t.metric, t.manner, t.weight] for t in c.terms]
        for c in contrasts
    ]


def contrast(
    label: str,
    direction: str,
    treated: Reading,
    control: Reading,
    least: float,
    unit: str = "share",
    counts: bool = True,
) -> Contrast:
    """treated − control."""
    return Contrast(label, (treated, -control), direction, least, unit, counts)


def gain(
    label: str, arm: Arm, metric: str, direction: str, least: float, unit: str = "share", counts: bool = True
) -> Contrast:
    """What a run changes: its end against its start."""
    return contrast(label, direction, arm(metric), arm(metric, "start"), least, unit, counts)


@dataclass(frozen=True)
class Claim:
    """A statement of the sources and how it is tested.

    words     ours; `source`: letter and section of the text
    matched   what is equal between the arms
    depends   name of the knob that a mixed outcome may depend on: some of the arms must differ in it
    knob      the same in words, as it stands behind a conditional verdict
    guards    contrasts that must come out as claimed before there is any verdict: who is said to teach beats
              its own start; what is said to be matched is equal
    items     questions behind a reading, where they are few: the smallest effect must be twice their error
    corrects  what is true instead, where the source's words are imprecise
    first     its first seed; above 0 where the arms were chosen after a look at the seeds below
    check     exact claims: a function that raises AssertionError, or returns what it found in words
    why       untestable claims: why
    """

    id: str
    words: str
    source: str
    kind: str
    chapter: str
    evidence: str
    cites: tuple[str, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    matched: str = ""
    knob: str = ""
    depends: str = ""
    guards: tuple[Contrast, ...] = ()
    items: int = 0
    corrects: str = ""
    seeds: int = 5
    first: int = 0
    check: Callable[[], str] | None = None
    why: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"a kind is {', '.join(KINDS)}, not '{self.kind}'")
        if sum((bool(self.contrasts), self.check is not None, bool(self.why))) != 1:
            raise ValueError(
                f"{self.id} needs contrasts, or a check, or a reason why it cannot be tested: one of them"
            )
        if self.contrasts and (self.seeds < 5 or not self.matched):
            raise ValueError(
                f"{self.id} needs at least five seeds, and to say what is matched between its arms"
            )
        if self.depends and len({str(a.knobs.get(self.depends)) for a in self.arms}) < 2:
            raise ValueError(f"{self.id}: its arms do not differ in '{self.depends}'")

    @cached_property
    def arms(self) -> list[Arm]:
        """All arms, each once."""
        return list({a.key: a for c in (*self.contrasts, *self.guards) for a in c.arms}.values())

    def numbered(self, n: int) -> range:
        """Its first n seeds."""
        return range(self.first, self.first + n)

    @property
    def rules(self) -> list[list]:
        """Of each contrast what decides its verdict: no words; arms are what they run, whatever they are
        called.
        """
        return _rules(self.contrasts)

    @cached_property
    def declared(self) -> str:
        """Hash of what was fixed before the run and decides the verdict: contrasts, seeds, check. Words may
        be improved.
        """
        parts = [self.id, self.kind, self.seeds, self.first, bool(self.why), self.rules]
        later = [_rules(self.guards), self.items, self.depends, bool(self.corrects)]
        parts += [later] if any(later) else []
        checked = self.check.__name__ if self.check else ""
        return paths.hash_bytes(json.dumps(parts, sort_keys=True).encode(), checked.encode())
