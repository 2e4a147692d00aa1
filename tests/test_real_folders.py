"""A model folder as it is found in the wild (random weights): DPO and GRPO with adapters, on weights of 4
bits too, and through TRL.
"""

import json

import pytest
import torch
from helpers_families import FAMILIES, save_family
from helpers_probes import few_problems

from llmlab import cli
from llmlab.chapters.c05_lora.lora import LoRA
from llmlab.chapters.c06_preferences.dpo import DPO
from llmlab.chapters.c06_preferences.pairs import Pairs
from llmlab.chapters.c06_preferences.prefer import Prefer
from llmlab.chapters.c07_reinforcement_learning.grpo import GRPO
from llmlab.chapters.c07_reinforcement_learning.policy import Policy
from llmlab.lab import samples
from llmlab.models import adapters, quant
from llmlab.models.load import load
from llmlab.trl.engine import TRL
from llmlab.world.base import Score
from llmlab.world.sums import Sums

SHORT = dict(steps=10, warmup=0, probe=10)
FEW = {"dpo": dict(batch=4), "grpo": dict(prompts=4, group=4)}  # what a step of a lesson reads


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    """A folder with config.json, safetensors and a tokenizer."""
    return str(save_family(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few problems a probe and a step, and little said; and a random model, which never gets a sum right, is
    paid for short answers.
    """
    few_problems(monkeypatch, 8, **FEW)
    monkeypatch.setattr(samples, "MAX_NEW", 8)
    monkeypatch.setattr(Sums, "score", lambda self, problem, text: Score({"answer": float(len(text) < 28)}))


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("task", ["dpo", "grpo"])
def test_adapters_are_trained_on_a_folder(folder, task, method):
    loaded = load(folder)
    rows = list(LoRA(task=task, method=method, **SHORT).rows(loaded, 0))
    assert [r["step"] for r in rows] == list(range(11)) and all(
        torch.isfinite(torch.tensor(r["loss"])) for r in rows[1:]
    )
    assert bool(quant.layers4bit(loaded.model)) == (method == "qlora")
    moved = [
        p.abs().sum() for n, p in loaded.model.named_parameters() if adapters.is_adapter(n) and "lora_B" in n
    ]
    assert moved and all(m > 0 for m in moved)
    if task == "dpo":  # the reference is the model with its adapters off: the first margin is none
        assert rows[1]["margin"] == pytest.approx(0, abs=1e-3) and rows[-1]["margin"] > 0


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_own_pairs_are_preferred_by_a_folder(folder, method):
    experiment = Pairs(method=method, steps=10, batch=4, warmup=0, probe=10, length=1024, lr=3e-3)
    rows = list(experiment.rows(experiment.load(folder, "cpu"), 0))
    assert (
        rows[1]["loss"] == pytest.approx(0.6931, abs=1e-3)
        and rows[-1]["preferred"] > rows[0]["preferred"] == 0
    )


@pytest.mark.parametrize(
    "experiment",
    [
        Prefer(steps=5, batch=4, held=16, warmup=0, probe=5),
        Policy(steps=5, prompts=4, group=4, held=8, k=2, warmup=0, probe=5),
    ],
    ids=["prefer", "policy"],
)
def test_the_experiments_of_chapters_06_and_07_take_a_folder(folder, experiment):
    rows = list(experiment.rows(load(folder), 0))
    assert [r["step"] for r in rows] == list(range(6)) and all(
        torch.isfinite(torch.tensor(r["loss"])) for r in rows[1:]
    )
    assert set(experiment.curves) <= set(rows[-1])


@pytest.mark.parametrize("task", ["dpo", "grpo"])
def test_the_command_line_takes_a_folder(folder, task, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path))
    knobs = [f"--{k}={v}" for k, v in SHORT.items()]
    assert (
        cli.main(["run", "lora", "--task", task, "--method", "qlora", "--model", folder, "--json", *knobs])
        == 0
    )
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found["model"] == folder and set(found["metrics"]) >= set(LoRA.curves)


@pytest.mark.parametrize(
    "experiment",
    [DPO(steps=5, batch=4, warmup=0, probe=5), GRPO(steps=5, prompts=4, group=4, warmup=0, probe=5, lr=3e-3)],
    ids=["dpo", "grpo"],
)
def test_trl_takes_a_folder(folder, experiment):
    pytest.importorskip("trl")
    loaded = load(folder)
    before = {n: p.detach().clone() for n, p in loaded.model.named_parameters()}
    rows = list(TRL(experiment).rows(loaded, 0))
    assert [r["step"] for r in rows] == list(range(6)) and set(rows[-1]) >= set(experiment.curves)
    assert any((p != before[n]).any() for n, p in loaded.model.named_parameters())
