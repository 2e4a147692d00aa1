"""`llmlab claims`: the ledger's table, one claim in full, or the runs that decide it."""

import json
import time
from dataclasses import asdict
from itertools import takewhile

from rich.console import Console
from rich.table import Table

from ..errors import UserError
from ..ledger import CLAIMS, declared_in, results, table
from ..ledger.statistics import MOST, PILOT
from .options import parse
from .screen import progress

SHOW = [
    ("chapter", str, "", "only this chapter's claims, by its number"),
    ("verdict", str, "", f"only claims with this verdict: {', '.join((*table.VERDICTS, *table.OPEN))}"),
    ("json", bool, False, "print one JSON object as the last line"),
]
RUN = [
    ("chapter", str, "", "only this chapter's claims, by its number"),
    (
        "executor",
        str,
        "pool",
        "pool: all cores of this machine; ray: a Ray cluster (RAY_ADDRESS), or a local one",
    ),
    ("workers", int, 0, "processes, one thread each; 0: one a core"),
    (
        "most",
        int,
        MOST,
        (
            f"seeds a claim gets at most; the spread of the first {PILOT} says how many its smallest effect"
            " needs"
        ),
    ),
    ("force", bool, False, "judge again what is current (runs are never computed twice)"),
    ("json", bool, False, "print one JSON object as the last line"),
]
COLOURS = {"supported": "green", "refuted": "red", "conditional": "yellow", "exact": "green"}


def show(ids: list[str], options) -> int:
    """The table; with a single id, that claim in full."""
    found = table.rows(ids, options.chapter, options.verdict)
    console = Console(highlight=False, width=None if Console().is_terminal else 150)
    if options.json:
        print(json.dumps(as_json(found), ensure_ascii=False))
    elif len(ids) == 1:
        in_full(found[0], console)
    else:
        console.print(grid(found))
        console.print(", ".join(f"{n} {v}" for v, n in table.counts(found).items()) or "no claim fits")
    return 0


def grid(found: list[table.Row]) -> Table:
    """The rows with their effects."""
    out = Table("claim", "verdict", "words", "measured", show_lines=True)
    for r in found:
        verdict = f"[{COLOURS.get(r.verdict, 'white')}]{r.verdict}[/]" + table.condition(r)
        out.add_row(r.claim.id, verdict, r.claim.words, "\n".join(e.replace("[", "\\[") for e in r.effects))
    return out


def in_full(r: table.Row, console: Console) -> None:
    """Everything about one claim: words, source, evidence, what was fixed, every contrast with its per-seed
    effects.
    """
    c = r.claim
    console.print(
        f"[bold]{c.id}  {c.words}[/]\nsource {c.source}, chapter {c.chapter}, {c.kind}:"
        f" [bold]{r.verdict}[/]{table.condition(r)}"
    )
    console.print(f"literature  {c.evidence} {' '.join(c.cites)}", markup=False)
    console.print(f"declared in {declared_in(c.id)}", markup=False)
    if r.record is None or not r.record["contrasts"]:
        expected = [f"expected    {x.label}: {table.hypothesis(asdict(x))}" for x in c.contrasts if x.counts]
        console.print(
            "\n".join(r.effects or [*expected, f"not run yet: llmlab claims run {c.id}"]), markup=False
        )
        return
    console.print(
        f"matched     {c.matched}\nseeds       {len(r.record['seeds'])}, the smallest effect needs"
        f" {r.record['needed']}",
        markup=False,
    )
    out = Table("contrast", "expected", "effect", "95 % interval", "p (Holm)", "verdict", "by seed")
    for x in r.record["contrasts"]:
        low, high = (table.number(x[end], x["unit"], sign=False) for end in ("low", "high"))
        verdict = x["verdict"] if x["counts"] else f"({x['verdict']})"
        effect = f"{table.number(x['mean'], x['unit'])} {table.unit_name(x['unit'])}"
        seeds = " ".join(table.number(e, x["unit"]) for e in x["effects"])
        out.add_row(
            x["label"],
            table.hypothesis(x),
            effect,
            f"{low} to {high}",
            f"{x['adjusted']:.2g}",
            verdict,
            seeds,
        )
    console.print(out)


def as_json(found: list[table.Row]) -> dict:
    """id -> claim, verdict, contrasts with intervals and per-seed values."""
    return {
        r.claim.id: (
            {
                "words": r.claim.words,
                "source": r.claim.source,
                "kind": r.claim.kind,
                "chapter": r.claim.chapter,
                "verdict": r.verdict,
                "knob": r.claim.knob,
                "matched": r.claim.matched,
                "evidence": r.claim.evidence,
                "cites": list(r.claim.cites),
            }
            | {k: v for k, v in (r.record or {}).items() if k in ("seeds", "needed", "contrasts", "found")}
        )
        for r in found
    }


def run(ids: list[str], options, progress) -> int:
    """Run what decides the claims; `progress` makes the bar."""
    found = (
        table.rows(ids, options.chapter)
        if results_readable()
        else [table.Row(c, None) for c in chosen(ids, options.chapter)]
    )
    todo = [r.claim for r in found if options.force or not r.current]
    if not todo:
        print("all current; --force judges them again")
        return show_after(found, options)
    from ..lab import cluster, pool
    from ..ledger import runner

    if options.executor not in ("pool", "ray"):
        raise UserError(f"--executor is pool or ray, not '{options.executor}'")
    if not PILOT <= options.most <= 1000:
        raise UserError(f"--most {options.most} is out of range; choose {PILOT} to 1000 seeds")
    if options.workers < 0:
        raise UserError(
            f"--workers {options.workers} is out of range; choose 1 and more, or 0 for one a core"
        )
    began, executor = time.monotonic(), {"pool": pool.run_all, "ray": cluster.run_all}[options.executor]
    with progress() as bar:
        task = bar.add_task(f"{len(todo)} claims", total=None, last="")
        runner.run(
            todo,
            executor=lambda jobs: executor(jobs, options.workers or None),
            on_run=lambda done, of, what: bar.update(task, completed=done, total=of, last=what),
            most=options.most,
        )
    print(f"{len(todo)} claims judged in {(time.monotonic() - began) / 60:.1f} minutes")
    return show_after(table.rows([c.id for c in todo]), options)


def show_after(found: list[table.Row], options) -> int:
    """The verdicts, in short."""
    if options.json:
        print(json.dumps(as_json(found), ensure_ascii=False))
        return 0
    for r in found:
        print(f"{r.claim.id}  {r.verdict}{table.condition(r)}  {r.claim.words}")
    return 0


def results_readable() -> bool:
    """Is there a whole file of results? A damaged one is made anew by running."""
    try:
        results.load()
    except results.BadResults:
        return False
    return True


def chosen(ids: list[str], chapter: str) -> list:
    """Claims by id and chapter."""
    unknown = [i for i in ids if i not in CLAIMS]
    if unknown:
        raise UserError(
            f"there is no claim '{unknown[0]}'; llmlab claims lists them, {min(CLAIMS)} to {max(CLAIMS)}"
        )
    return [c for c in CLAIMS.values() if (not ids or c.id in ids) and chapter in ("", c.chapter)]


def command(argv: list[str]) -> int:
    """`llmlab claims [ID …]` shows, `llmlab claims run [ID …]` runs."""
    runs_them = argv[:1] == ["run"]
    argv = argv[runs_them:]
    ids = list(takewhile(lambda a: not a.startswith("-"), argv))
    options = parse(
        "claims run [ID …]" if runs_them else "claims [ID …]",
        RUN if runs_them else SHOW,
        argv[len(ids) :],
    )
    return run(ids, options, progress) if runs_them else show(ids, options)
