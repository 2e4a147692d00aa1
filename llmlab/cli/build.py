"""`llmlab build`: the shipped data, made again or only checked; rehearsals written down, changes vouched for,
and records brought to new names.
"""

from contextlib import closing
from dataclasses import replace
from itertools import takewhile

from .. import paths
from ..errors import UserError
from ..lab.runs import Interrupted
from . import claims
from .options import nearest, parse
from .screen import progress, stoppable

BUILDS = (*paths.LAB, "sweeps", "texts", "runs", "rates", "claims", "replication", "notebooks", "readme")
REHEARSED = ("book", "vouch")
MIGRATE = "migrate"


OPTIONS = [
    ("check", bool, False, "only say what is current and what is stale"),
    ("force", bool, False, "build again what is current"),
    (
        "only",
        str,
        "",
        "book, vouch: of these experiments alone, as name,name; book: whatever the code gives now",
    ),
    (
        "changed",
        str,
        "",
        "vouch: readings whose meaning was changed on purpose, as name.metric,name.metric",
    ),
    (
        "close",
        bool,
        False,
        "vouch: accept what is as near as on another machine (sums in another order), and write it",
    ),
]


def command(argv: list[str]) -> int:
    """`llmlab build [base|chat|…|all]`, `llmlab build book`, `llmlab build vouch`, `llmlab build migrate`."""
    words = (*BUILDS, "all", *REHEARSED, MIGRATE)
    names = list(takewhile(lambda a: not a.startswith("-"), argv))
    for name in names:
        if name not in words:
            raise UserError(f"there is nothing to build called '{name}'{nearest(name, words)}")
    options = parse(
        f"build [{'|'.join(words)}]",
        OPTIONS,
        argv[len(names) :],
    )
    paths.clone("llmlab build")
    for name in BUILDS if not names or "all" in names else names:
        if name in REHEARSED:
            rehearse(name, options)
            continue
        if name == MIGRATE:
            migrate()
            continue
        left = stale(name)
        if options.check or not (left or options.force):
            print(f"{name}: {'stale or missing: ' + ', '.join(left) if left else 'current'}", flush=True)
        else:
            make(name, options.force)
    return 0


def stale(name: str) -> list[str]:
    """What of a kind of shipped data was not made by today's code from today's inputs, or is missing."""
    from ..lab import checkpoints as builder
    from ..lab import record, sweeps, texts, vouched
    from ..learn import books, readme, shipped
    from ..ledger import TRIALS, rates, replication, results

    seals = {
        "sweeps": sweeps.seals,
        "texts": texts.seals,
        "runs": shipped.seals,
        "rates": lambda: rates.seals(TRIALS),
        "claims": results.seals,
        "replication": replication.seals,
        "notebooks": books.seals,
        "readme": readme.seals,
    }
    try:
        found = seals.get(name, lambda: builder.seals([name]))()
        return record.stale(found)
    except vouched.BadList:
        raise
    except (ValueError, KeyError, OSError):  # what it is made from is not there yet, or broken
        return [name]


def make(name: str, force: bool) -> None:
    """Build one kind of shipped data: what of it is stale, or all of it."""
    if name in paths.LAB:
        from ..lab import checkpoints as builder

        if name == "base" and not builder.is_current("pre"):
            report(build_one(builder, "pre"))
        report(build_one(builder, name))
    elif name == "sweeps":
        build_sweeps(force)
    elif name == "texts":
        build_texts(force)
    elif name == "rates":
        from ..ledger import TRIALS, rates

        for part, trials in TRIALS.items():
            if force or not rates.is_current(part, trials):
                for done, of, what in rates.build(part, trials):
                    print(f"rates of {part}: {done} of {of}: {what}", flush=True)
    elif name == "claims":
        claims.command(["run"] + ["--force"] * force)
    elif name == "replication":
        claims.command(["replicate"])
    elif name == "readme":
        from ..learn import readme

        readme.build()
        print("readme: written")
    else:
        from ..learn import books, shipped

        for line in shipped.build() if name == "runs" else books.build(force):
            print(f"{name}: {line}", flush=True)


def migrate() -> None:
    """Bring stored records to today's names of knobs, values and metrics."""
    from ..ledger import migrate as renaming

    for line in renaming.all_records():
        print(f"migrate: {line}", flush=True)


def rehearse(name: str, options) -> None:
    """`build book`: rehearse what changed and write it down, before a refactoring. `build vouch`: rehearse
    again after it, and vouch for what is bit for bit the same, or as near as on another machine (--close).
    """
    from ..lab import record, rehearsal, vouch
    from ..ledger.rehearsed import others, relying

    books = rehearsal.books(others())
    if only := [n for n in options.only.split(",") if n]:
        for unknown in set(only) - books.keys():
            raise UserError(f"there is no book called '{unknown}'{nearest(unknown, tuple(books))}")
        books = {n: books[n] for n in only}
    if options.check:
        left = record.stale((n, record.seal_of(b.file), b.seal) for n, b in books.items())
        print(f"{name}: {'stale: ' + ', '.join(left) if left else 'current'}")
        return
    if options.force:
        for book in books.values():
            book.file.unlink(missing_ok=True)
    with progress() as bar:
        task = bar.add_task("rehearsals", total=None, last="")

        def told(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        if name == "book":
            lines = vouch.write(books, told, accept=bool(only))
        else:
            meant = tuple(filter(None, options.changed.split(",")))
            lines = vouch.vouch(books, spot_checks(books), told, meant, options.close, relying)
        done = [print(line, flush=True) for line in lines]
    if not done:
        print(f"{name}: current")


def spot_checks(books: dict) -> dict[str, list[tuple]]:
    """name -> [(experiment, seed, rows)] of a shipped run of each experiment that was current under the code
    of its book: one that was stale before says nothing of the change.
    """
    from ..lab import record, runs
    from ..learn import shipped

    found = {}
    for (experiment, seed), wanted in shipped.wanted():
        if experiment.name not in books:  # --only
            continue
        place, book = shipped.place(experiment, wanted), record.seal_of(books[experiment.name].file)
        if book and record.is_current(record.seal_of(place), replace(wanted, code=book.code)):
            found[experiment.name] = [(experiment, seed, runs.rows_of(place))]
    return found


def build_one(builder, name: str) -> dict:
    """One checkpoint with a progress bar; its card."""
    with progress() as bar, stoppable() as stop, closing(builder.build(name)) as rows:
        task = bar.add_task(f"build {name}", total=builder.PLANS[name].steps, last="")
        for row in rows:
            bar.update(task, completed=row["step"], last=f"loss {row['loss']:.2f}" if "loss" in row else "")
            if stop() and "card" not in row:
                raise Interrupted(f"stopped by hand at step {row['step']}")
    return row["card"]


def build_sweeps(force: bool) -> None:
    """Every sweep that is missing or stale, with a progress bar; runs that were finished before are not
    computed again.
    """
    from ..lab import sweeps

    for grid in sweeps.GRIDS.values():
        if force or not sweeps.is_current(grid):
            with progress() as bar, closing(sweeps.build(grid)) as counts:
                task = bar.add_task(f"sweep {grid.experiment}", total=len(grid.jobs()), last="runs")
                for done, _ in counts:
                    bar.update(task, completed=done)
            print(f"sweeps: {grid.experiment}, {len(grid.jobs())} runs")


def build_texts(force: bool) -> None:
    """What the models of every sweep say, where it is missing or stale."""
    from ..lab import record, sweeps, texts

    for grid in sweeps.GRIDS.values():
        if force or not record.is_current(record.seal_of(texts.file(grid)), grid.seal):
            with progress() as bar, closing(texts.build(grid)) as counts:
                task = bar.add_task(f"texts {grid.experiment}", total=len(grid.points()), last="runs")
                for done, _ in counts:
                    bar.update(task, completed=done)
            print(f"texts: {grid.experiment}, {len(grid.points())} runs", flush=True)


def report(card: dict) -> None:
    """Skills of a fresh checkpoint beside what they must reach."""
    for skill, share in card["skills"].items():
        least = card["targets"].get(skill)
        print(
            f"  {skill:28}{share:7.1%}"
            + (f"   at least {least:.0%}: {'reached' if share >= least else 'MISSED'}" if least else "")
        )
