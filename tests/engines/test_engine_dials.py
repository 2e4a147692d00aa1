"""policy and prefer through TRL: every dial in TRL's words, what has none refused, and the same parameters as
by our loop.
"""

import dataclasses
import itertools

import pandas as pd
import pytest
import torch

trl = pytest.importorskip("trl")

from test_engine_dpo_grpo import trained
from test_engine_trl import parameters
from trl import DPOConfig, GRPOConfig

from llmlab import cli
from llmlab.chapters.c06_preferences.dpo import DPO
from llmlab.chapters.c06_preferences.pairs import Pairs
from llmlab.chapters.c06_preferences.prefer import Prefer
from llmlab.chapters.c07_reinforcement_learning.grpo import GRPO
from llmlab.chapters.c07_reinforcement_learning.policy import ROUNDS, Policy
from llmlab.cli.run import translation
from llmlab.errors import UserError
from llmlab.lab.experiment import BadKnob
from llmlab.methods.policy import ADVANTAGES, AGGREGATIONS, KL_PENALTIES, METHODS, RATIOS
from llmlab.models.load import load
from llmlab.train.rollout import play
from llmlab.trl import engine, policy
from llmlab.trl.trainer import OURS

pytestmark = pytest.mark.parity
PAIRS = dict(steps=5, batch=4, probe=5, held=16)
CLIPS = next(k.choices for k in Policy.knobs() if k.name == "clip")
TRIES = dict(steps=5, prompts=4, group=4, probe=5, held=8, k=2, warmup=1)


# ---- the table ----


def dials() -> list[Policy]:
    """The policy at every combination of its dials that the lab has."""
    found = []
    for a, r, c, g, kl in itertools.product(
        ADVANTAGES, ("none", *RATIOS), CLIPS, AGGREGATIONS, ("none", "reward", *KL_PENALTIES)
    ):
        if r != "none" or c == "none":
            found.append(Policy(**TRIES, advantage=a, ratio=r, clip=c, aggregation=g, kl_penalty=kl))
    return found


def others() -> list[Policy]:
    """The policy at other values of its other knobs."""
    changes = [dict(staleness=3, aggregation=a) for a in AGGREGATIONS] + [
        dict(epochs=3),
        dict(temperature=0.7),
        dict(task="many"),
        dict(reward_func="length"),
    ]
    return [
        Policy(**TRIES | c)
        for c in (
            *changes,
            dict(task="strings", size=2),
            dict(kl_penalty="k3", beta=0.5),
            dict(epsilon=0.01, clip="higher"),
        )
    ]


def pairs() -> list[Prefer]:
    """Preferences that TRL takes."""
    return [
        Prefer(**PAIRS, method=m, **c)
        for m in ("dpo", "ipo", "sft")
        for c in ({}, dict(beta=0.5), dict(nll=0.3), dict(smoothing=0.2), dict(gamma=2.0))
    ]


def said(k) -> list[tuple[str, str]]:
    """What the table says of TRL's arguments."""
    return [(row["TRL's argument"], row["its value"]) for row in engine.told(k)]


def config(k, folder):
    """TRL's config for an experiment."""
    return (GRPOConfig if isinstance(k, Policy) else DPOConfig)(
        output_dir=str(folder), use_cpu=True, **OURS | engine.arguments(k)
    )


def holds(k, folder) -> None:
    """Does the config have what the table says?"""
    args = config(k, folder)
    names = {f.name for f in dataclasses.fields(args)}
    objects = {
        "train_dataset",
        "optimizers",
        "callbacks",
        "reward_funcs",
        "",
        "activation_checkpointing",
        "report_to",
    }
    assert {argument for argument, _ in said(k)} - objects <= names
    for argument, value in said(k):
        if argument not in objects:
            found = getattr(args, argument)
            assert str(getattr(found, "value", found)) == value, (k, argument)


def test_every_value_of_every_dial_is_in_the_config_or_refused_in_a_sentence(tmp_path):
    taken, refused = [], set()
    for k in dials():
        try:
            engine.told(k)
            taken.append(k)
        except UserError as e:
            refused.add(str(e))
    seen = {
        name: {getattr(k, name) for k in taken}
        for name in ("advantage", "ratio", "clip", "aggregation", "kl_penalty")
    }
    assert seen == {
        "advantage": {"group_norm", "group_mean", "leave_one_out"},
        "ratio": {"token", "sequence"},
        "clip": set(CLIPS),
        "aggregation": set(AGGREGATIONS),
        "kl_penalty": {"none", "k3"},
    }
    assert len(refused) == 6 and all("; use --engine lab" in why for why in refused)
    for k in taken:
        holds(k, tmp_path)


@pytest.mark.parametrize("experiment", [*others(), *pairs()], ids=str)
def test_the_config_has_what_the_table_says(experiment, tmp_path):
    holds(experiment, tmp_path)


@pytest.mark.parametrize("experiment", [Policy(), Prefer(), Pairs(), GRPO(), DPO()], ids=lambda e: e.name)
def test_every_knob_is_told_in_rows_that_make_a_table(experiment, capsys):
    table = engine.told(experiment)
    assert all(isinstance(row, dict) for row in table)
    frame = pd.DataFrame(table)
    assert list(frame.columns) == ["knob", "value", "TRL's argument", "its value"]
    assert list(dict.fromkeys(k for k in frame["knob"] if k)) == [k.name for k in experiment.knobs()]
    translation(experiment)
    assert "TRL's argument" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, arguments",
    {
        "GRPO": dict(loss_type="grpo", scale_rewards="group", beta=0.04, epsilon=0.2, epsilon_high=0.2),
        "Dr. GRPO": dict(loss_type="dr_grpo", scale_rewards="none", beta=0.0, max_completion_length=18),
        "DAPO": dict(loss_type="dapo", epsilon=0.2, epsilon_high=pytest.approx(0.28)),
        "GSPO": dict(
            loss_type="grpo",
            importance_sampling_level="sequence",
            epsilon=3e-4,
            epsilon_high=pytest.approx(4e-4),
        ),
        "CISPO": dict(loss_type="cispo", epsilon_high=5.0),
    }.items(),
    ids=str,
)
def test_the_methods_by_name(name, arguments):
    found = engine.arguments(Policy(**METHODS[name].knobs))
    assert {argument: found[argument] for argument in arguments} == arguments


# ---- what is refused ----

REFUSED = [
    (dict(advantage="critic"), "--advantage group_norm"),
    (dict(advantage="no_baseline"), "--advantage group_mean"),
    (dict(ratio="none", clip="none"), "--ratio token --clip none"),
    (dict(kl_penalty="reward"), "--kl_penalty k3"),
    (dict(kl_penalty="k1"), "--kl_penalty k3"),
    (dict(kl_penalty="k2"), "--kl_penalty k3"),
    (dict(source="gold", advantage="no_baseline", ratio="none", clip="none"), "llmlab run sft --engine trl"),
    (dict(reset=5, kl_penalty="k3"), "--reset 0"),
    (dict(groups="filtered"), "--groups all"),
    (dict(groups="resampled"), "--groups all"),
    (dict(overlong="on"), "--overlong off"),
    (dict(task="chain"), "such as sums"),
    (dict(task="faults"), "such as sums"),
    (dict(clip="capped"), "--aggregation token_mean"),
    (dict(clip="capped", aggregation="token_mean", staleness=2), "--staleness 0"),
    (dict(staleness=1, epochs=2), "--epochs 1"),
]


@pytest.mark.parametrize("change, fix", REFUSED, ids=str)
def test_what_trl_cannot_say_is_refused_in_a_sentence_that_names_the_fix(change, fix):
    refuses(Policy(**change), fix)


@pytest.mark.parametrize("method", ["simpo", "orpo"])
def test_methods_of_trls_experimental_trainers_are_refused(method):
    refuses(Prefer(method=method), "--method dpo, ipo or sft")


@pytest.mark.parametrize(
    "change, fix",
    [
        (dict(loss="simpo"), "--loss dpo, ipo or sft"),
        (dict(loss="orpo"), "--loss dpo, ipo or sft"),
        (dict(method="lora"), "--method full"),
    ],
    ids=str,
)
def test_own_pairs_by_adapters_or_by_experimental_losses_are_refused(change, fix):
    refuses(Pairs(**change), fix)


def refuses(k, fix: str) -> None:
    """Is the experiment refused by the table, and by the run?"""
    for call in (engine.told, engine.TRL):
        with pytest.raises(UserError) as e:
            call(k)
        why = str(e.value)
        assert (
            "use --engine lab" in why and fix in why and "\n" not in why and not isinstance(e.value, BadKnob)
        )


def test_every_refusal_is_tried():
    reasons = {next(why for so, why in policy.CANNOT if so(Policy(**change))) for change, _ in REFUSED}
    assert reasons == {why for _, why in policy.CANNOT}


def test_the_command_line_says_why(capsys):
    assert cli.main(["run", "policy", "--engine", "trl", "--advantage", "critic"]) == 2
    assert "use --engine lab" in capsys.readouterr().err


# ---- prefer ----

CHANGES = [
    dict(smoothing=0.2),
    dict(method="ipo", beta=0.5, nll=0.3),
    dict(method="sft", nll=0.5),
    dict(task="failed"),
    dict(task="decide", nll=0.2),
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_steps_of_prefer_end_with_our_parameters(change):
    k = Prefer(**PAIRS | change)
    (ours, mine), (theirs, other) = trained(k), trained(k, engine.TRL)
    assert (mine - other).abs().max() < 1e-4 < 1e-3 < (mine - parameters(load("chat").model)).abs().max()
    assert theirs[0] == ours[0]
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        same = set(b) - {"grad_norm"}
        assert same <= set(a) and {n: b[n] for n in same} == pytest.approx(
            {n: a[n] for n in same}, rel=1e-3, abs=1e-4
        )
    assert set(Prefer.curves) <= set(theirs[-1])


@pytest.mark.parametrize("change", [{}, dict(loss="ipo", beta=0.5, nll=0.3), dict(smoothing=0.2)], ids=str)
def test_steps_on_own_pairs_end_with_our_parameters(change):
    k = Pairs(**dict(steps=5, batch=4, probe=5, lr=1e-3, warmup=1) | change)
    (ours, mine), (theirs, other) = trained(k), trained(k, engine.TRL)
    assert (mine - other).abs().max() < 1e-4 < 1e-3 < (mine - parameters(load("chat").model)).abs().max()
    assert theirs[0] == ours[0] and [r["loss"] for r in theirs[1:]] == pytest.approx(
        [r["loss"] for r in ours[1:]], rel=1e-3, abs=1e-4
    )


def test_smoothing_would_be_seen():
    plain, smooth = (trained(Prefer(**PAIRS, smoothing=s), engine.TRL)[1] for s in (0.0, 0.3))
    assert (plain - smooth).abs().max() > 1e-3


# ---- policy ----


@pytest.fixture
def on_our_samples(monkeypatch):
    """TRL learns from answers that our sampler draws as the collector does; the list of the batches that it
    asked for.
    """
    build, asked = policy.build, []

    def built(k, recipe, tok, seed, settings):
        trainer = build(k, recipe, tok, seed, settings)
        game = k.game()

        def sample(prompts, trainer):
            first, episodes = trainer.state.global_step // k.epochs, []
            for number in range(seed * 1_000_003 + first, seed * 1_000_003 + first + k.staleness + 1):
                problems = game.world.problems(k.prompts, split="train", seed=number * ROUNDS)
                generator = torch.Generator().manual_seed(number)
                given = dict(
                    k=k.group, max_new=game.turn, temperature=k.temperature, generator=generator, turns=1
                )
                episodes += play(trainer.model, tok, game.world, problems, **given)
                asked.append(number - seed * 1_000_003)
            assert [list(e.problem.messages) for e in episodes] == prompts  # asked what we ask, in our order
            starts = [e.mask.index(1) for e in episodes]
            return {
                "prompt_ids": [e.ids[:s] for e, s in zip(episodes, starts)],
                "completion_ids": [e.ids[s:] for e, s in zip(episodes, starts)],
                "logprobs": [e.logprobs[s:] for e, s in zip(episodes, starts)],
            }

        trainer.rollout_func = sample
        return trainer

    monkeypatch.setattr(policy, "build", built)
    return asked


SETTINGS = {  # name -> (knobs, arguments that say another dial)
    "grpo on a KL penalty": (dict(kl_penalty="k3", beta=0.5, epochs=2), dict(use_bias_correction_kl=True)),
    "dr_grpo": (
        dict(aggregation="fixed_length", advantage="group_mean", temperature=0.7),
        dict(loss_type="grpo"),
    ),
    "dapo": (dict(aggregation="token_mean", clip="higher", epsilon=0.01, epochs=3), dict(epsilon_high=0.5)),
    "gspo": (
        dict(ratio="sequence", clip="higher", epsilon=3e-3, epochs=3),
        dict(importance_sampling_level="token"),
    ),
    "cispo": (dict(aggregation="token_mean", clip="capped", epsilon=1e-2, epochs=3), dict(epsilon_high=0.01)),
    "leave_one_out, unclipped": (
        dict(advantage="leave_one_out", clip="none", epochs=2, aggregation="token_mean"),
        dict(reward_weights=[1.0]),
    ),
    "paid for length": (dict(task="filler", size=1, reward_func="length"), None),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_steps_of_policy_on_the_same_answers_end_with_our_parameters(on_our_samples, monkeypatch, name):
    change, another = SETTINGS[name]
    k, start = Policy(**TRIES | change), parameters(load("chat").model)
    (ours, mine), (theirs, other) = trained(k, seed=1), trained(k, engine.TRL, seed=1)
    assert on_our_samples == list(range(-(-k.steps // k.epochs)))
    assert (mine - other).norm() < 1e-3 * (mine - start).norm() and (mine - other).abs().max() < 1e-3
    assert theirs[0] == {n: v for n, v in ours[0].items() if n not in policy.UNREAD}
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        assert (b["reward"], b["lr"], b["frac_reward_zero_std"]) == pytest.approx(
            (a["reward"], a["lr"], a["frac_reward_zero_std"]), abs=1e-6
        )
        assert (b["loss"], b["grad_norm"]) == pytest.approx((a["loss"], a["grad_norm"]), rel=1e-3, abs=1e-4)
    assert set(Policy.curves) <= set(theirs[-1])
    if another:
        arguments = engine.arguments
        monkeypatch.setattr(engine, "arguments", lambda e: arguments(e) | another)
        assert (mine - trained(k, engine.TRL, seed=1)[1]).norm() > 1e-2 * (mine - start).norm()


def test_batches_sampled_ahead_are_ours_and_are_used_before_others_are_sampled(on_our_samples):
    k = Policy(**TRIES, staleness=2, aggregation="token_mean", lr=2e-3)
    rows, _ = trained(k, engine.TRL, seed=1)
    assert on_our_samples == list(range(6)) and [r["step"] for r in rows] == list(range(6))
    fresh, old = rows[1]["clip_fraction"], rows[3]["clip_fraction"] + rows[2]["clip_fraction"]
    assert fresh == 0 < old


def test_the_reference_of_the_kl_penalty_is_the_model_as_it_is_in_memory():
    loaded = load("chat")
    with torch.no_grad():
        next(loaded.model.parameters()).mul_(1.1)
    rows = list(engine.TRL(Policy(**TRIES, kl_penalty="k3", beta=5.0)).rows(loaded, 0))
    assert rows[1]["loss"] == pytest.approx(0.0, abs=1e-5) and rows[-1]["loss"] > 1e-3


def test_a_run_with_trls_own_samples_ends_with_our_probes():
    rows = list(engine.TRL(Policy(**TRIES, ratio="sequence", task="many")).rows(load("chat"), 0))
    assert [r["step"] for r in rows] == list(range(6)) and set(Policy.curves) <= set(rows[0]) & set(rows[-1])
    assert not set(policy.UNREAD) & set(rows[-1]) and rows[-1]["held_kl"] > 0
