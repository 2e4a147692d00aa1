"""The ledger's results: one checked file with per-seed values and verdicts, one with curves. What is altered
is refused, what is stale is said.
"""

import io
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Iterable, Iterator

from filelock import FileLock, Timeout

from .. import paths
from ..errors import UserError
from ..lab import code, registry
from ..lab import record as sealed
from ..lab.record import Seal
from . import guards, statistics
from .claims import Claim, Contrast, Reading

RESULTS = "results.json"
CURVES, NEW_CURVES = "curves", "curves.new"  # .new: its writer died before it took its place
STUDY = str(Path(__file__).parent / "study.py")
Curves = dict[tuple[str, int], dict[str, dict[int, float]]]  # (arm key, seed) -> metric -> step -> value


class BadResults(UserError):
    """The results are missing, truncated or were changed by hand."""


def shipped() -> Path:
    """The folder of the ledger that comes with the package."""
    return paths.data() / "ledger"


def own() -> Path:
    """Where a changed ledger is kept: in a clone in place of the shipped one; else with the user's things, by
    the shipped ledger that it began with, so that a new version of the package begins with its own.
    """
    if not paths.installed() or "LLMLAB_DATA" in os.environ:
        return shipped()
    return paths.state() / "ledger" / paths.hash_files([shipped() / RESULTS])


def file() -> Path:
    """Where the results lie."""
    return (own() if (own() / RESULTS).exists() else shipped()) / RESULTS


def curves_file() -> Path:
    """Where the curves lie."""
    return file().with_name(CURVES)


@contextmanager
def locked() -> Iterator[None]:
    """Only one process at a time reads and writes the ledger; the others wait, a minute at most. Raises
    paths.Busy.
    """
    place = paths.cache() / f"ledger-{paths.hash_bytes(str(own().resolve()).encode())}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place, timeout=60):
            yield
    except Timeout:
        raise paths.Busy(
            "another process has held the ledger for a minute; wait until it has ended"
        ) from None


def set_aside() -> Path | None:
    """A copy of results that cannot be read, beside them, before anything is written in their place; None
    where there are none.
    """
    if not file().exists():
        return None
    raw = file().read_bytes()
    copy = file().with_name(f"{RESULTS}.damaged-{paths.hash_bytes(raw)}")
    paths.write_atomic(copy, raw)
    return copy


@lru_cache
def _code(file: str) -> str:
    return code.version(file)


@lru_cache
def _named(name: str) -> dict[str, str]:
    return code.named(name)


@lru_cache
def _checkpoints(folder: Path, names: tuple[str, ...]) -> str:
    return paths.hash_files(
        sorted(
            p
            for name in names
            for p in (folder / name).glob("*.*")
            if p.suffix in (".safetensors", ".json") and p.name != "card.json"  # what it was measured to do
        )
    )


def started(claim: Claim) -> tuple[str, ...]:
    """The checkpoints that decide a claim's runs: base, chat, and what else its experiments name in their
    sources, as their start or as a teacher (nothing is imported for it).
    """
    named = {name for a in claim.arms for name in _starts(a.experiment)}
    return ("base", "chat", *(name for name in paths.LAB[2:] if name in named))


@lru_cache
def _starts(experiment: str) -> tuple[str, ...]:
    source = Path(registry.file(experiment)).read_text(encoding="utf-8")
    return tuple(name for name in paths.LAB[2:] if f'"{name}"' in source)


def seal(claim: Claim) -> Seal:
    """What a claim's record must be made from: its declaration, the code of the experiments and their exam
    or of its check, and the checkpoints.
    """
    made_by = {"checkpoints": _checkpoints(paths.data() / "checkpoints", started(claim))}
    if claim.check:
        made_by |= {f"check {claim.id}": _code(sys.modules[claim.check.__module__].__file__)}
    made_by |= {n: h for name in {a.experiment for a in claim.arms} for n, h in _named(name).items()}
    made_by |= {"study": _code(STUDY)} if any(a.exam for a in claim.arms) else {}
    return Seal(paths.hash_bytes(claim.declared.encode()), made_by)


def is_current(claim: Claim, record: dict | None) -> bool:
    """Was the record made from today's declaration, code and checkpoints?"""
    return record is not None and sealed.is_current(Seal.read(record["seal"]), seal(claim))


def same_runs(claim: Claim, record: dict | None) -> bool:
    """Were the record's runs made by today's code from today's checkpoints, whatever is declared of them?"""
    found, wanted = Seal.read((record or {}).get("seal")), seal(claim)
    return found is not None and sealed.is_current(found, Seal(found.identity, wanted.code))


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """(id, seal that is there, seal that is wanted) of every claim. Raises BadResults."""
    from . import CLAIMS

    stored = load()
    for claim in CLAIMS.values():
        yield claim.id, Seal.read(stored.get(claim.id, {}).get("seal")), seal(claim)


def load() -> dict[str, dict]:
    """id -> record, in the order of the ids. Raises BadResults if the file is missing, truncated, or not as
    it was written.
    """
    try:
        return read(file().read_bytes())
    except OSError:
        raise BadResults(f"'{file()}' is missing; run: llmlab claims run") from None


def read(raw: bytes) -> dict[str, dict]:
    """The records in the file's bytes. Raises BadResults."""
    try:
        return json.loads(sealed.opened(raw, file())[1])
    except sealed.Damaged as e:
        raise BadResults(f"{e}, so no verdict in it counts; run: llmlab claims run") from None


def worded(claim: Claim, record: dict | None) -> dict | None:
    """The record in the claim's present words, which may have been improved since: the labels of contrasts
    and arms, and why it cannot be tested. A record of other contrasts keeps its own.
    """
    if record is None:
        return None
    rules = [
        [c["direction"], c["least"], c["unit"], c["counts"]]
        + [[t["arm"], t["metric"], t["how"], t["weight"]] for t in c["terms"]]
        for c in record["contrasts"]
    ]
    if rules != claim.rules:
        return record
    contrasts = [
        found
        | {
            "label": c.label,
            "terms": [t | {"label": x.arm.label} for t, x in zip(found["terms"], c.terms)],
        }
        for found, c in zip(record["contrasts"], claim.contrasts)
    ]
    return record | {"contrasts": contrasts} | ({"found": claim.corrects or claim.why} if claim.why else {})


def save(records: dict[str, dict], curves: Curves) -> None:
    """Write both files; all verdicts are made anew from the per-seed effects."""
    records = {k: records[k] for k in sorted(records)}
    judge(records)
    body = json.dumps(records, indent=1, ensure_ascii=False).encode()
    folder = own()
    # the old curves stay until the results are there that the new ones belong to
    sealed.write(folder / NEW_CURVES, _with(body), _packed(curves))
    sealed.write(folder / RESULTS, Seal("ledger"), body)
    (folder / NEW_CURVES).replace(folder / CURVES)


def _with(body: bytes) -> Seal:
    """The seal of the curves that were written with these results."""
    return Seal(paths.hash_bytes(body))


def judge(records: dict[str, dict]) -> None:
    """Verdicts of all records, in place, from their per-seed effects: a part's from its own interval, a
    claim's from its parts and guards. q stands beside them and changes none.
    """
    from . import CLAIMS

    for id, record in records.items():
        if record["contrasts"]:
            _judge(record, CLAIMS.get(id))
    _with_q([c for r in records.values() for c in r["contrasts"] if c["counts"]])
    for record in records.values():
        decided = [c["q"] for c in record["contrasts"] if c["counts"] and c["verdict"] != "open"]
        record["q"] = max(decided, default=None)


def _judge(record: dict, claim: Claim | None) -> None:
    """One measured record: parts at the look that the seeds reach, guards, verdict."""
    counted = [c for c in record["contrasts"] if c["counts"]]
    first = claim.seeds if claim else statistics.LOOKS[0]
    n = statistics.look([c["effects"] for c in counted], [_rule(c) for c in counted], first)
    for c in (*record["contrasts"], *record.get("guards", ())):
        e = statistics.estimate(c["effects"][:n])
        found = statistics.part(e, _rule(c))
        c |= {"mean": e.mean, "low": e.low, "high": e.high, "sd": e.sd, "n": n}
        c |= {"verdict": found if c["counts"] else "", "p": statistics.p_value(e, _rule(c), found)}
    parts = [c["verdict"] for c in counted]
    record["verdict"] = statistics.overall(parts, _depends(claim, parts), [c["p"] for c in counted])
    record["parts"] = {found: parts.count(found) for found in statistics.PARTS if found in parts}
    record["withheld"] = guards.refused(claim, record) if claim else ""
    if record["withheld"]:
        record["verdict"] = "withheld"


def _depends(claim: Claim | None, parts: list[str]) -> bool:
    """Do the arms of every part as claimed have other values of the declared knob than those of every
    excluded part?
    """
    if claim is None or not claim.depends:
        return False
    counted = [c for c in claim.contrasts if c.counts]
    values = [{str(a.knobs.get(claim.depends)) for a in c.arms} for c in counted]
    claimed = [v for v, p in zip(values, parts) if p == "as claimed"]
    return all(v != w for v in claimed for w, p in zip(values, parts) if p in statistics.EXCLUDED)


def _with_q(counted: list[dict]) -> None:
    """q of every counted part, over all of the ledger; the same contrast declared twice is one test."""
    distinct: dict[str, float] = {_test(c): c["p"] for c in counted}
    q = dict(zip(distinct, statistics.false_share(list(distinct.values()))))
    for c in counted:
        c["q"] = q[_test(c)]


def _test(c: dict) -> str:
    terms = [[t["arm"], t["metric"], t["how"], t["weight"]] for t in c["terms"]]
    return json.dumps([c["direction"], c["least"], c["n"], terms])


def _rule(record: dict) -> Contrast:
    return Contrast(
        record["label"], (), record["direction"], record["least"], record["unit"], record["counts"]
    )


def measured(claim: Claim, curves: Curves, seeds: Iterable[int]) -> dict:
    """The record of a claim from its runs' curves. Raises DeadKnob."""
    seeds = list(seeds)
    statistics.check_alive(claim, {k: v for k, v in curves.items() if k[1] in seeds})
    return _head(claim) | {
        "seeds": seeds,
        "contrasts": [_contrast(c, curves, seeds) for c in claim.contrasts],
        "guards": [_contrast(c, curves, seeds) for c in claim.guards],
        "verdict": "",
    }


def checked(claim: Claim) -> dict:
    """The record of an exact claim: it is proven (or what is true instead is), or its check raises
    AssertionError.
    """
    verdict = "corrected" if claim.corrects else "proven"
    return _head(claim) | {"seeds": [], "contrasts": [], "verdict": verdict, "found": claim.check()}


def untestable(claim: Claim) -> dict:
    """The record of a claim that cannot be tested here, or need not be, as the truth can be looked up."""
    verdict = "corrected" if claim.corrects else "untestable"
    found = claim.corrects or claim.why
    return _head(claim) | {"seeds": [], "contrasts": [], "verdict": verdict, "found": found}


def _head(claim: Claim) -> dict:
    return {"id": claim.id, "seal": asdict(seal(claim))}


def values(term: Reading, curves: Curves, seeds: list[int]) -> list[float]:
    """The reading of every seed."""
    return [round(term.of(curves[term.arm.key, s]), 6) for s in seeds]


def _contrast(c: Contrast, curves: Curves, seeds: list[int]) -> dict:
    read = [values(t, curves, seeds) for t in c.terms]
    terms = [
        {
            "arm": t.arm.key,
            "label": t.arm.label,
            "metric": t.metric,
            "how": t.manner,
            "weight": t.weight,
            "values": v,
        }
        for t, v in zip(c.terms, read)
    ]
    effects = [round(sum(t.weight * v for t, v in zip(c.terms, row)), 6) for row in zip(*read)]
    rule = {"label": c.label, "direction": c.direction, "least": c.least, "unit": c.unit, "counts": c.counts}
    return rule | {"effects": effects, "terms": terms}


def _packed(curves: Curves) -> bytes:
    """The curves as a parquet file's content."""
    import pandas as pd

    rows = [
        (a, s, m, step, v)
        for (a, s), ms in sorted(curves.items())
        for m, c in sorted(ms.items())
        for step, v in c.items()
    ]
    frame = pd.DataFrame(rows, columns=["arm", "seed", "metric", "step", "value"])
    frame = frame.astype(
        {"arm": "category", "metric": "category", "seed": "int16", "step": "int32", "value": "float32"}
    )
    out = io.BytesIO()
    frame.to_parquet(out, compression="zstd", index=False)
    return out.getvalue()


def _curves_of(name: str) -> bytes | None:
    """The content of a file of curves, if it was written with the results that are there."""
    try:
        seal, raw = sealed.read(file().with_name(name))
        return raw if sealed.is_current(seal, _with(sealed.read(file())[1])) else None
    except (OSError, sealed.Damaged):
        return None


def load_curves() -> Curves:
    """The stored curves; none where the file is missing, or is not the one that was written with the
    results.
    """
    import pandas as pd

    raw = _curves_of(CURVES) or _curves_of(NEW_CURVES)
    if raw is None:
        return {}
    frame = pd.read_parquet(io.BytesIO(raw))
    found: Curves = {}
    for a, s, m, step, v in frame.itertuples(index=False):
        found.setdefault((str(a), int(s)), {}).setdefault(str(m), {})[int(step)] = float(v)
    return found
