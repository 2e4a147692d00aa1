"""Figures: one style sheet, colour-blind safe, units on every axis, seeds as a band."""

import io
from pathlib import Path
from typing import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from .axis import along, curve_of

DASHES = [
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
]  # lie on one another
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # Okabe and Ito
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "lines.linewidth": 1.8,
    "legend.edgecolor": "none",
    "figure.dpi": 110,
}


LOOKS = list(zip(COLOURS, DASHES))
ROW, COLUMNS = 0.18, 2  # inches of a line of the legend, and its columns
EARLY = ("cpt",)  # experiments whose effect lies in the first steps: the V of the stability gap
TICKS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # steps that a root axis may name
APART = 0.08  # of its length: the least distance of two ticks


class Drawing(Figure):
    """A figure that is its own picture as the value of a notebook cell."""

    def _repr_png_(self) -> bytes:
        return png(self)


def panels(count: int, width: float = 3.1, height: float = 2.3, head: float = 0.5, foot: float = 0.6):
    """A figure with `count` small panels in rows of at most three, and its axes; `head` and `foot`: inches
    for a title and below the panels.
    """
    columns = min(3, count)
    rows = -(-count // columns)
    tall = height * rows + foot - 0.6 + head - 0.5
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(width * columns, tall))
        # constrained layout takes half a second
        figure.subplots_adjust(
            0.47 / (width * columns), foot / tall, 0.99, 1 - head / tall, wspace=0.18, hspace=0.45
        )
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, list(axes[:count])


def curves(
    groups: dict[str, Sequence],
    metrics: dict[str, str],
    title: str = "",
    steps: int | None = None,
    early: bool = False,
) -> Figure:
    """One panel a metric over training steps. A group is the runs of one setting: median line and, from two
    seeds on, the band from the lowest to the highest. early: give the first steps room (see `stretch`).
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = panels(len(metrics), head=0.5 + above(groups))
        for axis, (metric, label) in zip(axes, metrics.items()):
            for look, (name, runs) in zip(LOOKS, groups.items()):
                _draw(axis, [curve_of(r, metric) for r in runs], look, name)
            axis.set_title(label)
            axis.set_xlabel(along(groups))
            if "share" in label:
                axis.set_ylim(-0.03, 1.03)
            if steps:
                axis.set_xlim(0, steps)
            if early:
                stretch(axis, label, steps or int(axis.dataLim.x1))
        legend(figure, groups, 0.25 if title else 0.0)
        if title:
            figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def stretch(axis, label: str, steps: int, apart: float = APART) -> None:
    """Show the first steps as large as the effect in them: steps by their root, losses by their logarithm,
    so that a fall of seven nats does not flatten a rise of a tenth. apart: see APART.
    """
    axis.set_xscale("function", functions=(_root, np.square))
    axis.set_xlim(0, 1.02 * max(steps, 1))
    axis.set_xlabel("step (root scale)")
    axis.xaxis.set_major_locator(FixedLocator(_ticks(max(steps, 1), apart)))
    if label.startswith("loss") and _lowest(axis) > 0:
        axis.set_yscale("log")
        _tell_logs(axis)


def _lowest(axis) -> float:
    """The least value that is drawn; of an empty axis, where it begins."""
    return axis.dataLim.y0 if axis.has_data() else axis.get_ylim()[0]


def _tell_logs(axis) -> None:
    """Ticks of a log axis as plain numbers: 1, 2, 5 where it is long, even ones where it is short."""
    low, high = axis.get_ylim()
    few = low <= 0 or high / low < 6
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]) if few else LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_locator(FixedLocator([]))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _root(steps):
    """Root of steps, of which none is below 0."""
    return np.sqrt(np.maximum(steps, 0))


def _ticks(steps: int, apart: float) -> list[int]:
    """Steps to be named on a root axis: 0, the last, and of TICKS what leaves each other room."""
    kept = [0]
    for tick in TICKS:
        place = (tick / steps) ** 0.5
        if place - (kept[-1] / steps) ** 0.5 >= apart and place <= 1 - apart:
            kept.append(tick)
    return [*kept, steps]


def above(names: Sequence[str] | dict) -> float:
    """Inches that the legend takes above the panels, where it lies on no data."""
    return ROW * -(-len(names) // COLUMNS) if any(names) else 0.0


def legend(figure: Figure, names: Sequence[str] | dict, down: float = 0.0):
    """The groups' names in their colours and dashes, at the top of the figure (`down` inches from its edge);
    None where none has a name.
    """
    lines = [Line2D([], [], color=c, linestyle=d, label=name) for (c, d), name in zip(LOOKS, names)]
    if not any(names):
        return None
    top = 1 - down / figure.get_size_inches()[1]
    return figure.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(0, top),
        ncols=COLUMNS,
        fontsize=8,
        borderaxespad=0.2,
        handlelength=3,
    )


def against(
    groups: dict[str, Sequence], x: tuple[str, str], metrics: dict[str, str], title: str = ""
) -> Figure:
    """One panel a metric over another one, x = (metric, label): each run's path (faint) and the medians over
    the runs, step by step.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = panels(len(metrics), head=0.5 + above(groups))
        for axis, (metric, label) in zip(axes, metrics.items()):
            for (colour, dashes), (name, runs) in zip(LOOKS, groups.items()):
                paths = [_path(run.curve(x[0]), run.curve(metric)) for run in runs]
                for path in paths if len(paths) > 1 else ():
                    axis.plot(*path, color=colour, alpha=0.25, linewidth=0.8)
                axis.plot(
                    *np.median(paths, 0),
                    color=colour,
                    linestyle=dashes,
                    label=name,
                    marker="o",
                    markersize=2.5,
                )
            axis.set(title=label, xlabel=x[1])
        legend(figure, groups, 0.25 if title else 0.0)
        if title:
            figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _path(over: dict[int, float], values: dict[int, float]) -> np.ndarray:
    """Both metrics at the steps where both were read. [2, n]"""
    steps = sorted(over.keys() & values.keys())
    return np.array([[over[s] for s in steps], [values[s] for s in steps]])


def line(values, x: str, y: str) -> Figure:
    """One line: values by their index, axes named with their units."""
    with matplotlib.rc_context(STYLE):
        figure, (axis,) = panels(1, width=5.0, height=2.8)
        figure.subplots_adjust(left=0.12)
        axis.plot(np.arange(1, len(values) + 1), np.asarray(values), color=COLOURS[0])
        axis.set(xlabel=x, ylabel=y)
    return figure


def _draw(axis, curves: list[dict[int, float]], look: tuple, name: str) -> list:
    """Median line and band; where there are only two readings, no band between them that would look like a
    course, but a bar at each. What was drawn.
    """
    colour, dashes = look
    curves = [c for c in curves if c]
    if not curves:
        return []
    steps = sorted(set.intersection(*(set(c) for c in curves)))
    values = np.array([[c[s] for s in steps] for c in curves])
    few = len(steps) < 3
    drawn = axis.plot(
        steps,
        np.median(values, 0),
        color=colour,
        linestyle=dashes,
        linewidth=1.0 if few else None,
        label=name,
        marker="o" if few else None,
        markersize=4,
    )
    if len(curves) > 1:
        ends, look = (values.min(0), values.max(0)), dict(color=colour, alpha=0.45 if few else 0.18)
        drawn.append(
            axis.vlines(steps, *ends, linewidth=3, **look)
            if few
            else axis.fill_between(steps, *ends, linewidth=0, **look)
        )
    return drawn


class Board:
    """The same panels as `curves`, kept ready for a slider: axes and texts are drawn once for a range, and
    only the lines anew.

    The range grows with what is shown and never shrinks, so that two settings are seen on one scale. early:
    give the first steps room (see `stretch`).
    """

    def __init__(
        self, metrics: dict[str, str], runs: Sequence = (), early: bool = False, along: str = "step"
    ):
        self.metrics, self.steps, self.early = metrics, 1, early
        self.limits = {m: (-0.03, 1.03) for m, label in metrics.items() if "share" in label}
        self.figure, self.axes = panels(len(metrics), head=0.3 + 4 * ROW)
        self.canvas, self._empty = FigureCanvasAgg(self.figure), None
        with matplotlib.rc_context(STYLE):
            for axis, label in zip(self.axes, metrics.values()):
                axis.set(title=label, xlabel=along)
        self._fit(runs)

    def png(self, groups: dict[str, Sequence], steps: int | None = None) -> bytes:
        """The picture of these groups (see `curves`) as PNG bytes."""
        self._fit([r for runs in groups.values() for r in runs], steps)
        if self._empty is None:
            self.canvas.draw()
            self._empty = self.canvas.copy_from_bbox(self.figure.bbox)
        self.canvas.restore_region(self._empty)
        with matplotlib.rc_context(STYLE):
            for look, (name, runs) in zip(LOOKS, groups.items()):
                for axis, metric in zip(self.axes, self.metrics):
                    for artist in _draw(axis, [curve_of(r, metric) for r in runs], look, name):
                        axis.draw_artist(artist)
                        artist.remove()
            self._legend(list(groups))
        return self._encoded()

    def _fit(self, runs: Sequence, steps: int | None = None) -> None:
        """Widen the ranges to what is to be shown; a wider one needs the axes drawn again."""
        before = self.steps, dict(self.limits)
        for metric in self.metrics:
            values = [v for r in runs for v in curve_of(r, metric).values()]
            if values:
                low, high = min(values), max(values)
                below, beyond = self._edges(metric, low, high)
                old = self.limits.get(metric, (below, beyond))
                if low < old[0] or high > old[1] or metric not in self.limits:
                    self.limits[metric] = (min(old[0], below), max(old[1], beyond))
        self.steps = max(
            [self.steps, steps or 1, *(s for r in runs for m in list(self.metrics)[:1] for s in r.curve(m))]
        )
        if before != (self.steps, self.limits) or self._empty is None:
            self._empty = None
            for axis, metric in zip(self.axes, self.metrics):
                axis.set_xlim(-0.02 * self.steps, 1.02 * self.steps)
                axis.set_yscale("linear")
                if metric in self.limits and self.limits[metric][0] < self.limits[metric][1]:
                    axis.set_ylim(*self.limits[metric])
                if self.early:
                    stretch(axis, self.metrics[metric], self.steps)

    def _edges(self, metric: str, low: float, high: float) -> tuple[float, float]:
        """The range with a margin: a share of its length, or of its ratio where the axis is a log one."""
        if self.early and self.metrics[metric].startswith("loss") and low > 0:
            edge = (high / low) ** 0.04
            return low / edge, high * edge
        edge = 0.04 * (high - low)
        return low - edge, high + edge

    def _legend(self, names: list[str]) -> None:
        if drawn := legend(self.figure, names):
            self.figure.draw_artist(drawn)
            drawn.remove()

    def _encoded(self) -> bytes:
        from PIL import Image

        out = io.BytesIO()
        image = Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")
        image.save(out, "PNG", compress_level=1)
        return out.getvalue()


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes."""
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def of_run(run, metrics: dict[str, str], path: Path, turned: dict[str, object]) -> Path:
    """The curves of one run, saved as PNG; its title names the knobs that were turned."""
    from .. import paths

    knobs = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in turned.items())
    shown = {m: label for m, label in metrics.items() if run.curve(m)}
    title = f"{run.experiment} on {run.model}: {knobs or 'all knobs at their defaults'}"
    paths.write_atomic(path, png(curves({f"seed {run.seed}": [run]}, shown, title=title)))
    return path
