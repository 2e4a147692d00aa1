"""Panel: sliders from an experiment's knobs, Run, Stop, live curves. Training runs in a background thread; the cell has long returned."""

import os
import threading
import time
from dataclasses import dataclass, field

import ipywidgets as w

from .. import experiments, figures, runs
from ..errors import UserError

REFRESH = 0.3  # seconds between two readings of the progress


def slider(knob) -> w.Widget:
    """A widget for a knob: menu, whole-number, logarithmic or plain slider, with the knob's help as tooltip."""
    common = dict(description=knob.name, tooltip=f"{knob.help} [{knob.range}]", style={"description_width": "90px"}, layout=w.Layout(width="340px"))
    if knob.choices:
        return w.Dropdown(options=list(knob.choices), value=knob.default, **common)
    if knob.scale == "log":
        from math import log10

        return w.FloatLogSlider(
            value=knob.default, base=10, min=log10(knob.low), max=log10(knob.high), step=0.05, readout_format=".1e", continuous_update=False, **common
        )
    if knob.kind is int:
        return w.IntSlider(value=knob.default, min=knob.low, max=knob.high, continuous_update=False, **common)
    return w.FloatSlider(
        value=knob.default, min=knob.low, max=knob.high, step=(knob.high - knob.low) / 90, readout_format=".2f", continuous_update=False, **common
    )


@dataclass
class Live:
    """The rows of a run in progress, in the shape that figures read."""

    seed: int
    rows: list[dict] = field(default_factory=list)

    def curve(self, metric: str) -> dict[int, float]:
        """step -> value so far."""
        return {r["step"]: r[metric] for r in list(self.rows) if metric in r}


class Panel:
    """The panel of one experiment. `show`: which knobs get a slider (all by default); `fixed`: values of the others.

    Press Run to train, Stop to stop (the next Run with the same knobs goes on from the last checkpoint). Finished runs stay in the picture,
    up to three,
    so that two settings can be compared. `last` is the last finished Run.
    """

    def __init__(self, name: str, show: list[str] | None = None, model: str | None = None, seed: int = 0, **fixed):
        self.cls = experiments.get(name)
        self.model, self.fixed = model or self.cls.default_model, fixed
        wanted = [k for k in self.cls.knobs() if show is None or k.name in show]
        self.sliders = {k.name: slider(k) for k in wanted}
        self.seed = w.BoundedIntText(
            value=seed, min=0, max=9999, description="seed", style={"description_width": "90px"}, layout=w.Layout(width="180px")
        )
        self.run_button = w.Button(description="Run", button_style="primary", icon="play")
        self.stop_button = w.Button(description="Stop", icon="stop", disabled=True)
        self.clear_button = w.Button(description="Clear", icon="eraser")
        self.bar = w.IntProgress(value=0, min=0, max=1, layout=w.Layout(width="220px"))
        self.status, self.picture = w.HTML(), w.Image(format="png", layout=w.Layout(max_width="100%"))
        self.done: list[tuple[str, runs.Run]] = []
        self.last: runs.Run | None = None
        self._stop, self._thread = threading.Event(), None
        self.run_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.clear_button.on_click(lambda _: self.clear())
        self._draw()
        buttons = w.HBox([self.run_button, self.stop_button, self.clear_button, self.seed])
        self.widget = w.VBox(
            [w.HBox(list(self.sliders.values()), layout=w.Layout(flex_flow="row wrap")), buttons, w.HBox([self.bar, self.status]), self.picture]
        )

    def _repr_mimebundle_(self, **options):
        return self.widget._repr_mimebundle_(**options)

    def experiment(self):
        """The experiment with the sliders' values. Raises BadKnob."""
        return self.cls(**self.fixed, **{name: s.value for name, s in self.sliders.items()})

    def start(self) -> None:
        """Train in the background with the present knobs."""
        if self._thread and self._thread.is_alive():
            return
        try:
            experiment = self.experiment()
        except UserError as e:
            self.status.value = f"<b>{e}</b>"
            return
        self._stop.clear()
        self.run_button.disabled, self.stop_button.disabled = True, False
        self.bar.value, self.bar.max = 0, getattr(experiment, "steps", 1)
        self.status.value = "loading the model …" + (" (this machine is busy with something else: it will take longer)" if _busy() else "")
        self._thread = threading.Thread(target=self._work, args=(experiment, self.seed.value), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the run to stop after its present step."""
        self._stop.set()
        self.status.value = "stopping …"

    def clear(self) -> None:
        """Take the finished runs out of the picture."""
        self.done = []
        self._draw()

    def wait(self, timeout: float | None = None) -> None:
        """Block until the run has ended (for scripts and tests)."""
        if self._thread:
            self._thread.join(timeout)

    def _work(self, experiment, seed: int) -> None:
        live, began, drawn = Live(seed), time.monotonic(), 0.0

        def on_row(row):
            nonlocal drawn
            live.rows.append(row)
            now = time.monotonic()
            if now - drawn > REFRESH or len(live.rows) == 1:
                drawn = now
                self.bar.value = row["step"]
                self.status.value = _progress(row["step"], self.bar.max, now - began)
            if any(
                metric in row for metric in self.cls.curves
            ):  # a new picture only where there is something new to see: drawing costs training time
                self._draw(live)

        try:
            self.last = runs.run(experiment, seed, self.model, on_row=on_row, stop=self._stop.is_set)
            self.done = [*self.done, (self._label(experiment, seed), self.last)][-3:]
            self.bar.value = self.bar.max
            self.status.value = f"done in {self.last.seconds:.0f} s" + "".join(f"<br>{n}" for n in self.last.notes)
            self._draw()
        except (UserError, runs.Interrupted) as e:
            self.status.value = f"<b>{e}</b>"
        finally:
            self.run_button.disabled, self.stop_button.disabled = False, True

    def _label(self, experiment, seed: int) -> str:
        changed = [
            f"{k.name} {getattr(experiment, k.name):.3g}" if isinstance(k.default, float) else f"{k.name} {getattr(experiment, k.name)}"
            for k in self.cls.knobs()
            if getattr(experiment, k.name) != k.default
        ]
        return (", ".join(changed) or "default") + f", seed {seed}"

    def _draw(self, live: Live | None = None) -> None:
        groups = {label: [run] for label, run in self.done} | ({"running": [live]} if live else {})
        self.picture.value = figures.png(figures.curves(groups, self.cls.curves, steps=self.bar.max if live else None))


def _progress(step: int, total: int, seconds: float) -> str:
    left = f", about {seconds / step * (total - step):.0f} s left" if step else ""
    return f"step {step} of {total}{left}"


def _busy() -> bool:
    """Is the machine loaded beyond its cores? Two PyTorch processes at once slow each other down up to twentyfold."""
    return os.getloadavg()[0] > (os.cpu_count() or 1) if hasattr(os, "getloadavg") else False
