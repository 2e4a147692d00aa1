"""A world part as a packaged environment (reset and step), against what `play` does with the same words."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.models.load import load
from llmlab.train import rollout
from llmlab.world.base import Problem
from llmlab.world.desk import Desk, call_text
from llmlab.world.environment import Environment
from llmlab.world.errands import Errands
from llmlab.world.mishaps import Mishaps
from llmlab.world.sums import Sums

WORLDS = {
    "desk": Desk(2),
    "errands": Errands(),
    "mishaps": Mishaps(),
    "faulty": Desk(3, faults=1.0),
    "sums": Sums(),
}


def words(turn: dict) -> str:
    """An assistant turn as the model writes it."""
    return call_text(turn) if turn.get("tool_calls") else turn["content"]


@pytest.mark.parametrize("name", WORLDS)
def test_the_right_actions_earn_the_whole_reward(name):
    world = WORLDS[name]
    environment = Environment(world, split="test")
    for seed in range(6):
        (problem,) = world.problems(1, split="test", seed=seed)
        turns = world.solution(problem)
        observation, info = environment.reset(seed)
        assert observation == list(problem.messages) and info["tools"] == problem.meta.get("tools")
        actions = [words(t) for t in turns if t["role"] == "assistant"]
        for i, action in enumerate(actions):
            observation, reward, terminated, truncated, info = environment.step(action)
            last = i == len(actions) - 1
            assert (terminated, truncated, reward) == (last, False, float(last))
            assert bool(info) == last and observation[-1]["role"] == ("assistant" if last else "tool")
        replies = [t for t in turns if t["role"] == "tool"]
        assert [m for m in observation if m["role"] == "tool"] == replies


@pytest.mark.parametrize("name", ["desk", "errands", "mishaps"])
@pytest.mark.parametrize("turns", [1, 2, 6])
def test_it_rewards_and_replies_as_play_does(name, turns):
    loaded, world = load("chat"), WORLDS[name]
    problems = [world.problems(1, split="train", seed=seed)[0] for seed in range(8)]
    played = rollout.play(loaded.model, loaded.tok, world, problems, temperature=0.0, max_new=48, turns=turns)
    environment = Environment(world, turns=turns)
    for seed, episode in enumerate(e for e in played):
        if not episode.stopped:
            continue  # a turn that was cut off is no action
        environment.reset(seed)
        said = [m for m in episode.messages if m["role"] == "assistant"]
        for message in said:
            action = words(message) if message.get("tool_calls") else message["content"]
            *_, reward, terminated, truncated, info = environment.step(action)
        assert terminated or truncated
        assert reward == episode.score.reward and info["parts"] == episode.score.parts
        assert [m for m in environment.messages if m["role"] == "tool"] == [
            m for m in episode.messages if m["role"] == "tool"
        ]


def test_it_is_truncated_after_its_turns_and_says_when_it_is_over():
    environment = Environment(Desk(), turns=2)
    with pytest.raises(RuntimeError, match="call reset"):
        environment.step("too early")
    environment.reset(4)
    call = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "1 + 1"}}\n</tool_call>'
    assert environment.step(call)[1:4] == (0.0, False, False)
    *_, reward, terminated, truncated, info = environment.step(call)
    assert (reward, terminated, truncated) == (0.0, False, True) and info["parts"]["format"] == 0.0
    with pytest.raises(RuntimeError, match="call reset"):
        environment.step("one more")


def test_a_seed_gives_the_same_problem_and_no_seed_the_next_one():
    environment = Environment(Errands())
    first, _ = environment.reset(5)
    second, _ = environment.reset()
    assert environment.reset(5)[0] == first and environment.reset(6)[0] == second != first
    first.clear()  # what somebody does with an observation changes nothing
    assert environment.step("Hello.")[0][0]["role"] == "system"


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.text(max_size=30) | st.sampled_from(["<tool_call>\n{", "<tool_call>[]</tool_call>"]), max_size=4
    )
)
def test_any_text_is_an_action(texts):
    environment = Environment(Mishaps(), turns=3)
    environment.reset(1)
    for text in texts:
        observation, reward, terminated, truncated, _ = environment.step(text)
        assert 0.0 <= reward <= 1.0 and observation
        if terminated or truncated:
            environment.reset()


def test_it_does_without_torch():
    code = "import sys, llmlab.world.environment; assert not {'torch', 'transformers'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_the_problem_of_an_environment_is_the_worlds():
    environment = Environment(Desk())
    environment.reset(9)
    assert isinstance(environment.problem, Problem)
    assert environment.problem == Desk().problems(1, split="train", seed=9)[0]
