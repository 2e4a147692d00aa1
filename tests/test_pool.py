"""The pool: every job's run comes back, what is stored is not computed again, and a killed worker is a
sentence.
"""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from llmlab.chapters.c01_data_topology.topology import Topology
from llmlab.lab import pool, runs

SMALL = dict(steps=10, batch=2, probe=10, warmup=1)


def test_every_job_comes_back_and_nothing_is_computed_twice(home):
    jobs = [(Topology(**SMALL), 0), (Topology(loss="all", **SMALL), 0)]
    found = dict(pool.run_all(jobs, workers=2))
    assert set(found) == set(jobs) and all(
        r.rows[-1]["step"] == 10 and r.versions["threads"] == "1" for r in found.values()
    )
    assert all(runs.stored(experiment, seed) == found[experiment, seed] for experiment, seed in jobs)
    assert dict(pool.run_all(jobs[:1], workers=1)) == {jobs[0]: found[jobs[0]]}


def test_a_killed_worker_is_a_sentence(home):
    def kill():
        until = time.monotonic() + 60
        while not multiprocessing.active_children() and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(1)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(pool.WorkerLost, match="the same command makes what is missing"):
        list(pool.run_all([(Topology(steps=2000), 0)], workers=1))
    killer.join()
