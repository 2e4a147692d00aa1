"""Vouching, both ways: a refactoring keeps the records, a change of behaviour is caught by the rehearsals.
What is said of a book that cannot be compared is one sentence.
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from helpers_mutants import call, package, replay

from llmlab import cli, paths
from llmlab.chapters.c07_reinforcement_learning.sampling import Sampling
from llmlab.cli import build
from llmlab.lab import code, record, registry, rehearsal, runs, vouch, vouched
from llmlab.lab.experiment import Experiment, knob
from llmlab.lab.rehearsal import Book
from llmlab.ledger import CLAIMS
from llmlab.ledger.claims import Arm, gain

# --- changes of behaviour, planted into a copy of the package
# -------------------------------------------------------------------------------

# what changes -> (old text, new text, experiment, rehearsals that must show it)
CHANGES = {
    "the rate ends elsewhere": (
        "return final + (1 - final) * (n - step)",
        "return 2 * final + (1 - 2 * final) * (n - step)",
        *("unknown", ["short"]),
    ),
    "other pairs are drawn": (
        "self.batch, seed=seed * 100_003",
        "self.batch, seed=seed * 100_004",
        "dpo",
        ["batch 2"],
    ),
    "the mask lies one token later": (
        'return out["input_ids"], out["assistant_masks"]',
        'return out["input_ids"], [0, *out["assistant_masks"][:-1]]',
        *("chats", ["batch 2"]),
    ),
    "the mask of an answer begins one token later": (
        '[int(e > len(head)) for _, e in out["offset_mapping"]]',
        '[int(s > len(head)) for s, _ in out["offset_mapping"]]',
        *("cpt", ["short"]),
    ),
    "a higher upper clip": ('{"higher": 1.4,', '{"higher": 1.5,', "policy", ["clip higher"]),
    "a gate that lets more pass": (
        "self.baseline[k] - row[k] > self.tolerance",
        "self.baseline[k] - row[k] > 2 * self.tolerance",
        *("cpt", ["for tolerance: probe 1, gate 1, replay 0.0, lr 0.003"]),
    ),
    "a gate that lets less pass": (
        "self.baseline[k] - row[k] > self.tolerance",
        "self.baseline[k] - row[k] >= self.tolerance",
        *("cpt", ["tolerance 0.5"]),
    ),
    "replay does not fall to nothing": (
        "self.anneal * (1 - 2 * step / self.steps)",
        "self.anneal * (1 - step / self.steps)",
        *("cpt", ["mixing adaptive, anneal 1.0, replay 0.5"]),
    ),
    "a probe asks other problems": (
        'Sums(("add",)).problems(128, seed=7)',
        'Sums(("add",)).problems(128, seed=8)',
        *("cpt", ["whole"]),
    ),
    "other betas of AdamW": (
        "torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95)",
        "torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99)",
        *("unknown", ["short"]),
    ),
    "the writer is refreshed a step later": (
        "step and step % self.refresh == 0",
        "step > 1 and step % self.refresh == 1",
        *("online", ["refresh 3"]),
    ),
    "the reference is reset a block later": (
        "self.reset and first and first % self.reset == 0",
        "self.reset and first > self.reset and first % self.reset == 0",
        *("policy", ["reset 1"]),
    ),
    "a wider clip": (
        "ratio.clamp(1 - low, 1 + high) * advantages)",
        "ratio.clamp(1 - low, 1.4) * advantages)",
        *("policy", ["epochs 2"]),
    ),
    "the mask is off by one": (
        "batch.ids[:, 1:][trained][None]",
        "batch.ids[:, :-1][trained][None]",
        *("prefer", ["short"]),
    ),
    "a stage begins a step early": (
        "i = min(step // self.length, len(self.parts) - 1)",
        "i = min((step + 1) // self.length, len(self.parts) - 1)",
        *("order", ["short"]),
    ),
}
LIBRARY = {  # what an upgrade of a library might change
    "another epsilon of AdamW": (
        "torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95)",
        "torch.optim.AdamW(parameters, lr=lr, eps=1e-6, betas=(0.9, 0.95)",
        *("unknown", ["short"]),
    ),
}


@pytest.mark.parametrize(
    "old, new, name, labels", [*CHANGES.values(), *LIBRARY.values()], ids=[*CHANGES, *LIBRARY]
)
def test_a_change_of_behaviour_is_caught_bit_for_bit_and_beyond_the_tolerance(
    tmp_path, old, new, name, labels
):
    found = replay(name, labels, package(tmp_path, (old, new)))
    assert set(found) == set(labels), "the book has these rehearsals"
    assert all(different for different, _ in found.values())
    assert any(far for _, far in found.values()), "on another machine it is seen too"


# --- changes of text only
# --------------------------------------------------------------------------------------------------------

SAMPLED = Sampling(steps=2, problems=16)
VOUCH = """
import json
from dataclasses import asdict
from llmlab.chapters.c07_reinforcement_learning.sampling import Sampling
from llmlab.lab import record, rehearsal, runs, vouch
rehearsal.performed = lambda plans: ((n, r, rehearsal.perform(r)) for n in plans for r in plans[n])
book, sampled = rehearsal.Book("sampling", rehearsal.plan(Sampling)), Sampling(steps=2, problems=16)
before = runs.stored(sampled, 2), record.stale([("book", record.seal_of(book.file), book.seal)])
lines = list(vouch.vouch({"sampling": book}, {}))
after, again = runs.stored(sampled, 2), list(vouch.vouch({"sampling": book}, {}))
stale = record.stale([("book", record.seal_of(book.file), book.seal)])
print(json.dumps([before, lines, asdict(after) if after else None, again, stale]))
"""


def whole_words(folder: Path, **names: str) -> Path:
    """The copy with names changed in all of its files, wherever they stand as whole words of code."""
    for file in (folder / "llmlab").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for old, new in names.items():
            text = re.sub(rf"\b{old}\b", new, text)
        file.write_text(text, encoding="utf-8")
    return folder


def moved(folder: Path, old: str, new: str) -> Path:
    """The copy with a module moved, and its imports with it."""
    (found,) = (folder / "llmlab").rglob(f"{old}.py")
    found.rename(found.with_name(f"{new}.py"))
    for file in (folder / "llmlab").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(rf"\.{old} import\b", f".{new} import", text), encoding="utf-8")
    return folder


def merged(folder: Path, upper: str, lower: str) -> Path:
    """The copy in which a module takes up the one that it imports."""
    (into,), (gone,) = ((folder / "llmlab").rglob(f"{name}.py") for name in (upper, lower))
    assert into.parent == gone.parent
    kept = re.sub(rf"from \.{lower} import .*\n", "", into.read_text(encoding="utf-8"))
    into.write_text(gone.read_text(encoding="utf-8") + kept, encoding="utf-8")
    gone.unlink()
    for file in (folder / "llmlab").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(rf"\.{lower} import\b", f".{upper} import", text), encoding="utf-8")
    return folder


REFACTORED = {
    "a function is renamed": lambda folder: whole_words(
        package(folder), play="conversations", as_batch="batched"
    ),
    "a module is renamed": lambda folder: moved(package(folder), "rollout", "episodes"),
    "two modules are one": lambda folder: merged(package(folder), "rollout", "sample"),
}


@pytest.fixture(scope="module")
def sampled():
    """The rows of sampling's rehearsals, by label, and a run."""
    wanted = Book("sampling", rehearsal.plan(Sampling)).wanted
    rows = {r.label: rehearsal.perform(r) for r in wanted}
    return rows, runs.run(SAMPLED, 2, SAMPLED.default_model)


@pytest.fixture
def before(tmp_path, home, monkeypatch, sampled):
    """A data folder with sampling's book, and a stored run, both by today's code."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "checkpoints").symlink_to(paths.data() / "checkpoints")
    monkeypatch.setenv("LLMLAB_DATA", str(folder))
    rows, run = sampled
    Book("sampling", rehearsal.plan(Sampling)).write(rows)
    runs.store(run, code.of(SAMPLED))
    return folder, run


@pytest.mark.parametrize("change", REFACTORED.values(), ids=REFACTORED)
def test_a_refactoring_keeps_the_records(tmp_path, before, change):
    folder, run = before
    (stored, lacking), lines, kept, again, stale = call(VOUCH, copy=change(tmp_path / "copy"), data=folder)
    rehearsals = len(rehearsal.plan(Sampling))
    assert stored is None and lacking == ["book"], "other code, so other hashes"
    assert lines == [f"sampling: {rehearsals} rehearsals bit for bit as before; its records stay current"]
    assert kept["rows"] == run.rows and kept["key"] == run.key
    assert again == [] and stale == [], "what was vouched for is not rehearsed again"
    (entry,) = vouched.entries()
    assert (entry["name"], entry["rehearsals"]) == ("sampling", rehearsals)
    assert code.of(SAMPLED)["sampling"] == entry["old"] != entry["new"]


def test_a_change_of_behaviour_keeps_none(tmp_path, before):
    copy = package(
        tmp_path / "copy",
        ("12 + 2 * self.digits", "11 + 2 * self.digits"),
        ("self.problems, seed=seed)\n        greedy", "self.problems, seed=seed + 1)\n        greedy"),
    )
    (stored, _), lines, kept, again, stale = call(VOUCH, copy=copy, data=before[0])
    assert stored is kept is None and stale == ["book"] and vouched.entries() == []
    assert len(lines) == 1 and lines == again
    assert re.match(
        r"sampling is stale now, \d rehearsals differ; the first: 'whole': step 0: greedy is", lines[0]
    )


# --- what is said
# ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class One(Experiment):
    """Tells a number, without any training."""

    name: ClassVar[str] = "one"
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict] = {"size": ""}
    rehearsal: ClassVar[dict] = dict(short=dict(steps=3), clock=("seconds",))
    adds: ClassVar[float] = 0.0
    steps: int = knob(9, 1, 99, help="steps")

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        for step in range(self.steps + 1):
            yield {"step": step, "size": seed + step + self.adds, "seconds": os.urandom(4).hex()}


@dataclass(frozen=True)
class Two(One):
    """Another one."""

    name: ClassVar[str] = "two"


@pytest.fixture
def books(tmp_path, monkeypatch):
    """Two small books in an empty data folder, of which `one` is written, all in this process."""
    (tmp_path / "checkpoints").symlink_to(paths.data() / "checkpoints")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    monkeypatch.setattr(rehearsal, "performed", here)
    found = {cls.name: Book(cls.name, rehearsal.plan(cls)) for cls in (One, Two)}
    assert list(vouch.write({"one": found["one"]}))
    return found


def here(wanted):
    """All rehearsals one by one."""
    for name, every in wanted.items():
        for r in every:
            yield name, r, rehearsal.perform(r)


@pytest.fixture
def new_code(monkeypatch):
    """The code of all experiments changes its text."""
    before = code.of(One())["one"]
    monkeypatch.setattr(code, "version", lambda file: "new")
    return before


def stale(books) -> list[str]:
    return record.stale((n, record.seal_of(b.file), b.seal) for n, b in books.items())


def test_books_are_written_once(books):
    told = []
    lines = list(vouch.write(books, lambda done, of: told.append((done, of))))
    plan = len(books["two"].wanted)
    assert lines == [f"book of two: {plan} rehearsals written"] and told == [
        (i, plan) for i in range(1, plan + 1)
    ]
    assert list(vouch.write(books)) == [] and stale(books) == []


def test_an_interrupted_call_keeps_the_books_that_were_finished(books, monkeypatch):
    books["one"].file.unlink()

    def stopped(wanted):
        for name, r, rows in here(wanted):
            if name == "two" and r.label == "seed":
                raise KeyboardInterrupt
            yield name, r, rows

    monkeypatch.setattr(rehearsal, "performed", stopped)
    with pytest.raises(KeyboardInterrupt):
        list(vouch.write(books))
    assert stale(books) == ["two"]
    monkeypatch.setattr(rehearsal, "performed", here)
    assert [line.split(":")[0] for line in vouch.write(books)] == ["book of two"] and stale(books) == []


def test_rehearsals_come_back_from_all_cores(books, monkeypatch):
    monkeypatch.undo()
    wanted = rehearsal.plan(Sampling)[-2:]
    found = {r.label: rows for _, r, rows in rehearsal.performed({"sampling": wanted}, workers=1)}
    assert found == {r.label: rehearsal.perform(r) for r in wanted}


def test_unchanged_code_needs_no_rehearsal(books, monkeypatch):
    monkeypatch.setattr(rehearsal, "perform", lambda r: pytest.fail("nothing is to be rehearsed"))
    assert list(vouch.vouch({"one": books["one"]}, {})) == [] and vouched.entries() == []


def test_what_is_bit_for_bit_the_same_is_vouched_for(books, new_code):
    told = []
    lines = list(vouch.vouch({"one": books["one"]}, {}, lambda done, of: told.append((done, of))))
    n = len(books["one"].wanted)
    assert lines == [f"one: {n} rehearsals bit for bit as before; its records stay current"] and told[-1] == (
        n,
        n,
    )
    (entry,) = vouched.entries()
    assert entry | {"date": ""} == {"name": "one", "old": new_code, "new": "new", "date": "", "rehearsals": n}
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", entry["date"])


@pytest.mark.parametrize("who", [["C001", "C002"], []])
def test_another_default_is_vouched_for_only_where_nobody_relies_on_it(books, new_code, monkeypatch, who):
    """All rehearsals name their steps, so they are the same under any default."""
    monkeypatch.setattr(Book, "defaults", {"steps": 5})
    asked = []
    (line,) = vouch.vouch(
        {"one": books["one"]}, {}, relying=lambda name, knob: asked.append((name, knob)) or who
    )
    assert asked == [("one", "steps")]
    if who:
        assert line == (
            "one is stale now: --steps was 9 by default and is 5, and C001, C002 leave it out; name it there"
            " (steps=9), then vouch again"
        )
        assert vouched.entries() == []
    else:
        assert "bit for bit" in line and len(vouched.entries()) == 1


def test_the_command_line_knows_which_claims_rely_on_a_default(books, new_code, monkeypatch, capsys):
    arm = Arm("here", "one", {})
    monkeypatch.setitem(
        CLAIMS, "C005", replace(CLAIMS["C005"], contrasts=(gain("", arm, "size", "more", 1.0),))
    )
    monkeypatch.setattr(Book, "defaults", {"steps": 5})
    monkeypatch.setattr(rehearsal, "books", lambda others=(): {"one": books["one"]})
    monkeypatch.setattr(build, "spot_checks", lambda books: {})
    assert cli.main(["build", "vouch"]) == 0
    assert "--steps was 9 by default and is 5, and C005 leave it out" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize("adds", [1e-9, 1.0])
def test_what_differs_in_its_last_bits_is_stale_too(books, new_code, monkeypatch, adds):
    monkeypatch.setattr(One, "adds", adds)
    (line,) = vouch.vouch({"one": books["one"]}, {})
    assert line.startswith(
        f"one is stale now, {len(books['one'].wanted)} rehearsals differ; the first: 'whole': step 0"
    )
    assert vouched.entries() == []


def test_a_reading_whose_meaning_changed_on_purpose_is_left_out_and_said(books, new_code, monkeypatch):
    monkeypatch.setattr(One, "adds", 1.0)
    (line,) = vouch.vouch({"one": books["one"]}, {}, changed_readings=("two.size", "one.size"))
    assert "bit for bit" in line and vouched.entries()[0]["changed"] == ["size"]


def test_what_is_near_is_vouched_for_when_asked_and_becomes_the_book(books, new_code, monkeypatch):
    monkeypatch.setattr(One, "adds", 1e-6)
    more = rehearsal.Rehearsal("shine 1.0", One(steps=5))
    book, n = Book("one", [*books["one"].wanted, more]), len(books["one"].wanted)
    assert list(vouch.vouch({"one": book}, {}, close=True)) == [
        f"one: {n} rehearsals within 0.0005 of before; its records stay current"
    ]
    (entry,) = vouched.entries()
    assert entry["within"] == {"relative": 0.0005, "absolute": 0.0003} and entry["rehearsals"] == n
    rows = book.read()["rows"]
    assert rows.keys() == {r.label for r in book.wanted} and rows["whole"][0]["size"] == 3.000001
    assert stale({"one": book}) == [] and list(vouch.vouch({"one": book}, {})) == []
    monkeypatch.setattr(code, "version", lambda file: "newer")
    assert "bit for bit" in next(vouch.vouch({"one": book}, {})), "the next change is compared exactly again"


def test_what_is_far_is_stale_however_it_is_asked(books, new_code, monkeypatch):
    monkeypatch.setattr(One, "adds", 0.01)
    kept = books["one"].file.read_bytes()
    (line,) = vouch.vouch({"one": books["one"]}, {}, close=True)
    assert line.startswith("one is stale now") and vouched.entries() == []
    assert books["one"].file.read_bytes() == kept


def test_a_book_from_another_machine_is_near_enough_to_compare_within_the_tolerance(
    books, new_code, monkeypatch
):
    monkeypatch.setattr(rehearsal, "machine", lambda: {"processor": "riscv64"})
    assert "within" in next(vouch.vouch({"one": books["one"]}, {}, close=True))
    assert books["one"].read()["machine"] == {"processor": "riscv64"}


def test_the_command_line_passes_on_that_near_will_do(books, new_code, monkeypatch, capsys):
    monkeypatch.setattr(One, "adds", 1e-6)
    monkeypatch.setattr(rehearsal, "books", lambda others=(): {"one": books["one"]})
    monkeypatch.setattr("llmlab.learn.shipped.wanted", lambda: [])
    assert cli.main(["build", "vouch"]) == 0 and "one is stale now" in capsys.readouterr().out
    assert cli.main(["build", "vouch", "--close"]) == 0 and "stay current" in capsys.readouterr().out


def test_a_missing_or_damaged_book_is_named_and_the_others_go_on(books, new_code):
    (damaged,) = vouch.write({"two": books["two"]})
    books["two"].file.write_bytes(books["two"].file.read_bytes()[:-3])
    first, second = vouch.vouch(books, {})
    assert "its rehearsals are not those of the book" in first and "run llmlab build book, come back" in first
    assert (
        first.startswith("two: ")
        and second.startswith("one: ")
        and [e["name"] for e in vouched.entries()] == ["one"]
    )


def test_a_book_of_other_code_is_not_written_over_unless_the_change_is_meant(books, new_code):
    before = books["one"].file.read_bytes()
    (line,) = vouch.write({"one": books["one"]})
    assert line.startswith("one: its book was written by other code; run llmlab build vouch, or")
    assert books["one"].file.read_bytes() == before
    (line,) = vouch.write({"one": books["one"]}, accept=True)
    assert line.startswith("book of one: ") and books["one"].file.read_bytes() != before


def test_a_changed_rehearsal_is_named(books, new_code):
    wanted = [replace(r, seed=9) if r.label == "short" else r for r in books["one"].wanted]
    (line,) = vouch.vouch({"one": Book("one", wanted)}, {})
    assert line.startswith("one: its rehearsals are not those of the book (short); take the old code")
    assert vouched.entries() == []


def test_the_rehearsals_of_a_new_knob_have_no_before(books, new_code):
    more = rehearsal.Rehearsal("shine 1.0", One(steps=5))
    (line,) = vouch.vouch({"one": Book("one", [*books["one"].wanted, more])}, {})
    assert line.startswith(f"one: {len(books['one'].wanted)} rehearsals bit for bit as before")


def test_a_book_from_another_machine_is_refused_with_a_sentence(books, new_code, monkeypatch, capsys):
    monkeypatch.setattr(rehearsal, "machine", lambda: {"processor": "riscv64"})
    with pytest.raises(
        vouch.OtherMachine, match=r"the book of one was written with .*, here is {'processor': 'riscv64'}"
    ):
        list(vouch.vouch({"one": books["one"]}, {}))
    monkeypatch.setattr(rehearsal, "books", lambda others=(): {"one": books["one"]})
    monkeypatch.setattr("llmlab.learn.shipped.wanted", lambda: [])
    assert cli.main(["build", "vouch"]) == 2
    said = capsys.readouterr().err
    assert "take the old code, run llmlab build book --force, come back" in said and said.count("\n") == 1
    assert vouched.entries() == []


def test_real_records_are_begun_again_beside_the_rehearsals(books, new_code):
    rows = list(One(steps=50).rows(None, 2))
    assert "bit for bit" in next(vouch.vouch({"one": books["one"]}, {"one": [(One(steps=50), 2, rows)]}))
    (entry,) = vouched.entries()
    vouched.file().unlink()
    moved_on = [r | {"size": r["size"] + 1} for r in rows]
    line = next(vouch.vouch({"one": books["one"]}, {"one": [(One(steps=50), 2, moved_on)]}))
    assert "one is stale now" in line and "a real record, seed 2: step 0: size is 2.0, it was 3.0" in line


def test_a_real_record_that_is_not_there_says_nothing(books, new_code):
    assert "bit for bit" in next(vouch.vouch({"one": books["one"]}, {"one": [(One(steps=50), 2, [])]}))


def test_only_records_of_the_books_code_are_checked_on_the_spot(monkeypatch):
    """What was stale before the change says nothing of it."""
    books = rehearsal.books()
    (checked,) = ([name, *found] for name, found in build.spot_checks(books).items() if name == "cpt")
    experiment, seed, rows = checked[1]
    assert isinstance(experiment, registry.get("cpt")) and rows == runs.stored(experiment, seed).rows
    assert set(build.spot_checks({"cpt": books["cpt"]})) == {"cpt"}, "with --only"
    other = record.Seal("", {"cpt": "older code"})
    monkeypatch.setattr(
        record,
        "seal_of",
        lambda path, original=record.seal_of: other if path == books["cpt"].file else original(path),
    )
    assert "cpt" not in build.spot_checks(books)


@pytest.mark.parametrize("what", ["book", "vouch"])
def test_the_command_line_says_what_is_current_and_what_it_did(books, monkeypatch, capsys, what):
    monkeypatch.setattr(rehearsal, "books", lambda others=(): books)
    monkeypatch.setattr("llmlab.learn.shipped.wanted", lambda: [])
    assert cli.main(["build", what, "--check"]) == 0 and capsys.readouterr().out == f"{what}: stale: two\n"
    assert cli.main(["build", "book"]) == 0 and capsys.readouterr().out.startswith("book of two: ")
    assert cli.main(["build", what, "--check"]) == 0 and capsys.readouterr().out == f"{what}: current\n"
    assert cli.main(["build", what]) == 0 and capsys.readouterr().out == f"{what}: current\n"


def test_force_writes_all_books_again(books, monkeypatch, capsys):
    monkeypatch.setattr(rehearsal, "books", lambda others=(): books)
    assert cli.main(["build", "book", "--force"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "book of one",
        "book of two",
    ]
