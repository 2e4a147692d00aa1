"""A chapter's page for the interview, from data/interview/*.yaml: the papers' formulas, what the lab shows
(the file names claims, the ledger tells the rest), what is known at scale, three follow-ups. No torch.
"""

import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .. import paths
from ..errors import UserError
from ..ledger import CLAIMS, table
from ..ledger.statistics import LEVEL
from . import drills, latex
from .drills import TEXT, BadEntry, FollowUp, fields, many, shaped
from .notebook import bibliography, references

WIDTH = 100  # characters of a line in the terminal
KEY = shaped(r"^[a-z0-9_]+$", "ibrahim_2024")
FOLLOW_UP = fields({"question": TEXT, "answer": TEXT})
FILE = fields(
    {
        "chapter": drills.CHAPTER,
        "opening": TEXT,
        "formulas": many(
            fields({"name": TEXT, "latex": TEXT, "means": TEXT}, cite=KEY, place=TEXT, ours=TEXT), 1, 20
        ),
        "claims": many(shaped(r"^C\d{3}$", "C040"), 1, 12),
        "scale": many(fields({"says": TEXT, "cites": many(KEY, 1, 4)}), 1, 12),
        "follow_ups": many(FOLLOW_UP, 3, 3),
    }
)


@dataclass(frozen=True)
class Formula:
    """A formula as its paper has it. place: where it stands there, or where it is from if no paper is cited;
    ours: what the lab does otherwise.
    """

    name: str
    latex: str
    means: str
    cite: str = ""
    place: str = ""
    ours: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """What its terms do, and what the lab does otherwise."""
        return (self.means, f"In this lab: {self.ours}") if self.ours else (self.means,)

    @property
    def source(self) -> str:
        """'Shao et al. 2024, section 4.1'."""
        return ", ".join(filter(None, [short(self.cite) if self.cite else "", self.place]))


@dataclass(frozen=True)
class Known:
    """A finding about large models, with the keys of who found it."""

    says: str
    cites: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """An entry of the page, whatever it is drawn with."""

    head: str
    latex: str = ""
    lines: tuple[str, ...] = ()
    note: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Page:
    """A chapter's page; the value of a notebook cell."""

    chapter: str
    opening: str
    formulas: tuple[Formula, ...]
    claims: tuple[str, ...]
    scale: tuple[Known, ...]
    follow_ups: tuple[FollowUp, ...]

    @property
    def cites(self) -> list[str]:
        """Keys of everybody who is cited, each once."""
        keys = [f.cite for f in self.formulas if f.cite] + [k for s in self.scale for k in s.cites]
        return list(dict.fromkeys(keys))

    def lab(self) -> list[Item]:
        """What the ledger says of the claims, in the order of the file."""
        rows = {r.claim.id: r for r in table.rows(list(self.claims))}
        return [lab_item(rows[i]) for i in self.claims]

    def sections(self) -> dict[str, tuple[str, list[Item]]]:
        """Title -> a sentence on how to read it, and its entries."""
        formulas = [Item(f.name, f.latex, f.lines, f.source) for f in self.formulas]
        scale = [Item(s.says, note="; ".join(map(short, s.cites))) for s in self.scale]
        follow_ups = [Item(f.question, folded=f.answer) for f in self.follow_ups]
        return {
            "Formulas": ("As the papers have them. Below each one: what its terms do.", formulas),
            "What the lab shows": (
                "A tiny model in an invented country: means over seeds with their"
                f" {100 * LEVEL:.0f} % intervals, from the ledger. Report them as an experiment, never as a"
                " fact about large models.",
                self.lab(),
            ),
            "What is known at scale": ("Findings of papers about large models.", scale),
            "Three follow-ups": ("Answer each one aloud before you look.", follow_ups),
        }

    def __repr__(self) -> str:
        return text(self)

    def _repr_markdown_(self) -> str:
        return markdown(self)

    def _repr_html_(self) -> str:
        return html(self)


def lab_item(r: table.Row) -> Item:
    """A claim of the ledger: verdict, effects with intervals and seeds, and the caveat that belongs to it."""
    verdict = f"{table.SIGNS.get(r.verdict, '')} {table.ruling(r)}".strip()
    if r.verdict in table.OPEN:
        verdict += f", so don't quote it; llmlab claims run {r.claim.id} tests it with today's code"
    elif not r.quotable:
        verdict += ": don't quote it as a whole"
    return Item(f"{r.claim.id} {r.claim.words}", lines=(f"{verdict}.", *r.effects), note=r.caveat)


def short(key: str) -> str:
    """'Ibrahim et al. 2024' for a key of data/references.bib."""
    entry = bibliography()[key]
    authors = entry["author"].split(" and ")
    names = [a.split(",")[0].strip("{}") for a in authors if a != "others"]
    more = len(names) > 2 or "others" in authors
    return f"{names[0] + ' et al.' if more else ' and '.join(names)} {entry['year']}"


# --- reading
# ------------------------------------------------------------------------------------------------------------


def chapters() -> list[str]:
    """The chapters that have a page."""
    return sorted(f.stem for f in (paths.data() / "interview").glob("*.yaml"))


def interview(chapter: str) -> Page:
    """The page of a chapter. Raises UserError where there is none, BadEntry at the first mistake in it."""
    if chapter.zfill(2) not in chapters():
        raise UserError(f"chapter '{chapter}' has no interview page; choose one of {', '.join(chapters())}")
    return read(paths.data() / "interview" / f"{chapter.zfill(2)}.yaml")


def read(file: Path) -> Page:
    """A file as a page: it fits the schema, and its claims and citations exist. Raises BadEntry."""
    document, lines = drills.checked(file, FILE)
    _exist(file, lines, {("claims", i): c for i, c in enumerate(document["claims"])}, CLAIMS, "the ledger")
    cited = {("formulas", i, "cite"): f["cite"] for i, f in enumerate(document["formulas"]) if "cite" in f}
    cited |= {
        ("scale", i, "cites", j): key
        for i, s in enumerate(document["scale"])
        for j, key in enumerate(s["cites"])
    }
    _exist(file, lines, cited, bibliography(), "data/references.bib")
    for i, f in enumerate(document["formulas"]):
        if "cite" not in f and "place" not in f:
            where = ("formulas", i, "cite")
            raise BadEntry(file, lines["formulas", i], drills.dotted(where), "is missing; add it, or 'place'")
    return Page(
        document["chapter"],
        document["opening"].strip(),
        tuple(Formula(**{name: words.strip() for name, words in f.items()}) for f in document["formulas"]),
        tuple(document["claims"]),
        tuple(Known(s["says"].strip(), tuple(s["cites"])) for s in document["scale"]),
        tuple(FollowUp(f["question"].strip(), f["answer"].strip()) for f in document["follow_ups"]),
    )


def _exist(file: Path, lines: dict, named: dict[tuple, str], known, where: str) -> None:
    """Raises BadEntry for the first name that is not known."""
    for path, name in named.items():
        if name not in known:
            what = f"is '{name}', which {where} does not have; correct it, or add it there first"
            raise BadEntry(file, lines[path], drills.dotted(path), what)


# --- drawing
# ------------------------------------------------------------------------------------------------------------


def title(page: Page) -> str:
    """The page's heading."""
    return f"Interview page: chapter {page.chapter}"


def text(page: Page) -> str:
    """For the terminal: formulas in one line of plain text, answers below their questions."""
    out = [title(page), "", _wrapped(page.opening)]
    for name, (lead, items) in page.sections().items():
        out += ["", name.upper(), _wrapped(lead), ""]
        out += [line for item in items for line in _lines(item)]
    return "\n".join(
        [*out, "", "SOURCES", *(_wrapped(s) for s in repr(references(*page.cites)).splitlines())]
    )


def _lines(item: Item) -> list[str]:
    parts = [latex.plain(item.latex) if item.latex else "", *item.lines, item.note and f"[{item.note}]"]
    return [_wrapped(item.head, "- ", "  ")] + [_wrapped(p, "    ") for p in (*parts, item.folded) if p]


def _wrapped(words: str, first: str = "", later: str | None = None) -> str:
    return textwrap.fill(
        words,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if later is None else later,
        break_on_hyphens=False,
        break_long_words=False,
    )


def markdown(page: Page) -> str:
    """For readers without a kernel, with formulas in LaTeX."""
    out = [f"### {title(page)}", page.opening]
    for name, (lead, items) in page.sections().items():
        out += [f"#### {name}", lead]
        for i in items:
            out.append(f"**{i.head}**" if i.latex or i.lines or i.folded else f"- {i.head} [{i.note}]")
            out += [f"$${i.latex}$$"] if i.latex else []
            out += ["\n".join(f"- {line}" for line in i.lines)] if i.lines else []
            out += [f"*{i.note}*"] if i.note and i.lines else []
            out += [i.folded] if i.folded else []
    return "\n\n".join([*out, "#### Sources", references(*page.cites)._repr_markdown_()])


def html(page: Page) -> str:
    """For a notebook: answers folded, text on the left; JupyterLab typesets the formulas."""
    out = [f"<h3>{title(page)}</h3><p>{escape(page.opening)}</p>"]
    for name, (lead, items) in page.sections().items():
        out.append(f"<h4>{escape(name)}</h4><p>{escape(lead)}</p>")
        out += map(_box, items)
    sources = "".join(f"<li>{escape(line)}</li>" for line in repr(references(*page.cites)).splitlines())
    return f"<div style='max-width: 90ch'>{''.join(out)}<h4>Sources</h4><ul>{sources}</ul></div>"


def _box(item: Item) -> str:
    if item.folded:
        return f"<details><summary>{escape(item.head)}</summary><p>{escape(item.folded)}</p></details>"
    if not item.lines:
        return f"<p>{escape(item.head)} <small>[{escape(item.note)}]</small></p>"
    formula = f"<div style='overflow-x: auto'>$${escape(item.latex)}$$</div>" if item.latex else ""
    lines = "<br>".join(map(escape, item.lines))
    note = f"<br><i>{escape(item.note)}</i>" if item.note else ""
    return f"<p><b>{escape(item.head)}</b></p>{formula}<p style='margin-left: 1em'>{lines}{note}</p>"
