"""Rollouts: what is trained is what was sampled, id for id, and a function of the seed."""

import json
from itertools import islice

import pytest
import torch

from llmlab.methods import advantages
from llmlab.methods.policy import Dials
from llmlab.models.forward import forward
from llmlab.tokens import chat
from llmlab.train import rollout
from llmlab.train.collect import Collector, without_broken
from llmlab.train.rollout import evaluate, play
from llmlab.train.sample import Completions
from llmlab.world import Census, Desk, Sums, Talk
from llmlab.world.desk import TOOLS, call_text, parse

SUMS = Sums(("add",), digits=3)


def stream(loaded, world=SUMS, start=0, rule="group_norm", method=None, **more):
    settings = dict(prompts=3, group=4, seed=1, max_new=8) | more
    return Collector(loaded.model, loaded.tok, world, method or Dials(advantage=rule), **settings)(start)


def paid(reward):
    """A rule for one score as a collector takes it: episodes -> [B]."""
    return lambda episodes: torch.tensor([float(reward(e.score)) for e in episodes])


def equal(a, b):
    return (
        torch.equal(a.ids, b.ids)
        and torch.equal(a.mask, b.mask)
        and all(torch.equal(a[k], b[k]) for k in a.given)
    )


# --- evaluate
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k, temperature", [(1, 0.0), (3, 1.0)])
def test_an_evaluation_is_a_function_of_its_seed(shipped, k, temperature):
    settings = dict(n=6, k=k, temperature=temperature, max_new=8)
    first, again, other = (
        evaluate(shipped.model, shipped.tok, SUMS, seed=s, **settings).rows for s in (0, 0, 1)
    )
    assert first.equals(again) and not first.equals(other)


def test_an_evaluation_leaves_the_global_generator_alone(shipped):
    state = torch.get_rng_state()
    evaluate(shipped.model, shipped.tok, SUMS, n=2, k=2, temperature=1.0, max_new=4)
    assert torch.equal(state, torch.get_rng_state())


def test_an_evaluation_has_a_row_a_sample_with_what_was_asked_said_and_scored(shipped):
    rows = evaluate(shipped.model, shipped.tok, SUMS, n=4, k=3, temperature=1.0, max_new=8).rows
    assert rows["problem"].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    asked = SUMS.problems(4, split="test", seed=0)
    for row in rows.itertuples():
        assert row.question == asked[row.problem].question and row.answer == asked[row.problem].answer
        score = SUMS.score(asked[row.problem], row.text)
        assert (row.reward, row.part_format, row.part_answer) == (
            score.reward,
            score.parts["format"],
            score.parts["answer"],
        )
    assert rows["length"].between(1, 8).all() and rows[~rows["stopped"]]["length"].eq(8).all()


def test_the_shipped_model_knows_its_people(shipped):
    assert evaluate(shipped.model, shipped.tok, Census(), n=32, max_new=16).accuracy > 0.9
    assert evaluate(shipped.model, shipped.tok, Census(), n=32, max_new=1).rows["length"].eq(1).all()


def test_accuracy_is_the_mean_reward(shipped):
    found = evaluate(shipped.model, shipped.tok, Sums(("subtract",), digits=3), n=16, max_new=8)
    assert found.accuracy == pytest.approx(sum(found.rows["reward"]) / 16)


# --- on-policy batches
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_ratio_is_one_where_the_batch_was_sampled(shipped, temperature):
    batch = next(stream(shipped, temperature=temperature))
    with torch.no_grad():
        out = forward(shipped.model, batch)
    moved = ((out.logprobs - batch["old_logprobs"]) * out.mask).abs().max()
    assert (
        batch.temperature == temperature and moved < 1e-4 and (batch["old_logprobs"][out.mask > 0] < 0).any()
    )
    assert not batch["old_logprobs"][out.mask == 0].any()


def test_trained_are_the_sampled_ids_and_no_others(shipped):
    batch, asked = next(stream(shipped)), SUMS.problems(3, split="train", seed=1_000_003)
    stops = chat.stop_ids(shipped.tok)
    for row, (ids, mask) in enumerate(zip(batch.ids.tolist(), batch.mask.tolist())):
        head = chat.prompt(shipped.tok, asked[row // 4].messages)
        said = int(sum(mask))
        assert ids[: len(head)] == head and mask == [0] * len(head) + [1] * said + [0] * (
            len(mask) - len(head) - said
        )
        assert said == 8 or ids[len(head) + said - 1] in stops
        text = shipped.tok.decode([i for i in ids[len(head) :][:said] if i not in stops])
        assert batch["rewards"][row] == SUMS.score(asked[row // 4], text).reward


def test_groups_and_advantages_belong_to_the_rows(shipped):
    batch = next(
        stream(shipped, prompts=4, temperature=2.0, rewards=paid(lambda score: score.parts["format"]))
    )
    assert batch["group"].tolist() == [g for g in range(4) for _ in range(4)] and batch["rewards"].std() > 0
    torch.testing.assert_close(
        batch["advantages"], advantages.group_norm(batch["rewards"], batch["group"]).view(-1, 1)
    )


def test_the_reward_can_be_chosen(shipped):
    batch = next(stream(shipped, rewards=paid(lambda score: 10 + score.parts["format"])))
    assert (batch["rewards"] >= 10).all()


def test_what_is_asked_can_be_chosen_by_the_number_of_the_batch(shipped):
    asked, numbers = SUMS.problems(2, split="test", seed=9), []
    batches = list(islice(stream(shipped, ask=lambda i: numbers.append(i) or asked, prompts=2), 2))
    assert numbers == [0, 1]
    for batch in batches:
        for row, ids in enumerate(batch.ids.tolist()):
            head = chat.prompt(shipped.tok, asked[row // 4].messages)
            assert ids[: len(head)] == head


@pytest.mark.parametrize("fallback, kept", [(None, 12), (4, 4)])
def test_where_no_group_has_a_signal_all_episodes_stay_or_as_many_as_asked_for(shipped, fallback, kept):
    same = dict(groups="filtered", rewards=paid(lambda score: 1), fallback=fallback)
    batch = next(stream(shipped, **same))
    assert len(batch) == kept and not batch["advantages"].any()
    assert batch.info == {"reward": 1.0, "frac_reward_zero_std": 1.0, "drawn": 12.0, "broken_rewards": 0.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("rule", advantages.ADVANTAGES)
def test_a_reward_that_is_no_number_spoils_its_own_group_only(shipped, rule, value):
    """Rewards 0 and 1 in turn; in the second group one is no number: that group teaches nothing, all others
    what they would teach without it.
    """
    turns = [float(i % 2) for i in range(12)]
    broken = [*turns[:5], value, *turns[6:]]
    found = [
        next(stream(shipped, rewards=lambda episodes, r=r: torch.tensor(r), rule=rule))
        for r in (turns, broken)
    ]
    whole, spoilt = (batch["advantages"].view(3, 4) for batch in found)
    assert spoilt.isfinite().all() and torch.equal(whole[[0, 2]], spoilt[[0, 2]]) and not spoilt[1].any()
    assert [batch.info["broken_rewards"] for batch in found] == [0.0, 1.0]


@pytest.mark.parametrize("column", ["ref_logprobs", "old_logprobs"])
def test_a_log_prob_that_is_no_number_spoils_its_own_group_only(shipped, column):
    """In the second group one log-prob is NaN: its rows are trained on no more, the others as before."""
    whole = next(stream(shipped, method=Dials(kl_penalty="k3"), temperature=2.0))
    spoilt = whole.add(**{column: whole[column].clone()})
    spoilt[column][5] = float("nan")
    found = without_broken(spoilt)
    assert without_broken(whole) is whole
    assert found.info["broken_logprobs"] == 1 and not found.mask[4:8].any()
    assert torch.equal(found.mask[[0, 1, 2, 3, 8, 9, 10, 11]], whole.mask[[0, 1, 2, 3, 8, 9, 10, 11]])
    assert all(found[c].isfinite().all() for c in ("ref_logprobs", "old_logprobs"))
    objective = Dials(kl_penalty="k3").objective(8)
    assert objective(forward(shipped.model, found), found)[0].isfinite()
    assert not objective(forward(shipped.model, spoilt), spoilt)[0].isfinite(), "negative control"


def test_a_matrix_product_alone_would_spread_it():
    """Negative control: the rules themselves carry one NaN into every group."""
    rewards, group = torch.tensor([0.0, 1.0, float("nan"), 1.0]), torch.tensor([0, 0, 1, 1])
    assert advantages.group_mean(rewards, group)[:2].isnan().all()


def test_batches_are_a_function_of_model_seed_and_number(shipped):
    first, second = islice(stream(shipped), 2)
    assert equal(first, next(stream(shipped))) and equal(second, next(stream(shipped, start=1)))
    assert not equal(first, second) and not equal(first, next(stream(shipped, seed=2)))


class OneProblem(Sums):
    """Asks the same at every step, so that only the sampling differs."""

    def problems(self, n, *, split="test", seed=0):
        return super().problems(1, split=split, seed=0) * n


def test_the_same_problem_gets_other_samples_at_every_step_and_seed(shipped):
    world = OneProblem(("add",), digits=3)
    first, second = islice(stream(shipped, world), 2)
    assert not equal(first, second) and not equal(first, next(stream(shipped, world, seed=2)))


def test_a_batch_is_sampled_from_the_model_as_it_is_when_it_is_asked_for(tiny):
    batches, twin = stream(tiny), stream(tiny)
    assert equal(next(batches), next(twin))
    with torch.no_grad():
        for p in tiny.model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    later = next(batches)
    out = forward(tiny.model, later)
    assert ((out.logprobs - later["old_logprobs"]) * out.mask).abs().max() < 1e-4


def test_epochs_use_a_batch_again_and_tell_how_old_it_is(shipped):
    batches = list(islice(stream(shipped, epochs=2), 4))
    assert (
        equal(batches[0], batches[1])
        and equal(batches[2], batches[3])
        and not torch.equal(batches[0].ids, batches[2].ids)
    )
    assert [set(b["step"].tolist()) for b in batches] == [
        {0},
        {0},
        {2},
        {2},
    ]  # at updates 0, 1, 2, 3: ages 0, 1, 0, 1
    assert equal(next(stream(shipped, epochs=2, start=2)), batches[2])


# --- with tools
# -------------------------------------------------------------------------------------------------------


def spoken(message) -> str:
    """What the lab template has the assistant write in a turn."""
    return call_text(message) if message.get("tool_calls") else " " + message["content"]


class Script:
    """In place of sample(): says the world's solutions, so that only the bookkeeping is tested."""

    def __init__(self, tok, world, problems, k, cut=None):
        self.tok, self.cut, self.asked = tok, cut, []
        solutions = [
            [m for m in world.solution(p) if m["role"] == "assistant"] for p in problems for _ in range(k)
        ]
        self.turns = [[spoken(m) for m in s] for s in solutions]
        self.heads = {tuple(chat.prompt(tok, p.messages, TOOLS)): i * k for i, p in enumerate(problems)}

    def __call__(self, model, prompts, *, k, stop, max_new, temperature, generator):
        self.asked.append(len(prompts) * k)
        ids = [self.say(prompt, sample) for prompt in prompts for sample in range(k)]
        return Completions(prompts, ids, [[-0.5] * len(i) for i in ids], [i[-1] in stop for i in ids])

    def say(self, prompt, sample):
        head = max((h for h in self.heads if tuple(prompt[: len(h)]) == h), key=len)
        turn = self.tok.decode(prompt[len(head) :]).count("<tool_response>")
        ids = self.tok(self.turns[self.heads[head] + sample][turn] + "<|im_end|>", add_special_tokens=False)[
            "input_ids"
        ]
        return ids[:-1] if self.cut == turn else ids


def scripted(tok, monkeypatch, calls, faults=0.0, n=5, k=1, cut=None, **more):
    world = Desk(calls, faults=faults)
    problems = world.problems(n, split="train", seed=2)
    script = Script(tok, world, problems, k, cut)
    monkeypatch.setattr(rollout, "sample", script)
    return world, problems, script, play(None, tok, world, problems, k=k, **more)


@pytest.mark.parametrize("calls, faults", [(1, 0.0), (2, 0.0), (3, 0.0), (2, 1.0)])
def test_a_played_conversation_is_the_encoded_one_with_its_mask(tiny, monkeypatch, calls, faults):
    world, problems, _, episodes = scripted(tiny.tok, monkeypatch, calls, faults)
    for e, p in zip(episodes, problems):
        ids, mask = chat.encode(tiny.tok, [*p.messages, *world.solution(p)], TOOLS)
        assert (e.ids, e.mask) == (ids[: len(e.ids)], mask[: len(e.ids)]) and tiny.tok.decode(
            ids[len(e.ids) :]
        ) == "\n"
        assert e.score.reward == 1 and e.stopped
        assert e.logprobs == [-0.5 * m for m in e.mask]


def test_samples_of_a_problem_go_their_own_ways(tiny, monkeypatch):
    _, problems, script, episodes = scripted(tiny.tok, monkeypatch, 2, k=3)
    assert script.asked == [15, 15, 15] and [e.group for e in episodes] == [
        g for g in range(5) for _ in range(3)
    ]
    assert all(e.problem is problems[e.group] and e.score.reward == 1 for e in episodes)
    assert len({id(e.messages) for e in episodes}) == 15


def test_a_turn_that_was_cut_off_ends_the_conversation(tiny, monkeypatch):
    _, _, script, episodes = scripted(tiny.tok, monkeypatch, 2, cut=1)
    assert (
        script.asked == [5, 5]
        and not any(e.stopped for e in episodes)
        and not any(e.score.reward for e in episodes)
    )


def test_turns_are_limited(tiny, monkeypatch):
    _, _, script, episodes = scripted(tiny.tok, monkeypatch, 3, turns=2)
    assert len(script.asked) == 2 and not any(e.score.reward for e in episodes)


def test_a_call_that_cannot_be_read_gets_an_error_to_read(tiny, monkeypatch):
    monkeypatch.setattr(
        Script,
        "say",
        lambda self, prompt, sample: self.tok("<tool_call>\n{broken\n</tool_call><|im_end|>")["input_ids"],
    )
    _, _, _, episodes = scripted(tiny.tok, monkeypatch, 1, turns=2)
    for e in episodes:
        replies = [json.loads(m["content"]) for m in e.messages if m["role"] == "tool"]
        assert [r["error"] for r in replies] == ["unknown_tool"] * 2 and e.score.reward == 0


def test_batches_of_tool_conversations_train_on_all_turns(tiny, monkeypatch):
    world = Desk(2)
    problems = world.problems(2, split="train", seed=1_000_003)
    monkeypatch.setattr(rollout, "sample", Script(tiny.tok, world, problems, 2))
    batch = next(stream(tiny, world, prompts=2, group=2, turns=6))
    for ids, mask, problem in zip(batch.ids, batch.mask, [p for p in problems for _ in range(2)]):
        said = [tiny.tok.decode(ids[mask > 0])]
        turns = [spoken(m) for m in world.solution(problem) if m["role"] == "assistant"]
        assert said == ["".join(t + "<|im_end|>" for t in turns)]
    assert batch["rewards"].tolist() == [1, 1, 1, 1] and not batch["advantages"].any()


CALLS = [
    '{"name": "census", "arguments": 3}',
    "[]",
    "3",
    "null",
    '"x"',
    '{"name": "census", "arguments": {"person": ["Anna"]}}',
    '{"name": 5, "arguments": {}}',
    '{"name": {}, "arguments": {}}',
]


@pytest.mark.parametrize("said", CALLS)
def test_no_call_that_a_model_can_write_breaks_a_rollout(tiny, monkeypatch, said):
    monkeypatch.setattr(
        Script,
        "say",
        lambda self, prompt, sample: self.tok(f"<tool_call>\n{said}\n</tool_call><|im_end|>")["input_ids"],
    )
    _, _, _, episodes = scripted(tiny.tok, monkeypatch, 1, n=1, turns=2)
    assert parse(episodes[0].text)["tool_calls"] and episodes[0].score.reward == 0


def test_single_turn_worlds_are_over_after_one_turn(tiny, monkeypatch):
    world, problems = Talk(("fact",)), Talk(("fact",)).problems(2)
    episodes = play(
        tiny.model, tiny.tok, world, problems, max_new=3, generator=torch.Generator().manual_seed(0)
    )
    assert all(sum(e.mask) <= 3 and len(e.messages) <= 2 for e in episodes)
