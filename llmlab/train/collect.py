"""Collect: the one way from rollouts to batches: groups of samples of the present policy, rewarded, with the
frozen columns that a method reads.
"""

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Callable, Iterator

import torch
from torch import Tensor

from ..methods.advantages import informative
from ..methods.policy import Dials
from ..models.frozen import frozen_copy
from ..models.heads import Valued
from ..tokens.batch import Batch
from ..world.base import Problem, World
from . import loop
from .rollout import Episode, as_batch, play, scored

GROUPS = ("all", "filtered", "resampled")


@dataclass
class Collector:
    """A stream of batches: `staleness` + 1 of them are sampled from the policy as it is then, each is used
    `epochs` times.

    prompts × group   problems of a batch, samples of each
    max_new, turns    tokens of a turn, turns of a conversation
    groups            all · filtered: those of equal rewards are dropped · resampled: new ones take their
                      place, up to `rounds` times (DAPO's dynamic sampling)
    fallback          episodes that stay where every group was dropped; None: all
    reset             steps after which the policy becomes its own reference; 0: never
    rewards           episodes -> [B]; the world's own score unless given
    ask               number of a batch -> its problems, in place of the world's
    skip              leave out rows whose advantage is 0: the same gradient for less work

    Batch i is a function of (model, seed, i). Its `info`: mean reward, share of groups without a signal,
    samples drawn, rewards (and, where there are any, log-probs) that were no number.
    """

    model: Any
    tok: Any
    world: World
    method: Dials
    seed: int
    prompts: int
    group: int
    max_new: int
    turns: int = 1
    temperature: float = 1.0
    epochs: int = 1
    staleness: int = 0
    groups: str = "all"
    rounds: int = 1
    fallback: int | None = None
    reset: int = 0
    rewards: Callable[[list[Episode]], Tensor] = scored
    ask: Callable[[int], list[Problem]] | None = None
    skip: bool = False
    reference: Any = field(init=False)

    def __post_init__(self):
        self.reference = frozen_copy(policy_of(self.model)) if self.method.kl_penalty != "none" else None

    def __call__(self, start: int) -> Iterator[Batch]:
        """Batches from step `start` on, which begins a block of steps on samples of the same weights."""
        for first in count(start, self.epochs * (self.staleness + 1)):
            if self.reset and first and first % self.reset == 0:
                self.reference.load_state_dict(policy_of(self.model).state_dict())
            for batch in [self.batch(first, first // self.epochs + i) for i in range(self.staleness + 1)]:
                yield batch
                again = replace(batch, info={**batch.info, "drawn": 0.0})
                yield from [again] * (self.epochs - 1)

    def batch(self, step: int, number: int) -> Batch:
        """Batch `number`, sampled at a step, with the columns that the method reads."""
        batch = self.columns(self.sampled(step, number))
        return (
            batch
            if self.method.reads_every_row or not self.skip
            else with_signal(batch, self.method.aggregation)
        )

    def sampled(self, step: int, number: int) -> Batch:
        """Samples with their rewards."""
        episodes, rewards, info = self.chosen(self.seed * 1_000_003 + number, number)
        batch = as_batch(self.tok, episodes, step=step, temperature=self.temperature, rewards=rewards)
        return replace(batch, info=info).to(self.model.device)

    def columns(self, batch: Batch) -> Batch:
        """The frozen columns: the reference's log-probs, the critic's values, advantages."""
        if self.reference is not None:
            batch = loop.add_logprobs(self.reference, batch, "ref_logprobs")
        if self.method.advantage == "critic":
            batch = loop.add_values(self.model, batch)
        return self.method.columns(without_broken(batch))

    def chosen(self, draw: int, number: int) -> tuple[list[Episode], Tensor, dict[str, float]]:
        """Episodes to learn from, their rewards [B], and what happened."""
        every: list[tuple[Episode, Tensor]] = []
        size, kept, broken = self.prompts * self.group, [], 0
        generator = torch.Generator(self.model.device).manual_seed(draw)
        for again in range(self.rounds if self.groups == "resampled" else 1):
            fresh = self.episodes(self.problems(draw, number, again), generator)
            for e in fresh:
                e.group += again * self.prompts
            groups = torch.tensor([e.group for e in fresh])
            rewards, bad = finite(self.rewards(fresh), groups)
            every += zip(fresh, rewards)
            broken += bad
            signal = informative(rewards, groups)
            kept += [every[r - len(fresh)] for r in signal.nonzero()[:, 0].tolist()]
            if len(kept) >= size:
                break
        info = {
            "reward": float(sum(r for _, r in every) / len(every)),
            "frac_reward_zero_std": 1 - len(kept) / len(every),
            "drawn": float(len(every)),
            "broken_rewards": float(broken),
        }
        used = every if self.groups == "all" else kept[:size] or every[: self.fallback]
        return [e for e, _ in used], torch.stack([r for _, r in used]), info

    def problems(self, draw: int, number: int, again: int) -> list[Problem]:
        """What is asked."""
        if self.ask:
            return self.ask(number)
        return self.world.problems(self.prompts, split="train", seed=draw * self.rounds + again)

    def episodes(self, problems: list[Problem], generator: torch.Generator) -> list[Episode]:
        """The policy's answers."""
        settings: dict[str, Any] = dict(
            k=self.group, max_new=self.max_new, temperature=self.temperature, turns=self.turns
        )
        return play(self.model, self.tok, self.world, problems, generator=generator, **settings)


def finite(rewards: Tensor, group: Tensor) -> tuple[Tensor, int]:
    """(rewards, how many are no number). A group with one such is paid alike, so that it teaches nothing and
    no other group hears of it. rewards, group [B]
    """
    broken = ~rewards.isfinite()
    hit = ((group[:, None] == group[None, :]) & broken[None, :]).any(1)
    return torch.where(hit, 0.0, rewards), int(broken.sum())


def without_broken(batch: Batch) -> Batch:
    """The batch; where a frozen log-prob or value of a row is no number, nothing of its group is trained, the
    others go on, and `broken_logprobs` counts such rows.
    """
    frozen = {n: batch[n] for n in ("old_logprobs", "ref_logprobs", "old_values") if n in batch.given}
    broken = torch.stack([~column.isfinite().all(1) for column in frozen.values()]).any(0)
    if not broken.any():
        return batch
    group = batch["group"]
    hit = ((group[:, None] == group[None, :]) & broken[None, :]).any(1)
    whole = batch.add(**{n: torch.where(hit[:, None], 0.0, column) for n, column in frozen.items()})
    return replace(
        whole,
        mask=torch.where(hit[:, None], 0.0, batch.mask),
        info={**batch.info, "broken_logprobs": float(broken.sum())},
    )


def with_signal(batch: Batch, aggregation: str) -> Batch:
    """Only rows whose advantage is not 0, scaled so that a mean over them is the mean over all: the same
    gradient for less work. Entropy, clip fraction and the like are then those of these rows.
    """
    rows = batch["advantages"][:, 0].nonzero()[:, 0]
    if len(rows) in (0, len(batch)):
        return batch
    kept = batch.pick(rows)
    share = kept.mask.sum() / batch.mask.sum() if aggregation == "token_mean" else len(kept) / len(batch)
    return kept.add(advantages=kept["advantages"] * share)


def policy_of(model):
    """The policy without its critic."""
    return model.model if isinstance(model, Valued) else model
