"""Distillation through TRL: the same loss on given texts in every direction, and on the student's own answers
where both sides see the same ones; every knob in TRL's words, or refused.
"""

import dataclasses
import json

import pytest
import torch

trl = pytest.importorskip("trl")

from test_engine_dials import refuses
from test_engine_dpo_grpo import trained
from test_engine_trl import parameters
from trl import DistillationConfig, SFTConfig
from trl.experimental.gkd import GKDConfig

from llmlab.chapters.c11_distillation.distill import Distill
from llmlab.chapters.c11_distillation.teaching import LONGEST
from llmlab.errors import UserError
from llmlab.models.load import load
from llmlab.tokens import chat
from llmlab.train.rollout import play
from llmlab.trl import distill, engine
from llmlab.trl.trainer import OURS
from llmlab.world.base import Problem

pytestmark = pytest.mark.parity
SMALL = dict(steps=4, warmup=1, probe=4, batch=4, held=4, level=1, problems=12, lr=1e-3)


def both(k: Distill, seed: int = 0):
    """(rows, weights) by our loop and by TRL's."""
    return tuple(trained(k, wrap, model=k.default_model, seed=seed) for wrap in (lambda e: e, engine.TRL))


def same(ours, theirs, k: Distill) -> None:
    """The same readings before the first step, and the same losses, rates, gradients and weights after."""
    (mine, weights), (other, others) = ours, theirs
    assert other[0] == mine[0] and [r["step"] for r in other] == list(range(k.steps + 1))
    for a, b in zip(mine[1:], other[1:], strict=True):
        assert set(b) <= set(a) and b["lr"] == pytest.approx(a["lr"])
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)
    start = parameters(load(k.default_model).model)
    assert (weights - others).abs().max() < 2e-4 < 1e-3 < (weights - start).abs().max()
    assert set(Distill.curves) <= set(other[-1])


# ---- texts that are given ----


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("writer", ["data", "teacher"])
def test_steps_on_given_texts_end_with_our_parameters(writer, beta):
    k = Distill(**SMALL, writer=writer, beta=beta)
    same(*both(k), k)


@pytest.mark.parametrize(
    "change",
    [
        dict(form="answer"),
        dict(writer="teacher", keep="distinct"),
        dict(order="hard_first", level=2),
        dict(size="small"),
    ],
    ids=str,
)
def test_what_decides_our_texts_decides_what_trl_learns_from(change):
    k = Distill(**SMALL | dict(writer="data", beta=0.0) | change)
    same(*both(k), k)


@pytest.mark.parametrize("change", [dict(beta=0.6), dict(lr=2e-3), dict(form="answer")], ids=str)
def test_another_dial_would_be_seen(change):
    given = SMALL | dict(writer="data", beta=0.5)
    plain, other = (trained(Distill(**given | c), engine.TRL, model="student_m")[1] for c in ({}, change))
    assert (plain - other).abs().max() > 1e-3


@pytest.mark.parametrize("writer", ["data", "teacher"])
def test_the_text_alone_goes_through_sft(writer):
    k = Distill(**SMALL, writer=writer, loss="labels")
    same(*both(k), k)


def test_own_conversations_go_through_trl_too(tmp_path):
    k, path = Distill(**SMALL, writer="data", beta=0.5), tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(conversation(i)) + "\n" for i in range(20)))
    texts = Distill.own(path)
    ours, theirs = (
        list(wrap(k).rows(load(k.default_model), 0, texts=texts)) for wrap in (lambda e: e, engine.TRL)
    )
    assert [r["loss"] for r in theirs[1:]] == pytest.approx([r["loss"] for r in ours[1:]], abs=1e-4)


def conversation(i: int) -> dict:
    """A question and its answer, as a file has them."""
    said = (("user", f"What is {i} + 1?"), ("assistant", f"so {i + 1}."))
    return {"messages": [{"role": role, "content": content} for role, content in said]}


# ---- the student's own ----


@pytest.fixture
def on_our_samples(monkeypatch):
    """TRL learns from answers that our sampler draws; the list of the steps that it asked for."""
    build, asked = distill.on_policy, []

    def built(k, recipe, tok, seed, settings):
        trainer = build(k, recipe, tok, seed, settings)
        world = distill.parts(recipe)[2]
        every = k.asked(world, seed)

        def sample(prompt_ids, *_):
            step = trainer.state.global_step
            turn = k.turn(every, seed, step)
            assert prompt_ids == [chat.prompt(tok, p.messages) for p in turn]  # our problems in our order
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            episodes = play(trainer.model, tok, world, turn, max_new=LONGEST, generator=generator)
            asked.append(step)
            return [e.ids[e.mask.index(1) :] for e in episodes]

        trainer._generate_single_turn = sample
        return trainer

    monkeypatch.setattr(distill, "on_policy", built)
    return asked


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_steps_on_the_same_answers_end_with_our_parameters(on_our_samples, beta):
    k = Distill(**SMALL, beta=beta)
    same(*both(k, seed=1), k)
    assert on_our_samples == list(range(k.steps))


def test_a_run_with_trls_own_samples_learns():
    k = Distill(**SMALL | dict(steps=20, probe=20, batch=8))
    rows = list(engine.TRL(k).rows(load(k.default_model), 0))
    first, last = (sum(r["loss"] for r in part) / 5 for part in (rows[1:6], rows[-5:]))
    assert last < first / 2 and set(Distill.curves) <= set(rows[-1])


def test_trl_samples_no_longer_than_we_do_and_ends_where_we_end(monkeypatch):
    k, made, build = Distill(**SMALL), [], distill.on_policy
    monkeypatch.setattr(distill, "on_policy", lambda *given: made.append(build(*given)) or made[-1])
    loaded = load(k.default_model)
    next(rows := engine.TRL(k).rows(loaded, 0))
    next(rows)
    rows.close()
    config = made[0].generation_config
    assert config.max_new_tokens == LONGEST and (config.temperature, config.top_p, config.top_k) == (1, 1, 0)
    assert chat.stop_ids(loaded.tok) <= set(made[0].eos_token_ids)


# ---- why temperatures other than 1 are refused ----


def first_loss(monkeypatch, k: Distill, **settings) -> float:
    """The loss of TRL's first step under other settings than the experiment's."""
    arguments = engine.arguments
    monkeypatch.setattr(engine, "arguments", lambda e: arguments(e) | settings)
    loss = trained(k, engine.TRL, model=k.default_model, seed=1)[0][1]["loss"]
    monkeypatch.setattr(engine, "arguments", arguments)
    return loss


def test_gkd_does_not_read_the_temperature_in_its_loss(monkeypatch):
    k = Distill(**SMALL, writer="data", beta=0.0)
    assert first_loss(monkeypatch, k, temperature=2.0) == first_loss(monkeypatch, k)


def test_the_distillation_trainer_leaves_the_square_of_the_temperature_out(on_our_samples, monkeypatch):
    """Here on our samples of temperature 1; its own would be of temperature 2."""
    theirs = first_loss(monkeypatch, Distill(**SMALL), temperature=2.0)
    ours = trained(Distill(**SMALL, temperature=2.0), model="student_m", seed=1)[0][1]["loss"]
    assert 4 * theirs == pytest.approx(ours, abs=1e-4)


# ---- the table ----


@pytest.mark.parametrize(
    "change, config",
    [
        (dict(), DistillationConfig),
        (dict(beta=0.3, size="medium"), DistillationConfig),
        (dict(writer="data", beta=0.0), GKDConfig),
        (dict(writer="teacher", keep="right"), GKDConfig),
        (dict(writer="teacher", loss="labels"), SFTConfig),
    ],
    ids=str,
)
def test_every_knob_is_told_and_the_config_has_what_is_told(change, config, tmp_path):
    k = Distill(**SMALL | change)
    table = engine.told(k)
    assert list(dict.fromkeys(row["knob"] for row in table if row["knob"])) == [n.name for n in k.knobs()]
    args = config(output_dir=str(tmp_path), use_cpu=True, **OURS | engine.arguments(k))
    objects = {
        "",
        "model",
        "train_dataset",
        "optimizers",
        "callbacks",
        "activation_checkpointing",
        "report_to",
    }
    said = [
        (row["TRL's argument"], row["its value"]) for row in table if row["TRL's argument"] not in objects
    ]
    assert {argument for argument, _ in said} <= {f.name for f in dataclasses.fields(args)}
    for argument, value in said:
        found = getattr(args, argument)
        assert str(getattr(found, "value", found)) == value, argument


# ---- what is refused ----

REFUSED = [
    (dict(loss="token"), "--loss kl --beta 1"),
    (dict(loss="labels"), "--writer teacher or data"),
    (dict(labels=0.5), "--labels 0"),
    (dict(temperature=2.0), "--temperature 1"),
    (dict(temperature=2.0, writer="data"), "--temperature 1"),
    (dict(top_k=8), "--top_k 0"),
    (dict(loss="dpo", writer="teacher"), "--engine lab"),
]


@pytest.mark.parametrize("change, fix", REFUSED, ids=str)
def test_what_trl_cannot_say_is_refused_in_a_sentence_that_names_the_fix(change, fix):
    refuses(Distill(**change), fix)


def test_every_refusal_is_tried():
    reasons = {next(why for so, why in distill.CANNOT if so(Distill(**change))) for change, _ in REFUSED}
    assert reasons == {why for _, why in distill.CANNOT}


@pytest.mark.parametrize("writer", ["data", "student"])
def test_a_step_with_fewer_texts_than_the_batch_is_refused(writer):
    k = Distill(**SMALL | dict(order="easy_first", level=2, problems=6), writer=writer)
    with pytest.raises(UserError, match="takes 4 .* use --engine lab"):
        list(engine.TRL(k).rows(load(k.default_model), 0))


def test_prompts_with_tools_are_refused():
    tok, asked = load("student_m").tok, Distill(**SMALL).asked(Distill(**SMALL).world(), 0)
    distill.check(tok, asked)
    with pytest.raises(UserError, match="tools .* use --engine lab"):
        distill.check(tok, [*asked, Problem(asked[0].messages, "", {"tools": [{"name": "sum"}]})])


def test_batches_that_cannot_be_shared_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="--batch 4 cannot be shared by 3 processes; choose a multiple of 3"):
        engine.told(Distill(**SMALL))
