"""Figures: one style sheet, colour-blind safe, units on every axis, seeds as a band."""

import io
from pathlib import Path
from typing import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # Okabe and Ito
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.dpi": 110,
}


class Drawing(Figure):
    """A figure that is its own picture as the value of a notebook cell."""

    def _repr_png_(self) -> bytes:
        return png(self)


def panels(count: int, width: float = 3.1, height: float = 2.3):
    """A figure with `count` small panels in rows of at most three, and its axes."""
    columns = min(3, count)
    rows = -(-count // columns)
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(width * columns, height * rows))
        figure.subplots_adjust(
            0.05, 0.6 / (height * rows), 0.99, 1 - 0.5 / (height * rows), wspace=0.18, hspace=0.45
        )  # constrained layout takes half a second
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, list(axes[:count])


def curves(groups: dict[str, Sequence], metrics: dict[str, str], title: str = "", steps: int | None = None) -> Figure:
    """One panel a metric over training steps. A group is the runs of one setting: median line and, from two seeds on, the band from the lowest
    to the highest.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = panels(len(metrics))
        for axis, (metric, label) in zip(axes, metrics.items()):
            for colour, (name, runs) in zip(COLOURS, groups.items()):
                _draw(axis, [r.curve(metric) for r in runs], colour, name)
            axis.set_title(label)
            axis.set_xlabel("step")
            if "share" in label:
                axis.set_ylim(-0.03, 1.03)
            if steps:
                axis.set_xlim(0, steps)
        if any(groups):
            axes[0].legend(fontsize=8)
        if title:
            figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def line(values, x: str, y: str) -> Figure:
    """One line: values by their index, axes named with their units."""
    with matplotlib.rc_context(STYLE):
        figure, (axis,) = panels(1, width=5.0, height=2.8)
        figure.subplots_adjust(left=0.12)
        axis.plot(np.arange(1, len(values) + 1), np.asarray(values), color=COLOURS[0])
        axis.set(xlabel=x, ylabel=y)
    return figure


def _draw(axis, curves: list[dict[int, float]], colour: str, name: str) -> None:
    curves = [c for c in curves if c]
    if not curves:
        return
    steps = sorted(set.intersection(*(set(c) for c in curves)))
    values = np.array([[c[s] for s in steps] for c in curves])
    axis.plot(steps, np.median(values, 0), color=colour, label=name, marker="o" if len(steps) < 3 else None, markersize=3)
    if len(curves) > 1:
        axis.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes."""
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def of_run(run, metrics: dict[str, str], path: Path) -> Path:
    """The curves of one run, saved as PNG."""
    from . import paths

    knobs = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in list(run.knobs.items())[:5])
    shown = {m: label for m, label in metrics.items() if run.curve(m)}
    paths.write_atomic(path, png(curves({f"seed {run.seed}": [run]}, shown, title=f"{run.experiment} on {run.model}: {knobs}")))
    return path
