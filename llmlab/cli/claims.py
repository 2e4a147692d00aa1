"""`llmlab claims`: the ledger's table, one claim in full, or the runs that decide it."""

import json
import time
from dataclasses import asdict
from itertools import takewhile

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import UserError
from ..ledger import CLAIMS, declared_in, results, table
from ..ledger.statistics import LOOKS
from .options import parse
from .screen import progress

SHOW = [
    ("chapter", str, "", "only this chapter's claims, by its number"),
    ("verdict", str, "", f"only claims with this verdict: {' | '.join((*table.VERDICTS, *table.OPEN))}"),
    ("quotable", bool, False, "only what is decided and can be quoted, with its caveat"),
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
        LOOKS[-1],
        f"seeds a claim gets at most: it is looked at with {', '.join(map(str, LOOKS))} while a part is open",
    ),
    ("force", bool, False, "judge again what is current (runs are never computed twice)"),
    ("json", bool, False, "print one JSON object as the last line"),
]
AGAIN = [
    ("lot", int, 1, "number of the draw: another one draws other readings"),
    ("json", bool, False, "print one JSON object as the last line"),
]
COLOURS = {"supported": "green", "refuted": "red", "conditional": "yellow", "proven": "green"}


def show(ids: list[str], options) -> int:
    """The table; with a single id, that claim in full."""
    found = table.rows(ids, options.chapter, options.verdict, options.quotable)
    console = Console(highlight=False, width=None if Console().is_terminal else 150)
    if options.json:
        print(json.dumps(as_json(found), ensure_ascii=False))
    elif len(ids) == 1:
        in_full(found[0], console)
    else:
        console.print(grid(found))
        console.print(", ".join(f"{n} {v}" for v, n in table.counts(found).items()) or "no claim fits")
        console.print(table.false_share(found))
    return 0


def grid(found: list[table.Row]) -> Table:
    """The rows: effects first."""
    out = Table("claim", "measured", "words", "verdict", show_lines=True)
    for r in found:
        verdict = f"[{COLOURS.get(r.verdict, 'white')}]{escape(table.ruling(r))}[/]"
        caveat = f"\n[italic]{escape(r.caveat)}[/]" if r.caveat else ""
        out.add_row(r.claim.id, escape("\n".join(r.effects)), r.claim.words, verdict + caveat)
    return out


def in_full(r: table.Row, console: Console) -> None:
    """Everything about one claim: what was found in plain words, the literature beside it, what would change
    our mind; then every contrast with its per-seed effects.
    """
    c = r.claim
    console.print(f"[bold]{c.id}  {escape(c.words)}[/]")
    facts = {
        "in the lab": table.in_the_lab(r),
        "verdict": table.ruling(r) + (f", q {r.record['q']:.2g}" if (r.record or {}).get("q") else ""),
        "caveat": r.caveat,
        "literature": f"{c.evidence} {' '.join(c.cites)}",
        "its regime": table.regime(r),
        "other mind": table.change_of_mind(r) if r.record else "",
        "source": f"{c.source}, chapter {c.chapter}, {c.kind}; declared in {declared_in(c.id)}",
    }
    if r.record and r.record["contrasts"]:
        facts |= {"matched": c.matched, "seeds": f"{len(r.record['seeds'])}, read at {r.counted[0]['n']}"}
    for name, said in facts.items():
        if said:
            console.print(f"{name:<11} {said}", markup=False)
    for name, said in table.commands(c).items():  # never broken: they are there to be copied
        console.print(f"{name}: {said}", markup=False, soft_wrap=True)
    if r.record is None or not r.record["contrasts"]:
        expected = [f"expected    {x.label}: {table.hypothesis(asdict(x))}" for x in c.contrasts if x.counts]
        if r.record is None:
            console.print("\n".join([*expected, f"not run yet: llmlab claims run {c.id}"]), markup=False)
        return
    out = Table("contrast", "expected", "effect [98 % interval]", "p", "it is", "by seed")
    guards = [x | {"label": f"guard: {x['label']}"} for x in r.record.get("guards", ())]
    for x in [*guards, *r.record["contrasts"]]:
        seeds = " ".join(table.number(e, x["unit"]) for e in x["effects"])
        out.add_row(
            x["label"] if x["counts"] else f"({x['label']})",
            table.hypothesis(x),
            escape(table.amount(x)),
            f"{x['p']:.2g}",
            x["verdict"],
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
                "ruling": table.ruling(r),
                "in_the_lab": table.in_the_lab(r),
                "caveat": r.caveat,
                "quotable": r.quotable,
                "regime": table.regime(r),
                "change_of_mind": table.change_of_mind(r) if r.record else "",
                "knob": r.claim.knob,
                "matched": r.claim.matched,
                "arms": {a.label: a.command for a in r.claim.arms},
                "evidence": r.claim.evidence,
                "cites": list(r.claim.cites),
            }
            | {
                k: v
                for k, v in (r.record or {}).items()
                if k in ("seeds", "q", "contrasts", "guards", "found")
            }
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
    todo = [r.claim for r in found if options.force or not r.current or undecided(r, options.most)]
    if not todo:
        print("all current; --force judges them again")
        return show_after(found, options)
    from ..lab import cluster, pool
    from ..ledger import runner

    if options.executor not in ("pool", "ray"):
        raise UserError(f"--executor is pool or ray, not '{options.executor}'")
    if options.most not in LOOKS:
        raise UserError(
            f"--most {options.most} is no look: seeds are looked at when there are"
            f" {', '.join(map(str, LOOKS))}, so that a verdict cannot be waited for"
        )
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


def undecided(r: table.Row, most: int) -> bool:
    """Has the claim an open part, a look ahead, and no guard against it?"""
    return r.verdict != "withheld" and any(c["verdict"] == "open" and c["n"] < most for c in r.counted)


def show_after(found: list[table.Row], options) -> int:
    """The verdicts, in short."""
    if options.json:
        print(json.dumps(as_json(found), ensure_ascii=False))
        return 0
    for r in found:
        print(f"{r.claim.id}  {table.ruling(r)}  {r.claim.words}")
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
    table.known(ids)
    return [c for c in CLAIMS.values() if (not ids or c.id in ids) and chapter in ("", c.chapter)]


def replicate(options) -> int:
    """Readings drawn by lot, with new seeds, against what the stored ones predict."""
    from ..ledger import replication

    with progress() as bar:
        task = bar.add_task("replication", total=None, last="")
        told = replication.run(
            options.lot,
            on_run=lambda done, of, what: bar.update(task, completed=done, total=of, last=what),
        )
    if options.json:
        print(json.dumps(told, ensure_ascii=False))
        return 0
    out = Table("claim", "reading", "predicted [98 %]", "new seeds")
    for one in told:
        new = " ".join(f"{v:.3f}{'' if ok else ' ✗'}" for v, ok in zip(one["new"], replication.inside([one])))
        predicted = f"[{one['low']:.3f}, {one['high']:.3f}]"
        out.add_row(one["claim"], f"{one['arm']}: {one['metric']}", escape(predicted), new)
    Console(highlight=False, width=None if Console().is_terminal else 150).print(out)
    print(replication.summary(told))
    return 0


def command(argv: list[str]) -> int:
    """`llmlab claims [ID …]` shows, `llmlab claims run [ID …]` runs, `llmlab claims replicate` runs a few
    again.
    """
    if argv[:1] == ["replicate"]:
        return replicate(parse("claims replicate", AGAIN, argv[1:]))
    runs_them = argv[:1] == ["run"]
    argv = argv[runs_them:]
    ids = list(takewhile(lambda a: not a.startswith("-"), argv))
    options = parse(
        "claims run [ID …]" if runs_them else "claims [ID …]",
        RUN if runs_them else SHOW,
        argv[len(ids) :],
    )
    return run(ids, options, progress) if runs_them else show(ids, options)
