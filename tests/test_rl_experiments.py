"""retain, order, agent: what each way shows the model, when the training ends, how the steps are shared among
the stages.
"""

import json

import pytest
import torch

from llmlab.chapters.c07_reinforcement_learning import agent, order, retain
from llmlab.chapters.c07_reinforcement_learning.agent import Agent
from llmlab.chapters.c07_reinforcement_learning.order import ORDERS, Order
from llmlab.chapters.c07_reinforcement_learning.retain import MANY, Retain
from llmlab.lab.experiment import BadKnob
from llmlab.models.forward import forward
from llmlab.models.load import load
from llmlab.tokens.batch import Batch
from llmlab.tokens.special import TEMPLATE
from llmlab.train import loop
from llmlab.world.base import rng
from llmlab.world.desk import Desk
from llmlab.world.sums import Sums


@pytest.fixture(scope="module")
def chat_model():
    return load("chat")


@pytest.fixture(autouse=True)
def small_probes(monkeypatch):
    for module in (agent, order, retain):
        monkeypatch.setattr(module, "HELD", 4)


# ---- retain ----


def test_one_label_or_any_right_label():
    p = next(p for p in MANY.problems(20, split="train", seed=0) if len(p.meta["answers"]) > 3)
    assert (
        Retain(method="sft_one").answers(p, rng(1))
        == Retain(method="sft_one").answers(p, rng(2))
        == p.meta["answers"][:1]
    )
    drawn = Retain(method="sft_any", group=16).answers(p, rng(1))
    assert len(drawn) == 16 and len(set(drawn)) > 2 and set(drawn) <= set(p.meta["answers"])


def test_own_imitates_the_right_samples_alone(chat_model):
    recipe = Retain(method="rejection_sampling").recipe(chat_model, 0)
    batch = next(recipe.stream(0))
    right = batch["rewards"] == 1
    assert 0 < right.sum() < len(batch)
    out = forward(chat_model.model, batch)
    loss, _ = recipe.objective(out, batch)
    mean = -(out.logprobs * out.mask)[right].sum() / out.mask[right].sum()
    assert loss.item() == pytest.approx(mean.item(), rel=1e-5)


def test_the_training_ends_at_the_skill_and_its_last_reading_stands_to_the_end():
    loaded = load("chat")
    rows = list(Retain(method="sft_one", until=0.2, lr=3e-3, warmup=0, steps=20, probe=2).rows(loaded, 0))
    trained = [r for r in rows if "loss" in r]
    assert (
        trained[-1]["skill"] >= 0.2
        and all(r["skill"] < 0.2 for r in trained[:-1] if "skill" in r)
        and trained[-1]["step"] < 20
    )
    rest = rows[rows.index(trained[-1]) + 1 :]
    assert [r["step"] for r in rest] == list(range(trained[-1]["step"] + 2, 21, 2))
    assert all(r[name] == trained[-1][name] for r in rest for name in Retain.curves)


def test_what_did_not_move_has_no_distance(chat_model):
    found = retain.prober(chat_model.model, chat_model.tok)(0)
    assert found["kl"] == pytest.approx(0, abs=1e-6) and set(found) == set(Retain.curves)


# ---- order ----


@pytest.mark.parametrize("stages", ORDERS)
def test_the_stages_share_the_steps(stages):
    k = Order(stages=stages, steps=61)
    places = [k.place(s)[0] for s in range(61)]
    assert list(dict.fromkeys(places)) == stages.split("-")
    counts = [places.count(s) for s in stages.split("-")]
    assert sum(counts) == 61 and max(counts) - min(counts) <= 61 % len(counts)
    assert all(k.rate(s) <= 1.0001 * (k.lr if places[s] == "sft" else k.tune_lr) for s in range(61))


def test_a_stage_brings_its_own_batches_and_dpo_the_model_as_reference():
    loaded = load("base")
    loaded.tok.chat_template = TEMPLATE
    k = Order(stages="sft-dpo-rl", steps=3, batch=4, prompts=2, group=2)
    stream = k.stream(loaded.model, loaded.tok, 0, 0)
    shown, compared, tried = (next(stream) for _ in range(3))
    assert not shown.given and {"pair", "ref_logprobs"} <= set(compared.given) and "advantages" in tried.given
    out = forward(loaded.model, compared)
    assert torch.allclose(out.logprobs * out.mask, compared["ref_logprobs"] * out.mask, atol=1e-5)
    assert float(k.objective(out, compared)[1]["margin"]) == pytest.approx(0, abs=1e-4)


def test_a_polite_sum_is_right():
    p = order.SUMS.problems(1, seed=0)[0]
    assert [
        order.SUMS.score(p, text).reward
        for text in (f"{p.answer}.", f"Gladly: {p.answer}.", "Gladly: no.", f"{p.answer}1")
    ] == [1, 1, 0, 0]
    assert Sums(("add",), digits=3).score(p, f"Gladly: {p.answer}.").reward == 0


def test_an_interrupted_order_goes_on_at_the_last_whole_stage_and_ends_bit_equal(tmp_path):
    k = Order(stages="sft-dpo-rl", steps=6, batch=4, prompts=4, group=4, probe=6)
    whole = list(k.rows(load("base"), 0))
    checkpoint = loop.Checkpoint(tmp_path / "state", seconds=0)
    cut = k.rows(load("base"), 0, checkpoint=checkpoint)
    for _ in range(4):  # in the middle of DPO
        next(cut)
    cut.close()
    again = list(k.rows(load("base"), 0, checkpoint=loop.Checkpoint(tmp_path / "state", seconds=1e9)))
    assert again == whole


# ---- agent ----


def errors(k: Agent, practice: bool) -> list[int]:
    """Failed calls in twelve traces that are shown."""
    found = []
    for i in range(12):
        desk, p = k.lesson(rng("test", i), practice)
        found.append(
            sum(
                json.loads(m["content"]).get("error") == "fault"
                for m in desk.solution(p)
                if m["role"] == "tool"
            )
        )
    return found


def test_gold_never_shows_a_fault_and_retry_shows_how_it_is_mended():
    assert sum(errors(Agent(method="sft_gold", calls=2, faults=1.0), True)) == 0
    assert errors(Agent(method="sft_retry", calls=2, faults=1.0), True) == [1] * 12
    assert sum(errors(Agent(method="sft_retry", calls=2, faults=1.0, cold_start=5), False)) == 0


def test_single_and_the_first_lessons_show_one_call():
    calls = lambda k, practice: {len(k.lesson(rng("test", i), practice)[1].meta["chain"]) for i in range(12)}
    assert calls(Agent(method="sft_single", calls=3), True) == {1} and calls(
        Agent(method="sft_gold", calls=3), True
    ) == {3}
    assert calls(Agent(calls=3, cold_start=5), False) == {1} and calls(
        Agent(calls=3, cold_start=5, chained=0.5), False
    ) == {1, 3}


def test_only_tasks_whose_trajectories_end_differently_are_learnt_from(chat_model):
    batch = next(Agent(prompts=6, group=4).recipe(chat_model, 0).stream(0))
    assert isinstance(batch, Batch) and len(batch) % 4 == 0 and len(batch) <= 24
    groups = [batch["rewards"][batch["group"] == g] for g in batch["group"].unique()]
    assert all(g.min() != g.max() for g in groups) and (batch["advantages"] != 0).all()


def test_the_probe_sees_which_failed_calls_were_made_again(chat_model):
    desk = Desk(1, 1.0, tools=agent.TOOLS)
    p = desk.problems(1, seed=0)[0]
    said = [*p.messages, *desk.solution(p)]
    whole = agent.Episode(p, 0, said, [], [], [])
    assert agent.fault(whole) == 3 and agent.again(whole)
    given_up = agent.Episode(p, 0, said[:4], [], [], [])
    assert agent.fault(given_up) == 3 and not agent.again(given_up)
    found = Agent().prober(chat_model.model, chat_model.tok)(0)
    assert set(found) == set(Agent.curves) and all(0 <= v <= 1 for v in found.values())


def test_lessons_that_leave_no_practice_are_refused():
    with pytest.raises(BadKnob, match="leaves nothing of --steps 12"):
        Agent(cold_start=12)
