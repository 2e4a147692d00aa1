"""Advantages: how much better than expected was this? Pure functions from rewards to frozen columns of the
batch.

Rules for groups of samples of one prompt (`ADVANTAGES`) take rewards [B] and group [B] and return [B,1]: one
number a sample, which broadcasts over its tokens. Rows of a group need not be neighbours. `gae` gives one
number a token, [B,T-1]. Rewards are in the unit of the scorer; group_norm and whiten return standard
deviations.
"""

import torch
from torch import Tensor


def _same_group(group: Tensor) -> Tensor:
    """[B,B] matrix: 1 where two rows answer the same prompt. In float64, where n·r/n is exactly r for float32
    rewards, so that equal rewards give exactly zero (AdamW would blow any rounding residue up to a full
    step).
    """
    return (group[:, None] == group[None, :]).double()


def no_baseline(rewards: Tensor, group: Tensor) -> Tensor:
    """The reward itself: unbiased, and the noisiest choice. Williams 1992 (REINFORCE).

    A_i = r_i · rewards [B], group [B] (not used) -> [B,1]
    """
    return rewards.float()[:, None]


def group_mean(rewards: Tensor, group: Tensor) -> Tensor:
    """Better than the average answer to this prompt? Dr. GRPO, arXiv 2503.20783.

    A_i = r_i - mean(r of the group) · rewards [B], group [B] -> [B,1]
    """
    same = _same_group(group)
    mean = same @ rewards.double() / same.sum(1)
    return (rewards - mean).float()[:, None]


def group_norm(rewards: Tensor, group: Tensor, eps: float = 1e-4) -> Tensor:
    """Better than the average answer to this prompt, in standard deviations of its answers? GRPO, arXiv
    2402.03300.

    A_i = (r_i - mean) / (std + eps), std with n-1 · rewards [B], group [B] -> [B,1]
    """
    same = _same_group(group)
    centred = group_mean(rewards, group)[:, 0].double()
    variance = same @ centred.square() / (same.sum(1) - 1).clamp(min=1)
    return (centred / (variance.sqrt() + eps)).float()[:, None]


def leave_one_out(rewards: Tensor, group: Tensor) -> Tensor:
    """Better than the average of the *other* answers to this prompt? RLOO, arXiv 2402.14740. A lone sample
    gets 0.

    A_i = r_i - sum(r_j, j != i) / (n - 1) · rewards [B], group [B] -> [B,1]
    """
    others = _same_group(group).fill_diagonal_(0)
    n_others = others.sum(1)
    baseline = others @ rewards.double() / n_others.clamp(min=1)
    return torch.where(n_others > 0, rewards - baseline, 0.0).float()[:, None]


ADVANTAGES = {rule.__name__: rule for rule in (no_baseline, group_mean, group_norm, leave_one_out)}


def informative(rewards: Tensor, group: Tensor) -> Tensor:
    """Which rows belong to a group whose rewards differ? The others have zero advantage. DAPO's dynamic
    sampling, arXiv 2503.14476.

    keep_i = std(r of the group) > 0, that is: some r_j of the group differs from r_i · rewards [B], group [B]
    -> bool [B]
    """
    differs = rewards[:, None] != rewards[None, :]
    return (differs & (group[:, None] == group[None, :])).any(1)


def overlong_penalty(lengths: Tensor, max_len: int, buffer: int) -> Tensor:
    """A ramp from 0 to -1 over the last `buffer` tokens before the length limit; added to the reward. DAPO
    eq. 13, arXiv 2503.14476.

    clamp((max_len - buffer - length) / buffer, -1, 0) · lengths [B] in tokens -> [B] in units of reward
    """
    if buffer < 1:
        raise ValueError(f"the penalty needs a ramp of at least one token; buffer is {buffer}")
    return ((max_len - buffer - lengths) / buffer).clamp(-1.0, 0.0)


def last_token(mask: Tensor) -> Tensor:
    """Column of the last position with mask 1 in each row. mask [B,T] -> [B]"""
    return (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)


def token_rewards(rewards: Tensor, mask: Tensor) -> Tensor:
    """The reward of an answer, given on its last token; what `gae` reads. A KL penalty is subtracted per
    token: … - beta * k1(out, batch).

    rewards [B], mask [B,T-1] -> [B,T-1]
    """
    found = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    return found.scatter(1, last_token(mask)[:, None], rewards.float()[:, None])


def gae(
    rewards_per_token: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """How much better than the critic expected, looking ahead with a horizon set by lam. GAE, arXiv
    1506.02438.

    delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lam A_{t+1};  returns = A + V. After the last
    token V = 0.
    "Next" is the next token with mask 1: the tokens of a tool or user in between are not steps of the policy.
    All [B,T-1] -> advantages, returns [B,T-1], zero where mask is 0. lam = 0 trusts the critic, lam = 1 the
    observed return.
    """
    advantages = torch.zeros_like(values)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards_per_token[:, t] + gamma * next_value - values[:, t]
        here = delta + gamma * lam * next_advantage
        acts = mask[:, t] > 0
        advantages[:, t] = torch.where(acts, here, 0.0)
        next_value = torch.where(acts, values[:, t], next_value)
        next_advantage = torch.where(acts, here, next_advantage)
    return advantages, torch.where(mask > 0, advantages + values, 0.0)


def whiten(x: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Mean 0, variance 1 over the tokens with mask 1 of the whole batch. PPO implementation details, arXiv
    2403.17031.

    (x - mean) / sqrt(var + eps), var with n-1 · x, mask [B,T-1] -> [B,T-1], zero where mask is 0
    """
    n = mask.sum()
    centred = torch.where(mask > 0, x - torch.where(mask > 0, x, 0.0).sum() / n.clamp(min=1), 0.0)
    variance = centred.square().sum() / (n - 1).clamp(min=1)
    return centred * torch.rsqrt(variance + eps)
