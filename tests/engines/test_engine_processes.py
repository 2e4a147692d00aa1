"""Two processes of torchrun share each batch of any method and end like one. They train the methods one after
the other, because a start takes longer than a run; test_engine_trl.py starts the command itself.
"""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout

import pytest

trl = pytest.importorskip("trl")

from test_engine_distill import SMALL
from test_engine_dpo_grpo import PAIRS, TRIES

from llmlab import cli
from llmlab.lab import samples

pytestmark = pytest.mark.parity
KNOBS = {
    "dpo": PAIRS,
    "prefer": PAIRS | dict(held=16),
    "grpo": TRIES,
    "policy": TRIES | dict(held=8, k=2),
    "distill": SMALL | dict(writer="data", beta=0.0),
}
ARGUMENTS = [
    ["run", name, "--engine=trl", "--json", "--again", *(f"--{k}={v}" for k, v in knobs.items())]
    for name, knobs in KNOBS.items()
]
SAID = dict(MAX_NEW=4, WORKED=4)  # tokens of the texts that a run shows beside its numbers
PROCESS = f"""
import json, sys
from llmlab import cli
from llmlab.lab import samples
vars(samples).update({SAID})
sys.exit(max(map(cli.main, json.loads(sys.argv[1]))))
"""


def told(out: str) -> dict[str, dict]:
    """name -> the JSON object that its run printed; of two processes one speaks."""
    found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(found) == len(KNOBS)
    return dict(zip(KNOBS, found))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What each method tells from this one process."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        patch.setenv("LLMLAB_HOME", str(tmp_path_factory.mktemp("one")))
        for name, tokens in SAID.items():
            patch.setattr(samples, name, tokens)
        assert [cli.main(argv) for argv in ARGUMENTS] == [0] * len(KNOBS)
    return told(out.getvalue())


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What each method tells from two processes."""
    home = tmp_path_factory.mktemp("two")
    script = home / "process.py"
    script.write_text(PROCESS)
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29519")
    done = subprocess.run(
        [sys.executable, *torchrun, str(script), json.dumps(ARGUMENTS)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"LLMLAB_HOME": str(home), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return told(done.stdout)


@pytest.mark.parametrize("name", KNOBS)
def test_two_processes_share_the_batch(alone, shared, name):
    one, two = alone[name], shared[name]
    assert one["key"] != two["key"] and one["metrics"].keys() == two["metrics"].keys()
    losses, ours = (list(found["curves"]["loss"].values()) for found in (two, one))
    if name in ("grpo", "policy"):  # each process draws its own answers
        assert len(losses) == TRIES["steps"]
        assert two["metrics"]["accuracy"]["start"] == one["metrics"]["accuracy"]["start"]
    else:  # the likelihood of the chosen answers is a mean of two means, where ours is one over all tokens
        assert losses == pytest.approx(ours, rel=3e-2 if name == "distill" else 2e-2)
