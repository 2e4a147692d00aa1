"""Every experiment, stopped between any two steps and called again, gives the rows of an undisturbed run."""

import copy
from contextlib import closing
from dataclasses import replace
from itertools import islice

import pytest

from llmlab.chapters.c04_sft import sft
from llmlab.chapters.c05_lora import codes, lora
from llmlab.chapters.c07_reinforcement_learning import agent, grpo, reader, retain
from llmlab.lab import registry
from llmlab.models.load import load
from llmlab.train import loop, probes

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
    original = probes.read
    lesson, evaluate = lora.LoRA.lesson, grpo.evaluate
    monkeypatch.setattr(lora.LoRA, "lesson", lambda self: replace(lesson(self), **FEW[self.task]))
    monkeypatch.setattr(grpo, "evaluate", lambda *args, **asked: evaluate(*args, **asked | dict(n=8)))
    monkeypatch.setattr(sft, "LONGEST", 8)
    monkeypatch.setattr(reader, "GREEDY", 8)
    for module in (codes, lora):
        monkeypatch.setattr(module, "HELD", 16)
    for module in (agent, retain):
        monkeypatch.setattr(module, "HELD", 4)
    monkeypatch.setattr(
        probes,
        "read",
        lambda model, sets: original(
            model, {n: [b.pick(slice(0, 8)) for b in bs[:1]] for n, bs in sets.items()}
        ),
    )


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
