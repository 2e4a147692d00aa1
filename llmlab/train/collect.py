"""collect: what a policy-gradient step learns from: groups of samples, paid for, with the columns that its
dials read.
"""

from itertools import count
from typing import Iterator

import torch

from ..methods import advantages
from ..methods.policy import Dials
from ..models.frozen import frozen_copy
from ..models.heads import Valued
from ..tokens import chat
from ..tokens.batch import Batch, pad
from ..world.arena import PAID, Game
from . import loop
from .rollout import Episode, as_batch, play

ROUNDS = 6  # dynamic sampling asks at most so often before it takes what it has


class Collector:
    """Batches from the policy as it is when a block of them is begun: `stale` + 1 batches of samples, each
    used `epochs` times.

    `info` says of the batch in use what was paid, how many groups had no signal, and how many answers were
    sampled for it.
    """

    def __init__(self, model, tok, game: Game, dials: Dials, knobs, seed: int):
        self.model, self.tok, self.game, self.dials, self.knobs, self.seed = (
            model,
            tok,
            game,
            dials,
            knobs,
            seed,
        )
        self.reference = frozen_copy(_policy(model)) if dials.leash != "none" else None
        self.info: dict[str, float] = {}

    def __call__(self, start: int) -> Iterator[Batch]:
        """Batches from step `start` on, which begins a block."""
        k = self.knobs
        for first in count(start, k.block):
            if k.reset and first and first % k.reset == 0:
                self.reference.load_state_dict(_policy(self.model).state_dict())
            for batch, info in [self.batch(first, first // k.epochs + i) for i in range(k.stale + 1)]:
                for use in range(k.epochs):
                    self.info = info | {"drawn": 0.0 if use else info["drawn"]}
                    yield batch

    def batch(self, step: int, number: int) -> tuple[Batch, dict[str, float]]:
        """Batch `number`, a function of (model, seed, number), with the frozen columns that the dials read;
        and what happened.
        """
        if self.knobs.source == "gold":
            batch, info = self.demonstrations(self.seed * 1_000_003 + number, step)
        else:
            episodes, paid, info = self.chosen(self.seed * 1_000_003 + number)
            batch = as_batch(
                self.tok,
                episodes,
                step=step,
                temperature=self.knobs.temperature,
                reward=lambda score: score.reward,
            )
            batch = batch.add(rewards=paid).to(self.model.device)
        if self.reference is not None:
            batch = loop.add_logprobs(self.reference, batch, "ref_logprobs")
        if self.dials.advantage == "critic":
            batch = loop.add_values(self.model, batch)
        batch = self.dials.columns(batch)
        return (batch if self.dials.reads_every_row else with_signal(batch, self.dials.aggregation)), info

    def demonstrations(self, number: int, step: int) -> tuple[Batch, dict[str, float]]:
        """One right answer to each problem as the data have it, paid in full: with no baseline and no ratio
        this is supervised fine-tuning.
        """
        asked = self.game.world.problems(self.knobs.prompts, split="train", seed=number * ROUNDS)
        rows = [chat.example(self.tok, p.messages, self.game.label(p), p.meta.get("tools")) for p in asked]
        order = torch.arange(len(rows))
        given = {"rewards": torch.ones(len(rows)), "group": order, "step": torch.full_like(order, step)}
        batch = Batch(
            pad([ids for ids, _ in rows], self.tok.pad_token_id or 0),
            pad([mask for _, mask in rows], 0).float(),
            given,
        )
        batch = loop.add_logprobs(self.model, batch.to(self.model.device), "old_logprobs")
        return batch, {"reward": 1.0, "no_signal": 0.0, "drawn": 0.0}

    def chosen(self, number: int) -> tuple[list[Episode], torch.Tensor, dict[str, float]]:
        """Episodes to learn from and their rewards: all, those of groups with a signal, or new ones until
        there are enough of these.
        """
        k, kept, every = self.knobs, [], []
        generator = torch.Generator(self.model.device).manual_seed(number)
        for again in range(ROUNDS if k.groups == "resampled" else 1):
            asked = self.game.world.problems(k.prompts, split="train", seed=number * ROUNDS + again)
            fresh = play(
                self.model,
                self.tok,
                self.game.world,
                asked,
                k=k.group,
                max_new=self.game.turn,
                temperature=k.temperature,
                generator=generator,
                turns=self.game.turns,
            )
            for e in fresh:
                e.group += again * k.prompts
            every += list(zip(fresh, paid := self.paid(fresh)))
            signal = advantages.informative(paid, torch.tensor([e.group for e in fresh]))
            kept += [every[r - len(fresh)] for r in signal.nonzero()[:, 0].tolist()]
            if len(kept) >= k.prompts * k.group:
                break
        info = {
            "reward": float(sum(r for _, r in every) / len(every)),
            "no_signal": 1 - len(kept) / len(every),
            "drawn": float(len(every)),
        }
        used = every if k.groups == "all" or not kept else kept[: k.prompts * k.group]
        return [e for e, _ in used], torch.stack([r for _, r in used]), info

    def paid(self, episodes: list[Episode]) -> torch.Tensor:
        """What the verifier in use pays for each answer [B], with the penalty on long ones."""
        lengths = torch.tensor([float(sum(e.mask)) for e in episodes])
        rule, longest = PAID[self.knobs.paid], self.game.longest
        rewards = torch.tensor(
            [rule(e.problem, e.score, float(n) / longest) for e, n in zip(episodes, lengths)]
        )
        return rewards + (
            advantages.overlong_penalty(lengths, longest, longest // 2)
            if self.knobs.overlong == "on"
            else 0.0
        )


def with_signal(batch: Batch, aggregation: str) -> Batch:
    """Only rows whose advantage is not 0, scaled so that a mean over them is the mean over all: the same
    gradient for less work.

    Entropy, clip fraction and the like are then those of these rows.
    """
    rows = batch["advantages"][:, 0].nonzero()[:, 0]
    if len(rows) in (0, len(batch)):
        return batch
    kept = batch.pick(rows)
    share = kept.mask.sum() / batch.mask.sum() if aggregation == "token_mean" else len(kept) / len(batch)
    return kept.add(advantages=kept["advantages"] * share)


def _policy(model):
    """The policy without its critic."""
    return model.model if isinstance(model, Valued) else model
