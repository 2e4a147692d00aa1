"""Policy gradients, REINFORCE to GSPO: one objective for the whole family. A method is a setting of four
dials and an advantage rule (`Dials`).

    loss = -aggregate(clip(ratio · A)) + beta · aggregate(KL)

What is computed before the update (`columns`: advantages, returns, a KL penalty inside the reward) is kept
apart from what moves (`objective`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..errors import UserError
from ..models.forward import Out
from ..tokens.batch import Batch
from . import advantages as rules
from .parts import (
    Objective,
    detached,
    entropy,
    fixed_length,
    log_ratio,
    masked,
    sequence_mean,
    token_mean,
    values_of,
    weighted_sum,
)

# ---- KL to the reference, estimated from the sampled token ----


def k1(out: Out, batch: Batch) -> Tensor:
    """log(pi/ref): unbiased for KL(pi || ref) on samples of pi, may be negative. [B,T-1]. Schulman 2020,
    joschu.net/blog/kl-approx.html

    A penalty inside the reward. Used as a loss it does nothing: its gradient averages to 0.
    """
    return log_ratio(out, batch, "ref_logprobs")


def k2(out: Out, batch: Batch) -> Tensor:
    """log(pi/ref)² / 2: biased in value, but at each prefix its gradient on samples of pi is that of KL(pi ||
    ref). [B,T-1]. arXiv 2510.01555
    """
    return log_ratio(out, batch, "ref_logprobs").square() / 2


def k3(out: Out, batch: Batch) -> Tensor:
    """ref/pi - log(ref/pi) - 1: unbiased for KL(pi || ref) on samples of pi, never negative. [B,T-1].
    Schulman 2020

    Used as a loss its gradient at each prefix is that of the *other* direction, KL(ref || pi): E_pi[grad k3]
    = -E_ref[grad log pi].
    arXiv 2510.01555; TRL's use_bias_correction_kl multiplies k3 by token_ratio, which gives back the gradient
    of KL(pi || ref).
    """
    d = log_ratio(out, batch, "ref_logprobs")
    return torch.expm1(-d) + d


# ---- first dial: ratio ----


def token_ratio(out: Out, batch: Batch) -> Tensor:
    """r_t = pi(token) / pi_old(token) [B,T-1]; 1 on masked tokens."""
    return log_ratio(out, batch, "old_logprobs").exp()


def sequence_ratio(out: Out, batch: Batch) -> Tensor:
    """s = (pi(answer) / pi_old(answer))^(1/length) [B,1]: the geometric mean of the token ratios. GSPO, arXiv
    2507.18071
    """
    return (log_ratio(out, batch, "old_logprobs").sum(1) / out.mask.sum(1).clamp(min=1)).exp()[:, None]


# ---- second dial: clip -> (gain to maximise, where it was clipped) ----


def clipped(ratio: Tensor, advantages: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """min(r·A, clamp(r, 1-low, 1+high)·A): no further gain, and no gradient, once the ratio has moved far
    enough. PPO, arXiv 1707.06347
    """
    gain = torch.min(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
    return gain, gain < ratio * advantages


def capped_weight(ratio: Tensor, advantages: Tensor, logprobs: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """stop_gradient(min(r, cap))·A·log pi: REINFORCE with a bounded weight; every token keeps its gradient.
    CISPO, arXiv 2506.13585
    """
    return ratio.clamp(max=cap).detach() * advantages * logprobs, ratio > cap


# ---- third and fourth dial, aggregation and KL, close the composition ----


def policy_loss(
    out: Out, batch: Batch, ratio: Tensor, gain: Tensor, was_clipped: Tensor, aggregate: Callable
) -> tuple[Tensor, dict]:
    """loss = -aggregate(gain). approx_kl estimates KL(old || pi) from the samples of old: how stale this
    batch is.
    """
    moved = log_ratio(out, batch, "old_logprobs")
    info = detached(
        clip_fraction=token_mean(was_clipped.float(), out.mask),
        ratio_max=masked(ratio, out.mask).max(),
        approx_kl=token_mean(torch.expm1(moved) - moved, out.mask),
        entropy=entropy(out),
    )
    return -aggregate(gain, out.mask), info


def ppo_value(out: Out, batch: Batch, *, clip: float = 0.2) -> tuple[Tensor, dict]:
    """The critic's half of PPO: predict the return, in steps of at most `clip` (in units of value). arXiv
    1707.06347; 2403.17031

    loss = token_mean(max((V - R)², (clamp(V, V_old ± clip) - R)²)) / 2 · reads returns, old_values [B,T-1],
    needs a value head
    """
    values, old, returns = values_of(out), batch["old_values"], batch["returns"]
    error = (values - returns).square()
    clipped_error = (values.clamp(old - clip, old + clip) - returns).square()
    loss = token_mean(torch.max(error, clipped_error), out.mask) / 2
    spread = token_mean((returns - token_mean(returns, out.mask)).square(), out.mask)
    explained = 1 - token_mean(error, out.mask) / spread.clamp(min=1e-8)
    return loss, detached(
        value_loss=loss,
        value_clip_fraction=token_mean((clipped_error > error).float(), out.mask),
        explained_variance=explained,
    )


# ---- the dials ----

RATIOS = {"token": token_ratio, "sequence": sequence_ratio}
CLIPS = ("none", "symmetric", "higher", "capped")
AGGREGATIONS = {
    "token_mean": token_mean,
    "sequence_mean": sequence_mean,
    "fixed_length": fixed_length,
}
KL_PENALTIES = {"k1": k1, "k2": k2, "k3": k3}  # penalties in the loss; "reward": k1 inside the reward
ADVANTAGES = (*rules.ADVANTAGES, "critic")
VALUE_WEIGHT = 0.1  # of the critic's loss: Ziegler et al., arXiv 1909.08593


class BadDial(UserError):
    """Dials that do not fit each other; the message names the fix."""


@dataclass(frozen=True)
class Dials:
    """ratio: none, token, sequence · clip: none, symmetric (1 ± low), higher (1 - low, 1 + high), capped
    (weight at most 1 + high) · aggregation · kl_penalty: none, k1, k2, k3 (in the loss), reward (k1 in the
    reward), with weight beta · advantage: a rule, or critic (GAE with lam).
    """

    ratio: str = "token"
    clip: str = "symmetric"
    low: float = 0.2
    high: float = 0.2
    aggregation: str = "sequence_mean"
    kl_penalty: str = "none"
    beta: float = 0.04
    advantage: str = "group_norm"
    lam: float = 0.95

    def __post_init__(self):
        if self.ratio == "none" and self.clip != "none":
            raise BadDial(
                "without a ratio there is nothing to clip; choose --ratio token or sequence, or --clip none"
            )
        if self.clip == "higher" and self.high <= self.low:
            raise BadDial(f"clip higher needs high above low, {self.low:g}; high is {self.high:g}")

    def columns(self, batch: Batch) -> Batch:
        """The batch with advantages (and returns, for a critic), from rewards, group, old_logprobs, and
        ref_logprobs and old_values where needed.
        """
        mask = batch.mask[:, 1:]
        penalty = (
            self.beta * (batch["old_logprobs"] - batch["ref_logprobs"]) * mask
            if self.kl_penalty == "reward"
            else torch.zeros_like(mask)
        )
        if self.advantage != "critic":
            rewards = batch["rewards"] - penalty.sum(1)
            return batch.add(advantages=rules.ADVANTAGES[self.advantage](rewards, batch["group"]))
        rewards = rules.token_rewards(batch["rewards"], mask) - penalty
        found, returns = rules.gae(rewards, batch["old_values"], mask, lam=self.lam)
        return batch.add(advantages=rules.whiten(found, mask), returns=returns)

    @property
    def reads_every_row(self) -> bool:
        """Does a row without advantage matter too: to a KL penalty in the loss, or to a critic?"""
        return self.kl_penalty in KL_PENALTIES or self.advantage == "critic"

    def gain(self, out, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """First and second dial: (ratio, what is to grow, where it was clipped), each [B,T-1], or [B,1]
        for a sequence's ratio.
        """
        A = batch["advantages"]
        if self.ratio == "none":
            return torch.ones_like(out.logprobs), A * out.logprobs, torch.zeros_like(out.logprobs)
        ratio = RATIOS[self.ratio](out, batch)
        if self.clip == "none":
            return ratio, ratio * A, torch.zeros_like(ratio)
        if self.clip == "capped":
            return ratio, *capped_weight(ratio, A, out.logprobs, 1 + self.high)
        return ratio, *clipped(ratio, A, self.low, self.high)

    def objective(self, max_len: int) -> Objective:
        """(out, batch) -> (loss, info), for answers of at most max_len tokens."""
        aggregate = (
            partial(fixed_length, length=max_len)
            if self.aggregation == "fixed_length"
            else AGGREGATIONS[self.aggregation]
        )

        def policy(out, batch):
            loss, info = policy_loss(out, batch, *self.gain(out, batch), aggregate)
            if self.kl_penalty not in KL_PENALTIES:
                return loss, info
            estimate = KL_PENALTIES[self.kl_penalty](out, batch)
            pull = aggregate(estimate, out.mask)
            return loss + self.beta * pull, info | detached(kl_loss=pull, kl=token_mean(estimate, out.mask))

        return (
            partial(weighted_sum, terms=((1.0, policy), (VALUE_WEIGHT, ppo_value)))
            if self.advantage == "critic"
            else policy
        )

    @property
    def knobs(self) -> dict:
        """The setting in the words of the experiment `policy`, which has one clip range: below 1, or above it
        for a capped weight.
        """
        names = ("ratio", "clip", "aggregation", "kl_penalty", "beta", "advantage", "lam")
        found = {name: getattr(self, name) for name in names}
        if self.clip == "higher" and self.ratio == "sequence":
            found["clip"] = "gspo"
        return found | {"epsilon": self.high if self.clip == "capped" else self.low}

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
            "KL": {"none": "none", "reward": "k1 in the reward"}.get(
                self.kl_penalty, f"{self.kl_penalty} in the loss"
            ),
            "advantage": self.advantage,
        }


def where_sampled(policy: Objective, otherwise: Objective) -> Objective:
    """The policy gradient on samples (batches with advantages); another objective on what is shown."""
    return lambda out, batch: (policy if "advantages" in batch.given else otherwise)(out, batch)


# RLOO sums over an answer: fixed_length with length 1, the
# same up to the learning rate.
METHODS = {
    "REINFORCE": Dials("none", "none", aggregation="token_mean", advantage="no_baseline"),
    "REINFORCE with baseline": Dials("none", "none", aggregation="token_mean", advantage="group_mean"),
    "RLOO": Dials("none", "none", aggregation="fixed_length", kl_penalty="reward", advantage="leave_one_out"),
    "PPO": Dials("token", "symmetric", aggregation="token_mean", kl_penalty="reward", advantage="critic"),
    "GRPO": Dials("token", "symmetric", aggregation="sequence_mean", kl_penalty="k3", advantage="group_norm"),
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
