"""The TRL engine: same ids, same labels, same loss and, after ten steps, the same parameters as our loop;
alone and shared by two processes.
"""

import json
import os
import subprocess
import sys
import threading

import pytest
import torch

trl = pytest.importorskip("trl")

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from llmlab import cli
from llmlab.chapters.c02_continued_pretraining.cpt import CPT
from llmlab.chapters.c04_sft import chats
from llmlab.chapters.c04_sft.chats import Chats
from llmlab.chapters.c04_sft.sft import SFT
from llmlab.chapters.c04_sft.traces import Traces
from llmlab.errors import UserError
from llmlab.methods import imitation
from llmlab.models.forward import forward
from llmlab.models.load import load
from llmlab.tokens import collate
from llmlab.tokens.batch import Batch
from llmlab.tokens.special import TEMPLATE
from llmlab.trl import engine, trainer
from llmlab.trl import sft as supervised
from llmlab.world.base import rng
from llmlab.world.lessons import Lessons

pytestmark = pytest.mark.parity
SMALL = dict(steps=10, batch=4, held=16, probe=10)


def parameters(model) -> torch.Tensor:
    """All weights as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trained(experiment, wrap=lambda e: e):
    """(rows, weights) after a run."""
    loaded = load("base")
    return list(wrap(experiment).rows(loaded, 0)), parameters(loaded.model)


@pytest.fixture(scope="module")
def both():
    """The same ten steps by our loop and by TRL's."""
    return trained(SFT(**SMALL)), trained(SFT(**SMALL), engine.TRL)


def test_ten_steps_of_trl_end_with_our_parameters(both):
    (_, ours), (_, theirs) = both
    start = parameters(load("base").model)
    assert (ours - start).abs().max() > 1e-3  # something was learnt
    assert (ours - theirs).abs().max() < 1e-4


def test_trl_reports_our_losses_rates_and_readings(both):
    (ours, _), (theirs, _) = both
    assert [r["step"] for r in theirs] == list(range(11)) and theirs[0] == ours[0]
    for a, b in zip(ours[1:], theirs[1:]):
        assert (
            b["loss"] == pytest.approx(a["loss"], rel=1e-3)
            and b["lr"] == pytest.approx(a["lr"])
            and b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-2)
        )
    assert {k for k in theirs[-1] if k not in ours[-1]} == set() and theirs[-1]["facts"] == ours[-1]["facts"]


@pytest.mark.parametrize("change", [dict(lr=3e-3), dict(warmup=0), dict(mask="all")])
def test_another_rate_schedule_or_mask_would_be_seen(both, change):
    _, other = trained(SFT(**SMALL | change), engine.TRL)
    assert (both[0][1] - other).abs().max() > 1e-3


def test_dialogues_with_tools_agree_too():
    knobs = SMALL | dict(retry=0.5, length=128)
    assert (trained(Traces(**knobs))[1] - trained(Traces(**knobs), engine.TRL)[1]).abs().max() < 1e-4


def conversations(n: int) -> list:
    """Single-turn conversations and such with a tool, as the world gives them."""
    source = Lessons(safety=0.3)
    return [source.lesson(rng("parity", i)) for i in range(n)]


def test_trls_own_path_from_messages_gives_our_ids_and_labels(tmp_path):
    loaded, lessons = load("chat"), conversations(24)
    loaded.tok.chat_template = TEMPLATE
    plain = [lesson for lesson in lessons if not lesson.tools]
    data = Dataset.from_list([{"messages": lesson.conversation} for lesson in plain])
    arguments = SFTConfig(
        str(tmp_path), use_cpu=True, bf16=False, assistant_only_loss=True, max_length=None, report_to="none"
    )
    trainer = SFTTrainer(loaded.model, arguments, train_dataset=data, processing_class=loaded.tok)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(plain))])
    ours = collate.collate(
        loaded.tok, [collate.encode(loaded.tok, x.conversation) for x in plain], length=512
    )
    assert torch.equal(batch["input_ids"], ours.ids) and torch.equal(
        batch["labels"], collate.labels(ours.ids, ours.mask)
    )


def test_trls_loss_is_ours(tmp_path):
    loaded = load("chat")
    batch = SFT(**SMALL).batch_at(loaded.tok, 0, 0)
    ours, _ = imitation.nll(forward(loaded.model, batch), batch)
    theirs = loaded.model(input_ids=batch.ids, labels=collate.labels(batch.ids, batch.mask)).loss
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_a_weight_between_0_and_1_reaches_trl_as_labels():
    (ours, _), (theirs, _) = (
        trained(SFT(**SMALL | dict(prompt_weight=0.3)), kind) for kind in (lambda e: e, engine.TRL)
    )
    assert [r["loss"] for r in theirs[1:]] == pytest.approx([r["loss"] for r in ours[1:]], rel=1e-4)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_own_conversations_and_adapters_go_through_trl_too(method):
    experiment, texts = Chats(method=method, steps=10, batch=4, probe=10, lr=3e-3), chats.examples(20)
    ours, theirs = (
        list(wrap(experiment).rows(load("chat"), 0, texts=texts)) for wrap in (lambda e: e, engine.TRL)
    )
    assert [r["loss"] for r in theirs[1:]] == pytest.approx([r["loss"] for r in ours[1:]], rel=1e-3)
    assert (
        theirs[-1]["answer_loss"]
        == pytest.approx(ours[-1]["answer_loss"], rel=1e-3)
        != theirs[0]["answer_loss"]
    )


def test_an_experiment_that_does_not_imitate_and_a_batch_that_cannot_be_shared_are_refused(monkeypatch):
    with pytest.raises(UserError, match="does not run 'cpt' yet; use --engine lab"):
        engine.TRL(CPT())
    packed = Batch(
        torch.ones(2, 4, dtype=torch.long),
        torch.ones(2, 4),
        {"positions": torch.zeros(2, 4, dtype=torch.long)},
    )
    with pytest.raises(UserError, match="packed rows"):
        supervised.check([packed], 2)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="choose a multiple of 3"):
        engine.arguments(SFT(**SMALL))


def test_a_reader_who_goes_ends_the_training():
    loaded, experiment = load("base"), engine.TRL(SFT(**SMALL | dict(steps=200)))
    rows = experiment.rows(loaded, 0)
    assert [next(rows)["step"] for _ in range(3)] == [0, 1, 2]
    working = threading.active_count()
    rows.close()
    assert threading.active_count() < working  # the trainer's thread has ended, long before its 200 steps


def test_what_the_training_raises_reaches_the_reader():
    def work(hand_over):
        hand_over({"step": 1})
        raise ValueError("broken")

    rows = trainer.streamed(work)
    assert next(rows) == {"step": 1}
    with pytest.raises(ValueError, match="broken"):
        next(rows)


def cli_run(home, *processes: str, name: str = "sft", knobs: dict = SMALL) -> dict:
    """`llmlab run NAME --engine trl` in processes of its own; the JSON object that it prints."""
    given = [f"--{k}={v}" for k, v in knobs.items()]
    command = [
        sys.executable,
        *processes,
        "-m",
        "llmlab.cli",
        "run",
        name,
        "--engine=trl",
        "--json",
        "--again",
        *given,
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"LLMLAB_HOME": str(home), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) == 1  # one process speaks
    return found[0]


def test_two_processes_of_torchrun_share_the_batch_and_end_like_one(tmp_path, both, monkeypatch, capsys):
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "one"))
    knobs = [f"--{k}={v}" for k, v in SMALL.items()]
    assert cli.main(["run", "sft", "--engine=trl", "--json", "--again", *knobs]) == 0
    (alone,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    shared = cli_run(
        tmp_path / "two", "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29517"
    )
    (ours, _), _ = both
    losses = [r["loss"] for r in ours[1:]]
    for found in (alone, shared):
        assert list(found["curves"]["loss"].values()) == pytest.approx(losses, rel=2e-3)
        assert set(found["metrics"]) == set(k for k in ours[0] if k != "step")
    assert alone["key"] != shared["key"]


def test_the_command_line_refuses_an_unknown_engine(capsys):
    assert cli.main(["run", "sft", "--engine", "vllm"]) == 2
    assert "--engine is one of lab, trl, not 'vllm'" in capsys.readouterr().err
