"""kill −9 at any moment: nothing half-written is taken for whole, and the next call ends bit for bit where an
undisturbed one does.
"""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "helpers_faults.py"


def drive(what, folder) -> dict:
    """What the driver has to tell (see there)."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), what, str(folder)],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["run", "out", "sweep", "claims", "build"])
def killed(request, tmp_path_factory):
    return drive(request.param, tmp_path_factory.mktemp(request.param)) | {"kind": request.param}


def test_it_was_killed_often(killed):
    assert killed["kills"] >= 12


def test_no_half_written_file_has_its_final_name(killed):
    assert killed["broken"] == []


def test_the_next_call_goes_on_where_the_last_checkpoint_was(killed):
    """Two starts in a row, each from further on; in the kinds of short runs some start is not from 0."""
    pairs = [p for began in killed["began"] for p in pairwise(began)]
    if killed["kind"] in ("run", "build"):
        assert any(later > earlier > 0 for earlier, later in pairs)
    else:
        assert any(later > 0 for _, later in pairs)


def test_it_ends_bit_equal_to_an_undisturbed_one(killed):
    assert killed["identical"] and all(killed["identical"])


def test_a_finished_one_leaves_no_checkpoint(killed):
    assert killed["left"] == []


def test_two_processes_at_once_leave_one_whole_record(tmp_path):
    assert drive("two", tmp_path) == {"status": [0, 0], "broken": [], "records": 1, "identical": True}
