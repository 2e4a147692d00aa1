"""DPO and GRPO through TRL: the same pairs and problems, the same losses, and after some steps the same
parameters as by our loop.
"""

import dataclasses

import pytest
import torch

trl = pytest.importorskip("trl")

from datasets import Dataset
from test_engine_trl import parameters
from trl import DPOConfig, DPOTrainer

from llmlab.chapters.c04_sft.sft import SFT
from llmlab.chapters.c06_preferences.dpo import DPO
from llmlab.chapters.c07_reinforcement_learning.grpo import GRPO, longest
from llmlab.errors import UserError
from llmlab.methods import advantages, parts, policy, preferences
from llmlab.models.load import load
from llmlab.tokens import chat
from llmlab.tokens.pairs import answers
from llmlab.tokens.special import TEMPLATE
from llmlab.train.rollout import play
from llmlab.trl import dpo, engine, grpo
from llmlab.trl.trainer import OURS, PASSED, settings
from llmlab.world import talk
from llmlab.world.base import say
from llmlab.world.sums import Sums

pytestmark = pytest.mark.parity
PAIRS = dict(steps=6, batch=4, probe=6)
TRIES = dict(steps=6, prompts=4, group=4, probe=6, warmup=1)


def trained(experiment, wrap=lambda e: e, model="chat", seed=0):
    """(rows, weights) after a run."""
    loaded = load(model)
    return list(wrap(experiment).rows(loaded, seed)), parameters(loaded.model)


# ---- dpo ----


@pytest.fixture(scope="module")
def both():
    """The same steps of DPO by our loop and by TRL's."""
    return trained(DPO(**PAIRS)), trained(DPO(**PAIRS), engine.TRL)


def test_steps_of_dpo_end_with_our_parameters(both):
    (_, ours), (_, theirs) = both
    assert (ours - parameters(load("chat").model)).abs().max() > 1e-3
    assert (ours - theirs).abs().max() < 1e-4


def test_dpo_reports_our_numbers(both):
    (ours, _), (theirs, _) = both
    assert theirs[0] == ours[0] and [r["step"] for r in theirs] == list(range(7))
    for a, b in zip(ours[1:], theirs[1:]):
        assert set(b) <= set(a)
        assert {k: b[k] for k in b if k != "grad_norm"} == pytest.approx(
            {k: a[k] for k in b if k != "grad_norm"}, rel=1e-3, abs=1e-4
        )
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-2)
    assert set(DPO.curves) <= set(theirs[-1])


def test_the_first_loss_of_plain_dpo_is_ln_2_with_a_reference_that_was_edited_in_memory():
    loaded = load("chat")
    with torch.no_grad():
        next(loaded.model.parameters()).mul_(1.1)  # read from disk again, the reference would be another
    rows = list(engine.TRL(DPO(**PAIRS | dict(nll=0.0))).rows(loaded, 0))
    assert rows[1]["loss"] == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-5)


@pytest.mark.parametrize(
    "change", [dict(beta=1.0), dict(nll=0.0), dict(lr=3e-3), dict(warmup=0), dict(task="all")]
)
def test_another_dial_would_be_seen(both, change):
    ours, theirs = (trained(DPO(**PAIRS | change), wrap)[1] for wrap in (lambda e: e, engine.TRL))
    assert (ours - theirs).abs().max() < 1e-3 < (both[0][1] - theirs).abs().max()


def test_the_plain_form_of_a_base_goes_through_trl_too():
    assert (
        trained(DPO(**PAIRS), model="base")[1] - trained(DPO(**PAIRS), engine.TRL, model="base")[1]
    ).abs().max() < 1e-4


def test_trls_own_tokens_of_a_pair_are_ours_and_the_line_break_after_the_turn(tmp_path):
    loaded, pairs = load("chat"), talk.pairs(6, split="train", seed=0, kinds="all")
    rows = [{"prompt": list(p.messages), "chosen": say(p.chosen), "rejected": say(p.rejected)} for p in pairs]
    config = DPOConfig(str(tmp_path), **OURS, use_cpu=True)
    theirs = DPOTrainer(
        loaded.model,
        ref_model=load("chat").model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tok,
    ).train_dataset
    after = loaded.tok("\n", add_special_tokens=False)[
        "input_ids"
    ]  # to TRL all that follows the prompt is the answer; we end with the stop token
    for i, ours in enumerate(dpo.examples(answers(loaded.tok, pairs))):
        assert theirs[i]["prompt_ids"] == ours["prompt_ids"]
        assert all(theirs[i][side] == ours[side] + after for side in ("chosen_ids", "rejected_ids"))


# ---- grpo ----


def our_samples(world, k, tok, seed, asked):
    """A rollout function for TRL that samples as the collector does, each number of a batch once."""

    def sample(prompts, trainer):
        i = trainer.state.global_step // k.epochs
        problems = world.problems(k.prompts, split="train", seed=seed * 1_000_003 + i)
        assert [
            list(p.messages) for p in problems for _ in range(k.group)
        ] == prompts  # asked what we ask, in our order
        asked.append(i)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        episodes = play(
            trainer.model,
            tok,
            world,
            problems,
            k=k.group,
            max_new=longest(k),
            temperature=k.temperature,
            generator=generator,
        )
        starts = [e.mask.index(1) for e in episodes]
        return {
            "prompt_ids": [e.ids[:s] for e, s in zip(episodes, starts)],
            "completion_ids": [e.ids[s:] for e, s in zip(episodes, starts)],
            "logprobs": [e.logprobs[s:] for e, s in zip(episodes, starts)],
        }

    return sample


@pytest.fixture
def on_our_samples(monkeypatch):
    """TRL learns from answers that our sampler draws; the list of the batches that it asked for."""
    build, asked = grpo.build, []

    def built(k, recipe, tok, seed, settings):
        trainer = build(k, recipe, tok, seed, settings)
        trainer.rollout_func = our_samples(Sums((k.op,), digits=k.digits), k, tok, seed, asked)
        return trainer

    monkeypatch.setattr(grpo, "build", built)
    return asked


@pytest.mark.parametrize(
    "change",
    [
        {},
        dict(epochs=2),
        dict(temperature=0.7),
        dict(epochs=4, epsilon=0.02, lr=3e-3),
        dict(op="subtract", digits=2),
    ],
    ids=str,
)
def test_steps_of_grpo_on_the_same_answers_end_with_our_parameters(on_our_samples, change):
    k = GRPO(**TRIES | change)
    (ours, mine), (theirs, other) = trained(k, seed=1), trained(k, engine.TRL, seed=1)
    assert on_our_samples == list(range(-(-k.steps // k.epochs)))
    assert (mine - parameters(load("chat").model)).abs().max() > 1e-3 * (k.lr / 3e-4) * 0.3
    assert (mine - other).abs().max() < 1e-3 * (k.lr / 3e-4)
    assert theirs[0] == ours[0] and [r["step"] for r in theirs] == [r["step"] for r in ours]
    for a, b in zip(ours[1:], theirs[1:]):
        assert set(b) <= set(a)
        assert (b["reward"], b["lr"], b["frac_reward_zero_std"]) == pytest.approx(
            (a["reward"], a["lr"], a["frac_reward_zero_std"])
        )
        assert (b["loss"], b["grad_norm"], b["entropy"]) == pytest.approx(
            (a["loss"], a["grad_norm"], a["entropy"]), rel=2e-2, abs=2e-4
        )
    assert set(GRPO.curves) <= set(theirs[-1])


def test_grpo_with_trls_own_samples_learns():
    rows = list(engine.TRL(GRPO(steps=30, prompts=16, group=8, lr=5e-4, probe=30)).rows(load("chat"), 0))
    first, last = (sum(r["reward"] for r in part) / 6 for part in (rows[1:7], rows[-6:]))
    assert last > first + 0.05 and rows[-1]["accuracy"] > rows[0]["accuracy"], (
        first,
        last,
        rows[0],
        rows[-1],
    )


def test_the_reward_is_the_worlds_score_of_the_answers_text():
    tok, world = load("chat").tok, Sums(("add",), digits=2)
    asked = world.problems(3, split="train", seed=0)
    closing = tok("<|im_end|>", add_special_tokens=False)["input_ids"]
    answers = [asked[0].answer, asked[1].answer + ".", "12 apples"]
    ids = [tok(a, add_special_tokens=False)["input_ids"] for a in answers]
    score = grpo.reward(tok, world, asked)
    assert score([ids[0] + closing, ids[1], ids[2] + closing], [0, 1, 2]) == [1.0, 1.0, 0.0]
    assert score([ids[0] + closing, ids[1]], [1, 0]) == [0.0, 0.0]


@pytest.mark.parametrize("model", ["chat", "base"])
def test_trl_makes_our_prompts(model):
    loaded = load(model)
    p = Sums(("add",)).problems(1, seed=0)[0]
    grpo.check(loaded.tok, p, list(p.messages) if loaded.tok.chat_template else chat.plain(p.messages))
    loaded.tok.chat_template = TEMPLATE.replace("<|im_start|>user", "<|im_start|> user")
    with pytest.raises(UserError, match="use --engine lab"):
        grpo.check(loaded.tok, p, [{"role": "user", "content": "another"}])


# ---- the table of the dials ----


@pytest.mark.parametrize(
    "experiment",
    [
        SFT(**dict(steps=10, batch=4, held=16)),
        DPO(**PAIRS),
        DPO(nll=0.0),
        GRPO(**TRIES),
        GRPO(epsilon=0.3, epochs=3, temperature=0.5),
    ],
    ids=str,
)
def test_every_knob_is_told_and_the_config_has_what_is_told(experiment, tmp_path):
    table = engine.told(experiment)
    assert list(dict.fromkeys(row["knob"] for row in table if row["knob"])) == [
        k.name for k in experiment.knobs()
    ]
    loaded = load(experiment.default_model)
    recipe = experiment.recipe(loaded, 0)
    given = settings(recipe, str(tmp_path)) | engine.arguments(experiment)
    args = engine.method(experiment).build(experiment, recipe, loaded.tok, 0, given).args
    passed = {argument for argument, _ in PASSED.values()} | {"train_dataset"}
    said = [(row["TRL's argument"], row["its value"]) for row in table]
    assert {argument for argument, _ in said} - passed <= {f.name for f in dataclasses.fields(args)} | {
        "activation_checkpointing"
    }
    for argument, value in said:
        if argument not in passed | {"activation_checkpointing", "report_to"}:
            found = getattr(args, argument)
            assert str(getattr(found, "value", found)) == value, argument
    assert args.report_to in ("none", []) and not args.gradient_checkpointing


def test_the_four_dials_of_the_family_are_our_parts():
    assert set(grpo.RATIO) == {ratio.__name__ for ratio in policy.RATIOS.values()} <= set(vars(policy))
    assert set(grpo.AGGREGATION) == set(policy.AGGREGATIONS) <= set(vars(parts))
    assert set(grpo.ADVANTAGE) <= set(advantages.ADVANTAGES)
    assert set(dpo.LOSSES) <= set(vars(preferences))


def test_batches_that_cannot_be_shared_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="--batch 4 cannot be shared by 3 processes; choose a multiple of 3"):
        engine.told(DPO(**PAIRS))
    with pytest.raises(UserError, match="choose a multiple of 3"):
        engine.told(GRPO(**TRIES))
