"""What the steps of runs count, and which of them a metric has."""

from typing import Sequence

from ..lab import registry


def curve_of(run, metric: str) -> dict[int, float]:
    """step -> value, without step 0 for what is read of the steps since the last reading."""
    name = getattr(run, "experiment", "")
    later = name in registry.NAMES and metric in registry.get(name).later
    return {step: value for step, value in run.curve(metric).items() if step or not later}


def along(groups: dict[str, Sequence]) -> str:
    """What the steps of these runs count."""
    names = dict.fromkeys(getattr(r, "experiment", "") for runs in groups.values() for r in runs)
    counted = [registry.get(n).along for n in names if n in registry.NAMES]
    return " or ".join(dict.fromkeys(counted)) or "step"
