"""Lesson: a chapter for a teacher in front of a class, one screen a step, driven by keys."""

import base64
import io
import textwrap

import anywidget
import matplotlib
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...lab import registry, sweeps, texts
from .. import figures, lessons, said
from ..axis import curve_of
from .scripts import script

PROMPTS = 2  # of which the samples are shown, each of another kind
CELL = 46  # characters of an answer in it: two lines
WIDE, HIGH, LOW, DPI = 6.4, 4.5, 3.05, 150  # inches, 100 pixels each on the small screen; low above samples
LARGE = figures.STYLE | {"font.size": 13.5, "axes.titlesize": 13.5, "lines.linewidth": 3}
TITLE = 26  # characters of a line above a plot
MISSING = "The stored runs are missing or stale: llmlab build sweeps makes them again."


class Lesson(anywidget.AnyWidget):
    """The lesson of a chapter. Keys: → ← or PageDown PageUp (or space) step, A answers, N shows the notes, R
    starts the step over. `full`: over the whole window, for `llmlab demo`.

    A step asks for a show of hands, which `hand` counts; `reveal` uncovers the answer with what the stored
    sweep shows.
    """

    _esm = script("lesson")
    view = traitlets.Dict().tag(sync=True)
    full = traitlets.Bool(False).tag(sync=True)

    def __init__(self, chapter: str, full: bool = False):
        self.lesson = lessons.load(chapter)
        self.at, self.notes_shown = 0, False
        self.hands = [[0] * len(step.ask.options) for step in self.lesson.steps]
        self.revealed = [False] * len(self.lesson.steps)
        self._found: dict[int, dict] = {}  # step -> what its answer shows, made once
        super().__init__(full=full)
        self._show()
        self.on_msg(self._asked)

    @property
    def step(self) -> lessons.Step:
        """The step on the screen."""
        return self.lesson.steps[self.at]

    def next(self) -> None:
        """One step forward; the last one stays."""
        self._go(self.at + 1)

    def back(self) -> None:
        """One step back; the first one stays."""
        self._go(self.at - 1)

    def _go(self, to: int) -> None:
        self.at = min(max(to, 0), len(self.lesson.steps) - 1)
        self._show()

    def reset(self) -> None:
        """Start this step over: no hands, and the answer covered."""
        self.hands[self.at] = [0] * len(self.step.ask.options)
        self.revealed[self.at] = False
        self._show()

    def reveal(self) -> None:
        """Uncover the answer."""
        self.revealed[self.at] = True
        self._show()

    def notes(self) -> None:
        """Show the speaker's notes, or hide them."""
        self.notes_shown = not self.notes_shown
        self._show()

    def hand(self, option: int, more: int = 1) -> None:
        """Count hands for an option; never below none."""
        if 0 <= option < len(self.step.ask.options):
            self.hands[self.at][option] = max(0, self.hands[self.at][option] + more)
            self._show()

    def _asked(self, _, content: dict, __) -> None:
        """What the page asks for. Messages, for a traitlet would drop the first of two quick keys."""
        do = content.get("do")
        if do == "hand":
            self.hand(int(content.get("option", -1)), 1 if content.get("more") == 1 else -1)
        elif do in ("next", "back", "reset", "reveal", "notes"):
            getattr(self, do)()

    def _show(self) -> None:
        ask, shown = self.step.ask, self.revealed[self.at]
        options = [{"text": o, "hands": n} for o, n in zip(ask.options, self.hands[self.at])]
        self.view = {
            "title": self.lesson.title,
            "at": self.at,
            "of": len(self.lesson.steps),
            "headline": self.step.headline,
            "question": ask.question,
            "options": options,
            "notes": self.step.notes if self.notes_shown else "",
            "answer": self.answer() if shown else None,
        }

    def answer(self) -> dict:
        """What uncovering shows: the right option, why, what was measured, the plots, the samples."""
        if self.at not in self._found:
            show, ask = self.step.show, self.step.ask
            groups = show.groups() if show else {}
            groups = groups if all(groups.values()) else {}
            right = ask.answer
            if not isinstance(right, int):
                value = show.value(right, groups) if groups else None
                right = None if value is None else right.option(value)
            told = samples(show) if groups else ""
            self._found[self.at] = {
                "right": right,
                "why": ask.why,
                "measured": measured(ask.answer, show, groups) if show else "",
                "picture": _url(picture(show, groups, LOW if told else HIGH)) if groups else "",
                "said": told,
            }
        return self._found[self.at]

    def __repr__(self) -> str:
        ask = self.step.ask
        hands = [f"  {n:3} {option}" for option, n in zip(ask.options, self.hands[self.at])]
        lines = [f"{self.at + 1} of {len(self.lesson.steps)}: {self.step.headline}", ask.question, *hands]
        if self.revealed[self.at]:
            found = self.answer()
            right = [ask.options[found["right"]]] if found["right"] is not None else []
            lines += [*right, found["why"], *filter(None, [found["measured"]])]
        return "\n".join(lines)


def measured(answer: int | lessons.Reading, show: lessons.Show, groups: dict[str, list]) -> str:
    """The way from start to end of what the question asks for (else of the first curve), or that nothing is
    stored.
    """
    if not groups:
        return MISSING
    metric = show.curves[0] if isinstance(answer, int) else answer.metric
    ways = []
    for name, runs in groups.items():
        start, end = lessons.ends(runs, metric)
        ways.append(f"{name}: {start:.2f} → {end:.2f}")
    seeds = len(next(iter(groups.values())))
    label = registry.get(show.experiment).curves[metric]
    return f"{label[:1].upper()}{label[1:]}, median of {seeds} seeds:\n" + "; ".join(ways)


def picture(show: lessons.Show, groups: dict[str, list], high: float = HIGH) -> bytes:
    """One or two plots as PNG, in type for the last row of a classroom."""
    labels = registry.get(show.experiment).curves
    with matplotlib.rc_context(LARGE):
        figure = Figure(figsize=(WIDE, high), dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(show.curves), squeeze=False)[0]
        for axis, metric in zip(axes, show.curves):
            for look, (name, runs) in zip(figures.LOOKS, groups.items()):
                figures._draw(axis, [curve_of(r, metric) for r in runs], look, name)
            axis.set_title(textwrap.fill(labels[metric], TITLE))
            axis.set_xlabel(registry.get(show.experiment).along)
            axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3, integer=True))
            if show.experiment in figures.EARLY:
                figures.stretch(axis, labels[metric], int(axis.dataLim.x1), apart=0.2)
                axis.set_xlim(0, 1.08 * axis.dataLim.x1)
            if "share" in labels[metric]:
                axis.set_ylim(-0.03, 1.03)
        keys = [
            Line2D([], [], color=colour, linestyle=dashes, label=name)
            for (colour, dashes), name in zip(figures.LOOKS, groups)
        ]
        figure.legend(
            handles=keys, loc="lower left", ncols=2, frameon=False, handlelength=2.2, borderaxespad=0.1
        )
        figure.subplots_adjust(left=0.1, right=0.985, top=1 - 0.6 / high, bottom=0.92 / high, wspace=0.3)
        out = io.BytesIO()
        figure.savefig(out, format="png")
    return out.getvalue()


def samples(show: lessons.Show) -> str:
    """What the models of the settings say to the first prompts of different kinds, as a table; nothing where
    it is not stored.
    """
    stored, cls = texts.load(show.experiment), registry.get(show.experiment)
    grid, sides = sweeps.GRIDS[show.experiment], {}
    for name, knobs in show.settings.items():
        every = stored.get(texts.key(cls(**knobs).settings(), grid), [])
        if every:
            sides[name] = [first_of_each(answers) for answers in said.moments(every).values()]
    asked = {tuple(a["prompt"] for a in moments[0]) for moments in sides.values()}
    rows = PROMPTS // len(asked) if asked else 0
    ends = lambda moments: [a for m in (moments[0], *moments[1:][-1:]) for a in m[:rows]]
    return said.table({name: ends(moments) for name, moments in sides.items()}, longest=CELL)


def first_of_each(answers: list[dict]) -> list[dict]:
    """The first answer of each kind of prompt, in order, then the others."""
    first = list({a["about"]: a for a in reversed(answers)}.values())[::-1]
    return [*first, *(a for a in answers if a not in first)]


def _url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
