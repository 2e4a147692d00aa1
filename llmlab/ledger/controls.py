"""Negative controls on the real results: what must not be found is not found, what was planted is."""

from collections import Counter

from . import CLAIMS, results, statistics
from .claims import Contrast


def same_arm(planted: float = 0.0, least_seeds: int = 10) -> dict[str, int]:
    """An A/A control: every reading of so many seeds against itself, its first half of the seeds against the
    second, judged as if it were a part that claims more; found -> how often. Nothing but `open` and `too
    small` is right. planted: so many smallest effects are added to one side; then it is `as claimed`.
    """
    found: Counter[str] = Counter()
    for c, values in _readings(least_seeds):
        half = len(values) // 2
        effects = [planted * c["least"] + a - b for a, b in zip(values[:half], values[half : 2 * half])]
        found[_judged(effects, c)] += 1
    return dict(found)


def _readings(least_seeds: int) -> list[tuple[dict, list[float]]]:
    """(contrast, value of every seed) of the counted readings that vary with the seed, each once."""
    found: dict[tuple, tuple[dict, list[float]]] = {}
    for stored in results.load().values():
        for c in (c for c in stored["contrasts"] if c["counts"]):
            for t in c["terms"]:
                if len(t["values"]) >= least_seeds and len(set(t["values"])) > 1:
                    found.setdefault((t["arm"], t["metric"], t["how"]), (c, t["values"]))
    return list(found.values())


def _judged(effects: list[float], c: dict) -> str:
    rule = Contrast(c["label"], (), "more", c["least"], c["unit"])
    return statistics.part(statistics.estimate(effects), rule)


def dead_knob(id: str) -> str:
    """What is said of a claim when its arms' curves are one and the same."""
    claim = CLAIMS[id]
    one = {s: metrics for (key, s), metrics in results.load_curves().items() if key == claim.arms[0].key}
    try:
        results.measured(
            claim, {(arm.key, s): metrics for arm in claim.arms for s, metrics in one.items()}, sorted(one)
        )
    except statistics.DeadKnob as e:
        return str(e)
    raise AssertionError("a dead knob was not noticed")


def altered() -> str:
    """What is said of the results when one of their digits is another."""
    raw = results.file().read_bytes()
    place = max(i for i, byte in enumerate(raw) if chr(byte).isdigit())
    try:
        results.read(raw[:place] + str((int(chr(raw[place])) + 1) % 10).encode() + raw[place + 1 :])
    except results.BadResults as e:
        return str(e).replace(str(results.file()), results.file().name)
    raise AssertionError("an altered number was not noticed")
