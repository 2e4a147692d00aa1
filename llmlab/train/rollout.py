"""Rollouts: the one place where a world meets a model. Sampled ids are appended, never re-encoded."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..tokens import chat
from ..tokens.batch import Batch, pad
from ..world.base import Problem, Score, World
from ..world.desk import parse
from .sample import sample

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Episode:
    """One conversation: ids so far, which of them the model sampled (mask) with which log-probs, and its
    score.
    """

    problem: Problem
    group: int
    messages: list
    ids: list[int]
    mask: list[int]
    logprobs: list[float]
    text: str = ""
    stopped: bool = False
    score: Score = field(default=None)  # type: ignore[assignment]  # the world's, when all is said


def play(
    model,
    tok,
    world: World,
    problems: list[Problem],
    *,
    k: int = 1,
    max_new: int = 64,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    turns: int = 6,
) -> list[Episode]:
    """k episodes a problem, rows i·k … i·k+k−1 belong to problem i. After each assistant turn the world may
    reply (tools), up to `turns` turns.
    """
    stops, open_ = chat.stop_ids(tok), []
    for g, p in enumerate(problems):
        ids = chat.prompt(tok, p.messages, p.meta.get("tools"))
        open_ += [Episode(p, g, list(p.messages), ids, [0] * len(ids), [0.0] * len(ids)) for _ in range(k)]
    episodes, shared = list(open_), k
    for _ in range(turns):
        done = sample(
            model,
            [e.ids for e in open_[::shared]],
            k=shared,
            max_new=max_new,
            temperature=temperature,
            stop=stops,
            generator=generator,
        )
        for e, new, logprobs, stopped in zip(open_, done.ids, done.logprobs, done.stopped):
            e.ids, e.mask, e.logprobs = e.ids + new, e.mask + [1] * len(new), e.logprobs + logprobs
            e.text, e.stopped = tok.decode(new[:-1] if stopped else new), stopped
        open_, shared = [e for e in open_ if e.stopped and _replied(tok, world, e)], 1
        if not open_:
            break
    for e in episodes:
        e.score = world.score(e.problem, e.text)
    return episodes


def _replied(tok, world: World, e: Episode) -> bool:
    """Let the world answer the last turn; its tokens carry no mask."""
    e.messages.append(parse(e.text))
    reply = world.reply(e.problem, e.messages)
    if reply is None:
        return False
    new = chat.added(tok, e.messages, [reply], e.problem.meta.get("tools"))
    e.messages.append(reply)
    e.ids, e.mask, e.logprobs = e.ids + new, e.mask + [0] * len(new), e.logprobs + [0.0] * len(new)
    return True


@dataclass(frozen=True)
class Samples:
    """Per-sample rows: problem, question, (right) answer, text, reward, length in tokens, stopped,
    part_format, part_answer, … pass@k and the rest are functions of them.
    """

    rows: "pd.DataFrame"

    @property
    def accuracy(self) -> float:
        """Mean reward."""
        return float(self.rows["reward"].mean())


def evaluate(
    model,
    tok,
    world: World,
    *,
    n: int,
    k: int = 1,
    seed: int = 0,
    split: str = "test",
    temperature: float = 0.0,
    max_new: int = 64,
    **problems,
) -> Samples:
    """Sample k answers to n problems of the split and score them; own generator, so training is not
    disturbed. temperature 0 is greedy.
    """
    import pandas as pd  # late: most runs read shares, not tables

    asked = world.problems(n, split=split, seed=seed, **problems)
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    episodes = play(
        model, tok, world, asked, k=k, max_new=max_new, temperature=temperature, generator=generator
    )
    return Samples(
        pd.DataFrame(
            [
                {
                    "problem": e.group,
                    "question": e.problem.question,
                    "answer": e.problem.answer,
                    "text": e.text,
                    "reward": e.score.reward,
                    "length": sum(e.mask),
                    "stopped": e.stopped,
                }
                | {f"part_{name}": value for name, value in e.score.parts.items()}
                for e in episodes
            ]
        )
    )


def as_batch(
    tok, episodes: list[Episode], *, step: int = 0, temperature: float = 1.0, rewards: Tensor | None = None
) -> Batch:
    """Episodes as a batch with the columns rewards [B] (the world's score unless given), group, step,
    old_logprobs.
    """
    given = {
        "rewards": scored(episodes) if rewards is None else rewards,
        "group": torch.tensor([e.group for e in episodes]),
        "step": torch.full((len(episodes),), step),
        "old_logprobs": pad([e.logprobs for e in episodes], 0.0)[:, 1:],
    }
    return Batch.of_rows(tok, [(e.ids, e.mask) for e in episodes], given, temperature=temperature)


def scored(episodes: list[Episode]) -> Tensor:
    """What the world says of each answer. [B]"""
    return torch.tensor([float(e.score.reward) for e in episodes])
