"""Vouching: write the rehearsal book before a refactoring; afterwards replay it, vouch for what is bit for
bit the same, and say what is not, and why. For a change that only adds up in another order, the same within
the tolerance that another machine has.
"""

from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Callable, Container, Iterator, Mapping

from ..errors import UserError
from . import record, rehearsal, vouched
from .record import Seal
from .rehearsal import Book, Rehearsal, Rows

SPOT = 2  # rows of a real record that are computed again beside the rehearsals


@dataclass(frozen=True)
class Known:
    """A book, restricted to the rehearsals that it holds: those of a new knob have no before."""

    book: Book
    labels: Container[str]

    @property
    def wanted(self) -> list[Rehearsal]:
        """The rehearsals to play."""
        return [r for r in self.book.wanted if r.label in self.labels]


class OtherMachine(UserError):
    """The book was written on a machine whose last bits may differ."""


def write(
    books: dict[str, Book],
    on_rehearsal: Callable[[int, int], None] = lambda done, of: None,
    accept: bool = False,
) -> Iterator[str]:
    """Rehearse and write the books that are not current; a line per book. What was written stays if
    interrupted. accept: those of other code too, whatever today's gives; else they are left for vouching.
    """
    lacking = {n: b for n, b in books.items() if not record.is_current(record.seal_of(b.file), b.seal)}
    for name in [] if accept else [n for n, b in lacking.items() if _by_other_code(b)]:
        del lacking[name]
        yield (
            f"{name}: its book was written by other code; run llmlab build vouch, or, where the change is"
            f" meant, llmlab build book --only {name}"
        )
    for name, rows in _by_book(lacking, on_rehearsal):
        lacking[name].write(rows)
        yield f"book of {name}: {len(rows)} rehearsals written"


def _by_other_code(book: Book) -> bool:
    """Is there a book, by code that nobody has vouched to be today's?"""
    found = record.seal_of(book.file)
    return bool(found and not record.is_current(found, Seal(found.identity, book.seal.code)))


def vouch(
    books: dict[str, Book],
    spot_checks: dict[str, list[tuple[object, int, Rows]]],
    on_rehearsal: Callable[[int, int], None] = lambda done, of: None,
    changed_readings: tuple[str, ...] = (),
    close: bool = False,
    relying: Callable[[str, str], list[str]] = lambda name, knob: [],
) -> Iterator[str]:
    """Replay the books of all experiments whose code changed; a line per book. Raises OtherMachine.

    relying: (name, knob) -> who leaves this knob at its default; no rehearsal shows a changed one.
    spot_checks: name -> (experiment, seed, rows) of real records, whose first rows are computed too.
    changed_readings: "name.metric" of readings whose meaning was changed on purpose; they are left out of the
    comparison, and the entry says so.
    close: what is within the tolerance of rehearsal.far is vouched for, and its rows go into the book.
    """
    changed: dict[str, Known | Book] = {}
    before: dict[str, dict[str, Rows]] = {}
    for name, book in books.items():
        found = record.seal_of(book.file)
        if found and record.is_current(found, Seal(found.identity, book.seal.code)):
            continue
        kept: dict = book.read() if found else {"asked": {}, "machine": rehearsal.machine()}
        if told := _not_comparable(name, book, kept, close) or _other_default(book, kept, relying):
            yield told
            continue
        changed[name] = book if close else Known(book, kept["asked"])
        before[name] = kept["rows"]
    for name, after in _by_book(changed, on_rehearsal):
        book = books[name]
        meant = tuple(c.partition(".")[2] for c in changed_readings if c.partition(".")[0] == name)
        differ = [*_differences(before[name], after, (*book.clock, *meant), close)]
        differ += [
            f"a real record, seed {s}: {d}"
            for e, s, rows in spot_checks.get(name, [])
            for d in _spot(e, s, rows)
        ]
        if differ:
            yield f"{name} is stale now, {len(differ)} rehearsals differ; the first: {differ[0]}"
            continue
        vouched.add([_entry(name, book, len(before[name]), meant, close)])
        if close:
            book.write(after)
        how = f"within {rehearsal.RELATIVE:g} of before" if close else "bit for bit as before"
        yield f"{name}: {len(before[name])} rehearsals {how}; its records stay current"


def _differences(
    before: dict[str, Rows], after: dict[str, Rows], leave_out: tuple[str, ...], close: bool
) -> Iterator[str]:
    """The first difference of each rehearsal that has one; those of a new knob have no before."""
    samples = rehearsal.learns_from_samples(before.values())
    for label in (label for label in after if label in before):
        both = before[label], after[label], leave_out
        if close and rehearsal.one_answer(*both):
            continue
        found = rehearsal.far(*both, samples) if close else rehearsal.differences(*both)
        yield from (f"'{label}': {d}" for d in islice(found, 1))


def _not_comparable(name: str, book: Book, kept: dict, close: bool) -> str:
    """Why a kept book says nothing about today's rehearsals; '' if it does. Raises OtherMachine, unless it is
    to be compared within the tolerance, which is that of another machine.
    """
    other = [label for label, asked in kept["asked"].items() if book.asked.get(label) != asked]
    if not kept["asked"] or other:
        return (
            f"{name}: its rehearsals are not those of the book ({', '.join(other[:3]) or 'none'}); take"
            " the old code, run llmlab build book, come back"
        )
    if kept["machine"] != rehearsal.machine() and not close:
        raise OtherMachine(
            f"the book of {name} was written with {kept['machine']}, here is {rehearsal.machine()}: take"
            " the old code, run llmlab build book --force, come back"
        )
    return ""


def _other_default(book: Book, kept: dict, relying: Callable[[str, str], list[str]]) -> str:
    """Which default changed that somebody relies on; '' if none."""
    for knob, value in kept.get("defaults", {}).items():
        here = book.defaults.get(knob)
        if here != value and (who := relying(book.name, knob)):
            return (
                f"{book.name} is stale now: --{knob} was {value} by default and is {here}, and"
                f" {', '.join(who)} leave it out; name it there ({knob}={value!r}), then vouch again"
            )
    return ""


def _entry(name: str, book: Book, rehearsals: int, meant: tuple[str, ...], close: bool) -> dict:
    """What is kept of a vouching: from which code to which, when, what was changed on purpose, and within
    which tolerance, if it is not bit for bit.
    """
    old = record.read(book.file)[0]
    entry = {
        "name": name,
        "old": old.code[name],
        "new": book.seal.code[name],
        "date": date.today().isoformat(),
        "rehearsals": rehearsals,
    }
    within = {"relative": rehearsal.RELATIVE, "absolute": rehearsal.ABSOLUTE}
    return entry | ({"changed": list(meant)} if meant else {}) | ({"within": within} if close else {})


def _by_book(books: Mapping[str, Book | Known], on_rehearsal) -> Iterator[tuple[str, dict[str, Rows]]]:
    """(name, label -> rows) of each book, when all of its rehearsals are done."""
    found: dict[str, dict[str, Rows]] = {name: {} for name in books}
    total = sum(len(b.wanted) for b in books.values())
    for done, (name, r, rows) in enumerate(rehearsal.performed({n: b.wanted for n, b in books.items()}), 1):
        found[name][r.label] = rows
        on_rehearsal(done, total)
        if len(found[name]) == len(books[name].wanted):
            yield name, found.pop(name)


def _spot(experiment, seed: int, rows: Rows) -> list[str]:
    """The first difference between a real record's first rows and today's; none where there is no record.
    Records come from other machines, so within the tolerance of rehearsal.far.
    """
    if not rows:
        return []
    again = list(islice(experiment.rows(rehearsal.fresh(experiment.default_model), seed), SPOT))
    return list(islice(rehearsal.far(rows[:SPOT], again, type(experiment).rehearsal.get("clock", ())), 1))
