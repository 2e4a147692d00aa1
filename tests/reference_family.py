"""The GRPO family, each method written out as its paper has it: what the dials of methods/policy.py must
give.

`BY_DIALS` is the same family as the library composes it, with the arguments of these functions; `OBJECTIVES`
and `DIALLED` say what every method reads, so that one test can ask the same of all of them.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from llmlab.methods import distillation, imitation, parts, policy, preferences
from llmlab.methods.parts import (
    detached,
    entropy,
    fixed_length,
    log_ratio,
    masked,
    sequence_mean,
    token_mean,
)
from llmlab.methods.policy import capped_weight, clipped, k3, ppo_value, sequence_ratio, token_ratio

# ---- as the papers have them: a loss, and what there is to plot ----


def told(out, batch, ratio, cut, **more):
    """Share of the tokens (or answers) that were cut, the largest ratio, KL(old || pi) from old's samples."""
    moved = log_ratio(out, batch, "old_logprobs")
    return detached(
        clip_fraction=token_mean(cut.float(), out.mask),
        ratio_max=masked(ratio, out.mask).max(),
        approx_kl=token_mean(moved.exp() - 1 - moved, out.mask),
        entropy=entropy(out),
        **more,
    )


def kl_term(out, batch, beta, aggregate):
    """(beta times the KL penalty of the loss, what there is to plot of it); read only if there is a beta."""
    if not beta:
        return 0.0, {}
    kl = k3(out, batch)
    return beta * aggregate(kl, out.mask), detached(kl=token_mean(kl, out.mask))


def reinforce(out, batch):
    """Make a token likelier in proportion to how much better than expected it turned out. Williams 1992, doi
    10.1007/BF00992696

    loss = -token_mean(A · log pi) · reads advantages [B,1] or [B,T-1]
    """
    loss = -token_mean(batch["advantages"] * out.logprobs, out.mask)
    return loss, detached(logprob=token_mean(out.logprobs, out.mask), entropy=entropy(out))


def rloo(out, batch):
    """REINFORCE with the whole answer as one action: unbiased also when answers differ in length. RLOO, arXiv
    2402.14740

    loss = -mean over rows of A · sum_t log pi · reads advantages [B,1] (rule leave_one_out)
    """
    loss = -masked(batch["advantages"] * out.logprobs, out.mask).sum(1).mean()
    return loss, detached(logprob=token_mean(out.logprobs, out.mask), entropy=entropy(out))


def grpo(out, batch, *, low=0.2, high=0.2, beta=0.0):
    """PPO's clipped step without a critic: the group is the baseline; the mean is taken inside each answer
    first. arXiv 2402.03300 (beta 0.04)

    loss = -sequence_mean(min(r A, clip(r) A)) + beta sequence_mean(k3) · reads old_logprobs [B,T-1],
    advantages [B,1], ref_logprobs if beta
    """
    ratio = token_ratio(out, batch)
    gain, cut = clipped(ratio, batch["advantages"], low, high)
    pull, kl = kl_term(out, batch, beta, sequence_mean)
    return -sequence_mean(gain, out.mask) + pull, told(out, batch, ratio, cut, **kl)


def dr_grpo(out, batch, *, max_len, low=0.2, high=0.2, beta=0.0):
    """GRPO without its length bias (constant divisor) and difficulty bias (rule group_mean, no std). arXiv
    2503.20783

    loss = -sum(min(r A, clip(r) A)) / (B max_len) · max_len: the longest answer allowed, in tokens · columns
    as grpo
    """
    ratio = token_ratio(out, batch)
    gain, cut = clipped(ratio, batch["advantages"], low, high)
    pull, kl = kl_term(out, batch, beta, lambda x, mask: fixed_length(x, mask, length=max_len))
    return -fixed_length(gain, out.mask, length=max_len) + pull, told(out, batch, ratio, cut, **kl)


def dapo(out, batch, *, low=0.2, high=0.28, beta=0.0):
    """GRPO with more room upwards for rare tokens (high > low) and one mean over all tokens. arXiv 2503.14476

    loss = -token_mean(min(r A, clip(r) A)) · columns as grpo. Its other two parts, `informative` and
    `overlong_penalty`, live in methods.advantages.
    """
    ratio = token_ratio(out, batch)
    gain, cut = clipped(ratio, batch["advantages"], low, high)
    pull, kl = kl_term(out, batch, beta, token_mean)
    return -token_mean(gain, out.mask) + pull, told(out, batch, ratio, cut, **kl)


def gspo(out, batch, *, low=3e-4, high=4e-4, beta=0.0):
    """GRPO that judges, and clips, the answer as one unit. Its ratio is a mean, so its clip range is far
    smaller. arXiv 2507.18071

    loss = -mean over rows of min(s A, clip(s) A) · columns as grpo
    """
    ratio = sequence_ratio(out, batch)
    gain, cut = clipped(ratio, batch["advantages"], low, high)
    pull, kl = kl_term(out, batch, beta, sequence_mean)
    return -sequence_mean(gain, out.mask) + pull, told(out, batch, ratio, cut, **kl)


def cispo(out, batch, *, cap=5.0, beta=0.0):
    """Clips the weight, not the gradient: rare tokens that turned out decisive still learn. arXiv 2506.13585;
    cap 5: ScaleRL, arXiv 2510.13786

    loss = -token_mean(stop_gradient(min(r, cap)) A log pi) · cap: the largest weight (the paper's 1 +
    eps_high) · columns as grpo
    """
    ratio = token_ratio(out, batch)
    gain, cut = capped_weight(ratio, batch["advantages"], out.logprobs, cap)
    pull, kl = kl_term(out, batch, beta, token_mean)
    return -token_mean(gain, out.mask) + pull, told(out, batch, ratio, cut, **kl)


def ppo_policy(out, batch, *, low=0.2, high=0.2):
    """The actor's half of PPO; its KL penalty is part of the reward (token_rewards - beta k1). arXiv
    1707.06347

    loss = -token_mean(min(r A, clip(r) A)) · reads old_logprobs, advantages [B,T-1]
    """
    ratio = token_ratio(out, batch)
    gain, cut = clipped(ratio, batch["advantages"], low, high)
    return -token_mean(gain, out.mask), told(out, batch, ratio, cut)


def ppo(out, batch, *, low=0.2, high=0.2, value_clip=0.2, value_weight=0.1):
    """Actor and critic together: loss = ppo_policy + value_weight · ppo_value. arXiv 1707.06347; weight 0.1:
    Ziegler et al., arXiv 1909.08593
    """
    actor, of_actor = ppo_policy(out, batch, low=low, high=high)
    critic, of_critic = ppo_value(out, batch, clip=value_clip)
    return actor + value_weight * critic, of_actor | of_critic


# ---- the same as settings of the library's dials ----

SETTINGS = {  # function -> the setting that should be it
    "reinforce": policy.METHODS["REINFORCE"],
    "rloo": policy.METHODS["RLOO"],
    "ppo": policy.METHODS["PPO"],
    "grpo": policy.METHODS["GRPO"],
    "dr_grpo": policy.METHODS["Dr. GRPO"],
    "dapo": policy.METHODS["DAPO"],
    "gspo": policy.METHODS["GSPO"],
    "cispo": policy.METHODS["CISPO"],
    "ppo_policy": replace(policy.METHODS["PPO"], advantage="no_baseline"),
}


def by_dials(name: str) -> Callable:
    """The library's objective, with the arguments of the function of that name."""

    def objective(out, batch, *, max_len=1, beta=0.0, cap=None, **ranges):
        ranges |= {} if cap is None else {"high": cap - 1}
        made = replace(SETTINGS[name], kl_penalty="k3" if beta else "none", beta=beta, **ranges)
        return made.objective(max_len)(out, batch)

    return objective


BY_DIALS = {name: by_dials(name) for name in SETTINGS}


# ---- the table ----


@dataclass(frozen=True)
class Method:
    """name · function · columns of the batch it reads (`tokens.batch.COLUMNS` says who makes them) · paper ·
    name of its advantage rule in methods.advantages, or None · columns it also reads when its `beta` is not
    0.
    """

    name: str
    function: Callable
    columns: tuple[str, ...]
    paper: str
    advantage: str | None = None
    beta_columns: tuple[str, ...] = ()


def _family(function: Callable, paper: str, advantage: str = "group_norm") -> Method:
    columns = ("old_logprobs", "advantages")
    return Method(function.__name__, function, columns, paper, advantage, beta_columns=("ref_logprobs",))


OBJECTIVES: dict[str, Method] = {
    method.name: method
    for method in (
        Method("nll", imitation.nll, (), "GPT, Radford et al. 2018"),
        Method("nll_kl", imitation.nll_kl, ("ref_logits",), "KL-control, arXiv 1611.02796"),
        Method("forward_kl", distillation.forward_kl, ("teacher_logits",), "Distillation, arXiv 1503.02531"),
        Method("reverse_kl", distillation.reverse_kl, ("teacher_logits",), "MiniLLM, arXiv 2306.08543"),
        Method("js", distillation.js, ("teacher_logits",), "GKD, arXiv 2306.13649"),
        Method("dpo", preferences.dpo, ("pair", "ref_logprobs"), "DPO, arXiv 2305.18290"),
        Method("ipo", preferences.ipo, ("pair", "ref_logprobs"), "IPO, arXiv 2310.12036"),
        Method("simpo", preferences.simpo, ("pair",), "SimPO, arXiv 2405.14734"),
        Method("orpo", preferences.orpo, ("pair",), "ORPO, arXiv 2403.07691"),
        Method("bradley_terry", preferences.bradley_terry, ("pair",), "InstructGPT, arXiv 2203.02155"),
        Method(
            "reinforce", reinforce, ("advantages",), "Williams 1992, doi 10.1007/BF00992696", "no_baseline"
        ),
        Method("rloo", rloo, ("advantages",), "RLOO, arXiv 2402.14740", "leave_one_out"),
        Method(
            "ppo",
            ppo,
            ("old_logprobs", "advantages", "old_values", "returns"),
            "PPO, arXiv 1707.06347",
            "gae",
        ),
        _family(grpo, "DeepSeekMath, arXiv 2402.03300"),
        _family(dr_grpo, "Dr. GRPO, arXiv 2503.20783", "group_mean"),
        _family(dapo, "DAPO, arXiv 2503.14476"),
        _family(gspo, "GSPO, arXiv 2507.18071"),
        _family(cispo, "MiniMax-M1, arXiv 2506.13585"),
    )
}

# the policy gradients by dials: they read what the functions read, and always old_logprobs, to plot kl_old
DIALLED: dict[str, Method] = {
    f"{name} by dials": replace(
        method, function=BY_DIALS[name], columns=tuple({"old_logprobs": 0} | dict.fromkeys(method.columns))
    )
    for name, method in OBJECTIVES.items()
    if name in SETTINGS
}

# ---- for mutants ----

OWN = sys.modules[__name__]
MODULES = (parts, imitation, distillation, preferences, policy, OWN)


def find(name: str):
    """What has this name in the methods of the library, or here."""
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def put(patch, **wrong) -> None:
    """Replace parts by others, wherever methods name them."""
    for name, part in wrong.items():
        for module in MODULES:
            if hasattr(module, name):
                patch.setattr(module, name, part)
