"""Figures and tables of the ledger's runs: curves over steps, means with intervals, and an effect over the doses of a knob."""

from typing import Sequence

import matplotlib

from .. import figures, sweeps
from . import results
from .claims import HOWS, Arm
from .statistics import interval


def over_steps(arms: Sequence[Arm], metrics: dict[str, str], title: str = ""):
    """Curves of some arms, a panel a metric (metric -> label with unit): median over seeds and the band from the lowest to the highest."""
    stored = results.load_curves()
    groups = {a.label: [sweeps.Curves(seed, table) for (key, seed), table in sorted(stored.items()) if key == a.key] for a in arms}
    return figures.curves(groups, metrics, title)


def readings(arm: Arm, metric: str, how: str = "final") -> list[float]:
    """A reading (`claims.HOWS`) of every seed of an arm."""
    return [HOWS[how](table[metric]) for (key, _), table in sorted(results.load_curves().items()) if key == arm.key]


def means(arms: dict[str, Arm], metrics: dict[str, str], how: str = "final"):
    """A table of readings (`claims.HOWS`), a row an arm and a column a metric (metric -> label): mean over the seeds, 95 % t-interval."""
    import pandas as pd

    stored = results.load_curves()

    def told(arm: Arm, metric: str) -> str:
        mean, half = interval([HOWS[how](table[metric]) for (key, _), table in sorted(stored.items()) if key == arm.key])
        return f"{mean:.2f} ± {half:.2f}"

    return pd.DataFrame({label: {name: told(arm, metric) for name, arm in arms.items()} for metric, label in metrics.items()})


def layers(arms: Sequence[Arm]):
    """Likeness of every layer to the base's (CKA), a panel an arm: 0 is the embedding, i what the i-th block puts out."""
    stored = results.load_curves()
    seeds = sorted(set.intersection(*({s for key, s in stored if key == a.key} for a in arms)))
    names = sorted({m for a in arms for m in stored[a.key, seeds[0]] if m.startswith("likeness.")})
    groups = {f"layer {name.split('.')[1]}": [sweeps.Curves(s, {a.label: stored[a.key, s][name] for a in arms}) for s in seeds] for name in names}
    return figures.curves(groups, {a.label: f"{a.label}: likeness to the base (CKA)" for a in arms})


def dose(arms: Sequence[Arm], knob: str, metrics: dict[str, str], unit: str = "share", how: str = "final"):
    """A reading (`claims.HOWS`) over the values of a knob, a panel a metric: a dot a seed, mean and 95 % t-interval."""
    stored = results.load_curves()
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.panels(len(metrics))
        for axis, (metric, label) in zip(axes, metrics.items()):
            points = [(a.value(knob), [HOWS[how](t[metric]) for (key, _), t in sorted(stored.items()) if key == a.key]) for a in arms]
            for x, values in points:
                axis.scatter([x] * len(values), values, s=9, color=figures.COLOURS[0], alpha=0.35, linewidths=0)
            means, halves = zip(*(interval(values) for _, values in points))
            axis.errorbar([x for x, _ in points], means, halves, color=figures.COLOURS[0], marker="o", markersize=4, capsize=3)
            axis.set(title=label, xlabel=f"{knob} ({unit})")
            if 0 < 20 * min(x for x, _ in points) < max(x for x, _ in points):
                axis.set_xscale("log")
    return figure
