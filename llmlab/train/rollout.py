"""Rollouts: the one place where a world meets a model. Sampled ids are appended, never re-encoded."""

from dataclasses import dataclass, field
from typing import Callable, Iterator

import pandas as pd
import torch

from ..tokens import chat
from ..tokens.batch import Batch, pad
from ..world.base import Problem, Score, World
from ..world.desk import parse
from .sample import sample


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
    score: Score | None = field(default=None)


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

    rows: pd.DataFrame

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
    tok, episodes: list[Episode], *, step: int, temperature: float, reward: Callable[[Score], float]
) -> Batch:
    """Episodes as a batch with the columns rewards, group, step and old_logprobs."""
    ids = pad([e.ids for e in episodes], tok.pad_token_id or 0)
    given = {
        "rewards": torch.tensor([float(reward(e.score)) for e in episodes]),
        "group": torch.tensor([e.group for e in episodes]),
        "step": torch.full((len(episodes),), step),
        "old_logprobs": pad([e.logprobs for e in episodes], 0.0)[:, 1:],
    }
    return Batch(ids, pad([e.mask for e in episodes], 0).float(), given, temperature)


def on_policy(
    model,
    tok,
    world: World,
    *,
    prompts: int,
    group: int,
    advantage: Callable,
    seed: int,
    epochs: int = 1,
    temperature: float = 1.0,
    max_new: int = 64,
    start: int = 0,
    reward: Callable[[Score], float] = lambda score: score.reward,
) -> Iterator[Batch]:
    """Endless batches sampled from the model *as it is when the batch is asked for*: on-policy only if every
    batch is used at once.

    Batch i is a function of (model, seed, i); `epochs` > 1 yields each one several times, the later ones
    being stale (column `step` says
    how old). Never put this iterator into a list. Raises what the world and the sampler raise.
    """
    for i in range(start // epochs, 10**9):
        asked = world.problems(prompts, split="train", seed=seed * 1_000_003 + i)
        generator = torch.Generator(next(model.parameters()).device).manual_seed(seed * 1_000_003 + i)
        episodes = play(
            model, tok, world, asked, k=group, max_new=max_new, temperature=temperature, generator=generator
        )
        batch = as_batch(tok, episodes, step=i * epochs, temperature=temperature, reward=reward)
        batch = batch.add(advantages=advantage(batch["rewards"], batch["group"]).view(-1, 1)).to(
            next(model.parameters()).device
        )
        for _ in range(epochs):
            yield batch
