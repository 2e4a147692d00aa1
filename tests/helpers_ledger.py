"""A ledger of made-up results that today's code takes for current: curves for all arms, records judged as
real ones are.
"""

import random
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from llmlab import paths
from llmlab.ledger import CLAIMS, results

STEPS = (*range(0, 50, 10), 100, 140, 150)
NOISE = {"same": 0.15, "more": 0.2, "less": 0.2}  # of the smallest effect of interest


@contextmanager
def claims_are(*claims):
    """Meanwhile the ledger has these claims and no others; afterwards its own, in their order (undoing
    deletions one by one would turn it round).
    """
    before = dict(CLAIMS)
    CLAIMS.clear()
    CLAIMS.update({c.id: c for c in claims})
    try:
        yield
    finally:
        CLAIMS.clear()
        CLAIMS.update(before)


def data_folder(folder: Path) -> Path:
    """All that is shipped, but no ledger."""
    folder.mkdir(parents=True)
    for shipped in paths.data().iterdir():
        if shipped.name != "ledger":
            (folder / shipped.name).symlink_to(shipped)
    return folder


def made_up(claims) -> tuple[dict[str, dict], results.Curves]:
    """Records and curves: each contrast's first reading lies some multiple of the smallest effect beside the
    second, plus noise by seed. Claims of two parts with a knob come out mixed: one part far on each side.
    """
    r, curves = random.Random(0), {}
    for claim in claims:
        mixed = claim.knob and len(claim.contrasts) == 2
        for i, c in enumerate((*claim.contrasts, *claim.guards)):
            far = r.choice((-3, -0.5, 0.2, 0.9, 1.5, 4, 12, 25))
            if mixed:
                far = 25 if (c.direction == "more") == (i == 0) else -25
            shift = c.least * far * (0.1 if c.direction == "same" else 1)
            for term in c.terms:
                _curve(
                    curves, claim, term, shift if term.weight > 0 else 0.0, c.least * NOISE[c.direction], r
                )
    records = {c.id: record(c, curves) for c in claims}
    return records, curves


def _curve(curves, claim, term, shift: float, noise: float, r: random.Random) -> None:
    for seed in range(claim.seeds):
        read = curves.setdefault((term.arm.key, seed), {})
        if term.metric not in read:
            rise = shift + r.gauss(0, noise)
            read[term.metric] = {s: 0.5 + rise * min(1, s / 100) + r.gauss(0, noise / 20) for s in STEPS}
        if term.at:  # read where another metric comes by a value: it does so half-way
            metric, value = term.at
            read[metric] = {s: value + 1 - s / 75 for s in STEPS}


def record(claim, curves) -> dict:
    """What is stored of a claim; checks are taken as passed."""
    if claim.contrasts:
        return results.measured(claim, curves, range(claim.seeds))
    if claim.check is None:
        return results.untestable(claim)
    found = lambda: "checked: all of it"
    found.__name__, found.__module__ = claim.check.__name__, claim.check.__module__
    return results.checked(replace(claim, check=found))


def stored(folder: Path, claims=None) -> Path:
    """A data folder with made-up results of these claims (all of them by default)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMLAB_DATA", str(data_folder(folder)))
        results.save(*made_up(list(CLAIMS.values()) if claims is None else claims))
    return folder
