"""Negative controls on the real results: what must not be found is not found."""

import copy
import random
from collections import Counter

from . import CLAIMS, results, statistics


def shuffled(id: str, times: int = 100, seed: int = 0) -> dict[str, int]:
    """Verdicts of a claim whose runs are dealt to its arms at random, each time with the whole ledger judged
    again; verdict -> how often.
    """
    records, r, found = results.load(), random.Random(seed), Counter()
    for _ in range(times):
        dealt = copy.deepcopy(records)
        for contrast in dealt[id]["contrasts"]:
            values = [v for term in contrast["terms"] for v in term["values"]]
            r.shuffle(values)
            n = len(contrast["effects"])
            columns = [values[i : i + n] for i in range(0, len(values), n)]
            contrast["effects"] = [
                sum(t["weight"] * v for t, v in zip(contrast["terms"], row)) for row in zip(*columns)
            ]
        results.judge(dealt)
        found[dealt[id]["verdict"]] += 1
    return dict(found.most_common())


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
