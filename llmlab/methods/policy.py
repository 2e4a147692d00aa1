"""Dials: one objective for the whole family of policy gradients. A method is a setting of four dials and an
advantage rule.

    loss = -aggregate(clip(ratio · A)) + beta · aggregate(KL)

What is computed before the update (`columns`: advantages, returns, a KL penalty inside the reward) is kept
apart from what moves (`objective`).
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..errors import UserError
from ..tokens.batch import Batch
from . import advantages as rules
from . import objectives as obj
from .objectives import Objective

RATIOS = {"token": obj.token_ratio, "sequence": obj.sequence_ratio}
CLIPS = ("none", "symmetric", "higher", "capped")
AGGREGATIONS = {
    "token_mean": obj.token_mean,
    "sequence_mean": obj.sequence_mean,
    "fixed_length": obj.fixed_length,
}
LEASHES = {"k1": obj.k1, "k2": obj.k2, "k3": obj.k3}  # penalties in the loss; "reward": k1 inside the reward
ADVANTAGES = (*rules.ADVANTAGES, "critic")
VALUE_WEIGHT = 0.1  # of the critic's loss: Ziegler et al., arXiv 1909.08593


class BadDial(UserError):
    """Dials that do not fit each other; the message names the fix."""


@dataclass(frozen=True)
class Dials:
    """ratio: none, token, sequence · clip: none, symmetric (1 ± low), higher (1 - low, 1 + high), capped
    (weight at most 1 + high) · aggregation · leash: none, k1, k2, k3 (in the loss), reward (k1 in the
    reward), with weight beta · advantage: a rule, or critic (GAE with lam).
    """

    ratio: str = "token"
    clip: str = "symmetric"
    low: float = 0.2
    high: float = 0.2
    aggregation: str = "sequence_mean"
    leash: str = "none"
    beta: float = 0.04
    advantage: str = "group_norm"
    lam: float = 0.95

    def __post_init__(self):
        if self.ratio == "none" and self.clip != "none":
            raise BadDial(
                "without a ratio there is nothing to clip; choose --ratio token or sequence, or --clip none"
            )

    def columns(self, batch: Batch) -> Batch:
        """The batch with advantages (and returns, for a critic), from rewards, group, old_logprobs, and
        ref_logprobs and old_values where needed.
        """
        mask = batch.mask[:, 1:]
        penalty = (
            self.beta * (batch["old_logprobs"] - batch["ref_logprobs"]) * mask
            if self.leash == "reward"
            else torch.zeros_like(mask)
        )
        if self.advantage != "critic":
            rewards = batch["rewards"] - penalty.sum(1)
            return batch.add(advantages=rules.ADVANTAGES[self.advantage](rewards, batch["group"]))
        paid = rules.token_rewards(batch["rewards"], mask) - penalty
        found, returns = rules.gae(paid, batch["old_values"], mask, lam=self.lam)
        return batch.add(advantages=rules.whiten(found, mask), returns=returns)

    @property
    def reads_every_row(self) -> bool:
        """Does a row without advantage matter too: to a leash in the loss, or to a critic?"""
        return self.leash in LEASHES or self.advantage == "critic"

    def gain(self, out, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """First and second dial: (ratio, what is to grow, where the ratio was cut), each [B,T-1], or [B,1]
        for a sequence's ratio.
        """
        A = batch["advantages"]
        if self.ratio == "none":
            return torch.ones_like(out.logprobs), A * out.logprobs, torch.zeros_like(out.logprobs)
        ratio = RATIOS[self.ratio](out, batch)
        if self.clip == "none":
            return ratio, ratio * A, torch.zeros_like(ratio)
        if self.clip == "capped":
            return ratio, *obj.capped_weight(ratio, A, out.logprobs, 1 + self.high)
        return ratio, *obj.clipped(ratio, A, self.low, self.high)

    def objective(self, max_len: int) -> Objective:
        """(out, batch) -> (loss, info), for answers of at most max_len tokens."""
        aggregate = (
            partial(obj.fixed_length, length=max_len)
            if self.aggregation == "fixed_length"
            else AGGREGATIONS[self.aggregation]
        )

        def policy(out, batch):
            ratio, gain, cut = self.gain(out, batch)
            loss, info = obj.policy_loss(out, batch, ratio, gain, cut, aggregate, beta=0.0)
            if self.leash not in LEASHES:
                return loss, info
            pull = aggregate(LEASHES[self.leash](out, batch), out.mask)
            return loss + self.beta * pull, info | obj.detached(pull=pull)

        return (
            partial(obj.weighted_sum, terms=((1.0, policy), (VALUE_WEIGHT, obj.ppo_value)))
            if self.advantage == "critic"
            else policy
        )

    @property
    def knobs(self) -> dict:
        """The setting in the words of the experiment `policy`, which has one clip range: below 1, or above it
        for a capped weight.
        """
        names = ("ratio", "clip", "aggregation", "leash", "beta", "advantage", "lam")
        return {name: getattr(self, name) for name in names} | {
            "range": self.high if self.clip == "capped" else self.low
        }

    @property
    def cells(self) -> dict[str, str]:
        """The setting as a row of the table: dial -> words."""
        ranges = {
            "none": "",
            "symmetric": f" {self.low:g}",
            "higher": f" {self.low:g}, {self.high:g}",
            "capped": f" {1 + self.high:g}",
        }
        return {
            "ratio": self.ratio,
            "clip": self.clip + ranges[self.clip],
            "aggregation": self.aggregation,
            "KL": {"none": "none", "reward": "k1 in the reward"}.get(self.leash, f"{self.leash} in the loss"),
            "advantage": self.advantage,
        }


# The papers are those of objectives.OBJECTIVES. RLOO sums over an answer: fixed_length with length 1, the
# same up to the learning rate.
METHODS = {
    "REINFORCE": Dials("none", "none", aggregation="token_mean", advantage="no_baseline"),
    "REINFORCE with baseline": Dials("none", "none", aggregation="token_mean", advantage="group_mean"),
    "RLOO": Dials("none", "none", aggregation="fixed_length", leash="reward", advantage="leave_one_out"),
    "PPO": Dials("token", "symmetric", aggregation="token_mean", leash="reward", advantage="critic"),
    "GRPO": Dials("token", "symmetric", aggregation="sequence_mean", leash="k3", advantage="group_norm"),
    "Dr. GRPO": Dials("token", "symmetric", aggregation="fixed_length", advantage="group_mean"),
    "DAPO": Dials("token", "higher", high=0.28, aggregation="token_mean", advantage="group_norm"),
    "GSPO": Dials(
        "sequence", "higher", low=3e-4, high=4e-4, aggregation="sequence_mean", advantage="group_norm"
    ),
    "CISPO": Dials("token", "capped", high=4.0, aggregation="token_mean", advantage="group_norm"),
}


def table() -> list[dict[str, str]]:
    """The methods by their dials: a row each."""
    return [{"method": name} | dials.cells for name, dials in METHODS.items()]


def markdown() -> str:
    """The table as Markdown."""
    rows = table()
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(r.values()) for r in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def between(one: str, other: str) -> dict[str, tuple[str, str]]:
    """What separates two methods: dial -> (setting of the one, setting of the other)."""
    a, b = METHODS[one].cells, METHODS[other].cells
    return {dial: (a[dial], b[dial]) for dial in a if a[dial] != b[dial]}
