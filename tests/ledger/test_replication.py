"""Replication: what is drawn, what it predicts, what it finds where a reading has changed, and that it
covers what it says.
"""

import json
from collections import Counter

import numpy as np
import pytest

from llmlab import cli, paths
from llmlab.ledger import CLAIMS, replication, results
from llmlab.ledger.claims import Arm
from llmlab.ledger.replication import SEEDS, Drawn

ARM = Arm("here", "sft", {})


class Made:
    """A run whose readings are what the test wants."""

    probed = ("skill",)

    def __init__(self, value):
        self.value = value

    def curve(self, metric):
        return {0: 0.0, 10: self.value} if metric == "skill" else {}


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """Three readings, and a file of its own."""
    monkeypatch.setattr(replication, "file", lambda: tmp_path / "replication")
    drawn = [Drawn(f"C{i}", ARM(f"m{i}"), (0.1, 0.2, 0.3)) for i in range(3)]
    monkeypatch.setattr(replication, "readings", lambda: drawn)
    return drawn


def test_the_same_number_draws_the_same_and_each_reading_once():
    one, again, other = replication.lot(1), replication.lot(1), replication.lot(2)
    assert one == again != other and len(one) == replication.READINGS
    keys = Counter((d.reading.arm.key, d.reading.metric, d.reading.how) for d in replication.readings())
    assert max(keys.values()) == 1


def test_only_what_varies_and_is_current_is_drawn():
    records = results.load()
    for d in replication.readings():
        assert len(set(d.values)) > 1 and results.is_current(CLAIMS[d.claim], records[d.claim])
        assert not set(records[d.claim]["seeds"]) & set(SEEDS)


def test_the_interval_is_the_closed_form():
    low, high = Drawn("C1", ARM("skill"), (0.1, 0.2, 0.3, 0.4, 0.5)).predicted
    half = 3.7469473879791973 * np.sqrt(0.025) * np.sqrt(1.2)  # t(0.99, 4), s, one of six
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half))


def test_it_covers_98_of_100_new_values():
    draw = np.random.default_rng(0)
    told = [
        Drawn("C1", ARM("skill"), tuple(values[:5])).told(values[5:])
        for values in draw.normal(size=(4000, 8))
    ]
    assert np.mean([*replication.inside(told)]) == pytest.approx(0.98, abs=0.005)


@pytest.mark.parametrize("value, n", [(0.5, 3), (5.0, 0)])
def test_what_changed_is_outside(ledger, monkeypatch, capsys, value, n):
    monkeypatch.setattr(replication, "READINGS", 1)
    drawn = Drawn("C001", ARM("skill"), (0.4, 0.5, 0.6, 0.55, 0.45))
    monkeypatch.setattr(replication, "readings", lambda: [drawn])
    monkeypatch.setattr(replication.runs, "stored", lambda study, seed: Made(value))
    assert cli.main(["claims", "replicate"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"1 readings drawn by lot, 3 new seeds each: {n} of 3 new values are inside" in said
    assert said.count("✗") == 3 - n
    assert [one["new"] for one in replication.load()] == [[value] * 3]


def test_what_is_stored_is_not_run_again_and_the_rest_is(ledger, monkeypatch):
    monkeypatch.setattr(replication, "lot", lambda number: [Drawn("C001", ARM("skill"), (0.1, 0.2, 0.3))])
    monkeypatch.setattr(replication.runs, "stored", lambda study, seed: Made(0.2) if seed == 100 else None)
    asked = []

    def executor(jobs):
        for job in jobs:
            asked.append(job[1])
            yield job, Made(0.25)

    (one,) = replication.run(1, executor)
    assert asked == [101, 102] and one["new"] == [0.2, 0.25, 0.25]


def test_other_code_makes_it_stale_and_damage_is_nothing(ledger, monkeypatch):
    monkeypatch.setattr(replication, "readings", lambda: [Drawn("C001", ARM("skill"), (0.1, 0.2, 0.3))])
    monkeypatch.setattr(replication.runs, "stored", lambda study, seed: Made(0.2))
    replication.run(1)
    assert len(replication.load()) == 1
    with monkeypatch.context() as other:
        other.setattr(replication.code, "named", lambda name: {name: "other"})
        assert replication.load() == []
    raw = replication.file().read_bytes()
    replication.file().write_bytes(raw[:-9])
    assert replication.load() == [] and "nothing is replicated" in replication.summary([])


@pytest.mark.parametrize("values, left", [((0.1, 0.2, 0.3, 0.4), 1), ((0.7, 0.8, 0.9), 0)])
def test_a_reading_of_another_design_is_left_out_and_one_of_more_seeds_is_not(
    ledger, monkeypatch, values, left
):
    monkeypatch.setattr(replication, "readings", lambda: [Drawn("C001", ARM("skill"), (0.1, 0.2, 0.3))])
    monkeypatch.setattr(replication.runs, "stored", lambda study, seed: Made(0.2))
    replication.run(1)
    monkeypatch.setattr(replication, "readings", lambda: [Drawn("C001", ARM("skill"), values)])
    assert len(replication.load()) == left


def test_build_knows_whether_it_is_current(ledger, monkeypatch, capsys):
    assert cli.main(["build", "replication", "--check"]) == 0
    assert capsys.readouterr().out == "replication: stale or missing: replication\n"
    monkeypatch.setattr(replication, "lot", lambda number: [Drawn("C001", ARM("skill"), (0.1, 0.2, 0.3))])
    monkeypatch.setattr(replication.runs, "stored", lambda study, seed: Made(0.2))
    assert cli.main(["build", "replication"]) == 0 and "3 of 3" in capsys.readouterr().out
    assert cli.main(["build", "replication", "--check"]) == 0
    assert capsys.readouterr().out == "replication: current\n"


def test_what_is_shipped_is_whole():
    if not replication.file().exists():
        pytest.skip("no replication is shipped")
    told = replication.load()
    assert told and all(len(one["new"]) == len(SEEDS) for one in told)
    assert json.dumps(told) and paths.data() in replication.file().parents
