"""Attempts: n sampled solutions of each problem with all that selecting, voting and self-training ask of
them.
"""

from dataclasses import dataclass
from typing import Sequence

import torch

from ..world.base import Problem, World
from ..world.given import final
from ..world.reasoning import sound
from ..world.stepwise import written
from .rollout import Episode, play


@dataclass(frozen=True)
class Attempt:
    """One solution. answer: what votes are counted by (the whole text where there is none). right: its
    answer is. sound: every step follows, too (as right where steps cannot be checked). tokens: its length;
    logprob: of the whole, in nats; fault: why nothing could be said of it.
    """

    episode: Episode
    answer: str
    right: bool
    sound: bool
    tokens: int
    logprob: float
    fault: str = ""

    @property
    def text(self) -> str:
        """As it was written."""
        return self.episode.text.strip()

    @property
    def false_positive(self) -> bool:
        """Is the answer right without sound steps?"""
        return self.right and not self.sound


def attempts(
    model,
    tok,
    world: World,
    asked: Sequence[Problem],
    n: int,
    *,
    max_new: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[list[Attempt]]:
    """n attempts at each problem, a function of (model, problems, n, temperature, seed)."""
    generator = torch.Generator(model.device).manual_seed(seed)
    played = play(
        model, tok, world, list(asked), k=n, max_new=max_new, temperature=temperature, generator=generator
    )
    found = [attempted(e) for e in played]
    return [found[i : i + n] for i in range(0, len(found), n)]


def attempted(e: Episode) -> Attempt:
    """An episode of one turn as an attempt."""
    right, known = e.score.reward == 1.0, "family" in e.problem.meta
    answer = (written(e.text)[1] if known else final(e.text)) or e.text.strip()
    follows = right and (not known or sound(e.problem, e.text))
    return Attempt(e, answer, right, follows, sum(e.mask), sum(e.logprobs), e.score.fault)
