"""Migrate: bring stored records to today's names of knobs, values and metrics (lab/renamed.py), without
running anything again. What a record was named by in the old words is worked out from today's declarations; a
record that has another name is left as it is.
"""

import io
import json
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Iterator

from .. import paths
from ..errors import UserError
from ..lab import grid, record, registry, rehearsal, renamed, runs, sweeps
from ..lab.record import Seal
from . import CLAIMS, TRIALS, rates, results
from .claims import Arm, Claim, Reading
from .rates import Trials


def all_records() -> Iterator[str]:
    """Migrate everything: shipped and own runs, sweeps, rates, the ledger, books; a line per kind."""
    yield f"runs: {sum(run(p) for p in (*_files(paths.data()), *_files(paths.cache())))} renamed"
    yield f"sweeps: {sum(map(sweep, sweeps.GRIDS.values()))} renamed"
    yield f"rates: {sum(table(part, trials) for part, trials in TRIALS.items())} renamed"
    yield f"claims: {ledger()} renamed"
    from .rehearsed import others

    yield f"books: {sum(map(book, rehearsal.books(others()).values()))} renamed"


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "runs").glob("*/*.json"))


def run(path: Path) -> bool:
    """A stored run: new words inside, and the name that follows from them."""
    from ..models.load import fingerprint, resolve

    try:
        found, content = record.read(path)
        old = runs.Run(**json.loads(content))
        name = old.knobs.get("of", old.experiment)
        new = replace(old, knobs=renamed.knobs(name, old.knobs), rows=renamed.rows(name, old.rows))
        if new == old:
            return False
        model = old.model or _default_model(name, new.knobs.get("knobs", new.knobs))
        start = fingerprint(resolve(model), model)
    except (ValueError, TypeError, OSError, UserError):  # damaged, or its model is gone
        return False
    if runs.named(old.experiment, old.knobs, old.seed, start) != old.key:
        return False  # of texts of the user's, or from another checkpoint
    new.key = runs.named(new.experiment, new.knobs, new.seed, start)
    record.write(path.with_stem(new.key), Seal(new.key, found.code), runs.content(new))
    if new.key != old.key:
        path.unlink()
    return True


def _default_model(name: str, knobs: dict) -> str:
    return registry.get(name)(**knobs).default_model


def sweep(here: grid.Grid) -> bool:
    """A stored sweep: its columns and values."""
    import pandas as pd

    from ..models.load import fingerprint, resolve

    found, name = record.seal_of(here.file), here.experiment
    experiment = registry.get(name)()
    start = fingerprint(resolve(experiment.default_model), experiment.default_model)
    run_before = runs.named(name, renamed.old_knobs(name, experiment.settings()), 0, start)
    together, alone = _old_axes(name, here.together), _old_axes(name, here.alone)
    if found is None or found.identity not in (
        here.seal.identity,
        grid.identity(together, alone, here.seeds, run_before),
    ):
        return False
    curves = {renamed.old_metric(name, m) for m in experiment.curves}
    names = _old_names(name, here)
    columns = {
        f"knob {names[axis]}" if names[axis] in curves else names[axis]: column
        for axis, column in here.columns.items()
    }
    before = pd.read_parquet(io.BytesIO(record.read(here.file)[1]))
    frame = before.rename(columns=lambda c: columns.get(c) or renamed.metric(name, c))
    for axis, column in here.columns.items():
        values = renamed.VALUES.get(name, {}).get(axis, {})
        frame[column] = frame[column].replace(values) if values else frame[column]
    frame = frame.sort_values([*here.columns.values(), "seed", "step"], ignore_index=True)
    if found.identity == here.seal.identity and frame.equals(before):
        return False
    content = frame.to_parquet(compression="zstd", index=False)
    record.write(here.file, Seal(here.seal.identity, found.code), content)
    return True


def _old_names(name: str, here: grid.Grid) -> dict[str, str]:
    return {axis: next(iter(renamed.old_knobs(name, {axis: None}))) for axis in here.axes}


def _old_axes(name: str, axes: dict[str, tuple]) -> dict[str, tuple]:
    found: dict[str, tuple] = {}
    for axis, values in axes.items():
        for value in values:
            ((old, spelled),) = renamed.old_knobs(name, {axis: value}).items()
            found[old] = (*found.get(old, ()), spelled)
    return found


def table(part: str, trials: tuple[Trials, ...]) -> bool:
    """A table of learning rates: the labels of its arms."""
    found, wanted = record.seal_of(rates.file(part)), rates.seal(trials).identity
    if found is None or found.identity == wanted:
        return False
    if found.identity != rates.seal([_old_trials(t) for t in trials]).identity:
        return False
    content = rates.load(part)
    content["table"] = {renamed.ARMS.get(label, label): row for label, row in content["table"].items()}
    record.write(rates.file(part), Seal(wanted, found.code), json.dumps(content, indent=1).encode())
    return True


def _old_trials(t: Trials) -> Trials:
    name, labels = t.arms[0].experiment, {new: old for old, new in renamed.ARMS.items()}
    arms = tuple(replace(old_arm(a), label=labels.get(a.label, a.label)) for a in t.arms)
    return replace(
        t,
        metric=renamed.old_metric(name, t.metric),
        arms=arms,
        reached=tuple((renamed.old_metric(name, m), least) for m, least in t.reached),
    )


def old_arm(arm: Arm) -> Arm:
    """An arm in the old words."""
    return replace(arm, knobs=renamed.old_knobs(arm.experiment, arm.knobs))


def old_claim(claim: Claim) -> Claim:
    """A claim in the old words."""

    def old(reading: Reading) -> Reading:
        name = renamed.old_metric(reading.arm.experiment, reading.metric)
        return replace(reading, arm=old_arm(reading.arm), metric=name)

    contrasts, guards = (
        tuple(replace(c, terms=tuple(map(old, c.terms))) for c in some)
        for some in (claim.contrasts, claim.guards)
    )
    depends = renamed.old_knobs(claim.arms[0].experiment, {claim.depends: None}) if claim.depends else [""]
    return replace(claim, contrasts=contrasts, guards=guards, depends=next(iter(depends)))


def ledger() -> int:
    """The ledger's records and curves: arms and metrics. How many records were renamed."""
    try:
        records, curves = results.load(), results.load_curves()
    except results.BadResults:
        return 0
    renewed = 0
    for claim in CLAIMS.values():
        stored, wanted = records.get(claim.id), results.seal(claim)
        found = stored and Seal.read(stored["seal"])
        if not stored or not found or found.identity == wanted.identity:
            continue
        if found.identity != results.seal(old_claim(claim)).identity:
            continue
        some = [*stored["contrasts"], *stored.get("guards", ())]
        for kept, today in zip(some, (*claim.contrasts, *claim.guards)):
            for term, reading in zip(kept["terms"], today.terms):
                term |= {"arm": reading.arm.key, "metric": reading.metric}
        stored["seal"] = asdict(Seal(wanted.identity, found.code))
        renewed += 1
    if renewed:
        results.save(records, _today(curves))
    return renewed


def _today(curves: results.Curves) -> results.Curves:
    arms = {old_arm(a).key: a for claim in CLAIMS.values() for a in claim.arms}
    found: results.Curves = defaultdict(dict)
    for (key, seed), kept in curves.items():
        arm = arms.get(key)
        for name, curve in kept.items():
            today = renamed.metric(arm.experiment, name) if arm else name
            found[arm.key if arm else key, seed][today] = curve
    return dict(found)


def book(here: rehearsal.Book) -> bool:
    """A rehearsal book: what was asked, under which label, and its rows."""
    found = record.seal_of(here.file)
    if found is None:
        return False
    kept = here.read()
    before = {
        json.dumps([renamed.knobs(here.name, asked[0]), *asked[1:]], sort_keys=True): label
        for label, asked in kept["asked"].items()
    }
    labels = {label: before.get(json.dumps(a, sort_keys=True)) for label, a in here.asked.items()}
    if None in labels.values():
        return False  # other rehearsals than those of the book
    inner = {label: here.asked[label][0].get("of", here.name) for label in labels}
    rows = {new: renamed.rows(inner[new], kept["rows"][old]) for new, old in labels.items()}
    if found.identity == here.seal.identity and rows == kept["rows"]:
        return False
    here.write(rows, found.code, kept["machine"])
    return True
