"""The ledger as a reader sees it: a row a claim, its verdict, and its effects with their intervals."""

from collections import Counter
from dataclasses import dataclass
from html import escape

from ..errors import UserError
from . import CLAIMS, results
from .caveats import CAVEATS, REGIMES
from .claims import Claim
from .statistics import EXCLUDED, LOOKS, VERDICTS

SIGNS = {
    "supported": "✓",
    "refuted": "✗",
    "conditional": "±",
    "supported in part": "½✓",
    "refuted in part": "½✗",
    "supported in part, refuted in part": "½±",
    "open": "?",
    "withheld": "∅",
    "proven": "=",
    "corrected": "≠",
    "untestable": "–",
    "as claimed": "✓",
    "reversed": "✗",
    "too small": "✗",
    "differs": "✗",
}
OPEN = ("stale", "not run")  # states beside the verdicts
DECIDED = ("supported", "refuted", "conditional", "proven", "corrected")


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
    def counted(self) -> list[dict]:
        """The parts that the verdict rests on, as they were measured."""
        return [c for c in (self.record or {}).get("contrasts", ()) if c["counts"]]

    @property
    def effects(self) -> list[str]:
        """Each part in a few words: how much, interval, what, seeds, what it says."""
        if self.record is None:
            return []
        return [told(c) for c in self.counted] or [self.record["found"]]

    @property
    def caveat(self) -> str:
        """What must be known before the verdict is quoted; empty where there is nothing."""
        known = CAVEATS.get(self.claim.id)
        return known.words if known else ""

    @property
    def quotable(self) -> bool:
        """Is it decided, by a design that lets it be quoted (with its caveat)?"""
        known = CAVEATS.get(self.claim.id)
        return self.verdict in DECIDED and (known is None or known.quote)


def number(value: float, unit: str, sign: bool = True) -> str:
    """A value in the unit of its contrast; shares in percentage points."""
    plus = "+" if sign else ""
    if unit == "share":
        return f"{100 * value:{plus}.1f}"
    return f"{value:{plus}.0f}" if unit == "tokens" else f"{value:{plus}.3f}"


def unit_name(unit: str) -> str:
    """How the unit is written behind a difference."""
    return "points" if unit == "share" else unit


def amount(c: dict) -> str:
    """'+61.2 points [58.0, 64.4]': an effect with its 98 % interval."""
    inside = ", ".join(number(c[end], c["unit"], sign=False) for end in ("low", "high"))
    return f"{number(c['mean'], c['unit'])} {unit_name(c['unit'])} [{inside}]"


def told(c: dict) -> str:
    """'+61.2 points [58.0, 64.4] known people, 5 seeds: as claimed'; a contrast that does not count has no
    such word. What is too small says of what size it would have mattered.
    """
    found = {"": "", "too small": f": too small (under {least(c)})"}.get(c["verdict"], f": {c['verdict']}")
    return f"{amount(c)} {c['label']}, {c['n']} seeds{found}"


def least(c: dict) -> str:
    """'5.0 points': the smallest effect of interest."""
    return f"{number(c['least'], c['unit'], sign=False)} {unit_name(c['unit'])}"


def ruling(r: Row) -> str:
    """The verdict with what belongs to it: on which knob, which kind of refuted, how many parts, why
    withheld.
    """
    parts = (r.record or {}).get("parts", {})
    of, excluded = sum(parts.values()), [p for p in EXCLUDED if p in parts]
    match r.verdict:
        case "conditional":
            return f"conditional on {r.claim.knob}"
        case "refuted":
            return f"refuted: {' and '.join(excluded)}"
        case "supported in part":
            return f"supported in part ({parts['as claimed']} of {of})"
        case "refuted in part":
            return f"refuted in part ({of - parts['open']} of {of})"
        case "supported in part, refuted in part":
            n = sum(parts[p] for p in excluded)
            return f"supported in part ({parts['as claimed']} of {of}), refuted in part ({n} of {of})"
        case "withheld":
            return f"withheld: {r.record['withheld']}"
    return r.verdict


def in_the_lab(r: Row) -> str:
    """One sentence in plain words: what was found here."""
    if r.verdict in OPEN:
        return (
            "Not run with today's code."
            if r.verdict == "stale"
            else "Not run yet: it is declared, and waits for its runs."
        )
    if not r.counted:
        instead = f" {r.claim.corrects}" if r.claim.corrects and r.claim.check else ""
        return f"{r.record['found'].rstrip('.')}.{instead}"
    words = {
        "as claimed": "as claimed",
        "reversed": "the other way round",
        "too small": "too small to matter (under {least})",
        "differs": "a difference, where none was claimed",
        "open": "undecided",
    }
    told = [f"{c['label']} {amount(c)}, {words[c['verdict']].format(least=least(c))}" for c in r.counted]
    return f"In the lab: {'; '.join(told)}."


def change_of_mind(r: Row) -> str:
    """What would have to be measured for another verdict."""
    if not r.counted:
        return "A mistake in the check." if r.claim.check else "A text that says otherwise."
    if r.verdict == "withheld":
        return "A design that the guard lets pass."
    ends = {
        "as claimed": "an interval that reaches 0, or a mean below {least}",
        "reversed": "an interval that reaches 0",
        "too small": "an interval that reaches {least}",
        "differs": "an interval inside ±{least}",
        "open": "more seeds: {next}",
    }
    ahead = next((n for n in LOOKS if n > r.counted[0]["n"]), None)
    more = f"the next look is at {ahead}" if ahead else "there is no further look, so another design"
    said = [ends[c["verdict"]].format(least=least(c), next=more) for c in r.counted]
    return ("; ".join(dict.fromkeys(said)) + ".").capitalize()


def commands(c: Claim) -> dict[str, str]:
    """Each arm's command at seed 0, and the one that runs them all with the claim's seeds and exams."""
    exams = ", with the exams that its numbers come from" if any(a.exam for a in c.arms) else ""
    every = {f"the claim, over its seeds{exams}": f"llmlab claims run {c.id}"} if c.arms else {}
    return {a.label: a.command for a in c.arms} | every


def regime(r: Row) -> str:
    """Whether the literature speaks of the same regime."""
    return REGIMES.get(r.claim.id, "")


def false_share(found: list["Row"]) -> str:
    """One line for a page: the expected share of false ones among the parts that are decided."""
    q = [c["q"] for r in found if r.verdict != "withheld" for c in r.counted if c["verdict"] != "open"]
    if not q:
        return ""
    return (
        f"Of the {len(q)} parts that are decided here, at most {100 * max(q):.1f} % are expected to be false."
    )


def hypothesis(c: dict) -> str:
    """What was expected of a contrast before its runs: 'more, by at least 5.0 points'."""
    return f"within ±{least(c)}" if c["direction"] == "same" else f"{c['direction']}, by at least {least(c)}"


def known(ids: list[str]) -> None:
    """Raises UserError for an id that no claim has."""
    for i in ids:
        if i not in CLAIMS:
            raise UserError(
                f"there is no claim '{i}'; llmlab claims lists them, {min(CLAIMS)} to {max(CLAIMS)}"
            )


def rows(
    ids: list[str] | None = None, chapter: str = "", verdict: str = "", quotable: bool = False
) -> list[Row]:
    """The claims by id, chapter or verdict, with their records; quotable: only what can be quoted. Raises
    UserError for an id, chapter or verdict that does not exist.
    """
    known(ids or [])
    if chapter and chapter not in {c.chapter for c in CLAIMS.values()}:
        raise UserError(
            f"chapter '{chapter}' has no claims; choose one of"
            f" {', '.join(sorted({c.chapter for c in CLAIMS.values()}))}"
        )
    if verdict and verdict not in (*VERDICTS, *OPEN):
        raise UserError(f"there is no verdict '{verdict}'; choose one of {' | '.join((*VERDICTS, *OPEN))}")
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
    return [r for r in found if verdict in ("", r.verdict) and (r.quotable or not quotable)]


def counts(found: list[Row]) -> dict[str, int]:
    """How many rows have each verdict, in the order of the verdicts."""
    have = Counter(r.verdict for r in found)
    return {v: have[v] for v in (*VERDICTS, *OPEN) if have[v]}


class Ledger:
    """Rows of the ledger as the value of a notebook cell: all, or those of a chapter, a verdict, some ids."""

    def __init__(
        self, chapter: str = "", verdict: str = "", quotable: bool = False, ids: list[str] | None = None
    ):
        self.rows = rows(ids, chapter, verdict, quotable)
        self.fold = bool(chapter)  # a chapter's table is an overview

    def __repr__(self) -> str:
        return "\n".join(f"{r.claim.id} {ruling(r)}: {r.claim.words}" for r in self.rows)

    def _repr_markdown_(self) -> str:
        return markdown(self.rows, self.fold)

    def _repr_html_(self) -> str:
        return html(self.rows, self.fold)


def measured(r: Row, fold: bool) -> str:
    """Its effects as HTML, a line each. fold: several are in a fold that says how many parts came out how, so
    that a long table can be read down.
    """
    effects = "<br>".join(map(escape, r.effects))
    if not fold or len(r.effects) < 2:
        return effects
    parts = ", ".join(f"{n} {found}" for found, n in Counter(c["verdict"] for c in r.counted).items())
    return f"<details><summary>{parts}</summary>{effects}</details>"


def markdown(found: list[Row], fold: bool = False) -> str:
    """A Markdown table with one row per claim; fold: see `measured`."""
    lines = ["| claim | verdict | measured |", "| --- | --- | --- |"]
    for r in found:
        caveat = f"<br>*{r.caveat}*" if r.caveat else ""
        cells = (
            f"**{r.claim.id}** {r.claim.words}",
            f"{SIGNS.get(r.verdict, '')} {ruling(r)}{caveat}",
            measured(r, fold),
        )
        # a bar that is no border, as in KL(π || ref): with it nbconvert takes the whole table for text
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def html(found: list[Row], fold: bool = False) -> str:
    """The same as HTML, text on the left."""
    cells = "".join(
        f"<tr><td><b>{r.claim.id}</b> {escape(r.claim.words)}</td>"
        f"<td>{SIGNS.get(r.verdict, '')} {escape(ruling(r))}"
        + (f"<br><i>{escape(r.caveat)}</i>" if r.caveat else "")
        + f"</td><td>{measured(r, fold)}</td></tr>"
        for r in found
    )
    style = (
        "<style>.llmlab-ledger td, .llmlab-ledger th {text-align: left !important; vertical-align: top}"
        " .llmlab-ledger summary {cursor: pointer}</style>"
    )
    return (
        f"{style}<table class='llmlab-ledger'>"
        f"<tr><th>claim</th><th>verdict</th><th>measured</th></tr>{cells}</table>"
    )
