"""Migration: stored records in the old words become today's, bit for bit what is shipped, and nothing is run.
What the old words do not explain is left as it is.
"""

import io
import json
import shutil
from dataclasses import asdict, replace

import pytest

from llmlab import cli, paths
from llmlab.chapters.c07_reinforcement_learning.policy import Policy
from llmlab.lab import grid, record, registry, rehearsal, renamed, runs, sweeps
from llmlab.lab.record import Seal
from llmlab.ledger import CLAIMS, TRIALS, migrate, rates, results
from llmlab.models.load import fingerprint, resolve

BOOKS = ("policy", "midtrain", "topology")


def turned(names: dict) -> dict:
    return {new: old for old, new in names.items()}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the shipped data."""
    shutil.copytree(paths.data(), tmp_path / "data")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def aged_rows(name: str, rows: list[dict]) -> list[dict]:
    names = turned(renamed.STEPS | renamed.METRICS.get(name, {}))
    return [{names.get(m, m): v for m, v in row.items()} for row in rows]


def content(path) -> tuple[Seal, bytes]:
    return record.read(path)


# --- runs


def aged_run(path):
    """The record as it was before the renaming, under the name that it had."""
    seal, raw = content(path)
    run = runs.Run(**json.loads(raw))
    before = replace(
        run,
        knobs=renamed.old_knobs(run.experiment, run.knobs),
        rows=aged_rows(run.experiment, run.rows),
    )
    before.key = runs.named(
        run.experiment, before.knobs, run.seed, fingerprint(resolve(run.model), run.model)
    )
    path.unlink()
    old = path.with_stem(before.key)
    record.write(old, Seal(before.key, seal.code), json.dumps(asdict(before)).encode())
    return old


@pytest.mark.parametrize("name", ["policy", "overopt", "online", "topology", "curate"])
def test_runs_get_the_name_that_follows_from_todays_words(data, name):
    path = sorted((data / "runs" / name).glob("*.json"))[0]
    shipped = content(path)
    old = aged_run(path)
    assert content(old) != shipped and migrate.run(old) and content(path) == shipped
    assert [p for p in path.parent.glob("*") if p == old] == [path] * (old == path)
    assert not migrate.run(path), "a second time there is nothing to do"


def test_a_run_on_texts_of_the_users_keeps_its_name(data):
    path = sorted((data / "runs" / "policy").glob("*.json"))[0]
    old = aged_run(path)
    seal, raw = content(old)
    other = old.with_stem("f" * len(seal.identity))
    run = json.loads(raw) | {"key": other.stem}
    record.write(other, Seal(other.stem, seal.code), json.dumps(run).encode())
    before = other.read_bytes()
    assert not migrate.run(other) and other.read_bytes() == before


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-20], lambda raw: b"", lambda raw: raw.replace(b"3", b"4")]
)
def test_a_damaged_run_is_left_alone(data, damage):
    old = aged_run(sorted((data / "runs" / "policy").glob("*.json"))[0])
    old.write_bytes(damage(old.read_bytes()))
    before = old.read_bytes()
    assert not migrate.run(old) and old.read_bytes() == before


# --- sweeps, rates


@pytest.mark.parametrize("name", ["policy", "topology", "cpt"])
def test_sweeps_get_todays_columns_and_values(data, name):
    import pandas as pd

    here = sweeps.GRIDS[name]
    seal, raw = content(here.file)
    shipped = pd.read_parquet(io.BytesIO(raw))
    experiment, names = (
        registry.get(name)(),
        {axis: k for axis in here.axes for k in renamed.old_knobs(name, {axis: 0})},
    )
    metrics = turned(renamed.METRICS.get(name, {}))
    curves = {metrics.get(m, m) for m in experiment.curves}
    columns = {c: f"knob {names[a]}" if names[a] in curves else names[a] for a, c in here.columns.items()}
    frame = shipped.copy()
    for axis, column in here.columns.items():
        frame[column] = [next(iter(renamed.old_knobs(name, {axis: v}).values())) for v in frame[column]]
    frame = frame.rename(columns=metrics | columns)
    start = fingerprint(resolve(experiment.default_model), experiment.default_model)
    run = runs.named(name, renamed.old_knobs(name, experiment.settings()), 0, start)
    axes = [migrate._old_axes(name, a) for a in (here.together, here.alone)]
    identity = grid.identity(*axes, here.seeds, run)
    record.write(here.file, Seal(identity, seal.code), frame.to_parquet(compression="zstd", index=False))
    assert sweeps.load(name) is None, "under the old words it is none of today's"
    assert migrate.sweep(here)
    again, found = content(here.file)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(found)), shipped)
    assert again == seal and not migrate.sweep(here)


def test_a_sweep_of_another_grid_is_left_alone(data):
    here = sweeps.GRIDS["policy"]
    seal, raw = content(here.file)
    record.write(here.file, Seal("0" * 16, seal.code), raw)
    assert not migrate.sweep(here) and content(here.file) == (Seal("0" * 16, seal.code), raw)


def test_a_table_of_rates_gets_todays_labels(data):
    shipped = content(rates.file("policy"))
    table, labels = rates.load("policy"), turned(renamed.ARMS)
    table["table"] = {labels[label]: row for label, row in table["table"].items()}
    identity = rates.seal([migrate._old_trials(t) for t in TRIALS["policy"]]).identity
    raw = json.dumps(table, indent=1).encode()
    record.write(rates.file("policy"), Seal(identity, shipped[0].code), raw)
    assert not rates.is_current("policy", TRIALS["policy"])
    assert migrate.table("policy", TRIALS["policy"]) and content(rates.file("policy")) == shipped
    assert not migrate.table("policy", TRIALS["policy"])


# --- the ledger


def aged_ledger() -> None:
    """Results and curves as they were before the renaming."""
    records, curves = results.load(), results.load_curves()
    arms = {a.key: a for claim in CLAIMS.values() for a in claim.arms}
    for claim in (c for c in CLAIMS.values() if c.id in records):  # some are declared and not run yet
        before, stored = migrate.old_claim(claim), records[claim.id]
        for kept, contrast in zip(stored["contrasts"], before.contrasts):
            for term, reading in zip(kept["terms"], contrast.terms):
                term |= {"arm": reading.arm.key, "metric": reading.metric}
        if before.declared != claim.declared:
            stored["seal"]["identity"] = results.seal(before).identity
    aged: dict = {}
    for (key, seed), kept in curves.items():
        arm = arms[key]
        aged[migrate.old_arm(arm).key, seed] = {
            renamed.old_metric(arm.experiment, m): c for m, c in kept.items()
        }
    results.save(records, aged)


def test_the_ledger_gets_todays_arms_and_metrics_and_no_verdict_moves(data):
    shipped, curves = results.load(), results.load_curves()
    aged_ledger()
    assert results.load() != shipped
    assert migrate.ledger() > 10
    assert results.load() == shipped and results.load_curves() == curves
    assert migrate.ledger() == 0


def test_a_record_of_another_declaration_is_left_stale(data):
    aged_ledger()
    records = results.load()
    records["C071"]["seal"]["identity"] = "0" * 16
    results.save(records, results.load_curves())
    migrate.ledger()
    assert results.load()["C071"]["seal"]["identity"] == "0" * 16
    assert not results.is_current(CLAIMS["C071"], results.load()["C071"])


# --- books


@pytest.mark.parametrize("name", BOOKS)
def test_books_get_todays_labels_settings_and_readings(data, name):
    here = rehearsal.Book(name, rehearsal.plan(registry.get(name)))
    shipped, kept = content(here.file), here.read()
    aged = {
        f"old {i}": [renamed.old_knobs(name, asked[0]), *asked[1:]]
        for i, asked in enumerate(kept["asked"].values())
    }
    rows = {f"old {i}": aged_rows(name, kept["rows"][label]) for i, label in enumerate(kept["asked"])}
    before = {"machine": kept["machine"], "asked": aged, "rows": rows}
    import gzip

    record.write(
        here.file, Seal("0" * 16, shipped[0].code), gzip.compress(json.dumps(before).encode(), mtime=0)
    )
    kept["rows"] = {label: seen_of(name, every) for label, every in kept["rows"].items()}
    assert migrate.book(here) and record.seal_of(here.file) == shipped[0] and here.read() == kept
    assert not migrate.book(here)


def seen_of(name: str, rows: list[dict]) -> list[dict]:
    """What the old words could say: a reading hid the step's own figure of the same name."""
    hidden = renamed.METRICS.get(name, {})
    return [{m: v for m, v in row.items() if hidden.get(m) not in row} for row in rows]


def test_a_book_of_other_rehearsals_is_left_alone(data):
    here = rehearsal.Book(
        "policy", rehearsal.plan(Policy)[:-1] + [rehearsal.Rehearsal("new", Policy(lr=1e-4))]
    )
    before = here.file.read_bytes()
    assert not migrate.book(here) and here.file.read_bytes() == before


def test_the_command_says_what_it_renamed(data, home, capsys, monkeypatch):
    old = aged_run(sorted((data / "runs" / "policy").glob("*.json"))[0])
    mine = paths.cache() / "runs" / "policy" / old.name
    mine.parent.mkdir(parents=True)
    shutil.copyfile(old, mine)
    monkeypatch.setattr(paths, "clone", lambda what: None)
    assert cli.main(["build", "migrate"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "migrate: runs: 2 renamed",
        "migrate: sweeps: 0 renamed",
        "migrate: rates: 0 renamed",
        "migrate: claims: 0 renamed",
        "migrate: books: 0 renamed",
    ]
    assert not mine.exists() and len(list(mine.parent.glob("*.json"))) == 1, "the user's own runs too"
