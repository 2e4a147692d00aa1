"""Negative controls on the real results: what must not be found is not found, what was planted is."""

from . import CLAIMS, results, statistics
from .claims import Contrast


def same_arm(id: str) -> dict[str, int]:
    """An A/A control: every arm of the claim against itself, its first seeds against its next ones, judged
    as if it were a part that claims more; found -> how often. Nothing but `open` and `too small` is right.
    """
    found: dict[str, int] = {}
    for c in results.load()[id]["contrasts"]:
        for term in c["terms"]:
            values = term["values"]
            half = len(values) // 2
            effects = [a - b for a, b in zip(values[:half], values[half : 2 * half])]
            said = _judged(effects, c)
            found[said] = found.get(said, 0) + 1
    return found


def planted(id: str, size: float) -> dict[str, int]:
    """The same, after `size` smallest effects were added to one side: `as claimed` is what must be found."""
    found: dict[str, int] = {}
    for c in results.load()[id]["contrasts"]:
        for term in c["terms"]:
            values = term["values"]
            half = len(values) // 2
            effects = [size * c["least"] + a - b for a, b in zip(values[:half], values[half : 2 * half])]
            said = _judged(effects, c)
            found[said] = found.get(said, 0) + 1
    return found


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
