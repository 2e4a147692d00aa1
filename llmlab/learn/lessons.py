"""Lessons: a chapter in five to seven steps for a teacher in front of a class, from data/lessons/*.yaml. No
torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import yaml

from .. import paths
from ..errors import UserError
from ..lab import registry, sweeps
from .axis import curve_of

STEPS = (5, 7)  # fewest and most of a lesson
OPTIONS = (2, 4)  # of a question
CURVES = (1, 2)  # plots on the screen
OF = ("end", "change", "difference")  # what a reading is of: the end, end − start, end − the other's end
LONGEST = {"headline": 110, "question": 170, "option": 70, "why": 260, "notes": 620}  # characters that fit


class BadLesson(UserError):
    """A mistake in a lesson file; the message names the file, the step and the fix."""

    def __init__(self, file: Path | str, step: int, what: str):
        super().__init__(f"{file}, {f'step {step}' if step else 'the file'}: {what}")


@dataclass(frozen=True)
class Reading:
    """The right option by what was measured: how many of the rising `cuts` the value has reached."""

    metric: str
    of: str
    cuts: tuple[float, ...]

    def option(self, value: float) -> int:
        """Index of the option that this value makes right."""
        return sum(value >= cut for cut in self.cuts)


@dataclass(frozen=True)
class Ask:
    """A question for a show of hands. `answer`: index of the right option, or what is measured."""

    question: str
    options: tuple[str, ...]
    answer: int | Reading
    why: str


@dataclass(frozen=True)
class Show:
    """What the stored sweep shows: a setting, beside another one if `compare` names a preset."""

    experiment: str
    label: str
    knobs: dict = field(hash=False)
    curves: tuple[str, ...]
    compare: str = ""

    @property
    def settings(self) -> dict[str, dict]:
        """Name -> knobs; the compared preset first."""
        other = {self.compare: registry.get(self.experiment).presets[self.compare]} if self.compare else {}
        return other | {self.label: self.knobs}

    def groups(self) -> dict[str, list]:
        """Name -> stored runs; empty where the sweep is missing or stale."""
        sweep, cls = sweeps.load(self.experiment), registry.get(self.experiment)
        if sweep is None:
            return {}
        return {name: sweep.at(cls(**knobs).settings()) for name, knobs in self.settings.items()}

    def value(self, reading: Reading, groups: dict[str, list]) -> float | None:
        """What the question asks for, as the median over the seeds; None without stored runs."""
        if not groups.get(self.label):
            return None
        here = ends(groups[self.label], reading.metric)
        if reading.of == "difference":
            return here[1] - ends(groups[self.compare], reading.metric)[1]
        return here[1] - here[0] if reading.of == "change" else here[1]


@dataclass(frozen=True)
class Step:
    """One screen of a lesson."""

    headline: str
    notes: str
    ask: Ask
    show: Show | None = None


@dataclass(frozen=True)
class Lesson:
    """The lesson of a chapter."""

    chapter: str
    title: str
    steps: tuple[Step, ...]


def ends(runs: list, metric: str) -> tuple[float, float]:
    """First and last value of a curve, medians over the seeds."""
    curves = [list(curve_of(r, metric).values()) for r in runs]
    return median(c[0] for c in curves), median(c[-1] for c in curves)


def folder() -> Path:
    """Where the lessons lie."""
    return paths.data() / "lessons"


def chapters() -> list[str]:
    """The chapters that have a lesson."""
    return sorted(f.stem for f in folder().glob("*.yaml"))


def load(chapter: str) -> Lesson:
    """The lesson of a chapter. Raises UserError where there is none, BadLesson at the first mistake."""
    if chapter not in chapters():
        raise UserError(
            f"chapter {chapter} has no lesson; the chapters with one are {', '.join(chapters()) or 'none'}"
        )
    return read(folder() / f"{chapter}.yaml")


def read(file: Path) -> Lesson:
    """A lesson file, checked."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as e:
        raise BadLesson(file, 0, f"it cannot be read ({e.strerror}); make it readable") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise BadLesson(file, 0, f"it is not valid YAML{where}; mend this line") from None
    found = _fields(file, 0, "the lesson", document, {"title": str, "steps": list})
    low, high = STEPS
    if not low <= len(found["steps"]) <= high:
        raise BadLesson(file, 0, f"it has {len(found['steps'])} steps; a lesson has {low} to {high}")
    steps = tuple(_step(file, n, s) for n, s in enumerate(found["steps"], 1))
    return Lesson(file.stem, found["title"].strip(), steps)


def _fields(file: Path, n: int, what: str, found, required: dict, **optional) -> dict:
    """The mapping, if it has the required fields, no unknown ones, and each of its kind."""
    known = required | optional
    words = {str: "a text", list: "a list", dict: "a mapping", int: "a whole number"}
    if not isinstance(found, dict):
        raise BadLesson(file, n, f"{what} is not a mapping; write {', '.join(known)} below it")
    if missing := [k for k in required if k not in found]:
        raise BadLesson(file, n, f"{what} has no '{missing[0]}'; add it")
    if unknown := [k for k in found if k not in known]:
        raise BadLesson(file, n, f"{what} has an unknown field '{unknown[0]}'; use {', '.join(known)}")
    for name, value in found.items():
        kinds = known[name] if isinstance(known[name], tuple) else (known[name],)
        if not isinstance(value, kinds) or isinstance(value, bool) or value in ("", []):
            raise BadLesson(file, n, f"'{name}' of {what} is not {' or '.join(words[k] for k in kinds)}")
    return found


def _text(file: Path, n: int, name: str, text) -> str:
    """A text in one line, if it fits on the screen."""
    if not isinstance(text, str):
        raise BadLesson(file, n, f"the {name} {text!r} is not a text; put it in quotes")
    if len(line := " ".join(text.split())) > LONGEST[name]:
        raise BadLesson(file, n, f"the {name} has {len(line)} characters; keep it within {LONGEST[name]}")
    return line


def _step(file: Path, n: int, found) -> Step:
    required = {"headline": str, "notes": str, "ask": dict}
    found = _fields(file, n, "the step", found, required, show=dict)
    show = _show(file, n, found["show"]) if "show" in found else None
    texts = {name: _text(file, n, name, found[name]) for name in ("headline", "notes")}
    return Step(**texts, ask=_ask(file, n, found["ask"], show), show=show)


def _ask(file: Path, n: int, found: dict, show: Show | None) -> Ask:
    required = {"question": str, "options": list, "answer": (int, dict), "why": str}
    found = _fields(file, n, "ask", found, required)
    options = tuple(_text(file, n, "option", o) for o in found["options"])
    low, high = OPTIONS
    if not low <= len(options) <= high:
        raise BadLesson(file, n, f"the question has {len(options)} options; give {low} to {high}")
    answer = found["answer"]
    if isinstance(answer, dict):
        answer = _reading(file, n, answer, len(options), show)
    elif not 1 <= answer <= len(options):
        raise BadLesson(
            file, n, f"'answer' is {answer}; give the number of an option, from 1 to {len(options)}"
        )
    else:
        answer -= 1
    texts = {name: _text(file, n, name, found[name]) for name in ("question", "why")}
    return Ask(options=options, answer=answer, **texts)


def _reading(file: Path, n: int, found: dict, options: int, show: Show | None) -> Reading:
    inside = _fields(file, n, "answer", found, {"reading": dict})["reading"]
    found = _fields(file, n, "reading", inside, {"metric": str, "of": str, "cuts": list})
    if show is None:
        raise BadLesson(file, n, "'reading' needs a 'show' to read from; add it, or give an option's number")
    _known(file, n, "metric", found["metric"], registry.get(show.experiment).curves)
    _known(file, n, "reading of", found["of"], OF)
    if found["of"] == "difference" and not show.compare:
        raise BadLesson(file, n, "a difference needs 'compare' in 'show'; add it")
    cuts = found["cuts"]
    numbers = all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in cuts)
    if not numbers or cuts != sorted(set(cuts)) or len(cuts) != options - 1:
        raise BadLesson(
            file, n, f"'cuts' must be {options - 1} rising numbers, one between each two of the options"
        )
    return Reading(found["metric"], found["of"], tuple(cuts))


def _show(file: Path, n: int, found: dict) -> Show:
    found = _fields(
        file, n, "show", found, {"experiment": str, "curves": list}, preset=str, knobs=dict, compare=str
    )
    _known(file, n, "experiment", found["experiment"], sweeps.GRIDS)
    cls = registry.get(found["experiment"])
    if ("preset" in found) == ("knobs" in found):
        raise BadLesson(file, n, "'show' needs either 'preset' or 'knobs'; give one of the two")
    for name in ("preset", "compare"):
        if name in found:
            _known(file, n, name, found[name], cls.presets)
    low, high = CURVES
    if not low <= len(found["curves"]) <= high:
        raise BadLesson(file, n, f"'curves' names {len(found['curves'])} metrics; name {low} or {high}")
    for metric in found["curves"]:
        _known(file, n, "metric", metric, cls.curves)
    for name in found.get("knobs", {}):
        _known(file, n, "knob", name, {k.name: k for k in cls.knobs()})
    knobs = found.get("knobs") or cls.presets.get(found.get("preset"), {})
    label = found.get("preset") or ", ".join(f"{k} {v}" for k, v in knobs.items()) or "defaults"
    show = Show(cls.name, label, dict(knobs), tuple(found["curves"]), found.get("compare", ""))
    for name, values in show.settings.items():
        try:
            settings = cls(**values).settings()
        except (UserError, TypeError) as e:
            raise BadLesson(file, n, f"the setting '{name}' is refused: {e}") from None
        if settings not in [cls(**point).settings() for point in sweeps.GRIDS[cls.name].points()]:
            raise BadLesson(
                file, n, f"the setting '{name}' is not in the sweep of {cls.name}; show one that is stored"
            )
    return show


def _known(file: Path, n: int, what: str, name, known) -> None:
    if not isinstance(name, str) or name not in known:
        raise BadLesson(file, n, f"there is no {what} '{name}'; choose one of {', '.join(known)}")
