"""Figures of the ledger's runs: curves over steps, and an effect over the doses of a knob."""

import math
from typing import Sequence

import matplotlib
from scipy import stats

from .. import figures, sweeps
from . import results
from .claims import HOWS, Arm


def over_steps(arms: Sequence[Arm], metrics: dict[str, str], title: str = ""):
    """Curves of some arms, a panel a metric (metric -> label with unit): median over seeds and the band from the lowest to the highest."""
    stored = results.load_curves()
    groups = {a.label: [sweeps.Curves(seed, table) for (key, seed), table in sorted(stored.items()) if key == a.key] for a in arms}
    return figures.curves(groups, metrics, title)


def dose(arms: Sequence[Arm], knob: str, metrics: dict[str, str], unit: str = "share", how: str = "final"):
    """A reading (`claims.HOWS`) over the values of a knob, a panel a metric: a dot a seed, mean and 95 % t-interval."""
    stored = results.load_curves()
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.panels(len(metrics))
        for axis, (metric, label) in zip(axes, metrics.items()):
            points = [(a.value(knob), [HOWS[how](t[metric]) for (key, _), t in sorted(stored.items()) if key == a.key]) for a in arms]
            for x, values in points:
                axis.scatter([x] * len(values), values, s=9, color=figures.COLOURS[0], alpha=0.35, linewidths=0)
            means, halves = zip(*(_interval(values) for _, values in points))
            axis.errorbar([x for x, _ in points], means, halves, color=figures.COLOURS[0], marker="o", markersize=4, capsize=3)
            axis.set(title=label, xlabel=f"{knob} ({unit})")
    return figure


def _interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % t-interval."""
    mean = sum(values) / len(values)
    return mean, float(stats.t.ppf(0.975, len(values) - 1)) * stats.tstd(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
