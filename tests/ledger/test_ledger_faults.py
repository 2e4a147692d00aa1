"""Faults of the ledger's store: a death between two writes, two writers at once, a flipped byte."""

import copy
import subprocess
import sys


import pytest
from helpers_ledger import claims_are

from llmlab.lab import record as sealed
from llmlab.ledger import results, runner
from llmlab.ledger.claims import Arm, Claim, contrast

ONE, TWO = (Arm(name, "topology", {"lr": lr}) for name, lr in (("one", 1e-3), ("two", 2e-3)))
RULE = contrast("a gap", "more", ONE("ordering"), TWO("ordering"), 0.01)
CLAIMS = tuple(
    Claim(f"C99{i}", "words", "A 0", "measured", "01", "none", matched="steps", contrasts=(RULE,))
    for i in range(5)
)


def curves(gap: float) -> results.Curves:
    return {
        (a.key, s): {"ordering": {0: 0.5, 10: 0.5 + (gap + 0.001 * s) * (a is ONE)}}
        for a in (ONE, TWO)
        for s in range(5)
    }


def record(claim: Claim, gap: float = 0.2) -> dict:
    return results.measured(claim, curves(gap), range(5)) | {"needed": 5}


@pytest.fixture
def stored(home, tmp_path, monkeypatch):
    """A ledger of four claims, of which the fifth is not run yet."""
    (tmp_path / "checkpoints").symlink_to(results.paths.data() / "checkpoints")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    with claims_are(*CLAIMS):
        results.save({c.id: record(c) for c in CLAIMS[:4]}, curves(0.2))
        yield tmp_path / "ledger"


def state() -> tuple:
    return copy.deepcopy(results.load()), results.load_curves()


class Died(BaseException):
    """In place of kill −9."""


@pytest.mark.parametrize("at", range(3))
def test_a_death_between_two_writes_leaves_the_old_ledger_or_the_new_one_whole(stored, monkeypatch, at):
    """Killed before the first, the second write, or before the last renaming."""
    before, done = state(), []

    def write(path, seal, content, real=sealed.write):
        if len(done) == at:
            raise Died
        done.append(path)
        real(path, seal, content)

    fresh = {c.id: record(c, 0.3) for c in CLAIMS}
    with monkeypatch.context() as patch:
        patch.setattr(sealed, "write", write)
        patch.setattr(results.Path, "replace", lambda *_: (_ for _ in ()).throw(Died))
        with pytest.raises(Died):
            results.save(copy.deepcopy(fresh), curves(0.3))
    after = state()
    assert after[1], "the curves are there, whichever they are"
    if at < 2:
        assert after == before
    else:
        assert set(after[0]) == set(fresh) and after[1][ONE.key, 0]["ordering"][10] == pytest.approx(0.8)
    results.save(copy.deepcopy(fresh), curves(0.3))
    assert set(state()[0]) == set(fresh) and not (stored / results.NEW_CURVES).exists()


def test_curves_that_were_written_in_place_of_the_old_ones_would_be_lost(stored):
    """Negative control: new curves beside old results count for nothing."""
    raw = results.curves_file().read_bytes()
    results.save({c.id: record(c, 0.3) for c in CLAIMS[:4]}, curves(0.3))
    new = results.curves_file().read_bytes()
    results.save({c.id: record(c) for c in CLAIMS[:4]}, curves(0.2))
    assert results.curves_file().read_bytes() == raw
    results.curves_file().write_bytes(new)
    assert results.load_curves() == {}


def test_one_flipped_byte_and_a_run_of_one_claim_loses_nothing(stored):
    raw = results.file().read_bytes()
    at = raw.index(b'"effects"') + 20
    broken = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    results.file().write_bytes(broken)
    with pytest.raises(results.BadResults, match="nothing was overwritten"):
        runner.run([CLAIMS[4]], executor=lambda jobs: pytest.fail("a run was begun"))
    assert results.file().read_bytes() == broken
    results.file().write_bytes(raw)
    assert set(results.load()) == {c.id for c in CLAIMS[:4]}


def test_a_ledger_that_is_made_anew_keeps_a_copy_of_what_was_damaged(stored):
    broken = results.file().read_bytes()[:-7]
    results.file().write_bytes(broken)
    runner._merge({c.id: record(c) for c in CLAIMS}, curves(0.2), CLAIMS)
    (kept,) = stored.glob("results.json.damaged-*")
    assert kept.read_bytes() == broken and set(results.load()) == {c.id for c in CLAIMS}


WRITER = """
import sys
sys.path.insert(0, {tests!r}); sys.path.insert(0, {here!r})
from helpers_ledger import claims_are
from test_ledger_faults import CLAIMS, curves, record
from llmlab.ledger import runner
claim = CLAIMS[int(sys.argv[1])]
with claims_are(*CLAIMS):
    for gap in (0.2, 0.3, 0.25):
        runner._merge({{claim.id: record(claim, gap)}}, curves(gap), [claim])
"""


def test_writers_at_once_lose_none_of_their_records(stored):
    from pathlib import Path

    here = Path(__file__).parent
    code = WRITER.format(tests=str(here.parent), here=str(here))
    results.file().unlink()
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(i)], stderr=subprocess.PIPE) for i in range(5)
    ]
    for w in writers:
        assert w.wait(120) == 0, w.stderr.read().decode()[-800:]
    assert set(results.load()) == {c.id for c in CLAIMS} and results.load_curves()


def test_who_waits_too_long_gets_a_sentence(stored, monkeypatch):
    monkeypatch.setattr(results, "FileLock", lambda place, timeout: LOCK(place, timeout=0.1))
    with results.locked(), pytest.raises(results.paths.Busy, match="held the ledger"), results.locked():
        pass


LOCK = results.FileLock
