"""Ctrl-C ends a run between two steps and loses none of them; two builds at once do not get in each other's
way.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from llmlab import paths
from llmlab.cli.screen import stoppable


def test_the_first_ctrl_c_asks_the_second_insists():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stoppable() as pressed:
        assert not pressed()
        os.kill(os.getpid(), signal.SIGINT)
        assert pressed()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def steps_kept(home) -> list[int]:
    """Steps in the checkpoint of the only unfinished run."""
    (file,) = (home / "unfinished").glob("*.state")
    raw = file.read_bytes()
    header = json.loads(raw[24 : 24 + int.from_bytes(raw[16:24], "little")])
    return [r["step"] for r in json.loads(header["__metadata__"]["extra"])["rows"]]


def test_a_run_stopped_by_ctrl_c_keeps_every_step(tmp_path):
    command = [
        sys.executable,
        "-m",
        "llmlab.cli",
        "run",
        "cpt",
        "--steps",
        "3000",
        "--batch",
        "2",
        "--probe",
        "500",
    ]
    env = os.environ | {"LLMLAB_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "unfinished").exists():
            assert run.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        time.sleep(8)  # some steps
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130 and "the same command goes on" in err and "Traceback" not in err
    kept = steps_kept(tmp_path)
    assert kept == list(range(len(kept))) and len(kept) > 3


def test_only_one_process_builds_at_a_time(tmp_path):
    lock = tmp_path / "build" / "base.lock"
    holder = (
        "import sys, time; from pathlib import Path; from llmlab import paths\nwith"
        " paths.alone(Path(sys.argv[1]), 'x'):\n print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", holder, str(lock)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(paths.Busy, match="another 'llmlab build base' is at work; wait"),
            paths.alone(lock, "llmlab build base"),
        ):
            pass
    finally:
        other.kill()
        other.wait()
    with paths.alone(lock, "llmlab build base"):  # a killed process holds nothing
        pass
