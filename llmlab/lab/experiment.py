"""Experiment: a frozen dataclass of knobs with a recipe. A knob is declared once: it is the flag, the slider,
the sweep axis, the cache key and the manual.
"""

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar, Iterator

from ..errors import UserError


@dataclass(frozen=True)
class Knob:
    """What is known of a knob: name, type, default, range, scale (linear or log), unit, choices, help."""

    name: str
    kind: type
    default: Any
    low: float | None = None
    high: float | None = None
    scale: str = "linear"
    unit: str = ""
    choices: tuple = ()
    help: str = ""

    @property
    def range(self) -> str:
        """The range as text."""
        return (
            " | ".join(self.choices)
            if self.choices
            else f"{self.low:g} – {self.high:g}" + (f" {self.unit}" if self.unit else "")
        )


def knob(default, low=None, high=None, *, scale="linear", unit="", choices=(), help=""):
    """A dataclass field that is a knob."""
    return field(
        default=default,
        metadata=dict(low=low, high=high, scale=scale, unit=unit, choices=tuple(choices), help=help),
    )


class BadKnob(UserError):
    """A knob out of range; the message names the range."""


class Experiment:
    """Base of the experiments. A subclass is a frozen dataclass whose fields are knobs, with `rows` as its
    recipe.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    default_model: ClassVar[str] = "base"
    takes_texts: ClassVar[bool] = False  # can it train on the user's own documents?
    curves: ClassVar[dict[str, str]]  # metric -> axis label with unit, in the order of the figure
    rehearsal: ClassVar[dict]  # short runs through every phase, each knob at two values: see lab/rehearsal.py

    def __post_init__(self):
        for k in self.knobs():
            value = getattr(self, k.name)
            if k.choices and value not in k.choices:
                raise BadKnob(f"--{k.name} is one of {', '.join(k.choices)}, not '{value}'")
            if k.low is not None and not k.low <= value <= k.high:
                raise BadKnob(
                    f"--{k.name} {value:g} is out of range; choose {k.low:g} to {k.high:g}"
                    + (f" {k.unit}" if k.unit else "")
                )

    @classmethod
    def knobs(cls) -> list[Knob]:
        """The knobs in order of declaration."""
        return [
            Knob(f.name, f.type, f.default, **f.metadata)
            for f in fields(cls)
            if f.default is not MISSING and "low" in f.metadata
        ]

    def settings(self) -> dict:
        """Knob -> value: part of the key under which a run is stored."""
        return asdict(self)

    def rows(self, loaded, seed: int, checkpoint=None, texts=None) -> Iterator[dict]:
        """Train `loaded` in place; a row per step, with the probes' numbers where they were read. A function
        of (knobs, model, seed).
        """
        raise NotImplementedError
