"""Experiment: a frozen dataclass of knobs with a recipe. A knob is declared once: it is the flag, the slider,
the sweep axis, the cache key and the manual.
"""

from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Callable, ClassVar, Generator, Iterator

from ..errors import UserError
from ..models.load import Loaded, load
from ..tokens.example import Example
from ..tokens.special import TEMPLATE
from ..train import loop
from ..train.recipe import Recipe


@dataclass(frozen=True)
class Knob:
    """What is known of a knob: name, type, default, range, scale (linear or log), unit, choices, help, and
    whether it came later than the first stored results of its experiment.
    """

    name: str
    kind: type
    default: Any
    low: float | None = None
    high: float | None = None
    scale: str = "linear"
    unit: str = ""
    choices: tuple = ()
    help: str = ""
    late: bool = False

    @property
    def range(self) -> str:
        """The range as text."""
        return (
            " | ".join(self.choices)
            if self.choices
            else f"{self.low:g} – {self.high:g}" + (f" {self.unit}" if self.unit else "")
        )


def knob(default, low=None, high=None, *, scale="linear", unit="", choices=(), help="", late=False):
    """A dataclass field that is a knob. `late`: results were stored before it came, with what is its default
    now.
    """
    return field(
        default=default,
        metadata=dict(
            low=low, high=high, scale=scale, unit=unit, choices=tuple(choices), help=help, late=late
        ),
    )


class BadKnob(UserError):
    """A knob out of range; the message names the range."""


@dataclass(frozen=True)
class Experiment:
    """Base of the experiments. A subclass is a frozen dataclass whose fields are knobs, and says what a run
    is made of (`recipe`); what trains nothing, or in several stages, says its `rows` instead.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    default_model: ClassVar[str] = "base"
    takes_texts: ClassVar[bool] = False  # can it train on the user's own documents, conversations or pairs?
    takes_problems: ClassVar[bool] = False  # can it ask the user's own problems, with a check of theirs?
    reads: ClassVar[str] = (
        "folder of your own documents (.txt, .md, .jsonl), or 'python' for the texts every Python has"
    )
    curves: ClassVar[dict[str, str]]  # metric -> axis label with unit, in the order of the figure
    along: ClassVar[str] = "step"  # what a row's `step` counts: label of the figure's horizontal axis
    later: ClassVar[tuple[str, ...]] = ()  # readings of what happened since the last one: none at step 0
    presets: ClassVar[dict[str, dict]] = {}  # button of a panel -> knobs that differ from their defaults
    front: ClassVar[tuple[str, ...]] = ()  # two or three knobs that a panel shows first
    rehearsal: ClassVar[dict]  # short runs through every phase, each knob at two values: see lab/rehearsal.py
    chats: ClassVar[bool] = (
        False  # does it speak in conversations? then a lab model without a template gets ours
    )
    keeps: ClassVar[bool] = False  # can it keep the trained model in a folder `out`?
    of: ClassVar["Experiment | None"] = None  # the experiment that this one stands around

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
            Knob(f.name, f.type, f.default, **f.metadata)  # type: ignore[arg-type]
            for f in fields(cls)
            if f.default is not MISSING and "low" in f.metadata
        ]

    def settings(self) -> dict:
        """Knob -> value: part of the key under which a run is stored. A late knob is in it only where it is
        off its default, so that what was stored before keeps its key.
        """
        late = {k.name: k.default for k in self.knobs() if k.late}
        return {name: v for name, v in asdict(self).items() if name not in late or v != late[name]}

    @staticmethod
    def own(path: str, skip_bad: bool = False, on_found: Callable[[str], None] = lambda told: None):
        """The user's texts at a path, as `recipe` takes them; on_found is told what was recognised. Raises
        UserError.
        """
        raise UserError("this experiment reads no texts of yours; llmlab run lists those that do")

    def preview(self, loaded: Loaded, texts=None) -> Iterator[Example]:
        """The user's texts (or the lab's) as the rows that are trained, each once."""
        raise UserError("this experiment reads no texts of yours; llmlab run lists those that do")

    def load(self, name: str, device: str) -> Loaded:
        """The model that a run starts from."""
        return load(name, device)

    def address(self, loaded: Loaded) -> None:
        """Give the tokenizer its chat template."""
        if self.chats and not loaded.tok.chat_template and loaded.is_lab:
            loaded.tok.chat_template = TEMPLATE

    def recipe(self, loaded: Loaded, seed: int, texts=None) -> Recipe:
        """What a run is made of, a function of (knobs, model, seed, texts)."""
        raise NotImplementedError

    def rows(self, loaded: Loaded, seed: int, checkpoint=None, texts=None) -> Generator[dict, None, None]:
        """Train `loaded` in place; a row per step, with the probes' numbers where they were read."""
        recipe = self.recipe(loaded, seed, texts)
        yield from loop.train(recipe, checkpoint)
        self.finish(replace(loaded, model=recipe.model))

    def finish(self, trained: Loaded) -> None:
        """What is to be done with the trained model, before the run is stored."""

    def place(self) -> None:
        """What is to be done once the run is stored."""
