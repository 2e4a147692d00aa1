"""The figures in README.md and docs/*.md, written from data files: no number there is typed by hand."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Iterator

from .. import paths
from ..lab import record, registry, times
from ..lab.record import Seal

ROOT = paths.PACKAGE.parent  # of a clone


def pages() -> list[Path]:
    """The files in which marked blocks stand."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows])


def of_experiments() -> str:
    """Name, what it does, seconds of the default run; the machine once where all were timed on the same."""
    measured = {n: t for n, t in times.read(paths.data()).items() if n in registry.NAMES}
    where = {t["where"] for t in measured.values()}
    rows = []
    for n in registry.NAMES:
        if n in measured:
            took, there = f"{measured[n]['seconds']:.0f} s", f", {measured[n]['where']}"
            rows.append([f"`{n}`", registry.get(n).summary, took + there * (len(where) > 1)])
    told = f"\n\nTimed on: {where.pop()}." if len(where) == 1 else ""
    return table(["experiment", "what it shows", "default run"], rows) + told


def of_checkpoints() -> str:
    """Skills of both checkpoints side by side."""
    from ..models.load import card

    cards = {name: card(name) for name in paths.LAB}
    skills = list(dict.fromkeys(s for c in cards.values() for s in c["skills"]))
    rows = [
        [
            s,
            *(
                (
                    f"{c['skills'][s]:.1%}" + (f" (goal {c['targets'][s]:.0%})" if s in c["targets"] else "")
                    if s in c["skills"]
                    else ""
                )
                for c in cards.values()
            ),
        ]
        for s in skills
    ]
    sizes = ", ".join(
        f"{n}: {c['settings']['steps']} steps, {c['parameters']:,} parameters" for n, c in cards.items()
    )
    return table(["skill", *cards], rows) + f"\n\n{sizes}."


def of_chapters() -> str:
    """The chapters with the minutes that executing each takes, and what stands at its end."""
    from . import books, drills, exercises

    every = drills.load()
    rows = []
    for c in books.chapters():
        number = c["file"][:2]
        judged = sum(e.chapter == number for e in exercises.EXERCISES.values())
        took = "" if c["seconds"] is None else f"{c['seconds'] / 60:.1f} min"
        rows.append(
            [
                f"[{c['title']}](notebooks/{c['file']})",
                took,
                str(judged),
                str(len(drills.choose(every, chapter=number))),
            ]
        )
    return table(["chapter", "executes in", "exercises", "drills"], rows)


def of_bench() -> str:
    """Ratios with their goals, from the stored result of `llmlab bench --save`."""
    found = json.loads((paths.data() / "bench.json").read_text())
    rows = [
        [
            f["what"],
            f"{f['ratio']:.2f}",
            f"{f['goal']:g}",
            ", ".join(
                f"{k} {v:.3g}" for k, v in f.items() if isinstance(v, float) and k not in ("ratio", "goal")
            ),
        ]
        for f in found["figures"].values()
    ]
    return table(["what", "ratio", "goal", "in figures"], rows) + f"\n\nMeasured on: {found['machine']}."


def _column(verdict: str) -> str:
    """The verdicts on parts share a column."""
    return "in part" if "in part" in verdict else verdict


def of_ledger() -> str:
    """How many claims of each chapter got which verdict."""
    from ..ledger import table as ledger

    every = ledger.rows()
    verdicts = list(dict.fromkeys(_column(v) for v in ledger.counts(every)))
    rows = []
    for chapter in sorted({r.claim.chapter for r in every}):
        mine = [r for r in every if r.claim.chapter == chapter]
        counts = Counter(_column(r.verdict) for r in mine)
        rows.append([chapter, spans([r.claim.id for r in mine]), *(str(counts.get(v, 0)) for v in verdicts)])
    return table(["chapter", "claims", *verdicts], rows)


def spans(ids: list[str]) -> str:
    """Ids in a row as their first and last: C001, C003–C005."""
    runs: list[list[str]] = []
    for name in sorted(ids):
        if runs and int(name[1:]) == int(runs[-1][-1][1:]) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def of_verdicts() -> str:
    """What did not come out as claimed, or only under a condition."""
    from ..ledger import table as ledger

    rows = [
        [r.claim.id, r.claim.chapter, r.claim.words, ledger.ruling(r), r.caveat]
        for r in ledger.rows()
        if r.verdict in ("refuted", "conditional") and r.quotable
    ]
    return table(["claim", "chapter", "in our words", "verdict", "to know before quoting it"], rows)


BLOCKS = {
    "chapters": of_chapters,
    "ledger": of_ledger,
    "verdicts": of_verdicts,
    "experiments": of_experiments,
    "checkpoints": of_checkpoints,
    "bench": of_bench,
}


def filled(text: str) -> str:
    """A page with its marked blocks written anew."""
    for name, block in BLOCKS.items():
        if f"<!-- {name} -->" in text:
            text = re.sub(
                rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
                lambda m, block=block: m[1] + block() + "\n" + m[2],
                text,
                flags=re.DOTALL,
            )
    return text


def build() -> None:
    """Write the blocks of all pages. Raises NoClone in an installed wheel."""
    paths.clone("llmlab build readme")
    for page in pages():
        paths.write_atomic(page, filled(page.read_text(encoding="utf-8")).encode())


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """(page, seal of what it says, seal of what the data files say) of README and docs."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        yield page.name, Seal(paths.hash_bytes(text.encode())), Seal(paths.hash_bytes(filled(text).encode()))


def is_current() -> bool:
    """Do the blocks say what the data files say?"""
    return not record.stale(seals())
