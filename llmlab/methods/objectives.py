"""Objectives: what a batch should make more or less likely. One short function a method, (out, batch) ->
(loss, info).

`out` moves and carries the gradient; `batch` is fixed: its columns were computed before the update. Only
`out.mask` is read (already shifted, 0 or 1), never `batch.mask`. Log-probs, losses and KL are in nats.
Methods differ in small parts that can be swapped; knobs are keyword arguments: `partial(dpo, beta=0.2)`.
`info` holds detached scalars to plot.

The GRPO family is four dials × an advantage rule (llmlab.advantages):

              ratio           clip           aggregation     KL     advantage rule
    grpo      token_ratio     clipped        sequence_mean   beta   group_norm
    dr_grpo   token_ratio     clipped        fixed_length    beta   group_mean
    dapo      token_ratio     clipped high   token_mean      beta   group_norm
    gspo      sequence_ratio  clipped        sequence_mean   beta   group_norm
    cispo     token_ratio     capped_weight  token_mean      beta   group_norm
    ppo       token_ratio     clipped        token_mean      -      gae
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.forward import Out
from ..tokens.batch import Batch
from .advantages import last_token

Objective = Callable[[Out, Batch], tuple[Tensor, dict[str, Tensor]]]


# ---- aggregation: from one number a token, x [B,T-1] (or one a row, [B,1]), to one number; mask [B,T-1] ----


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x where mask is 1, exactly 0 elsewhere, also when x is inf or nan there. [B,T-1]"""
    return torch.where(mask > 0, x, 0.0)


def token_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Every token of the batch has the same weight: long answers count more. sum(x·mask) / sum(mask)"""
    return masked(x, mask).sum() / mask.sum().clamp(min=1)


def sequence_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Every answer has the same weight: a token of a long answer counts less. mean over rows of sum_t(x·mask)
    / sum_t(mask)
    """
    return (masked(x, mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def fixed_length(x: Tensor, mask: Tensor, *, length: float) -> Tensor:
    """Every token has the same weight in every batch: divides by a constant, not by what was sampled.
    sum(x·mask) / (B·length)
    """
    return masked(x, mask).sum() / (mask.shape[0] * length)


# ---- small parts ----


def log_ratio(out: Out, batch: Batch, column: str) -> Tensor:
    """log pi(token) - log pi_column(token) [B,T-1]; exactly 0, without gradient, on masked tokens."""
    return (out.logprobs - batch[column]).masked_fill(out.mask == 0, 0.0)


def sequence_logprob(out: Out) -> Tensor:
    """log pi(answer | prompt) [B]: the sum over its tokens."""
    return masked(out.logprobs, out.mask).sum(1)


def pairs(x: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows 2i (chosen) and 2i+1 (rejected) of x [B,...], each [B/2,...]; the column `pair` vouches for the
    order.
    """
    pair = batch["pair"]
    if not torch.equal(pair[0::2], pair[1::2]):
        raise ValueError(
            "rows 2i and 2i+1 do not belong to the same pair; build the batch with tokens.pairs.pair_batch"
        )
    return x[0::2], x[1::2]


def values_of(out: Out) -> Tensor:
    """The value head's estimates [B,T-1], or an error that says what is missing."""
    if out.values is None:
        raise ValueError(
            "this objective needs a model with a value head (llmlab.models.heads); the model returned no"
            " values"
        )
    return out.values


def entropy(out: Out) -> Tensor:
    """Entropy of the next-token distribution, mean over the answer's tokens, in nats; 0 = always the same
    answer. A diagnostic.
    """
    with torch.no_grad():
        probs = out.logits[out.mask > 0].softmax(
            -1
        )  # only the answer's rows: prompts and padding cost nothing
        return torch.special.entr(probs).sum() / out.mask.sum().clamp(min=1)


def detached(**values: Tensor) -> dict[str, Tensor]:
    """Diagnostics: the same numbers without their graph."""
    return {name: value.detach() for name, value in values.items()}


def weighted_sum(
    out: Out, batch: Batch, *, terms: tuple[tuple[float, Objective], ...]
) -> tuple[Tensor, dict]:
    """Several objectives at once: loss = sum_i w_i · loss_i; half labels, half teacher: terms=((.5, nll),
    (.5, forward_kl)).
    """
    results = [(weight, *objective(out, batch)) for weight, objective in terms]
    return sum(weight * loss for weight, loss, _ in results), {
        k: v for _, _, info in results for k, v in info.items()
    }


# ---- KL: three estimates from the sampled token, and the exact sum over the vocabulary ----


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


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) = sum_v p(v) (log p(v) - log q(v)): what it costs to expect q where p is true. Log-probs
    [...,V] x 2 -> [...]
    """
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def kl_to_ref(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Stay close to the base model: the exact KL(pi || base), model first, at every token. Jaques et al.,
    arXiv 1611.02796 (KL-control)

    loss = token_mean(sum_v pi(v) log(pi(v) / base(v))) · reads ref_logits [B,T-1,V]
    The other direction, "still cover all the base would say" (arXiv 1606.09282), is forward_kl with the base
    as teacher.
    """
    loss = token_mean(kl(out.logits.log_softmax(-1), batch["ref_logits"].log_softmax(-1)), out.mask)
    return loss, detached(kl=loss)


# ---- imitation ----


def nll(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Make the text likely: next-token loss of pretraining, continued pretraining and SFT (there the mask
    covers the answers only).

    loss = -token_mean(log pi(token)) over the whole batch. GPT, Radford et al. 2018; InstructGPT, arXiv
    2203.02155
    """
    loss = -token_mean(out.logprobs, out.mask)
    return loss, detached(nll=loss, perplexity=loss.exp(), tokens=out.mask.sum())


def nll_kl(out: Out, batch: Batch, *, beta: float = 0.1) -> tuple[Tensor, dict]:
    """Learn the text on a leash: loss = nll + beta · KL(pi || base). Reads ref_logits [B,T-1,V]. KL-control,
    arXiv 1611.02796
    """
    return weighted_sum(out, batch, terms=((1.0, nll), (beta, kl_to_ref)))


def agreement(out: Out, batch: Batch) -> Tensor:
    """Share of the tokens where student and teacher would pick the same next token."""
    return token_mean((out.logits.argmax(-1) == batch["teacher_logits"].argmax(-1)).float(), out.mask)


def forward_kl(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Distillation: cover everything the teacher would say. Hinton et al., arXiv 1503.02531 (here without the
    factor T²)

    loss = token_mean(KL(teacher || student)) · reads teacher_logits [B,T-1,V]
    """
    loss = token_mean(kl(batch["teacher_logits"].log_softmax(-1), out.logits.log_softmax(-1)), out.mask)
    return loss, detached(forward_kl=loss, agreement=agreement(out, batch))


def reverse_kl(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Distillation: say nothing the teacher would not say. MiniLLM, arXiv 2306.08543

    loss = token_mean(KL(student || teacher)) · reads teacher_logits [B,T-1,V]
    """
    loss = token_mean(kl(out.logits.log_softmax(-1), batch["teacher_logits"].log_softmax(-1)), out.mask)
    return loss, detached(reverse_kl=loss, agreement=agreement(out, batch))


def js(out: Out, batch: Batch, *, beta: float = 0.5) -> tuple[Tensor, dict]:
    """Distillation between both directions: never larger than ln 2 at beta = 1/2. GKD, arXiv 2306.13649

    M = beta · teacher + (1 - beta) · student;  loss = token_mean(beta KL(teacher || M) + (1 - beta)
    KL(student || M)), 0 < beta < 1.
    loss/beta tends to forward_kl for beta -> 0, loss/(1-beta) to reverse_kl for beta -> 1. Reads
    teacher_logits [B,T-1,V].
    """
    if not 0 < beta < 1:
        raise ValueError(
            f"js mixes both models with 0 < beta < 1, not {beta}; its ends are the objectives forward_kl and"
            " reverse_kl"
        )
    teacher, student = batch["teacher_logits"].log_softmax(-1), out.logits.log_softmax(-1)
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log(1 - beta))
    loss = token_mean(beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture), out.mask)
    return loss, detached(js=loss, agreement=agreement(out, batch))


# ---- preference pairs: rows 2i chosen, 2i+1 rejected ----


def prefer(margin: Tensor) -> Tensor:
    """Bradley-Terry: -log P(chosen beats rejected) = -log sigmoid(margin), mean over pairs; ln 2 when
    undecided. margin [B/2]
    """
    return -F.logsigmoid(margin).mean()


def pair_info(margin: Tensor, **chosen_and_rejected: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Mean margin, share of pairs ranked right, and the mean of each quantity on either side (both log-probs
    may fall!).
    """
    sides = {
        f"{side}_{name}": x.mean()
        for name, two in chosen_and_rejected.items()
        for side, x in zip(("chosen", "rejected"), two)
    }
    return detached(margin=margin.mean(), accuracy=(margin > 0).float().mean(), **sides)


def dpo(out: Out, batch: Batch, *, beta: float = 0.1) -> tuple[Tensor, dict]:
    """Raise the chosen answer against the rejected one, both measured relative to the reference. DPO, arXiv
    2305.18290

    reward = beta · sum_t log(pi/ref);  loss = -log sigmoid(reward_w - reward_l) · reads pair [B],
    ref_logprobs [B,T-1]. ln 2 at the start.
    """
    reward_w, reward_l = pairs(beta * log_ratio(out, batch, "ref_logprobs").sum(1), batch)
    margin = reward_w - reward_l
    return prefer(margin), pair_info(
        margin, reward=(reward_w, reward_l), logprob=pairs(sequence_logprob(out), batch)
    )


def odds_ratio(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Raise the odds of the chosen answer against the rejected one, without a reference. The preference term
    of ORPO, arXiv 2403.07691

    s = mean log pi of the answer's tokens;  odds = e^s / (1 - e^s);  loss = -log sigmoid(log odds_w - log
    odds_l) · reads pair [B]
    """
    mean_logprob = sequence_logprob(out) / out.mask.sum(1).clamp(min=1)
    s = mean_logprob.clamp(
        max=-torch.finfo(mean_logprob.dtype).eps
    )  # odds are infinite at s = 0, which rounding reaches
    odds_w, odds_l = pairs(s - torch.log(-torch.expm1(s)), batch)
    margin = odds_w - odds_l
    return prefer(margin), pair_info(margin, logprob=pairs(sequence_logprob(out), batch))


def nll_chosen(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """The next-token loss of the chosen answers alone. Reads pair [B]."""
    loss = -token_mean(pairs(out.logprobs, batch)[0], pairs(out.mask, batch)[0])
    return loss, detached(nll=loss)


def orpo(out: Out, batch: Batch, *, beta: float = 0.1) -> tuple[Tensor, dict]:
    """SFT on the chosen answer and a push away from the rejected one in a single stage, no reference. ORPO,
    arXiv 2403.07691 (its lambda is beta)

    loss = nll_chosen + beta · odds_ratio · reads pair [B]. Our nll covers what out.mask covers: the answer,
    as in the paper.
    TRL's ORPOTrainer takes the nll over prompt *and* answer, so the two agree only where the prompt is a
    single token.
    """
    return weighted_sum(out, batch, terms=((1.0, nll_chosen), (beta, odds_ratio)))


def bradley_terry(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Reward model: score the chosen answer above the rejected one. Christiano et al., arXiv 1706.03741;
    InstructGPT, arXiv 2203.02155

    r = out.values at the last masked position of the row;  loss = -log sigmoid(r_w - r_l) · reads pair [B],
    needs a value head.
    That position is where the model is about to write the answer's last token (the end of the turn), having
    read all before it.
    """
    reward = values_of(out).gather(1, last_token(out.mask)[:, None])[:, 0]
    reward_w, reward_l = pairs(reward, batch)
    margin = reward_w - reward_l
    return prefer(margin), pair_info(margin, reward=(reward_w, reward_l))


# ---- policy gradients, on samples of the present policy ----


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


# ---- the family: first dial, ratio ----


def token_ratio(out: Out, batch: Batch) -> Tensor:
    """r_t = pi(token) / pi_old(token) [B,T-1]; 1 on masked tokens."""
    return log_ratio(out, batch, "old_logprobs").exp()


def sequence_ratio(out: Out, batch: Batch) -> Tensor:
    """s = (pi(answer) / pi_old(answer))^(1/length) [B,1]: the geometric mean of the token ratios. GSPO, arXiv
    2507.18071
    """
    return (log_ratio(out, batch, "old_logprobs").sum(1) / out.mask.sum(1).clamp(min=1)).exp()[:, None]


# ---- second dial, clip: (gain to maximise, where the ratio was cut) ----


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
    out: Out, batch: Batch, ratio: Tensor, gain: Tensor, cut: Tensor, aggregate: Callable, beta: float
) -> tuple[Tensor, dict]:
    """loss = -aggregate(gain) + beta · aggregate(k3); ref_logprobs [B,T-1] is read only when beta is not 0.

    kl_old estimates KL(old || pi) from the samples of old: how far this batch has aged.
    """
    moved = log_ratio(out, batch, "old_logprobs")
    info = detached(
        clip_fraction=token_mean(cut.float(), out.mask),
        ratio_max=masked(ratio, out.mask).max(),
        kl_old=token_mean(torch.expm1(moved) - moved, out.mask),
        entropy=entropy(out),
    )
    loss = -aggregate(gain, out.mask)
    if beta == 0.0:
        return loss, info
    penalty = k3(out, batch)
    return loss + beta * aggregate(penalty, out.mask), info | detached(kl=token_mean(penalty, out.mask))


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


# ---- the table ----


@dataclass(frozen=True)
class Method:
    """name · function · columns of the batch it reads (`tokens.batch.COLUMNS` says who makes them) · columns
    it also reads when its `beta` is not 0 · name of its advantage rule in llmlab.advantages, or None ·
    paper.
    """

    name: str
    function: Callable
    columns: tuple[str, ...]
    paper: str
    advantage: str | None = None
    beta_columns: tuple[str, ...] = ()


def _family(function: Callable, paper: str, advantage: str = "group_norm") -> Method:
    return Method(
        function.__name__,
        function,
        ("old_logprobs", "advantages"),
        paper,
        advantage,
        beta_columns=("ref_logprobs",),
    )


OBJECTIVES: dict[str, Method] = {
    method.name: method
    for method in (
        Method("nll", nll, (), "GPT, Radford et al. 2018"),
        Method("nll_kl", nll_kl, ("ref_logits",), "KL-control, arXiv 1611.02796"),
        Method("forward_kl", forward_kl, ("teacher_logits",), "Knowledge distillation, arXiv 1503.02531"),
        Method("reverse_kl", reverse_kl, ("teacher_logits",), "MiniLLM, arXiv 2306.08543"),
        Method("js", js, ("teacher_logits",), "GKD, arXiv 2306.13649"),
        Method("dpo", dpo, ("pair", "ref_logprobs"), "DPO, arXiv 2305.18290"),
        Method("orpo", orpo, ("pair",), "ORPO, arXiv 2403.07691"),
        Method("bradley_terry", bradley_terry, ("pair",), "InstructGPT, arXiv 2203.02155"),
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
