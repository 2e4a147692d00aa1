"""The protocol of a world part: text in, text out, no hidden state, every answer known exactly."""

import random
import zlib
from dataclasses import dataclass, field
from typing import Any, Iterator, Protocol

Message = dict[str, Any]  # role, content and, for tools, tool_calls or name: the chat format of the field
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Problem:
    """What to ask (messages), what is right (answer), and whatever a scorer needs to know (meta)."""

    messages: tuple[Message, ...]
    answer: str
    meta: dict = field(default_factory=dict)

    @property
    def question(self) -> str:
        return self.messages[-1]["content"]


@dataclass(frozen=True)
class Score:
    """reward in [0,1] = the smallest part: an answer is right only if every part of it is. fault: why nothing
    could be said of it (the user's own check took too long), which is not the same as wrong.
    """

    parts: dict[str, float]
    fault: str = ""

    @property
    def reward(self) -> float:
        return min(self.parts.values())


class World(Protocol):
    """One part of the world. `name` is what the command line and the records call it."""

    name: str

    def problems(self, n: int, *, split: str, seed: int) -> list[Problem]:
        """n problems; those of `train` and `test` never overlap, whatever the seed."""

    def solution(self, problem: Problem) -> list[Message]:
        """A right continuation of the messages (what a demonstration shows)."""

    def score(self, problem: Problem, text: str) -> Score:
        """Exact score of the last assistant text: parts among format, steps, answer."""

    def reply(self, problem: Problem, messages: list[Message]) -> Message | None:
        """The next tool or user turn; None = the conversation is over."""


def side(*key) -> str:
    """'train' or 'test' (a fifth), decided by the key's checksum: the two never share a key, by
    construction.
    """
    return "test" if zlib.crc32(repr(key).encode()) % 5 == 0 else "train"


def rng(*key) -> random.Random:
    """A generator that is a function of its key alone, the same in every process."""
    return random.Random(repr(key))


def check_split(split: str) -> str:
    """The split's name, or one clear sentence."""
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}'; use 'train' or 'test'")
    return split


def ask(text: str, **meta) -> tuple[tuple[Message, ...], dict]:
    """A single user turn and its meta data."""
    return ({"role": "user", "content": text},), meta


def say(text: str) -> list[Message]:
    """A single assistant turn."""
    return [{"role": "assistant", "content": text}]


def bare(text: str) -> str:
    """Without surrounding space and one final full stop."""
    return text.strip().removesuffix(".").rstrip()


def same(text: str, answer: str) -> bool:
    """Equal up to surrounding space and one final full stop."""
    return bare(text) == bare(answer)


class OneTurn:
    """A part whose problems are answered in one turn by an exact text."""

    def solution(self, problem: Problem) -> list[Message]:
        """The answer as an assistant turn."""
        return say(problem.answer)

    def score(self, problem: Problem, text: str) -> Score:
        """answer: exact up to space and a final full stop."""
        return Score({"answer": float(same(text, problem.answer))})

    def reply(self, problem: Problem, messages: list[Message]) -> Message | None:
        """One turn: always over."""
        return None


def draw(make, n: int, *key) -> list:
    """n results of make(generator), each from its own key, without repeats while new ones turn up; None is
    drawn again.

    A small part may have fewer than n distinct problems: then they come again, in a new order.
    """
    found, seen, i = [], set(), 0
    while len(found) < n:
        item, i = make(rng(*key, i)), i + 1
        mark = item and repr((item.messages, item.answer))
        if item is None or (mark in seen and i < 4 * n + 400):
            if i > 400 and not found:
                raise ValueError(f"no problem fits {key}; widen the settings")
            continue
        seen.add(mark)
        found.append(item)
    return found


def stream(make, *key, start: int = 0) -> Iterator[str]:
    """Endless documents make(generator), number i a function of (key, i) alone, so that a run can resume
    anywhere.
    """
    while True:
        yield make(rng(*key, start))
        start += 1
