"""The policy experiment: ratios leave 1 only on old samples, groups carry a signal, flawed pay pays what it
says, and runs resume bit-equal.
"""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from llmlab.chapters.c07_reinforcement_learning import reader
from llmlab.chapters.c07_reinforcement_learning.policy import Policy
from llmlab.chapters.c07_reinforcement_learning.reader import Reader
from llmlab.lab.experiment import BadKnob
from llmlab.methods import advantages
from llmlab.methods.imitation import nll
from llmlab.methods.policy import METHODS, BadDial, Dials
from llmlab.models.forward import forward
from llmlab.models.load import load
from llmlab.train.collect import Collector, with_signal
from llmlab.train.rollout import as_batch
from llmlab.world.arena import REWARD_FUNCS, TASKS
from llmlab.world.base import Score
from llmlab.world.desk import call_text

SFT = dict(source="gold", advantage="no_baseline", ratio="none", clip="none", aggregation="token_mean")
SMALL = dict(prompts=4, group=4, held=8, k=2, steps=8, probe=500, warmup=0, lr=3e-3)


@pytest.fixture(scope="module")
def chat():
    """The chat model; not to be trained."""
    return load("chat")


@pytest.fixture(autouse=True)
def few_questions(monkeypatch):
    monkeypatch.setattr(reader, "GREEDY", 8)


def collector(chat, **knobs) -> Collector:
    """What a run of the experiment learns from."""
    return Policy(**(SMALL | knobs)).recipe(chat, 0).stream


def steps(n, **knobs):
    """The rows of n steps."""
    rows = Policy(**(SMALL | knobs)).rows(load("chat"), 0)
    return list(islice(rows, n + 1))[1:]


# ---- ratios and clips ----


def test_on_fresh_samples_no_clip_binds_and_the_ratio_is_one():
    for row in steps(3):
        assert (
            row["clip_fraction"] == 0.0
            and row["ratio_max"] == pytest.approx(1.0, abs=1e-3)
            and row["approx_kl"] < 1e-6
        )


@pytest.mark.parametrize("old", [dict(epochs=4), dict(staleness=3)])
def test_on_old_samples_the_ratio_leaves_one_and_clips_bind(old):
    rows = steps(4, temperature=1.5, epsilon=0.1, **old)
    assert rows[0]["clip_fraction"] == 0.0 and max(r["clip_fraction"] for r in rows[1:]) > 0.0
    assert max(r["ratio_max"] for r in rows[1:]) > 1.1 and max(r["approx_kl"] for r in rows[1:]) > 1e-3


def test_the_reading_says_how_much_was_cut_since_the_last_one():
    rows = steps(4, temperature=1.5, epsilon=0.1, epochs=4, probe=4)
    assert (
        rows[3]["clip_fraction_mean"] == pytest.approx(sum(r["clip_fraction"] for r in rows) / 4)
        and rows[3]["samples"] == 16
    )


def test_samples_are_used_again_and_then_replaced(chat):
    batches = list(islice(collector(chat, epochs=2, staleness=1)(0), 6))
    texts = [b.ids.tolist() for b in batches]
    assert texts[0] == texts[1] != texts[2] == texts[3] != texts[4]
    assert [int(b["step"][0]) for b in batches] == [0, 0, 0, 0, 4, 4]


# ---- groups ----


@pytest.mark.parametrize("groups", ["filtered", "resampled"])
def test_every_group_has_a_signal(chat, groups):
    batch = collector(chat, groups=groups, group=3, prompts=8).batch(0, 0)
    info = batch.info
    assert (
        advantages.informative(batch["rewards"], batch["group"]).all()
        and 0 < info["frac_reward_zero_std"] < 1
    )
    assert len(batch) == 24 if groups == "resampled" else len(batch) < 24
    assert info["drawn"] > 24 if groups == "resampled" else info["drawn"] == 24


def test_resampling_gives_up_where_nothing_is_ever_right(chat):
    batch = collector(chat, task="products", size=4, groups="resampled").batch(0, 0)
    assert (
        len(batch) == 16 * 6 and batch.info["frac_reward_zero_std"] == 1.0 and not batch["advantages"].any()
    )


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "fixed_length"])
def test_leaving_out_rows_without_a_signal_changes_no_gradient(chat, aggregation):
    recipe = Policy(**(SMALL | dict(aggregation=aggregation, group=3, prompts=8))).recipe(chat, 0)
    made = recipe.stream
    episodes, paid, _ = made.chosen(3, 0)
    whole = made.method.columns(as_batch(chat.tok, episodes, rewards=paid))
    kept = with_signal(whole, aggregation)
    assert 0 < len(kept) < len(whole)

    def gradient(batch):
        loss, _ = recipe.objective(forward(chat.model, batch), batch)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(chat.model.parameters()))])

    torch.testing.assert_close(gradient(kept), gradient(whole), atol=1e-6, rtol=1e-4)


def test_equal_pay_moves_nothing_at_all():
    """Every answer has the asked form: no advantage, no gradient, the same weights, bit for bit."""
    loaded, before = load("chat"), load("chat").model.state_dict()
    list(islice(Policy(**(SMALL | dict(reward_func="format", temperature=0.3))).rows(loaded, 0), 3))
    assert all(torch.equal(v, before[k]) for k, v in loaded.model.state_dict().items())


# ---- what is paid ----


@pytest.mark.parametrize(
    "rule, unreadable, wrong, right",
    [("strict", 0, 0, 1), ("crash", 1, 0, 1), ("format", 0, 1, 1), ("length", 0.25, 0.25, 0.75)],
)
def test_what_is_paid(rule, unreadable, wrong, right):
    scores = [Score({"format": f, "answer": a}) for f, a in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))]
    assert [REWARD_FUNCS[rule](None, score, 0.5) for score in scores] == [unreadable, wrong, right]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_pays_its_own_solution_in_full_and_it_fits(chat, task):
    game = TASKS[task](2)
    for problem in game.world.problems(20, split="train", seed=1):
        turns = [m for m in game.world.solution(problem) if m["role"] == "assistant"]
        texts = [call_text(m) if m.get("tool_calls") else m["content"] for m in turns]
        assert REWARD_FUNCS["strict"](problem, game.world.score(problem, texts[-1]), 0.5) == 1.0
        assert len(turns) <= game.turns and all(
            len(chat.tok(text)["input_ids"]) < game.turn for text in texts
        )


def test_the_penalty_on_long_answers(chat):
    plain, taxed = (collector(chat, task="filler", overlong=x) for x in ("off", "on"))
    episodes, _, _ = plain.chosen(0, 0)
    lengths, longest = torch.tensor([float(sum(e.mask)) for e in episodes]), TASKS["filler"](3).longest
    less = plain.rewards(episodes) - taxed.rewards(episodes)
    assert (
        (less[lengths <= longest // 2] == 0).all()
        and (less[lengths > longest // 2 + 1] > 0).all()
        and (less > 0).any()
    )


# ---- the reference ----


def test_the_reference_is_the_start_until_it_is_reset():
    chat = load("chat")
    made = collector(chat, kl_penalty="k3", reset=2)
    stream = made(0)
    first = next(stream)
    torch.testing.assert_close(
        first["ref_logprobs"] * first.mask[:, 1:],
        first["old_logprobs"] * first.mask[:, 1:],
        atol=1e-4,
        rtol=0,
    )
    with torch.no_grad():
        for p in chat.model.parameters():
            p.mul_(1.01)
    second = next(stream)
    assert not torch.allclose(
        second["ref_logprobs"] * second.mask[:, 1:], second["old_logprobs"] * second.mask[:, 1:], atol=1e-4
    )
    third = next(stream)
    torch.testing.assert_close(
        third["ref_logprobs"] * third.mask[:, 1:],
        third["old_logprobs"] * third.mask[:, 1:],
        atol=1e-4,
        rtol=0,
    )


# ---- readings ----


def test_readings_of_the_start(chat):
    policy = Policy(**(SMALL | dict(held=8, k=4)))
    found = Reader(chat.model, chat.tok, policy.game(), policy)(0)
    assert set(Policy.curves) <= set(found)
    assert (
        found["held_kl"] == pytest.approx(0, abs=1e-6)
        and found["pass_at_1"] <= found["pass_at_k"]
        and found["held_reward"] == pytest.approx(found["pass_at_1"])
    )
    assert (
        0.25 <= found["distinct"] <= 1
        and found["samples"] == found["clip_fraction_mean"] == found["frac_reward_zero_std_mean"] == 0
    )


# ---- bad knobs ----


@pytest.mark.parametrize("knobs, fix", [
    (dict(ratio="none"), "choose --ratio token or sequence, or --clip none"),
    (dict(group=1), "choose --group 2 or more, or --advantage critic"),
    (dict(group=1, advantage="critic", groups="resampled"), "choose --group 2 or more"),
    (dict(task="many", reward_func="crash"), "choose --reward_func strict or length"),
    (dict(source="gold"), "choose --advantage no_baseline --ratio none --clip none"),
    (SFT | dict(groups="filtered"), "choose --groups all"),
    (dict(reset=10), "choose --kl_penalty reward or k3"),
    (dict(reset=10, kl_penalty="k3", epochs=4), "not a multiple of epochs"),
])  # fmt: skip
def test_knobs_that_do_not_fit_each_other_are_one_sentence(knobs, fix):
    with pytest.raises(BadKnob, match=fix):
        Policy(**knobs)


def test_a_critic_is_trained_beside_the_policy():
    rows = steps(3, advantage="critic", ratio="token", aggregation="token_mean", kl_penalty="reward")
    assert all("value_loss" in r for r in rows) and rows[0]["value_loss"] > 0


def test_a_critic_adds_a_head_and_leaves_the_policy_in_place(chat):
    made = collector(chat, advantage="critic")
    batch = made.batch(0, 0)
    assert made.model.model is chat.model
    assert (
        not batch["old_values"].any()
        and batch["advantages"].shape == batch["returns"].shape == batch["old_logprobs"].shape
    )


def test_what_tools_said_is_not_pushed_and_a_chain_is_paid_once(chat):
    batch = collector(
        chat, task="faults", size=2, group=2, advantage="no_baseline", aggregation="token_mean"
    ).batch(0, 0)
    for ids, mask in zip(batch.ids, batch.mask):
        said = chat.tok.decode(ids[mask > 0])
        assert "tool_response" not in said and '"result"' not in said
    assert (batch.mask.diff(dim=1) == 1).sum(1).max() >= 2  # more than one turn of the model


# ---- SFT and the named methods as settings of the same experiment ----


@pytest.mark.parametrize("task", ["sums", "many", "chain"])
def test_one_right_answer_without_baseline_and_ratio_is_sft(chat, task):
    recipe = Policy(**(SMALL | SFT | dict(task=task))).recipe(chat, 0)
    batch = recipe.stream.batch(0, 0)
    out = forward(chat.model, batch)
    assert batch.info["drawn"] == 0 and len(batch) == 4
    torch.testing.assert_close(recipe.objective(out, batch)[0], nll(out, batch)[0])


def test_where_many_answers_are_right_the_data_always_have_the_same(chat):
    game = TASKS["many"](3)
    problems = game.world.problems(60, split="train", seed=0)
    labels = {}
    for p in problems:
        labels.setdefault(p.question, set()).add(game.label(p)[0]["content"])
        assert game.world.score(p, game.label(p)[0]["content"]).reward == 1.0
    assert all(len(found) == 1 for found in labels.values()) and any(
        len(p.meta["answers"]) > 1 for p in problems
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_named_method_is_a_setting_of_the_knobs(name):
    made, named = Policy(**METHODS[name].knobs).dials(), METHODS[name]
    unread = dict(high=1, low=1) if named.clip in ("none", "capped") else dict(high=1)
    assert replace(made, **unread) == replace(named, **unread)
    if named.clip != "none":
        assert made.high == pytest.approx(named.high)  # GSPO's is 4/3 of the lower one, DAPO's 1.4


@pytest.mark.parametrize("name", sorted(METHODS.keys() & Policy.presets.keys()))
def test_a_preset_is_the_method_of_its_name_without_a_kl_penalty(name):
    """GSPO's range is 3e-4 and not the 0.2 of token ratios, and RLOO sums over an answer."""
    preset, method = Policy(**Policy.presets[name]).dials(), METHODS[name]
    unread = dict(high=1, low=1, lam=1, kl_penalty="none", beta=0)
    assert replace(preset, **unread, clip="none") == replace(method, **unread, clip="none")
    assert preset.clip == method.clip
    if method.clip != "none":
        assert preset.high == pytest.approx(method.high)
    if method.clip not in ("none", "capped"):
        assert preset.low == method.low


def test_eight_methods_are_presets_and_a_higher_clip_is_higher():
    assert len(METHODS.keys() & Policy.presets.keys()) == 8
    with pytest.raises(BadDial, match="clip higher needs high above low, 0.2; high is 0.2"):
        Dials(clip="higher")
