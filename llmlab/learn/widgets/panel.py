"""Panel: sliders from an experiment's knobs. Stored sweeps answer at once; Run trains in a background thread,
and the cell has long returned.
"""

import base64
import html
import os
import threading
import time
from dataclasses import dataclass, field

import ipywidgets as w

from ...errors import UserError
from ...lab import labels, registry, runs, sweeps, texts, times
from .. import figures, said
from .sliders import slider_of

REFRESH = 0.3  # seconds between two readings of the progress
SEEDS = 5  # of single stored runs that are looked for
PLOTS = 4  # in front; the others under "More curves"
FRONT = 3  # knobs in front, where neither the caller nor the experiment chooses; the others under "More"
KEPT = 3  # finished runs, and settings pinned for comparison, that stay in the picture
LARGE = """<style>.llmlab-large, .llmlab-large * {font-size: 20px !important}
.llmlab-large .widget-inline-hbox {height: 44px; line-height: 44px}
.llmlab-large .jupyter-button {height: 42px; line-height: 42px}
.llmlab-large .widget-readout {min-width: 110px; overflow: visible}
.llmlab-large .widget-hbox, .llmlab-large .widget-inline-hbox {align-items: center}</style>"""


@dataclass
class Live:
    """The rows of a run in progress, in the shape that figures read."""

    seed: int
    rows: list[dict] = field(default_factory=list)
    experiment: str = ""

    def curve(self, metric: str) -> dict[int, float]:
        """step -> value so far."""
        return runs.curve(list(self.rows), metric)


class Panel:
    """The panel of one experiment. `show`: the knobs in front (by default those that the experiment names),
    the others stand under "More"; `fixed`: values of knobs without a slider; `large`: for a classroom.

    A preset sets several knobs with one click. Under the curves stands what the model says, before and after.

    Moving a slider shows the stored runs of that setting, if there are any. Run trains it here and now, over
    the stored band; Stop stops, and
    the next Run with the same knobs goes on from there. Compare keeps the present setting in the picture
    beside the next one. Reset starts over.
    `last` is the last finished Run.
    """

    def __init__(
        self,
        name: str,
        show: list[str] | None = None,
        model: str | None = None,
        seed: int = 0,
        large: bool = False,
        **fixed,
    ):
        self.cls = registry.get(name)
        self.model, self.fixed = model, fixed  # None: what each setting starts from
        self.sweep = sweeps.load(name) if model in (None, self.cls.default_model) else None
        self._start_empty()
        self._make_knobs(show, seed)
        self._make_buttons()
        self._make_pictures()
        self._listen()
        self.answer()
        self.widget = self._arranged()
        if large:
            self._enlarge()

    def _start_empty(self) -> None:
        """What is remembered from click to click: nothing yet."""
        self._texts = texts.load(self.cls.name) if self.sweep else {}
        self._kept: dict[str, list[dict]] = {}  # setting that was kept by Compare -> what its model says
        self._single: dict = {}  # experiment -> its single stored runs, looked up once
        self.pinned: list[tuple[str, list]] = []
        self.done: list[tuple[str, runs.Run]] = []
        self.last: runs.Run | None = None
        self._stop, self._thread, self._live = threading.Event(), None, None
        # clicks, moves and the run come from several threads; the last picture must be that of the last
        # values
        self._drawing = threading.Lock()

    def _make_knobs(self, show: list[str] | None, seed: int) -> None:
        """A slider for each knob that is not fixed, and the seed of Run."""
        name, swept = self.cls.name, self.sweep.grid.axes if self.sweep else {}
        knobs = [k for k in self.cls.knobs() if k.name not in self.fixed]
        self.front = self._in_front(knobs, show)
        self.sliders = {k.name: slider_of(k, swept.get(k.name, ()), labels.label(name, k)) for k in knobs}
        self.seed = w.BoundedIntText(
            value=seed,
            min=0,
            max=9999,
            description="seed of Run",
            style={"description_width": "initial"},
            layout=w.Layout(width="190px"),
        )

    def _make_buttons(self) -> None:
        """Run, Stop, Compare, Reset, More curves; how far the run is."""
        self.run_button = w.Button(
            description="Run", button_style="primary", icon="play", tooltip="train this setting here and now"
        )
        self.stop_button = w.Button(
            description="Stop", icon="stop", disabled=True, tooltip="stop; Run goes on from there"
        )
        self.compare_button = w.Button(
            description="Compare",
            icon="thumb-tack",
            tooltip="keep this setting in the picture beside the next one",
        )
        self.reset_button = w.Button(
            description="Reset", icon="undo", tooltip="defaults, and an empty picture"
        )
        others = list(self.cls.curves.values())[PLOTS:]
        self.more_curves = w.ToggleButton(description="More curves", icon="plus", tooltip=", ".join(others))
        self.bar = w.IntProgress(value=0, min=0, max=1, layout=w.Layout(width="220px"))
        self.status = w.HTML()

    def _make_pictures(self) -> None:
        """The curves in front, the others, and what the model says. One scale for all knobs turned alone; a
        wilder setting widens it when it is shown.
        """
        self.picture = w.Image(format="png", layout=w.Layout(max_width="100%"))
        self.more_picture = w.Image(format="png", layout=w.Layout(max_width="100%", display="none"))
        self.said = w.HTML()
        turned = [r for found in self.sweep.turned().values() for r in found] if self.sweep else []
        curves, early = list(self.cls.curves.items()), self.cls.name in figures.EARLY
        self._board = figures.Board(dict(curves[:PLOTS]), turned, early, self.cls.along)
        self._more = (
            figures.Board(dict(curves[PLOTS:]), turned, early, self.cls.along) if curves[PLOTS:] else None
        )

    def _listen(self) -> None:
        """Buttons and sliders do what they say."""
        self.run_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.compare_button.on_click(lambda _: self.compare())
        self.reset_button.on_click(lambda _: self.reset())
        self.more_curves.observe(lambda _: self._draw(), names="value")
        for slider in self.sliders.values():
            slider.observe(lambda _: self.answer(), names="value")

    def _arranged(self) -> w.VBox:
        """All of it, from the presets down to the model's words."""
        buttons = [self.run_button, self.stop_button, self.compare_button, self.reset_button, self.seed]
        buttons += [self.more_curves] * (self._more is not None)
        return w.VBox(
            [
                *self._presets(),
                self._row(self.front),
                *self._others(),
                w.HBox(buttons),
                w.HBox([self.bar, self.status]),
                self.picture,
                self.more_picture,
                self.said,
            ]
        )

    def _enlarge(self) -> None:
        """For the last row of a classroom."""
        self.widget.add_class("llmlab-large")
        self.picture.layout.width = "100%"
        for slider in self.sliders.values():
            slider.layout.width = "560px"
        self.widget.children = (w.HTML(LARGE, layout=w.Layout(display="none")), *self.widget.children)

    def _in_front(self, knobs: list, show: list[str] | None) -> list[str]:
        """Names of the knobs that stand in front."""
        if show is not None:
            return [k.name for k in knobs if k.name in show]
        chosen = self.cls.front or tuple(self.sweep.grid.axes if self.sweep else ())[:FRONT]
        return [k.name for k in knobs if k.name in (chosen or [k.name for k in knobs[:FRONT]])]

    def _row(self, names) -> w.HBox:
        return w.HBox([self.sliders[n] for n in names], layout=w.Layout(flex_flow="row wrap"))

    def _others(self) -> list[w.Widget]:
        """The knobs that are not in front, folded away."""
        names = [n for n in self.sliders if n not in self.front]
        if not names:
            return []
        folded = w.Accordion([self._row(names)], titles=(f"More: {len(names)} knobs",), selected_index=None)
        return [folded]

    def _presets(self) -> list[w.Widget]:
        """A button for each preset of the experiment whose knobs all have sliders; ● marks what is stored and
        answers at once.
        """
        self.preset_buttons = {}
        for name, values in self.cls.presets.items():
            if values.keys() <= self.sliders.keys():
                told = ", ".join(f"{k} {v}" for k, v in values.items()) or "all defaults"
                stored = self._in_sweep(values)
                button = w.Button(
                    description=name + " ●" * stored,
                    tooltip=told + (": stored, answers at once" if stored else ": press Run to train it"),
                    layout=w.Layout(width="auto"),
                )
                button.on_click(lambda _, values=values: self.preset(values))
                self.preset_buttons[name] = button
        return [w.HBox(list(self.preset_buttons.values()), layout=w.Layout(flex_flow="row wrap"))] * bool(
            self.preset_buttons
        )

    def _in_sweep(self, values: dict) -> bool:
        """Is the setting of a preset stored? One that the fixed knobs forbid is not."""
        try:
            return bool(self.sweep and self.sweep.at(self.cls(**self.fixed | values).settings()))
        except UserError:
            return False

    def preset(self, values: dict) -> None:
        """The defaults with these values in place of some."""
        for k in self.cls.knobs():
            if k.name in self.sliders:
                self.sliders[k.name].value = values.get(k.name, k.default)
        self.answer()

    def _repr_png_(self) -> bytes | None:
        """The curves in it now: what readers without a kernel get, on GitHub or in print; None where none is
        stored, because empty axes tell nothing.
        """
        return self.picture.value if any(self._groups()[0].values()) else None

    def _repr_mimebundle_(self, **options):
        if picture := self._repr_png_():
            printed = {"image/png": base64.b64encode(picture).decode()}
        else:
            printed = {"text/markdown": "*Run this cell for the sliders. No setting of them is stored yet.*"}
        return printed | self.widget._repr_mimebundle_(**options)

    def experiment(self):
        """The experiment with the sliders' values. Raises BadKnob."""
        values = {name: s.value for name, s in self.sliders.items()}
        return self.cls(
            **self.fixed, **{k: round(v, 10) if isinstance(v, float) else v for k, v in values.items()}
        )  # 0.30000000000000004 is 0.3

    def _valid(self):
        """The experiment, or None after saying what is wrong with the knobs."""
        try:
            return self.experiment()
        except UserError as e:
            self.status.value = f"<b>{html.escape(str(e))}</b>"
            return None

    def answer(self) -> None:
        """Show what is stored for the present knobs, or say that nothing is, and what would be."""
        experiment = self._valid()
        if not experiment:
            return
        if not (self._thread and self._thread.is_alive()):
            self.status.value = self._said(experiment)
        self._draw()

    def _said(self, experiment) -> str:
        stored, takes = self._stored(experiment), times.read().get(self.cls.name, {}).get("seconds")
        live = "<b>Run</b> trains it here" + (f", in about {takes:.0f} s" if takes else "")
        if stored:
            return f"stored: {len(stored)} seed{'s, median and range' * (len(stored) > 1)}. {live}."
        if self.sweep is None:
            old = self.cls.name in sweeps.GRIDS and sweeps.GRIDS[self.cls.name].file.exists()
            return (
                "the stored runs are stale, made by other code (llmlab build sweeps makes them again). "
                if old
                else ""
            ) + f"{live}."
        if off := self.sweep.missing(experiment.settings()):
            values = ((k, getattr(experiment, k)) for k in off)
            return (
                f"not stored: {', '.join(k if isinstance(v, str) else f'{k} {v:g}' for k, v in values)}."
                f" {live}."
            )
        turned = [k for k, v in self.sweep.grid.default.items() if getattr(experiment, k) != v]
        return f"stored one at a time, not together: {', '.join(turned)}. {live}."

    def _stored(self, experiment) -> list:
        """The runs of this setting: from the sweep, else single ones that were shipped or made here
        before.
        """
        if self.model not in (None, experiment.default_model):
            return []
        swept = self.sweep.at(experiment.settings()) if self.sweep else []
        if not swept and experiment not in self._single:
            self._single[experiment] = [
                run for seed in range(SEEDS) if (run := runs.stored(experiment, seed))
            ]
        shown = {run.key for _, run in self.done}
        return swept or [run for run in self._single[experiment] if run.key not in shown]

    def compare(self) -> None:
        """Keep the present setting's stored runs, or the last finished run, in the picture."""
        experiment = self._valid()
        if not experiment:
            return
        shown = self._stored(experiment) or ([self.last] if self.last else [])
        if shown:
            name = f"kept: {self._label(experiment)}"
            self._kept = dict([*self._kept.items(), (self._label(experiment), self._answers())][-KEPT:])
            self.pinned = [p for p in self.pinned if p[0] != name][-KEPT + 1 :] + [(name, shown)]
        else:
            self.status.value = "nothing to keep yet: this setting is not stored; <b>Run</b> it first."
        self._draw()

    def start(self) -> None:
        """Train in the background with the present knobs."""
        if self._thread and self._thread.is_alive():
            return
        experiment = self._valid()
        if not experiment:
            return
        self._stop.clear()
        self.run_button.disabled, self.stop_button.disabled = True, False
        self.bar.value, self.bar.max = 0, getattr(experiment, "steps", 1)
        self.status.value = "loading the model …" + (
            " (this machine is busy with something else: it will take longer)" if _busy() else ""
        )
        self._thread = threading.Thread(target=self._work, args=(experiment, self.seed.value), daemon=True)
        self._thread.start()  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Ask the run to stop after its present step."""
        self._stop.set()
        self.status.value = "stopping …"

    def clear(self) -> None:
        """Take the finished runs and the kept settings out of the picture."""
        self.done, self.pinned, self._kept = [], [], {}
        self._draw()

    def reset(self) -> None:
        """Stop, put every slider back to its default and empty the picture."""
        self._stop.set()
        self.wait(10)
        self.done, self.pinned, self._kept, self.bar.value = [], [], {}, 0
        for k in self.cls.knobs():
            if k.name in self.sliders:
                self.sliders[k.name].value = k.default
        self.answer()

    def wait(self, timeout: float | None = None) -> None:
        """Block until the run has ended (for scripts and tests)."""
        if self._thread:
            self._thread.join(timeout)

    def _work(self, experiment, seed: int) -> None:
        live, began, drawn = Live(seed, experiment=self.cls.name), time.monotonic(), 0.0
        self._live = live

        def on_row(row):
            """Keep the row, and show it if it is time."""
            nonlocal drawn
            live.rows.append(row)
            now = time.monotonic()
            if now - drawn > REFRESH or len(live.rows) == 1:
                drawn = now
                self.bar.value = row["step"]
                self.status.value = _progress(row["step"], self.bar.max, now - began)
            if any(
                metric in row for metric in self.cls.curves
            ):  # a new picture only where there is something new to see
                self._draw()

        try:
            self.last = runs.run(
                experiment,
                seed,
                self.model or experiment.default_model,
                ask=True,
                on_row=on_row,
                stop=self._stop.is_set,
            )
            self.done = [*self.done, (f"{self._label(experiment)}, seed {seed}", self.last)][-KEPT:]
            self.bar.value = self.bar.max
            said = f"done in {time.monotonic() - began:.0f} s" + "".join(
                f"<br>{html.escape(n)}" for n in self.last.notes
            )
        except (UserError, runs.Interrupted) as e:
            said = f"<b>{html.escape(str(e))}</b>"
        finally:
            self._live = None
            self.run_button.disabled, self.stop_button.disabled = False, True
        self._draw()
        self.status.value = said

    def _label(self, experiment) -> str:
        named = {k.name: getattr(experiment, k.name) for k in self.cls.knobs()}
        changed = [
            k
            for k in self.cls.knobs()
            if named[k.name] != k.default or (self.sweep and k.name in self.sweep.grid.axes)
        ]
        return (
            ", ".join(
                (
                    f"{k.name} {named[k.name]:.3g}"
                    if isinstance(named[k.name], float)
                    else f"{k.name} {named[k.name]}"
                )
                for k in changed
            )
            or "default"
        )

    def _draw(self) -> None:
        with self._drawing:
            groups, steps = self._groups()
            self.picture.value = self._board.png(groups, steps=steps)
            if self._more is not None and self.more_curves.value:
                self.more_picture.value = self._more.png(groups, steps=steps)
            self.more_picture.layout.display = "" if self.more_curves.value else "none"
            experiment = self._valid()
            here = self._label(experiment) if experiment else ""
            sides = {n: s for n, s in (self._kept | {here: self._answers()}).items() if s}
            self.said.value = said.table(sides, sampled=len(sides) == 1)

    def _answers(self) -> list[dict]:
        """What the model of this setting says: of the last run if it is of this setting, else as it is
        stored.
        """
        experiment = self._valid()
        if experiment is None:
            return []
        settings = experiment.settings()
        last = next((run for _, run in self.done[::-1] if run.knobs == settings and run.samples), None)
        if last:
            return last.samples
        if self.sweep is not None and self.sweep.at(settings):
            return self._texts.get(texts.key(settings, self.sweep.grid), [])
        return next((run.samples for run in self._stored(experiment) if getattr(run, "samples", ())), [])

    def _groups(self) -> tuple[dict, int | None]:
        """Name -> runs that are in the picture, and the steps of the axis."""
        experiment, live = self._valid(), self._live
        stored = self._stored(experiment) if experiment else []
        groups = {label: shown for label, shown in self.pinned}
        groups |= {f"stored: {self._label(experiment)}": stored} if stored else {}
        groups |= {label: [run] for label, run in self.done} | (
            {f"running, seed {live.seed}": [live]} if live else {}
        )
        return groups, getattr(experiment, "steps", None)


def _progress(step: int, total: int, seconds: float) -> str:
    left = f", about {seconds / step * (total - step):.0f} s left" if step else ""
    return f"step {step} of {total}{left}"


def _busy() -> bool:
    """Is the machine loaded beyond its cores? Two PyTorch processes at once slow each other down up to
    twentyfold.
    """
    return os.getloadavg()[0] > (os.cpu_count() or 1) if hasattr(os, "getloadavg") else False
