"""What the notebooks' cells call: show the source that a chapter has just built by hand, and the references
it cites.
"""

import inspect
import re
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Sequence

from .. import paths
from ..errors import UserError


class Source:
    """Source code as the value of a cell."""

    def __init__(self, code: str):
        self.code = code

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.code}```"

    def __repr__(self) -> str:
        return self.code


def show(*things) -> Source:
    """The source of functions or classes, as they stand in the package."""
    return Source("\n\n".join(inspect.getsource(t) for t in things))


@dataclass(frozen=True)
class Effect:
    """A mean difference and half the width of its 95 % interval."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.half:.2f}"


def paired(before: Sequence[float], after: Sequence[float]) -> Effect:
    """Mean of after − before, seed by seed, with its 95 % t-interval: mean ± t(0.975, n − 1) · s / √n."""
    from ..ledger.statistics import interval

    return Effect(*interval([b - a for a, b in zip(before, after, strict=True)]))


def ends(experiment: str, settings: dict[str, dict], names: dict[str, str]) -> Any:
    """Last readings of a stored sweep, means over the seeds, as a table. settings: row -> knobs that differ
    from the defaults; names: metric -> column. Raises UserError where the sweep is missing.
    """
    import pandas as pd

    from ..lab import registry, sweeps

    swept, cls = sweeps.need(experiment), registry.get(experiment)
    stored = {row: swept.at(cls(**knobs).settings()) for row, knobs in settings.items()}
    last = {
        row: {name: fmean([*run.curve(m).values()][-1] for run in found) for m, name in names.items()}
        for row, found in stored.items()
    }
    return pd.DataFrame(last).T.round(2)


class NoReference(UserError):
    """A key that data/references.bib does not have."""


class References:
    """References as the value of a cell."""

    def __init__(self, entries: list[dict[str, str]]):
        self.entries = entries

    def __repr__(self) -> str:
        return "\n".join(_cited(e) for e in self.entries)

    def _repr_markdown_(self) -> str:
        return "\n".join(f"- {_cited(e)}" for e in self.entries)


def references(*keys: str) -> References:
    """The entries of data/references.bib with these keys, in this order. Raises NoReference."""
    known = bibliography()
    missing = [k for k in keys if k not in known]
    if missing:
        raise NoReference(f"data/references.bib has no entry '{missing[0]}'; add it, or correct the key")
    return References([known[k] for k in keys])


def bibliography() -> dict[str, dict[str, str]]:
    """key -> fields, of data/references.bib (one `field = {value}` after another, no nested entries)."""
    text = (paths.data() / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"@(\w+)\{([\w-]+),(.*?)\n\}", text, re.DOTALL)
    return {
        key: {"key": key, "kind": kind} | dict(re.findall(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}", body))
        for kind, key, body in entries
    }


def _cited(entry: dict[str, str]) -> str:
    """Names, year, title and where to find it."""
    names = [" ".join(reversed([p.strip() for p in a.split(",")])) for a in entry["author"].split(" and ")]
    who = ", ".join(n for n in names if n != "others") + (" et al." if "others" in names else "")
    where = [f"arXiv {entry['eprint']}"] if "eprint" in entry else []
    where += [entry[k] for k in ("booktitle", "note") if k in entry]
    return f"{who} ({entry['year']}): {re.sub(r'[{}]', '', entry['title'])}. {'; '.join(where)}"
