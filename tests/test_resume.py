"""Every experiment, stopped between any two steps and called again, gives the rows of an undisturbed run."""

import copy
from contextlib import closing
from itertools import islice

import pytest
from helpers_probes import eight_rows, few_problems

from llmlab.lab import registry
from llmlab.models.load import load
from llmlab.train import loop

# it is stopped before a reading and after one, and each time between two
SHORT = dict(steps=10, batch=2, warmup=2, probe=4)
LORA = dict(steps=10, probe=4)
FEW = {"sft": dict(batch=4, held=16), "dpo": dict(batch=4)}  # what a step of a lesson reads, and a probe
POLICY = dict(steps=8, prompts=4, group=4, probe=2, lr=3e-3, temperature=1.5, held=8, k=2)
SETTINGS = [
    ("cpt", SHORT),
    ("cpt", SHORT | dict(kl_coef=0.5, packing="reset")),
    ("cpt", SHORT | dict(gate=4, lr=1e-2, replay=0.0)),
    ("cpt", SHORT | dict(mixing="adaptive", batch=4)),
    ("cpt", SHORT | dict(mixing="adaptive", gate=4, lr=1e-2, replay=0.0)),
    ("sft", SHORT | dict(held=16)),
    ("dpo", SHORT),
    ("topology", SHORT),
    ("topology", SHORT | dict(loss="dpo")),
    ("extend", SHORT | dict(warmup=4)),
    ("codes", SHORT | dict(people=20)),
    ("codes", SHORT | dict(people=20, method="full")),
    ("lora", LORA),
    ("lora", LORA | dict(task="dpo", method="qlora")),
    ("lora", LORA | dict(init="pissa", variant="dora")),
    ("lora", LORA | dict(task="dpo", method="full")),
    ("grpo", dict(steps=6, prompts=4, group=4, digits=3, op="add", probe=2)),
    (
        "grpo",
        dict(steps=6, prompts=8, group=8, digits=3, op="add", probe=2, epochs=2, lr=3e-3, temperature=1.5),
    ),
    ("policy", POLICY),
    ("policy", POLICY | dict(epochs=2, staleness=1, kl_penalty="k3", reset=4, beta=1.0, probe=3)),
    ("policy", POLICY | dict(advantage="critic", kl_penalty="reward", reset=2, groups="resampled", epochs=2)),
    ("retain", dict(steps=6, prompts=4, group=4, probe=2)),
    ("retain", dict(method="sft_one", until=0.25, lr=3e-3, warmup=0, steps=8, probe=2)),
    ("agent", dict(steps=6, prompts=4, group=4, batch=4, cold_start=2, probe=2)),
]


@pytest.fixture(autouse=True)
def small_probes(monkeypatch):
    """Probes read eight rows of each set, and few problems."""
    few_problems(monkeypatch, 8, **FEW)
    eight_rows(monkeypatch)


def rows_of(experiment, shipped, path=None):
    loaded = load("chat") if experiment.default_model == "chat" else copy.deepcopy(shipped)
    return experiment.rows(loaded, 0, checkpoint=path and loop.Checkpoint(path, seconds=1e9))


@pytest.mark.parametrize("name, settings", SETTINGS)
def test_stopped_and_called_again_it_gives_the_same_rows(shipped, tmp_path, name, settings):
    experiment = registry.get(name)(**settings)
    expected = list(rows_of(experiment, shipped))
    for stop in (3, 5):
        with closing(rows_of(experiment, shipped, tmp_path / "state")) as rows:
            assert list(islice(rows, stop + 1)) == expected[: stop + 1]
    assert list(rows_of(experiment, shipped, tmp_path / "state")) == expected
