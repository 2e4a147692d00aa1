"""The GRPO family, each method written out as its paper has it: what the dials of methods/policy.py must give."""

from functools import partial

from torch import Tensor

from llmlab.methods.parts import detached, entropy, fixed_length, sequence_mean, token_mean, weighted_sum
from llmlab.methods.policy import capped_weight, clipped, policy_loss, ppo_value, sequence_ratio, token_ratio
from llmlab.models.forward import Out
from llmlab.tokens.batch import Batch


def reinforce(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Make a token likelier in proportion to how much better than expected it turned out. Williams 1992, doi
    10.1007/BF00992696

    loss = -token_mean(A · log pi) · reads advantages [B,1] or [B,T-1]
    """
    loss = -token_mean(batch["advantages"] * out.logprobs, out.mask)
    return loss, detached(logprob=token_mean(out.logprobs, out.mask), entropy=entropy(out))


def rloo(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """REINFORCE with the whole answer as one action: unbiased also when answers differ in length. RLOO, arXiv
    2402.14740

    loss = -mean over rows of A · sum_t log pi · reads advantages [B,1] (rule leave_one_out)
    """
    loss = -fixed_length(batch["advantages"] * out.logprobs, out.mask, length=1)
    return loss, detached(logprob=token_mean(out.logprobs, out.mask), entropy=entropy(out))


def grpo(
    out: Out, batch: Batch, *, low: float = 0.2, high: float = 0.2, beta: float = 0.0
) -> tuple[Tensor, dict]:
    """PPO's clipped step without a critic: the group is the baseline; the mean is taken inside each answer
    first. arXiv 2402.03300 (beta 0.04)

    loss = -sequence_mean(min(r A, clip(r) A)) + beta sequence_mean(k3) · reads old_logprobs [B,T-1],
    advantages [B,1], ref_logprobs if beta
    """
    ratio = token_ratio(out, batch)
    return policy_loss(
        out, batch, ratio, *clipped(ratio, batch["advantages"], low, high), sequence_mean, beta
    )


def dr_grpo(
    out: Out, batch: Batch, *, max_len: int, low: float = 0.2, high: float = 0.2, beta: float = 0.0
) -> tuple[Tensor, dict]:
    """GRPO without its length bias (constant divisor) and difficulty bias (rule group_mean, no std). arXiv
    2503.20783

    loss = -sum(min(r A, clip(r) A)) / (B max_len) · max_len: the longest answer allowed, in tokens · columns
    as grpo
    """
    ratio = token_ratio(out, batch)
    return policy_loss(
        out,
        batch,
        ratio,
        *clipped(ratio, batch["advantages"], low, high),
        partial(fixed_length, length=max_len),
        beta,
    )


def dapo(
    out: Out, batch: Batch, *, low: float = 0.2, high: float = 0.28, beta: float = 0.0
) -> tuple[Tensor, dict]:
    """GRPO with more room upwards for rare tokens (high > low) and one mean over all tokens. arXiv 2503.14476

    loss = -token_mean(min(r A, clip(r) A)) · columns as grpo. Its other two parts, `informative` and
    `overlong_penalty`, live in llmlab.advantages.
    """
    ratio = token_ratio(out, batch)
    return policy_loss(out, batch, ratio, *clipped(ratio, batch["advantages"], low, high), token_mean, beta)


def gspo(
    out: Out, batch: Batch, *, low: float = 3e-4, high: float = 4e-4, beta: float = 0.0
) -> tuple[Tensor, dict]:
    """GRPO that judges, and clips, the answer as one unit. Its ratio is a mean, so its clip range is far
    smaller. arXiv 2507.18071

    loss = -mean over rows of min(s A, clip(s) A) · columns as grpo
    """
    ratio = sequence_ratio(out, batch)
    return policy_loss(
        out, batch, ratio, *clipped(ratio, batch["advantages"], low, high), sequence_mean, beta
    )


def cispo(out: Out, batch: Batch, *, cap: float = 5.0, beta: float = 0.0) -> tuple[Tensor, dict]:
    """Clips the weight, not the gradient: rare tokens that turned out decisive still learn. arXiv 2506.13585;
    cap 5: ScaleRL, arXiv 2510.13786

    loss = -token_mean(stop_gradient(min(r, cap)) A log pi) · cap: the largest weight (the paper's 1 +
    eps_high) · columns as grpo
    """
    ratio = token_ratio(out, batch)
    return policy_loss(
        out, batch, ratio, *capped_weight(ratio, batch["advantages"], out.logprobs, cap), token_mean, beta
    )


def ppo_policy(out: Out, batch: Batch, *, low: float = 0.2, high: float = 0.2) -> tuple[Tensor, dict]:
    """The actor's half of PPO; its KL leash is part of the reward (token_rewards - beta k1). arXiv 1707.06347

    loss = -token_mean(min(r A, clip(r) A)) · reads old_logprobs, advantages [B,T-1]
    """
    ratio = token_ratio(out, batch)
    return policy_loss(
        out, batch, ratio, *clipped(ratio, batch["advantages"], low, high), token_mean, beta=0.0
    )


def ppo(
    out: Out,
    batch: Batch,
    *,
    low: float = 0.2,
    high: float = 0.2,
    value_clip: float = 0.2,
    value_weight: float = 0.1,
) -> tuple[Tensor, dict]:
    """Actor and critic together: loss = ppo_policy + value_weight · ppo_value. arXiv 1707.06347; weight 0.1:
    Ziegler et al., arXiv 1909.08593
    """
    return weighted_sum(
        out,
        batch,
        terms=(
            (1.0, partial(ppo_policy, low=low, high=high)),
            (value_weight, partial(ppo_value, clip=value_clip)),
        ),
    )
