"""The ledger as a reader sees it: a row a claim, its verdict, and its effects with their intervals."""

from collections import Counter
from dataclasses import dataclass
from html import escape

from ..errors import UserError
from . import CLAIMS, results
from .claims import Claim
from .statistics import VERDICTS

SIGNS = {
    "supported": "✓",
    "refuted": "✗",
    "conditional": "±",
    "inconclusive": "?",
    "exact": "=",
    "untestable": "–",
}
OPEN = ("stale", "not run")  # states beside the verdicts


@dataclass(frozen=True)
class Row:
    """A claim with what is stored of it."""

    claim: Claim
    record: dict | None

    @property
    def current(self) -> bool:
        """Was the record made from today's declaration, code and checkpoints?"""
        return results.is_current(self.claim, self.record)

    @property
    def verdict(self) -> str:
        """The verdict, or `stale` or `not run`."""
        if self.record is None:
            return "not run"
        return self.record["verdict"] if self.current else "stale"

    @property
    def effects(self) -> list[str]:
        """Each contrast that counts in a few words: what, how much, interval, seeds."""
        if self.record is None:
            return []
        return [told(c) for c in self.record["contrasts"] if c["counts"]] or [self.record["found"]]


def number(value: float, unit: str, sign: bool = True) -> str:
    """A value in the unit of its contrast; shares in percentage points."""
    plus = "+" if sign else ""
    if unit == "share":
        return f"{100 * value:{plus}.1f}"
    return f"{value:{plus}.0f}" if unit == "tokens" else f"{value:{plus}.3f}"


def unit_name(unit: str) -> str:
    """How the unit is written behind a difference."""
    return "points" if unit == "share" else unit


def told(c: dict) -> str:
    """'known people: +61.2 points [58.0, 64.4], 6 seeds: supported'."""
    inside = ", ".join(number(c[end], c["unit"], sign=False) for end in ("low", "high"))
    return (
        f"{c['label']}: {number(c['mean'], c['unit'])} {unit_name(c['unit'])} [{inside}], {len(c['effects'])}"
        f" seeds: {c['verdict']}"
    )


def hypothesis(c: dict) -> str:
    """What was expected of a contrast before its runs: 'more, by at least 5.0 points'."""
    size = f"{number(c['least'], c['unit'], sign=False)} {unit_name(c['unit'])}"
    return f"within ±{size}" if c["direction"] == "same" else f"{c['direction']}, by at least {size}"


def rows(ids: list[str] | None = None, chapter: str = "", verdict: str = "") -> list[Row]:
    """The claims by id, chapter or verdict, with their records. Raises UserError for an id, chapter or
    verdict that does not exist.
    """
    for i in ids or []:
        if i not in CLAIMS:
            raise UserError(
                f"there is no claim '{i}'; llmlab claims lists them, {min(CLAIMS)} to {max(CLAIMS)}"
            )
    if chapter and chapter not in {c.chapter for c in CLAIMS.values()}:
        raise UserError(
            f"chapter '{chapter}' has no claims; choose one of"
            f" {', '.join(sorted({c.chapter for c in CLAIMS.values()}))}"
        )
    if verdict and verdict not in (*VERDICTS, *OPEN):
        raise UserError(f"there is no verdict '{verdict}'; choose one of {', '.join((*VERDICTS, *OPEN))}")
    try:
        stored = results.load()
    except results.BadResults:
        if results.file().exists():
            raise
        stored = {}
    found = [
        Row(c, results.worded(c, stored.get(c.id)))
        for c in CLAIMS.values()
        if (not ids or c.id in ids) and chapter in ("", c.chapter)
    ]
    return [r for r in found if verdict in ("", r.verdict)]


def counts(found: list[Row]) -> dict[str, int]:
    """How many rows have each verdict, in the order of the verdicts."""
    have = Counter(r.verdict for r in found)
    return {v: have[v] for v in (*VERDICTS, *OPEN) if have[v]}


class Ledger:
    """Rows of the ledger as the value of a notebook cell."""

    def __init__(self, chapter: str = "", verdict: str = ""):
        self.rows = rows(None, chapter, verdict)

    def __repr__(self) -> str:
        return "\n".join(f"{r.claim.id} {r.verdict}: {r.claim.words}" for r in self.rows)

    def _repr_markdown_(self) -> str:
        return markdown(self.rows)

    def _repr_html_(self) -> str:
        return html(self.rows)


def markdown(found: list[Row]) -> str:
    """A Markdown table."""
    lines = ["| claim | verdict | measured |", "| --- | --- | --- |"]
    for r in found:
        lines.append(
            f"| **{r.claim.id}** {r.claim.words} | {SIGNS.get(r.verdict, '')} {r.verdict}{condition(r)} |"
            f" {'<br>'.join(r.effects)} |"
        )
    return "\n".join(lines)


def html(found: list[Row]) -> str:
    """The same as HTML, text on the left."""
    cells = "".join(
        f"<tr><td><b>{r.claim.id}</b> {escape(r.claim.words)}</td><td>{SIGNS.get(r.verdict, '')}"
        f" {r.verdict}{escape(condition(r))}</td><td>{'<br>'.join(map(escape, r.effects))}</td></tr>"
        for r in found
    )
    style = (
        "<style>.llmlab-ledger td, .llmlab-ledger th {text-align: left !important; vertical-align:"
        " top}</style>"
    )
    return (
        f"{style}<table"
        f" class='llmlab-ledger'><tr><th>claim</th><th>verdict</th><th>measured</th></tr>{cells}</table>"
    )


def condition(r: Row) -> str:
    """' on …' behind a conditional verdict."""
    return f" on {r.claim.knob}" if r.verdict == "conditional" and r.claim.knob else ""
