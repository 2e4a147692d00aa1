"""Running claims: the runs that are missing on all cores, more seeds while a part is open, then the
records.
"""

from itertools import count
from typing import Callable, Iterable, Iterator

import numpy as np

from ..lab import pool, runs
from . import results, statistics
from .claims import Arm, Claim, NeverThere

Executor = Callable[[Iterable[tuple]], Iterator[tuple[tuple, runs.Run]]]


def jobs(claims: Iterable[Claim], seeds: Callable[[Claim], int]) -> dict[tuple[str, int], Arm]:
    """(arm key, seed) -> arm: each run once, however many claims read it; a seed of all arms first."""
    wanted = {
        (arm.key, seed): arm
        for claim in claims
        for arm in claim.arms
        for seed in claim.numbered(seeds(claim))
    }
    return dict(sorted(wanted.items(), key=lambda job: job[0][1]))


def run(
    claims: list[Claim],
    executor: Executor = pool.run_all,
    on_run: Callable[[int, int, str], None] = lambda done, of, what: None,
    most: int = statistics.LOOKS[-1],
) -> dict[str, dict]:
    """Test the claims and store their records; id -> record. What is stored already is not computed again.

    Raises results.BadResults before any run where the stored ledger is damaged and more than these claims
    would be lost; where nothing else is in it, the damaged file is set aside and made anew.

    Seeds are looked at when there are 5, 10 and 20 of them (statistics.LOOKS), and a claim goes on to the
    next look while one of its parts is open, up to `most`. on_run(done, all, what) after each run. Raises
    DeadKnob for claims two of whose arms are one, and NeverThere for those with a run that is read at a value
    it never gets to, when all others are stored.
    """
    kept = _kept_of_the_others(claims)
    measured, curves = [c for c in claims if c.contrasts], _of_today(kept)
    todo, fresh, failed = measured, {}, []
    for n in [n for n in statistics.LOOKS if n <= most]:
        seeds = {c.id: max(n, c.seeds, stored(c, curves)) for c in todo}
        _compute(jobs(todo, lambda c, n=seeds: n[c.id]), curves, executor, on_run)
        for c in todo:
            try:
                fresh[c.id] = results.measured(c, curves, c.numbered(seeds[c.id]))
            except (statistics.DeadKnob, NeverThere) as e:  # a mistake in one claim costs no other its runs
                failed.append(e)
        todo = [c for c in todo if c.id in fresh]
        results.judge({c.id: fresh[c.id] for c in todo})
        todo = [c for c in todo if "open" in fresh[c.id]["parts"]]
    fresh |= {
        c.id: results.checked(c) if c.check else results.untestable(c) for c in claims if not c.contrasts
    }
    merged = _merge(fresh, curves, claims)
    if failed:
        raise type(failed[0])("; ".join(map(str, failed)))
    return merged


def stored(claim: Claim, curves: results.Curves) -> int:
    """Seeds, from the claim's first one on, that all its arms have curves of."""
    seeds = (s for s in count() if not all((a.key, claim.first + s) in curves for a in claim.arms))
    return next(seeds)


def _of_today(records: dict[str, dict]) -> results.Curves:
    """The ledger's curves of arms that today's code would run alike."""
    from . import CLAIMS

    alike = [CLAIMS[id] for id, record in records.items() if results.same_runs(CLAIMS[id], record)]
    keys = {arm.key for claim in alike for arm in claim.arms}
    return {(key, seed): curve for (key, seed), curve in results.load_curves().items() if key in keys}


def _compute(wanted: dict[tuple[str, int], Arm], curves: results.Curves, executor: Executor, on_run) -> None:
    """Read what is stored, run what is missing; the curves of all probes and of what the loop counts."""
    done, missing = 0, {}
    for (key, seed), arm in wanted.items():
        if (key, seed) in curves:
            done += 1
            continue
        study = arm.study()
        found = runs.stored(study, seed)
        if found:
            curves[key, seed], done = kept(found), done + 1
        else:
            missing.setdefault((study, seed), []).append(arm)
    on_run(done, len(wanted), "")
    for job, run_ in executor(list(missing)):
        curves |= {
            (arm.key, job[1]): kept(run_) for arm in missing[job]
        }  # two arms may spell the same run differently
        done += len(missing[job])
        on_run(done, len(wanted), f"{missing[job][0].label}, seed {job[1]}")


def kept(run_: runs.Run) -> dict[str, dict[int, float]]:
    """The curves of a run that the ledger keeps: what was probed, and the tokens of every step; in the digits
    that it stores, so that a record made from a run is the one made from the stored curve.
    """
    found = {m: run_.curve(m) for m in [*run_.probed, "tokens"] if m != "examined"}
    return {m: {step: float(np.float32(v)) for step, v in c.items()} for m, c in found.items() if c}


def _kept_of_the_others(claims: Iterable[Claim]) -> dict[str, dict]:
    """The stored records of claims that still exist. Raises BadResults where they cannot be read and `claims`
    are not all of them.
    """
    from . import CLAIMS

    try:
        return {k: v for k, v in results.load().items() if k in CLAIMS}
    except results.BadResults as e:
        if results.file().exists() and CLAIMS.keys() - {c.id for c in claims}:
            raise results.BadResults(
                f"{e} without an id, or restore the file (git checkout); nothing was overwritten"
            ) from None
        return {}


def _merge(
    fresh: dict[str, dict], curves: dict[tuple[str, int], dict], claims: Iterable[Claim]
) -> dict[str, dict]:
    """The fresh records among the stored ones, written to disk; what another process wrote meanwhile
    stays.
    """
    from . import CLAIMS

    with results.locked():
        before = _kept_of_the_others(claims)
        if not before:
            results.set_aside()
        records = before | fresh
        counted = {
            (a.key, s)
            for c in CLAIMS.values()
            if c.id in records
            for a in c.arms
            for s in records[c.id]["seeds"]
        }
        results.save(records, {k: v for k, v in (results.load_curves() | curves).items() if k in counted})
        written = results.load()
    return {k: written[k] for k in fresh}
