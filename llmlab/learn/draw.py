"""Figures and tables of the ledger's runs: curves over steps, means with intervals, and an effect over the
doses of a knob.
"""

from textwrap import fill
from typing import Sequence

import matplotlib

from ..lab import sweeps
from ..ledger import results
from ..ledger.claims import HOWS, Arm
from ..ledger.statistics import interval
from . import figures


def over_steps(arms: Sequence[Arm], metrics: dict[str, str], title: str = ""):
    """Curves of some arms, a panel a metric (metric -> label with unit): median over seeds and the band from
    the lowest to the highest.
    """
    stored = results.load_curves()
    groups = {
        a.label: [
            sweeps.Curves(seed, table, a.experiment)
            for (key, seed), table in sorted(stored.items())
            if key == a.key
        ]
        for a in arms
    }
    return figures.curves(groups, metrics, title)


def readings(arm: Arm, metric: str, how: str = "final") -> list[float]:
    """A reading (`claims.HOWS`) of every seed of an arm."""
    return [
        HOWS[how](table[metric])
        for (key, _), table in sorted(results.load_curves().items())
        if key == arm.key
    ]


def means(arms: dict[str, Arm], metrics: dict[str, str], how: str = "final", digits: int = 2):
    """A table of readings (`claims.HOWS`), a row an arm and a column a metric (metric -> label): mean over
    the seeds, 95 % t-interval. Its corner says so, with the number of seeds.
    """
    import pandas as pd

    stored, counts = results.load_curves(), set()

    def told(arm: Arm, metric: str) -> str:
        """Mean and interval in words."""
        values = [HOWS[how](table[metric]) for (key, _), table in sorted(stored.items()) if key == arm.key]
        counts.add(len(values))
        mean, half = interval(values)
        return f"{mean:.{digits}f} ± {half:.{digits}f}"

    table = pd.DataFrame(
        {label: {name: told(arm, metric) for name, arm in arms.items()} for metric, label in metrics.items()}
    )
    seeds = " to ".join(map(str, sorted({min(counts), max(counts)})))
    return table.rename_axis(columns=f"mean ± 95 % interval, {seeds} seeds")


def layers(arms: Sequence[Arm]):
    """Likeness of every layer to the base's (CKA), a panel an arm: 0 is the embedding, i what the i-th block
    puts out.
    """
    stored = results.load_curves()
    seeds = sorted(set.intersection(*({s for key, s in stored if key == a.key} for a in arms)))
    names = sorted({m for a in arms for m in stored[a.key, seeds[0]] if m.startswith("likeness.")})
    groups = {
        f"layer {name.split('.')[1]}": [
            sweeps.Curves(s, {a.label: stored[a.key, s][name] for a in arms}) for s in seeds
        ]
        for name in names
    }
    return figures.curves(groups, {a.label: f"{a.label}: likeness to the base (CKA)" for a in arms})


def turned(name: str, metrics: dict[str, str], without: Sequence[str] = ()):
    """What each knob does to the last reading, turned alone: a panel a metric, a row a value of the stored
    sweep `name`; `without` some knobs.

    Difference to the defaults, paired by seed: a dot a seed, mean and 95 % t-interval; below each panel
    stands what the defaults give.
    """
    runs = sweeps.need(name).turned()
    others = [value for value in list(runs)[1:] if value.split()[0] not in without]
    last = {
        (value, m): {c.seed: HOWS["final"](c.curve(m)) for c in found}
        for value, found in runs.items()
        for m in metrics
    }
    rows = range(len(others), 0, -1)
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.panels(len(metrics), width=3.4, height=1.1 + 0.22 * len(others))
        figure.subplots_adjust(left=0.2, wspace=0.1)
        for axis, (metric, label) in zip(axes, metrics.items()):
            start = last["defaults", metric]
            for row, value in zip(rows, others):
                effects = [reading - start[seed] for seed, reading in last[value, metric].items()]
                mean, half = interval(effects)
                axis.scatter(
                    effects, [row] * len(effects), s=9, color=figures.COLOURS[0], alpha=0.35, linewidths=0
                )
                axis.errorbar(
                    mean, row, xerr=half, color=figures.COLOURS[0], marker="o", markersize=4, capsize=3
                )
            axis.axvline(0, color="black", linewidth=0.8)
            axis.set(
                title=fill(label, 32),
                xlabel=f"difference to the defaults ({interval(list(start.values()))[0]:.2f})",
            )
            axis.set_yticks(list(rows), others if axis is axes[0] else [""] * len(others))
    return figure


def dose(arms: Sequence[Arm], knob: str, metrics: dict[str, str], unit: str = "share", how: str = "final"):
    """A reading (`claims.HOWS`) over the values of a knob, a panel a metric: a dot a seed, mean and 95 %
    t-interval.
    """
    stored = results.load_curves()
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.panels(len(metrics))
        for axis, (metric, label) in zip(axes, metrics.items()):
            points = [
                (
                    a.value(knob),
                    [HOWS[how](t[metric]) for (key, _), t in sorted(stored.items()) if key == a.key],
                )
                for a in arms
            ]
            for x, values in points:
                axis.scatter(
                    [x] * len(values), values, s=9, color=figures.COLOURS[0], alpha=0.35, linewidths=0
                )
            means, halves = zip(*(interval(values) for _, values in points))
            axis.errorbar(
                [x for x, _ in points],
                means,
                halves,
                color=figures.COLOURS[0],
                marker="o",
                markersize=4,
                capsize=3,
            )
            axis.set(title=label, xlabel=f"{knob} ({unit})")
            if 0 < 20 * min(x for x, _ in points) < max(x for x, _ in points):
                axis.set_xscale("log")
    return figure


def rates(panels: dict[str, dict[str, dict[str, float]]]):
    """What arms reached at each learning rate that was tried: a panel a task (title with unit -> arm -> rate
    -> reading), a line an arm, a ring at its best rate.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.panels(len(panels), head=0.5 + figures.above(names))
        for axis, (title, lines) in zip(axes, panels.items()):
            for name, row in lines.items():
                colour, dashes = figures.LOOKS[names.index(name)]
                points = sorted((float(lr), value) for lr, value in row.items())
                axis.plot(*zip(*points), color=colour, linestyle=dashes, marker="o", markersize=3)
                axis.plot(*max(points, key=lambda p: p[1]), "o", color=colour, fillstyle="none", markersize=9)
            axis.set(title=title, xlabel="learning rate (log scale)", xscale="log")
        figures.legend(figure, names)
    return figure
