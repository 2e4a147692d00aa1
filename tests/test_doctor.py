"""`llmlab doctor`: what is known is told at once, the timing fits any experiment and its budget."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from llmlab import cli
from llmlab.cli import doctor
from llmlab.lab import registry, times


def fake(monkeypatch, rows: int, steps: int, seconds: float = 0.0):
    """An experiment `fake` with so many rows (the first is number 0), each of which takes a while."""

    class Fake:
        default_model = "chat"

        def rows(self, loaded, seed):
            for step in range(rows):
                time.sleep(seconds)
                yield {"step": step}

    Fake.steps = steps
    monkeypatch.setattr(registry, "get", lambda name: Fake)
    monkeypatch.setattr("llmlab.models.load.load", lambda name: SimpleNamespace())


@pytest.mark.parametrize("rows, steps", [(1, 1), (1, 0), (1, 3), (4, 3), (2, 50)])
def test_an_experiment_of_few_rows_is_timed_whole(rows, steps, monkeypatch):
    fake(monkeypatch, rows, steps, seconds=0.01)
    heard = []
    seconds, whole = doctor.measure("fake", 60, lambda *told: heard.append(told))
    assert whole and 0 <= seconds < 5
    assert len(heard) == rows and all(name == "fake" and 0 <= share <= 1 for name, share in heard)


def test_when_the_budget_is_spent_the_rest_is_extrapolated(monkeypatch):
    fake(monkeypatch, rows=1001, steps=1000, seconds=0.02)
    began = time.monotonic()
    seconds, whole = doctor.measure("fake", 0.2)
    assert not whole and time.monotonic() - began < 5
    assert 20 <= seconds < 200  # 1001 rows of at least 0.02 s each


def test_an_experiment_whose_first_row_takes_the_budget_has_no_time(monkeypatch):
    fake(monkeypatch, rows=11, steps=10, seconds=0.05)
    assert doctor.measure("fake", 0.01) == (None, False)


def timed(monkeypatch, measure, busy=False) -> dict:
    """All findings of the timing with a made-up measurement."""
    monkeypatch.setattr(doctor, "measure", measure)
    monkeypatch.setattr(doctor, "busy", lambda: busy)
    found = {}
    for finding in doctor.timing():
        doctor.add(found, finding)
        assert all(isinstance(line, str) for line in doctor.lines(finding))
    return found


def test_the_other_times_are_the_shipped_ones_scaled(home, monkeypatch):
    shipped = times.read()
    found = timed(monkeypatch, lambda name, *_: (2 * shipped[name]["seconds"], True))
    assert found["slower"] == 2 and set(found["seconds"]) == set(registry.NAMES)
    assert found["seconds"]["cpt"] == pytest.approx(2 * shipped["cpt"]["seconds"], abs=0.1)
    kept = times.read(home)
    assert {kept[n]["where"] for n in doctor.TIMED} == {times.HERE}
    assert kept["cpt"]["where"] == times.ESTIMATED


def test_an_estimate_does_not_replace_a_measured_time(home, monkeypatch):
    times.note("cpt", 77.0)
    shipped = times.read()
    timed(monkeypatch, lambda name, *_: (3 * shipped[name]["seconds"], False))
    kept = times.read(home)
    assert kept["cpt"] == {"seconds": 77.0, "where": times.HERE}
    assert {kept[n]["where"] for n in kept if n != "cpt"} == {times.ESTIMATED}


def test_a_busy_machine_keeps_no_times(home, monkeypatch):
    found = timed(monkeypatch, lambda *_: (500.0, True), busy=True)
    assert found["slower"] > 10 and times.read(home) == {}


def test_what_cannot_be_timed_is_said_and_the_rest_follows(home, monkeypatch):
    first, second = doctor.TIMED
    shipped = times.read()[second]["seconds"]
    found = timed(monkeypatch, lambda name, *_: (None, False) if name == first else (shipped, True))
    assert first in found["not_timed"] and found["slower"] == 1
    assert "seconds" not in timed(monkeypatch, lambda *_: (None, False))


def test_without_shipped_times_nothing_is_estimated(home, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    found = timed(monkeypatch, lambda *_: (5.0, True))
    assert set(found["timed"]) == set(doctor.TIMED) and "seconds" not in found


def test_ctrl_c_ends_the_timing_with_a_sentence(home, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "measure", stop)
    assert cli.main(["doctor"]) == 130
    out, err = capsys.readouterr()
    assert out.startswith("Python ") and "checkpoint chat: current" in out
    assert err == "llmlab: stopped; llmlab doctor --quick leaves the timing out\n"


def test_a_library_that_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "LIBRARIES", ("torch", "no-such-library"))
    found = next(f for f in doctor.examine(False) if "versions" in f)
    assert found["versions"]["no-such-library"] is None
    assert "no-such-library not installed" in next(doctor.lines(found))


STARTS = (  # what the lines begin with, in this order
    "Python ",
    "torch ",
    "cache ",
    "1 torch threads",
    "checkpoint base: current",
    "checkpoint chat: current",
    "timing ",
)


def test_on_a_fresh_home_the_lines_come_one_by_one_and_in_order(tmp_path):
    env = os.environ | {"LLMLAB_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    began, lines = time.monotonic(), []
    with subprocess.Popen(
        [sys.executable, "-m", "llmlab.cli", "doctor", "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as done:
        for line in done.stdout:
            lines.append((time.monotonic() - began, line))
        err = done.stderr.read()
    assert done.returncode == 0 and err == ""
    at = [next(i for i, (_, line) in enumerate(lines) if line.startswith(start)) for start in STARTS]
    assert at == sorted(at) and lines[at[0]][0] < lines[-1][0] / 2
    told = json.loads(lines[-1][1])
    assert set(told["timed"]) | set(told.get("not_timed", ())) == set(doctor.TIMED)
    assert told["cores"] == os.cpu_count() and told["cache"] == str(tmp_path / "home")
