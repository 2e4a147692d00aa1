"""Codes and lora: what is read, what is trained, what it costs, and that the tasks are those of the other
chapters.
"""

import math
from itertools import islice

import pytest
import torch
from helpers_probes import few_problems

from llmlab.chapters.c04_sft.sft import SFT
from llmlab.chapters.c05_lora import lora
from llmlab.chapters.c05_lora.codes import CodeBook, missing_bits
from llmlab.chapters.c05_lora.lora import LoRA
from llmlab.chapters.c06_preferences.dpo import DPO
from llmlab.chapters.c06_preferences.pairs import Pairs
from llmlab.chapters.c07_reinforcement_learning.grpo import GRPO
from llmlab.lab.experiment import BadKnob
from llmlab.lab.registry import get
from llmlab.models import adapters, quant
from llmlab.models.load import load
from llmlab.tokens.batch import Batch
from llmlab.train import loop, probes
from llmlab.train.wrap import wrapped
from llmlab.world.codes import BITS, Codes


@pytest.fixture
def few(monkeypatch):
    """Few problems a probe, also in the lessons' own, and short answers there."""
    few_problems(monkeypatch, 16, sft=dict(held=16))


def ends(experiment):
    """First and last row of a run, and the model."""
    loaded = load(experiment.default_model)
    rows = list(experiment.rows(loaded, 0))
    return rows[0], rows[-1], loaded.model


def trained_layers(model) -> set[str]:
    """What is trained: adapters, or everything."""
    return {
        "adapters" if adapters.is_adapter(n) else "weights"
        for n, p in model.named_parameters()
        if p.requires_grad
    }


# ---- codes ----


def test_every_name_is_read_equally_often_and_only_the_code_counts(shipped):
    book = CodeBook(people=20, batch=8)
    texts = []
    for step in range(5):  # 40 codes: two rounds
        batch = book.batch_at(shipped.tok, 0, step)
        for ids, mask in zip(batch.ids, batch.mask):
            texts.append((shipped.tok.decode(ids[mask == 0]), shipped.tok.decode(ids[mask == 1]).strip()))
    world = Codes(20)
    read = [
        name for name, code in world.codes.items() for head, tail in texts if name in head and tail == code
    ]
    assert len(texts) == 40 and all(read.count(name) == 2 for name in world.codes)


def test_a_batch_is_a_function_of_seed_and_step(shipped):
    book = CodeBook(people=50, batch=8)
    one, again, other, later = (
        book.batch_at(shipped.tok, s, i).ids for s, i in ((0, 3), (0, 3), (1, 3), (0, 4))
    )
    assert (
        torch.equal(one, again)
        and not torch.equal(one[:, :6], other[:, :6])
        and not torch.equal(one[:, :6], later[:, :6])
    )


def test_the_missing_bits_are_those_of_a_row(tiny, monkeypatch):
    batch = Batch(torch.tensor([[5, 6, 7, 8], [5, 6, 7, 8]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2))
    monkeypatch.setattr(probes, "loss", lambda model, prepared: math.log(10))  # each token one of ten
    assert missing_bits(tiny.model, [batch]) == pytest.approx(2 * math.log2(10))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_codes_are_learnt_and_the_bits_are_what_is_recalled(few, method):
    start, end, model = ends(CodeBook(people=20, steps=120, batch=32, method=method, rank=4, probe=120))
    assert start["recalled"] == 0.0 and start["kilobits"] < 0.05
    assert end["recalled"] > 0.9 and 0.8 * 20 * BITS / 1000 < end["kilobits"] <= 20 * BITS / 1000
    assert trained_layers(model) == ({"weights"} if method == "full" else {"adapters"})


def test_a_rank_of_one_takes_in_less_than_all_weights(few):
    knobs = dict(people=100, steps=60, batch=64, probe=60)
    full, one = (ends(CodeBook(**knobs, **k))[1] for k in (dict(method="full"), dict(rank=1)))
    assert full["kilobits"] > one["kilobits"] + 0.2
    assert full["megabytes"] > 2 * one["megabytes"] and 0.6 < one["gflop"] / full["gflop"] < 0.75


# ---- lora ----


@pytest.mark.parametrize(
    "task, base, cls", [("sft", "base", SFT), ("dpo", "chat", DPO), ("grpo", "chat", GRPO)]
)
def test_a_task_is_the_other_chapters_and_starts_from_its_checkpoint(task, base, cls):
    experiment = LoRA(task=task, lr=1e-3, steps=20, probe=5)
    assert experiment.default_model == base == cls.default_model and LoRA.default_model == "base"
    assert experiment.lesson() == cls(lr=1e-3, warmup=5, steps=20, probe=5)


@pytest.mark.parametrize("task", ["sft", "dpo"])
def test_with_all_weights_the_rows_are_those_of_the_task_itself(few, task):
    experiment = LoRA(task=task, method="full", lr=1e-3, steps=10, probe=5)
    ours = list(experiment.rows(load(experiment.default_model), 3))
    theirs = list(experiment.lesson().rows(load(experiment.default_model), 3))
    for mine, plain in zip(ours, theirs, strict=True):
        assert {k: v for k, v in mine.items() if k in plain and k != "general_loss"} == {
            k: v for k, v in plain.items() if k != "general_loss"
        }


@pytest.mark.parametrize("method", lora.METHODS)
def test_readings_come_with_the_probes_and_at_both_ends(few, method):
    rows = list(LoRA(task="dpo", method=method, steps=10, probe=4).rows(load("chat"), 0))
    assert (
        [r["step"] for r in rows if "skill" in r]
        == [0, 4, 8, 10]
        == [r["step"] for r in rows if "polite" in r]
    )
    assert all({*LoRA.curves, "megabytes"} <= set(r) for r in rows if "skill" in r)


def test_of_the_three_methods_each_trains_and_holds_what_it_says(few):
    found = {m: ends(LoRA(task="dpo", method=m, steps=10, probe=10)) for m in lora.METHODS}
    price = {m: start["megabytes"] for m, (start, _, _) in found.items()}
    assert price["qlora"] < 0.5 * price["lora"] < 0.25 * price["full"]
    assert {m: trained_layers(model) for m, (_, _, model) in found.items()} == {
        "full": {"weights"},
        "lora": {"adapters"},
        "qlora": {"adapters"},
    }
    assert [len(quant.layers4bit(model)) for _, _, model in found.values()] == [0, 0, 28]
    assert "gflop" not in found["qlora"][0]


@pytest.mark.parametrize("tokens, rows", [("none", 0), ("special", 9)])
def test_the_chats_own_tokens_come_with_the_adapters_where_asked_for(few, tokens, rows):
    loaded = load("base")
    next(LoRA(tokens=tokens, rank=1, steps=10).rows(loaded, 0))
    assert adapters.trained(loaded.model) == 4 * (4 * 256 + 3 * 512) + rows * 128


def test_adapters_teach_politeness_as_dpo_does():
    start, end, _ = ends(LoRA(task="dpo", steps=40, probe=40, lr=3e-3))
    assert start["skill"] == 0.0 and end["skill"] > 0.8 and end["preferred"] > 0.9


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_the_first_dpo_loss_is_ln_2_because_the_reference_is_the_model_with_its_adapters_off(method):
    loaded = wrapped(load("chat"), method, 0, rank=4)
    rows = DPO(steps=5, nll=0.0).rows(loaded, 0)
    next(rows)
    assert next(rows)["loss"] == pytest.approx(math.log(2), abs=1e-3)
    rows.close()


def test_grpo_samples_with_the_adapters_and_moves_them(few):
    rows = LoRA(task="grpo", rank=1, steps=10, probe=500, lr=3e-3).rows(load("chat"), 0)
    first = list(islice(rows, 4))
    rows.close()
    assert first[0]["skill"] > 0 and first[1]["grad_norm"] > 0


@pytest.mark.parametrize(
    "settings, fix",
    [(dict(rank=3, init="orthogonal"), "choose 4"), (dict(method="qlora", init="pissa"), "--init kaiming")],
)
def test_knobs_that_do_not_go_together_are_one_sentence(settings, fix):
    with pytest.raises(BadKnob, match=fix):
        LoRA(**settings)
    LoRA(**(settings | {"method": "full"}))  # without adapters they mean nothing


def test_an_unfinished_run_keeps_what_is_trained_and_no_more(tiny, tmp_path):
    model = adapters.adapt(quant.quantise(tiny.model), rank=2)
    opts = loop.optimizers(model, "adamw", 1e-2)
    model(input_ids=torch.ones(1, 4, dtype=torch.long)).logits.sum().backward()
    [o.step() for o in opts]
    before = {n: p.clone() for n, p in model.named_parameters() if p.requires_grad}
    loop.Checkpoint(tmp_path / "state").tick(loop.Trained(model), opts, lambda: {"rows": []}, now=True)
    assert (tmp_path / "state").stat().st_size < 4 * 4 * adapters.trained(model) + 100_000
    for p in model.parameters():
        if p.requires_grad:
            p.data.zero_()
    assert loop.Checkpoint(tmp_path / "state").load(loop.Trained(model), opts) == {"rows": []}
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters() if n in before)


@pytest.mark.parametrize(
    "experiment, partly",
    [
        (LoRA(task="dpo", steps=10), True),
        (CodeBook(people=20), True),
        (Pairs(method="lora", steps=5), True),
        (Pairs(steps=5), False),
    ],
)
def test_where_adapters_are_trained_only_a_part_is_kept(few, experiment, partly):
    assert experiment.recipe(load(experiment.default_model), 0).partly == partly


def test_both_are_found_by_name():
    assert get("codes") is CodeBook and get("lora") is LoRA
