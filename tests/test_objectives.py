"""Objectives: closed forms by hand, identities, and wrong versions that the same checks must reject.

A check takes the implementation as its argument; the section on mutants runs the same checks on wrong
implementations. Of the GRPO family there are two: the functions of reference_family.py, and the library's
dials. Everything is in float64, so that equal means equal to 1e-7.
"""

import inspect
import math
from dataclasses import replace
from functools import partial

import pytest
import reference_family as family
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_family import BY_DIALS, DIALLED, OBJECTIVES

from llmlab.methods import advantages as adv
from llmlab.methods import distillation, imitation, parts, policy, preferences
from llmlab.models.forward import Out, token_logprobs
from llmlab.tokens.batch import COLUMNS, Batch, MissingColumn

LN2, LN3 = math.log(2), math.log(3)
FAMILY = {
    "grpo": family.grpo,
    "dr_grpo": partial(family.dr_grpo, max_len=8),
    "dapo": family.dapo,
    "gspo": family.gspo,
    "cispo": family.cispo,
    "ppo_policy": family.ppo_policy,
}
FAMILY |= {
    f"{name} by dials": partial(BY_DIALS[name], max_len=8) if name == "dr_grpo" else BY_DIALS[name]
    for name in FAMILY
}
TABLE = OBJECTIVES | DIALLED
METHODS = {
    name: partial(method.function, max_len=8) if "dr_grpo" in name else method.function
    for name, method in TABLE.items()
}


def close(actual, expected, **tolerance):
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), **tolerance)


def out_of(logits, targets, mask, values=None):
    return Out(logits, token_logprobs(logits, targets), mask, values)


def from_logprobs(logprobs, mask, values=None):
    """An Out whose logprobs are given directly, for formulas that do not look at the vocabulary."""
    return Out(torch.zeros(*logprobs.shape, 3, dtype=logprobs.dtype), logprobs, mask, values)


def batch_like(mask, **columns):
    """A Batch for a shifted mask [B,T-1]. batch.mask stays all zero: an objective that read it would fail
    every check.
    """
    B, T = mask.shape
    return Batch(torch.zeros(B, T + 1, dtype=torch.long), torch.zeros(B, T + 1)).add(**columns)


def doubles(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def case(seed=0, B=4, T=5, V=3, spread=0.3):
    """A random batch with every column, ragged mask: (logits that require grad, make_out, batch)."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    logits, targets = normal(B, T, V).requires_grad_(), torch.randint(V, (B, T), generator=g)
    lengths = torch.randint(1, T, (B,), generator=g)
    mask = (torch.arange(T) < lengths[:, None]).double().roll(1, 1)  # column 0 is the prompt
    values = normal(B, T).requires_grad_()
    logprobs = token_logprobs(logits, targets).detach()
    batch = batch_like(
        mask,
        pair=torch.arange(B) // 2,
        advantages=normal(B, 1),
        returns=normal(B, T),
        old_values=values + spread * normal(B, T),
        old_logprobs=logprobs + spread * normal(B, T),
        ref_logprobs=logprobs + spread * normal(B, T),
        ref_logits=normal(B, T, V),
        teacher_logits=normal(B, T, V),
    )
    return logits, values, lambda: out_of(logits, targets, mask, values), batch


def grad(loss, *of):
    return torch.autograd.grad(loss, of, retain_graph=True, allow_unused=True)


# ---- checks ----


def check_nll(nll):
    """3 tokens: p = 1/2, 1/4, 1/4. Two answers of 1 and 3 tokens."""
    logits = doubles([[LN2, 0, 0]] * 3, [[LN2, 0, 0]] * 3).requires_grad_()
    mask = doubles([1, 0, 0], [1, 1, 1])
    out = out_of(logits, torch.tensor([[0, 1, 1], [1, 2, 0]]), mask)
    loss, info = nll(out, batch_like(mask))
    close(loss, (1 + 2 + 2 + 1) * LN2 / 4)
    close(
        grad(loss, logits)[0][0], doubles([0.5 - 1, 0.25, 0.25], [0, 0, 0], [0, 0, 0]) / 4
    )  # p - onehot, over 4 tokens
    close(info["perplexity"], 2**1.5)
    close(info["tokens"], 4.0)


def check_aggregations(token_mean, sequence_mean, fixed_length):
    x, mask = doubles([1, 2, 9], [4, 6, 8]), doubles([1, 1, 0], [1, 1, 1])
    close(token_mean(x, mask), (3 + 18) / 5)
    close(sequence_mean(x, mask), (3 / 2 + 18 / 3) / 2)
    close(fixed_length(x, mask, length=4), 21 / (2 * 4))


def check_clip(clipped):
    """Both signs of A, ratio below, inside and above [0.8, 1.3]: value, gradient and the report of what was
    cut.
    """
    ratio = doubles(0.5, 1.0, 2.0, 0.5, 1.0, 2.0).requires_grad_()
    gain, cut = clipped(ratio, doubles(2, 2, 2, -2, -2, -2), 0.2, 0.3)
    close(gain, [1.0, 2.0, 2.6, -1.6, -2.0, -4.0])
    close(grad(gain.sum(), ratio)[0], [2.0, 2.0, 0.0, 0.0, -2.0, -2.0])
    assert cut.tolist() == [False, False, True, True, False, False]


def check_capped_weight(capped_weight):
    ratio, logprobs = doubles(0.1, 1.0, 9.0).requires_grad_(), doubles(-1, -2, -3).requires_grad_()
    gain, cut = capped_weight(ratio, doubles(1, -1, 2), logprobs, 5.0)
    close(gain, [-0.1, 2.0, -30.0])
    of_ratio, of_logprobs = grad(gain.sum(), ratio, logprobs)
    assert of_ratio is None  # the weight is a constant
    close(of_logprobs, [0.1, -1.0, 10.0])  # also the capped token learns
    assert cut.tolist() == [False, False, True]


P, Q = doubles(0.7, 0.2, 0.1), doubles(0.2, 0.3, 0.5)


def enumerated(p, q, objective_part):
    """E over samples of p, and the mean of the per-sample gradient with respect to the logits of p, by
    enumeration.
    """
    logits = p.log().requires_grad_()
    mask = torch.ones(3, 1, dtype=torch.float64)
    out = out_of(logits.expand(3, 1, 3), torch.arange(3)[:, None], mask)  # row a sampled token a
    per_token = objective_part(out, batch_like(mask, ref_logprobs=q.log()[:, None]))
    weights = p[:, None].detach()
    return (weights * per_token).sum(), grad((weights * per_token).sum(), logits)[0]


def gradient_of_exact_kl(p, q, swap=False):
    logits = p.log().requires_grad_()
    log_p = logits.log_softmax(-1)
    exact = (q * (q.log() - log_p)).sum() if swap else (log_p.exp() * (log_p - q.log())).sum()
    return exact, grad(exact, logits)[0]


def check_k1(k1):
    mean, mean_grad = enumerated(P, Q, k1)
    close(mean, gradient_of_exact_kl(P, Q)[0])
    close(mean_grad, torch.zeros(3), atol=1e-12, rtol=0)  # as a loss it does nothing


def check_k2(k2):
    mean, mean_grad = enumerated(P, Q, k2)
    assert abs(mean - gradient_of_exact_kl(P, Q)[0]) > 0.01  # biased
    close(mean_grad, gradient_of_exact_kl(P, Q)[1])


def check_k3(k3):
    mean, mean_grad = enumerated(P, Q, k3)
    close(mean, gradient_of_exact_kl(P, Q)[0])
    close(mean_grad, gradient_of_exact_kl(P, Q, swap=True)[1])
    per_token = lambda out, batch: (k3(out, batch) < 0).double() + 0 * out.logprobs
    assert enumerated(P, Q, per_token)[0] == 0  # never negative


def check_kl(kl):
    close(kl(P.log(), Q.log()), 0.7 * math.log(3.5) + 0.2 * math.log(2 / 3) + 0.1 * math.log(0.2))


def over_vocabulary(objective, column):
    """The objective's value at one token: the model says P, the column says Q. Logits are defined up to a
    constant.
    """
    mask = torch.ones(1, 1, dtype=torch.float64)
    out = out_of(P.log()[None, None] + 5, torch.zeros(1, 1, dtype=torch.long), mask)
    return objective(out, batch_like(mask, **{column: Q.log()[None, None] - 3}))[0]


def check_kl_to_ref(objective):
    close(over_vocabulary(objective, "ref_logits"), (P * (P / Q).log()).sum())


def check_forward_kl(objective):
    close(over_vocabulary(objective, "teacher_logits"), (Q * (Q / P).log()).sum())


def check_reverse_kl(objective):
    close(over_vocabulary(objective, "teacher_logits"), (P * (P / Q).log()).sum())


def check_js(js):
    m = 0.3 * Q + 0.7 * P  # Q is the teacher
    close(
        over_vocabulary(partial(js, beta=0.3), "teacher_logits"),
        0.3 * (Q * (Q / m).log()).sum() + 0.7 * (P * (P / m).log()).sum(),
    )


def check_dpo(dpo):
    """chosen: log-ratio 1 + 2, rejected: -1 (its second token is masked)."""
    logprobs, mask = doubles([-1, -1], [-2, -2]).requires_grad_(), doubles([1, 1], [1, 0])
    batch = batch_like(mask, pair=torch.tensor([0, 0]), ref_logprobs=doubles([-2, -3], [-1, -9]))
    loss, info = dpo(from_logprobs(logprobs, mask), batch, beta=0.5)
    margin = 0.5 * (3 - -1)
    close(loss, math.log1p(math.exp(-margin)))
    weight = 0.5 / (1 + math.exp(margin))  # C088: -beta sigmoid(-margin) (grad logp_w - grad logp_l)
    close(grad(loss, logprobs)[0], [[-weight, -weight], [weight, 0.0]])
    close(info["margin"], margin)
    close(info["chosen_logprob"], -2.0)
    close(info["rejected_logprob"], -2.0)
    close(info["chosen_reward"], 1.5)
    close(info["accuracy"], 1.0)


def check_smoothed(smoothed):
    """sigmoid(ln 3) = 3/4, and a fifth of the labels is taken to be wrong: d loss / d margin = 3/4 - 4/5."""
    margin = doubles(LN3).requires_grad_()
    loss = smoothed(margin, 0.2)
    close(loss, -0.8 * math.log(3 / 4) - 0.2 * math.log(1 / 4))
    close(grad(loss, margin)[0], [3 / 4 - 4 / 5])


def check_ipo(ipo):
    """Mean log-ratios 3/2 and -1 (the rejected answer has one token) against the aim 1 / (2 · 0.5)."""
    logprobs, mask = doubles([-1, -1], [-2, -2]).requires_grad_(), doubles([1, 1], [1, 0])
    batch = batch_like(mask, pair=torch.tensor([0, 0]), ref_logprobs=doubles([-2, -3], [-1, -9]))
    loss, info = ipo(from_logprobs(logprobs, mask), batch, beta=0.5)
    close(loss, (2.5 - 1) ** 2)
    close(grad(loss, logprobs)[0], [[1.5, 1.5], [-3.0, 0.0]])
    close(info["margin"], 2.5)


def check_simpo(simpo):
    """Mean log-probs -1 and -2, scaled by 2, with a head start of 1."""
    logprobs, mask = doubles([-0.5, -1.5], [-2, -9]).requires_grad_(), doubles([1, 1], [1, 0])
    batch = batch_like(mask, pair=torch.tensor([0, 0]))
    loss, info = simpo(from_logprobs(logprobs, mask), batch, beta=2.0, gamma=1.0)
    close(loss, math.log1p(math.exp(-(2 - 1))))
    weight = 2 / (1 + math.exp(1))
    close(grad(loss, logprobs)[0], [[-weight / 2, -weight / 2], [weight, 0.0]])
    close(info["margin"], 2.0)


def check_odds_ratio(odds_ratio):
    """chosen: tokens of 1/2 and 1/2, odds 1; rejected: 1/4, odds 1/3."""
    logprobs, mask = doubles([-LN2, -LN2], [-2 * LN2, -9]).requires_grad_(), doubles([1, 1], [1, 0])
    loss, info = odds_ratio(from_logprobs(logprobs, mask), batch_like(mask, pair=torch.tensor([0, 0])))
    close(loss, -math.log(3 / 4))  # sigmoid(ln 3) = 3/4
    close(info["margin"], LN3)
    # d loss / d log-odds = -1/4; d log-odds / d s = 1 / (1 - e^s); s is a mean over the tokens
    close(grad(loss, logprobs)[0], [[-0.25 * 2 / 2] * 2, [0.25 * 4 / 3, 0.0]])


def check_bradley_terry(bradley_terry):
    mask = doubles([0, 1, 1, 0], [0, 1, 0, 0])
    values = doubles([9, 9, 2, 9], [9, -1, 9, 9]).requires_grad_()
    loss, info = bradley_terry(
        from_logprobs(torch.zeros_like(values), mask, values), batch_like(mask, pair=torch.tensor([0, 0]))
    )
    close(loss, math.log1p(math.exp(-3)))
    weight = 1 / (1 + math.exp(3))
    close(grad(loss, values)[0], [[0, 0, -weight, 0], [0, weight, 0, 0]])
    close(info["chosen_reward"], 2.0)
    close(info["rejected_reward"], -1.0)


def check_ppo_value(ppo_value):
    """Returns 0, old values 1, 1, 3, clip 0.2; the pessimistic error is taken: V = 0.5 -> 0.8, V = 2 stays 2,
    V = 2.5 -> 2.8.
    """
    values, mask = doubles([0.5, 2, 2.5, 7]).requires_grad_(), doubles([1, 1, 1, 0])
    batch = batch_like(mask, returns=doubles([0, 0, 0, 0]), old_values=doubles([1, 1, 3, 1]))
    loss, info = ppo_value(from_logprobs(torch.zeros_like(values), mask, values), batch, clip=0.2)
    close(loss, (0.8**2 + 2**2 + 2.8**2) / 3 / 2)
    close(grad(loss, values)[0], [[0, 2 / 3, 0, 0]])  # no gradient where the step was already taken
    close(info["value_clip_fraction"], 2 / 3)


RATIOS, FAMILY_MASK = doubles([0.5, 1.5, 1.0], [1.25, 2.0, 1.0]), doubles([1, 1, 0], [1, 1, 1])


def family_case(objective):
    """Advantages +1 and -2, ratios as above: (loss, gradient with respect to the log-probs, info)."""
    logprobs = doubles([-1, -2, -3], [-4, -5, -6]).requires_grad_()
    old = logprobs.detach() - RATIOS.log()
    loss, info = objective(
        from_logprobs(logprobs, FAMILY_MASK),
        batch_like(FAMILY_MASK, old_logprobs=old, advantages=doubles([1], [-2])),
    )
    return loss, grad(loss, logprobs)[0], info


def check_family(objective, row_sums, row_grads, weights):
    """weights: what one token of each row counts for in the aggregation."""
    loss, gradient, _ = family_case(objective)
    close(loss, -sum(w * s for w, s in zip(weights, row_sums)))
    close(gradient, [[-w * x for x in row] for w, row in zip(weights, row_grads)])


# gains of the rows [+1: 0.5, min(1.5, 1.2) | -2: 1.25, 2.0, 1.0] and their gradients (ratio · A where not
# cut)
CLIP_20 = {"row_sums": [0.5 + 1.2, -2 * 4.25], "row_grads": [[0.5, 0, 0], [-2.5, -4, -2]]}
CLIP_28 = {"row_sums": [0.5 + 1.28, -2 * 4.25], "row_grads": [[0.5, 0, 0], [-2.5, -4, -2]]}
CAP_1 = {"row_sums": [0.5 * -1 + 1.0 * -2, -2 * (-4 - 5 - 6)], "row_grads": [[0.5, 1, 0], [-2, -2, -2]]}


def check_grpo(grpo):
    check_family(grpo, **CLIP_20, weights=[1 / 4, 1 / 6])


def check_dr_grpo(dr_grpo):
    check_family(partial(dr_grpo, max_len=5), **CLIP_20, weights=[1 / 10, 1 / 10])


def check_dapo(dapo):
    check_family(dapo, **CLIP_28, weights=[1 / 5, 1 / 5])


def check_ppo_policy(ppo_policy):
    check_family(ppo_policy, **CLIP_20, weights=[1 / 5, 1 / 5])


def check_cispo(cispo):
    check_family(partial(cispo, cap=1.0), **CAP_1, weights=[1 / 5, 1 / 5])


def check_gspo(gspo):
    """Geometric means sqrt(0.75) and 2.5^(1/3), clipped at 0.8 and 1.28: the first is inside, the second is
    bad news and stays unclipped.
    """
    s = [math.sqrt(0.75), 2.5 ** (1 / 3)]
    loss, gradient, _ = family_case(partial(gspo, low=0.2, high=0.28))
    close(loss, -(s[0] - 2 * s[1]) / 2)
    close(
        gradient, [[-s[0] / 2 / 2] * 2 + [0], [2 * s[1] / 3 / 2] * 3]
    )  # every token of an answer gets the same push
    close(family_case(gspo)[1][0], [-s[0] / 2 / 2] * 2 + [0])  # A > 0 and s below the range: never cut
    lucky = family_case(partial(gspo, low=0.1, high=0.14))[1]
    close(lucky[0], gradient[0])


def check_reinforce(reinforce):
    loss, gradient, _ = family_case(lambda out, batch: reinforce(out, batch))
    close(loss, -(-1 - 2 + 8 + 10 + 12) / 5)
    close(gradient, [[-0.2, -0.2, 0], [0.4, 0.4, 0.4]])


def check_rloo(rloo):
    loss, gradient, _ = family_case(rloo)
    close(loss, -(-1 - 2 + 8 + 10 + 12) / 2)
    close(gradient, [[-0.5, -0.5, 0], [1, 1, 1]])


CHECKS = {
    name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")
}
DIRECT = [name for name in CHECKS if name not in ("aggregations", "clip", "family")]


@pytest.mark.parametrize("name", DIRECT)
def test_closed_form(name):
    CHECKS[name](family.find(name))


@pytest.mark.parametrize("name", sorted({*BY_DIALS} - {"ppo"}))
def test_closed_form_by_dials(name):
    CHECKS[name](BY_DIALS[name])


def test_aggregations():
    check_aggregations(parts.token_mean, parts.sequence_mean, parts.fixed_length)


def test_clip():
    check_clip(policy.clipped)


def test_every_method_has_a_closed_form():
    composed = {"nll_kl", "orpo", "ppo"}  # tested below as the sums that they are
    assert set(OBJECTIVES) - composed <= set(DIRECT)


@pytest.mark.parametrize(
    "whole, parts",
    [
        (partial(imitation.nll_kl, beta=0.3), [(1, imitation.nll), (0.3, imitation.kl_to_ref)]),
        (partial(preferences.orpo, beta=0.3), [(1, preferences.nll_chosen), (0.3, preferences.odds_ratio)]),
        (partial(family.ppo, low=0.1, high=0.3, value_clip=0.1, value_weight=0.7), [
            (1, partial(family.ppo_policy, low=0.1, high=0.3)), (0.7, partial(policy.ppo_value, clip=0.1))]),
        (partial(BY_DIALS["ppo"], low=0.1, high=0.1), [
            (1, partial(family.ppo_policy, low=0.1, high=0.1)), (0.1, policy.ppo_value)]),
    ],
)  # fmt: skip
def test_sums(whole, parts):
    _, _, make, batch = case()
    loss, info = whole(make(), batch)
    close(loss, sum(w * part(make(), batch)[0] for w, part in parts))
    assert set(info) == {k for _, part in parts for k in part(make(), batch)[1]}


def test_nll_chosen_is_the_nll_of_the_even_rows():
    _, _, make, batch = case()
    out = make()
    chosen = Out(out.logits[::2], out.logprobs[::2], out.mask[::2])
    close(preferences.nll_chosen(out, batch)[0], imitation.nll(chosen, batch_like(chosen.mask))[0])


# ---- mutants: the checks above must reject them ----


def with_part(objective, **parts):
    """The objective with one of its parts replaced by a wrong one."""

    def mutant(*args, **kwargs):
        with pytest.MonkeyPatch.context() as patch:
            family.put(patch, **parts)
            return objective(*args, **kwargs)

    return mutant


def reversed_log_ratio(out, batch, column):
    return -parts.log_ratio(out, batch, column)


def swapped(objective):
    return with_part(objective, kl=lambda p, q, kl=parts.kl: kl(q, p))


def max_clip(ratio, advantages, low, high):
    return torch.max(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages), torch.zeros_like(
        ratio, dtype=torch.bool
    )


def only_clamped(ratio, advantages, low, high):
    gain = ratio.clamp(1 - low, 1 + high) * advantages
    return gain, gain < ratio * advantages


def unclipped(ratio, advantages, low, high):
    return ratio * advantages, torch.zeros_like(ratio * advantages, dtype=torch.bool)


def k3_of(d):
    return torch.expm1(-d) + d


def value_loss_with_min(out, batch, clip):
    old, returns = batch["old_values"], batch["returns"]
    error, clipped_error = (
        (out.values - returns).square(),
        (out.values.clamp(old - clip, old + clip) - returns).square(),
    )
    return parts.token_mean(torch.min(error, clipped_error), out.mask) / 2, {}


def rootless_ratio(out, batch):
    return parts.log_ratio(out, batch, "old_logprobs").sum(1, keepdim=True).exp()


def sum_that_undoes_the_mean(out, right=parts.sequence_logprob):
    return right(out) * out.mask.sum(1)


def last_column(mask):
    return torch.full((len(mask),), mask.shape[1] - 1)


def leaky_log_ratio(out, batch, column):
    return out.logprobs - batch[column]


MUTANTS = {
    "k3 reversed": (check_k3, lambda out, batch: k3_of(-policy.k1(out, batch))),
    "k3 without its log": (check_k3, lambda out, batch: torch.expm1(-policy.k1(out, batch))),
    "k1 reversed": (check_k1, lambda out, batch: -policy.k1(out, batch)),
    "k2 for k1": (check_k1, policy.k2),
    "k3 for k2": (check_k2, policy.k3),
    "k2 without the half": (check_k2, lambda out, batch: 2 * policy.k2(out, batch)),
    "kl swapped": (check_kl, lambda p, q: parts.kl(q, p)),
    "kl_to_ref swapped": (check_kl_to_ref, swapped(imitation.kl_to_ref)),
    "forward_kl swapped": (check_forward_kl, swapped(distillation.forward_kl)),
    "reverse_kl swapped": (check_reverse_kl, swapped(distillation.reverse_kl)),
    "forward for reverse": (check_reverse_kl, distillation.forward_kl),
    "js swapped inside": (check_js, swapped(distillation.js)),
    "js with beta on the student": (
        check_js,
        lambda out, batch, beta: distillation.js(out, batch, beta=1 - beta),
    ),
    "clip with max for min": (check_clip, max_clip),
    "clip always": (check_clip, only_clamped),
    "clip never": (check_clip, unclipped),
    "clip low and high exchanged": (check_clip, lambda r, a, low, high: policy.clipped(r, a, high, low)),
    "grpo with max for min": (check_grpo, with_part(family.grpo, clipped=max_clip)),
    "grpo unclipped": (check_grpo, with_part(family.grpo, clipped=unclipped)),
    "grpo by dials with max for min": (check_grpo, with_part(BY_DIALS["grpo"], clipped=max_clip)),
    "grpo by dials unclipped": (check_grpo, with_part(BY_DIALS["grpo"], clipped=unclipped)),
    "dr_grpo by dials forgets the rows": (
        check_dr_grpo,
        lambda out, batch, max_len: BY_DIALS["dr_grpo"](out, batch, max_len=max_len / 2),
    ),
    "gspo by dials with the token ratio": (check_gspo, BY_DIALS["grpo"]),
    "gspo by dials that counts masked tokens": (
        check_gspo,
        with_part(BY_DIALS["gspo"], log_ratio=leaky_log_ratio),
    ),
    "cispo by dials without cap": (check_cispo, lambda out, batch, cap: BY_DIALS["cispo"](out, batch)),
    "reinforce by dials summed": (check_reinforce, BY_DIALS["rloo"]),
    "rloo by dials averaged": (check_rloo, BY_DIALS["reinforce"]),
    "grpo with the token mean": (check_grpo, partial(family.dapo, high=0.2)),
    "dapo with the sequence mean": (check_dapo, partial(family.grpo, high=0.28)),
    "dapo without clip-higher": (check_dapo, family.ppo_policy),
    "dr_grpo with the sampled lengths": (check_dr_grpo, lambda out, batch, max_len: family.grpo(out, batch)),
    "dr_grpo forgets the rows": (
        check_dr_grpo,
        lambda out, batch, max_len: family.dr_grpo(out, batch, max_len=max_len / 2),
    ),
    "gspo with the token ratio": (check_gspo, family.grpo),
    "gspo without the root": (check_gspo, with_part(family.gspo, sequence_ratio=rootless_ratio)),
    "gspo that counts masked tokens": (check_gspo, with_part(family.gspo, log_ratio=leaky_log_ratio)),
    "cispo without cap": (check_cispo, lambda out, batch, cap: family.cispo(out, batch)),
    "cispo that clips the gain": (check_cispo, lambda out, batch, cap: family.dapo(out, batch)),
    "cispo with a live weight": (
        check_capped_weight,
        lambda r, a, lp, cap: (r.clamp(max=cap) * a * lp, r > cap),
    ),
    "ratio reversed": (
        check_grpo,
        with_part(family.grpo, log_ratio=lambda o, b, c, f=parts.log_ratio: -f(o, b, c)),
    ),
    "reinforce with the wrong sign": (
        check_reinforce,
        lambda out, batch: (-family.reinforce(out, batch)[0], {}),
    ),
    "reinforce summed": (check_reinforce, family.rloo),
    "rloo averaged": (check_rloo, family.reinforce),
    "nll averaged per answer": (check_nll, with_part(imitation.nll, token_mean=parts.sequence_mean)),
    "nll without mask": (
        check_nll,
        lambda out, batch: imitation.nll(replace(out, mask=torch.ones_like(out.mask)), batch),
    ),
    "dpo without reference": (
        check_dpo,
        with_part(preferences.dpo, log_ratio=lambda out, batch, column: out.logprobs * out.mask),
    ),
    "dpo without beta": (check_dpo, lambda out, batch, beta: preferences.dpo(out, batch, beta=1.0)),
    "dpo with the sides exchanged": (
        check_dpo,
        with_part(preferences.dpo, pairs=lambda x, batch: (x[1::2], x[0::2])),
    ),
    "dpo that counts masked tokens": (check_dpo, with_part(preferences.dpo, log_ratio=leaky_log_ratio)),
    "dpo averaged over tokens": (
        check_dpo,
        with_part(
            preferences.dpo,
            log_ratio=lambda o, b, c, f=parts.log_ratio: f(o, b, c) / o.mask.sum(1, keepdim=True),
        ),
    ),
    "dpo smoothed the wrong way": (check_smoothed, lambda m, eps: preferences.smoothed(m, 1 - eps)),
    "dpo not smoothed": (check_smoothed, lambda m, eps: preferences.prefer(m)),
    "ipo summed over tokens": (
        check_ipo,
        with_part(
            preferences.ipo, log_ratio=lambda o, b, c, f=parts.log_ratio: f(o, b, c) * o.mask.sum(1)[:, None]
        ),
    ),
    "ipo with the sides exchanged": (
        check_ipo,
        with_part(preferences.ipo, pairs=lambda x, batch: (x[1::2], x[0::2])),
    ),
    "simpo without its head start": (
        check_simpo,
        lambda out, batch, beta, gamma: preferences.simpo(out, batch, beta=beta, gamma=0.0),
    ),
    "simpo with the summed log-prob": (
        check_simpo,
        with_part(preferences.simpo, sequence_logprob=sum_that_undoes_the_mean),
    ),
    "orpo with the summed log-prob": (
        check_odds_ratio,
        with_part(preferences.odds_ratio, sequence_logprob=sum_that_undoes_the_mean),
    ),
    "orpo with the sides exchanged": (
        check_odds_ratio,
        with_part(preferences.odds_ratio, pairs=lambda x, batch: (x[1::2], x[0::2])),
    ),
    "reward read at the end of the padding": (
        check_bradley_terry,
        with_part(preferences.bradley_terry, last_token=last_column),
    ),
    "reward read at the first answer token": (
        check_bradley_terry,
        with_part(preferences.bradley_terry, last_token=lambda mask: mask.argmax(1)),
    ),
    "value loss with min": (check_ppo_value, value_loss_with_min),
    "value loss unclipped": (
        check_ppo_value,
        lambda out, batch, clip: policy.ppo_value(out, batch, clip=1e9),
    ),
    "value loss without the half": (
        check_ppo_value,
        lambda out, batch, clip: (2 * policy.ppo_value(out, batch, clip=clip)[0], {}),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_fails(name):
    check, mutant = MUTANTS[name]
    with pytest.raises(
        AssertionError, match="not close|^assert"
    ):  # a wrong number, not a wrong shape or type
        check(mutant)


@pytest.mark.parametrize("mask_of", ["token_mean", "sequence_mean", "fixed_length"])
def test_exchanged_aggregation_fails(mask_of):
    right = {name: getattr(parts, name) for name in ("token_mean", "sequence_mean", "fixed_length")}
    wrong = right | {mask_of: lambda x, mask, length=None: x.mean()}
    with pytest.raises(AssertionError):
        check_aggregations(**wrong)


# ---- identities (CLAIMS 2b) ----


def on_policy(seed=0):
    logits, _, make, batch = case(seed)
    return logits, make, batch.add(old_logprobs=make().logprobs)


@pytest.mark.parametrize("name", FAMILY)
def test_on_policy_no_clip_binds(name):
    """C071: at mu = 1 the ratio is 1 and nothing is cut, however narrow the range."""
    logits, make, batch = on_policy()
    knobs = {"cap": 1.0} if "cispo" in name else {"low": 1e-6, "high": 2e-6}
    loss, info = partial(FAMILY[name], **knobs)(make(), batch)
    assert info["clip_fraction"] == 0 and info["ratio_max"] == 1 and info["approx_kl"] == 0
    close(grad(loss, logits)[0], grad(FAMILY[name](make(), batch)[0], logits)[0])


@pytest.mark.parametrize(
    "objective", [f for name, f in FAMILY.items() if name.split()[0] in ("ppo_policy", "dapo", "cispo")]
)
def test_on_policy_ppo_dapo_cispo_are_reinforce(objective):
    """C071: with the token mean, the gradient on fresh samples is that of REINFORCE with the same
    advantages.
    """
    logits, make, batch = on_policy()
    close(grad(objective(make(), batch)[0], logits)[0], grad(family.reinforce(make(), batch)[0], logits)[0])


def test_on_policy_gspo_is_grpo():
    """C077: the gradient is A/len · sum grad log pi in both."""
    logits, make, batch = on_policy()
    out = make()
    by_hand = -(batch["advantages"][:, 0] * parts.sequence_logprob(out) / out.mask.sum(1)).mean()
    for objective in (family.gspo, family.grpo, BY_DIALS["gspo"], BY_DIALS["grpo"]):
        close(grad(objective(make(), batch)[0], logits)[0], grad(by_hand, logits)[0])


def test_on_policy_dr_grpo_is_rloo_up_to_a_constant():
    """C128 as gradients: group_mean = (G-1)/G · leave_one_out, and the divisor is max_len."""
    logits, make, batch = on_policy()
    rewards, group = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.long)
    centred = batch.add(advantages=adv.group_mean(rewards, group))
    others = batch.add(advantages=adv.leave_one_out(rewards, group))
    for dr_grpo, rloo in ((family.dr_grpo, family.rloo), (BY_DIALS["dr_grpo"], BY_DIALS["rloo"])):
        dr, loo = grad(dr_grpo(make(), centred, max_len=8)[0], logits), grad(rloo(make(), others)[0], logits)
        close(dr[0], loo[0] * (3 / 4) / 8)


def test_off_policy_the_family_differs():
    """Negative control of the identities above: on stale samples no two members have the same gradient."""
    logits, _, make, batch = case(B=32, T=8, spread=1.0)
    functions = [f for name, f in FAMILY.items() if "dials" not in name] + [family.reinforce]
    dials = [f for name, f in FAMILY.items() if "dials" in name] + [BY_DIALS["reinforce"]]
    for members in (functions, dials):
        grads = [grad(f(make(), batch)[0], logits)[0] for f in members]
        for i, a in enumerate(grads):
            assert all((a - b).abs().max() > 1e-3 for b in grads[:i])


@pytest.mark.parametrize("name", FAMILY)
def test_equal_rewards_give_no_gradient(name):
    """C074, C079: a group whose answers score the same teaches nothing."""
    logits, _, make, batch = case()
    advantages = adv.group_norm(torch.full((4,), 0.7), torch.zeros(4, dtype=torch.long))
    gradient = grad(FAMILY[name](make(), batch.add(advantages=advantages))[0], logits)[0]
    assert gradient.count_nonzero() == 0


def test_dpo_starts_at_ln2_with_half_weight():
    """C088: the policy is its own reference: margin 0, loss ln 2, gradient -beta/2 (grad logp_w - grad
    logp_l).
    """
    logits, _, make, batch = case(B=2)
    out = make()
    loss, info = preferences.dpo(out, batch.add(ref_logprobs=out.logprobs), beta=0.3)
    close(loss, LN2)
    assert info["margin"] == 0
    logp_w, logp_l = parts.sequence_logprob(out)
    expected = -0.3 * 0.5 * (grad(logp_w, logits)[0] - grad(logp_l, logits)[0])
    close(grad(loss, logits)[0], expected)


def test_dpo_gradient_identity_away_from_the_start():
    logits, _, make, batch = case(B=2, spread=2.0)
    out = make()
    loss, info = preferences.dpo(out, batch, beta=0.3)
    logp_w, logp_l = parts.sequence_logprob(out)
    expected = -0.3 * torch.sigmoid(-info["margin"]) * (grad(logp_w, logits)[0] - grad(logp_l, logits)[0])
    assert abs(info["margin"]) > 0.1
    close(grad(loss, logits)[0], expected)


def test_a_baseline_leaves_the_expected_gradient_of_a_sequence_unchanged():
    """C070 by enumeration of every answer of up to two tokens (token 0 ends it), so lengths differ; rloo is
    exact, a per-answer mean is not.
    """
    answers, rewards = (
        [[0], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]],
        torch.tensor([3.0, 1, 0, 2, 5, 1, 1]),
    )
    mask = doubles(*[[1] * len(a) + [0] * (2 - len(a)) for a in answers])
    targets = torch.tensor([a + [0] * (2 - len(a)) for a in answers])
    first, second = doubles(0.2, -0.1, 0.4), doubles([0, 0, 0], [0.5, 0, -0.5], [0.3, 0.1, 0])
    theta = torch.cat(
        [first[None], second]
    ).requires_grad_()  # first-token logits, then second-token logits given the first
    logits = torch.stack([theta[:1].expand(7, 3), theta[1:][targets[:, 0]]], 1)
    out = out_of(logits, targets, mask)
    prob = parts.sequence_logprob(out).exp()
    close(prob.sum(), 1.0)
    exact = grad(-(prob * rewards).sum(), theta)[0]

    def expected(objective, baseline):
        """Sum over answers of P(answer) · gradient of the objective on that one answer."""
        advantages = (rewards - baseline)[:, None].double()
        total = 0
        for i in range(7):
            one = Out(out.logits[i : i + 1], out.logprobs[i : i + 1], mask[i : i + 1])
            columns = dict(advantages=advantages[i : i + 1], old_logprobs=one.logprobs)
            loss = objective(one, batch_like(one.mask, **columns))[0]
            total = total + prob[i].detach() * grad(loss, theta)[0]
        return total

    for rloo, reinforce in (
        (family.rloo, family.reinforce),
        (BY_DIALS["rloo"], BY_DIALS["reinforce"]),
    ):
        close(expected(rloo, 0.0), exact)
        close(expected(rloo, 2.0), exact)
        assert (
            expected(reinforce, 2.0) - expected(reinforce, 0.0)
        ).abs().max() > 0.01  # 1/length is part of the sample


def test_corrected_k3_has_the_gradient_of_the_kl():
    """ratio · k3 on fresh samples (TRL's use_bias_correction_kl): the gradient of KL(pi || ref), unlike k3
    alone.
    """

    def corrected(out, batch):
        return policy.token_ratio(out, batch.add(old_logprobs=out.logprobs)) * policy.k3(out, batch)

    close(enumerated(P, Q, corrected)[1], gradient_of_exact_kl(P, Q)[1])


def test_ends_of_js():
    for beta, limit in [(1e-6, distillation.forward_kl), (1 - 1e-6, distillation.reverse_kl)]:
        value = over_vocabulary(partial(distillation.js, beta=beta), "teacher_logits") / min(beta, 1 - beta)
        close(value, over_vocabulary(limit, "teacher_logits"), rtol=1e-4, atol=0)
    with pytest.raises(ValueError, match="forward_kl and reverse_kl"):
        over_vocabulary(partial(distillation.js, beta=0.0), "teacher_logits")


def test_distilling_from_oneself_costs_nothing():
    logits, _, make, batch = case()
    batch = batch.add(teacher_logits=logits, ref_logits=logits)
    for objective in (distillation.forward_kl, distillation.reverse_kl, distillation.js, imitation.kl_to_ref):
        loss, _ = objective(make(), batch)
        close(loss, 0.0, atol=1e-12, rtol=0)
        close(grad(loss, logits)[0], torch.zeros_like(logits), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", [name for name in FAMILY if "ppo" not in name])
def test_beta_adds_the_aggregated_k3(name):
    _, _, make, batch = case()
    aggregate = {
        "grpo": parts.sequence_mean,
        "gspo": parts.sequence_mean,
        "dr_grpo": partial(parts.fixed_length, length=8),
    }.get(name.split()[0], parts.token_mean)
    without, with_kl = FAMILY[name](make(), batch)[0], partial(FAMILY[name], beta=0.3)(make(), batch)
    close(with_kl[0], without + 0.3 * aggregate(policy.k3(make(), batch), make().mask))
    close(with_kl[1]["kl"], parts.token_mean(policy.k3(make(), batch), make().mask))


# ---- what every method must keep ----


@pytest.mark.parametrize("name", METHODS)
def test_masked_positions_get_exactly_zero_gradient(name):
    """C008, also with rubbish in the columns under the mask."""
    logits, values, make, batch = case(spread=1.0)
    rubbish = {k: batch[k].masked_fill(make().mask == 0, -math.inf) for k in ("old_logprobs", "ref_logprobs")}
    loss, _ = METHODS[name](make(), batch.add(**rubbish))
    grads = [g for g in grad(loss, logits, values) if g is not None]
    assert grads and all(g[make().mask == 0].count_nonzero() == 0 for g in grads)
    assert all(g.isfinite().all() for g in grads) and any(g.count_nonzero() > 0 for g in grads)


@pytest.mark.parametrize("name", METHODS)
def test_reads_exactly_its_columns(name):
    """The table is true: with its columns a method runs, without any one of them it says which is missing and
    who makes it.
    """
    _, _, make, batch = case()
    method = TABLE[name]
    needed = {k: batch[k] for k in method.columns}
    METHODS[name](make(), batch_like(make().mask, **needed))
    for missing in needed:
        with pytest.raises(MissingColumn, match=missing):
            METHODS[name](
                make(), batch_like(make().mask, **{k: v for k, v in needed.items() if k != missing})
            )
    if method.beta_columns:
        with pytest.raises(MissingColumn, match=method.beta_columns[0]):
            METHODS[name](make(), batch_like(make().mask, **needed), beta=0.1)
        METHODS[name](
            make(), batch_like(make().mask, **needed, **{k: batch[k] for k in method.beta_columns}), beta=0.1
        )


def test_table():
    for name, method in OBJECTIVES.items():
        assert name == method.name == method.function.__name__ and family.find(name) is method.function
        assert set(method.columns + method.beta_columns) <= set(COLUMNS)
        assert ("advantages" in method.columns) == (method.advantage is not None)
        assert method.advantage is None or callable(getattr(adv, method.advantage))
        assert method.function.__doc__ and (
            "arXiv" in method.paper or "doi" in method.paper or "Radford" in method.paper
        )
        assert list(inspect.signature(method.function).parameters)[:2] == ["out", "batch"]


@pytest.mark.parametrize("name", METHODS)
def test_info_is_detached_finite_scalars(name):
    _, _, make, batch = case()
    loss, info = METHODS[name](make(), batch)
    assert loss.ndim == 0 and loss.requires_grad and info
    for value in info.values():
        assert value.ndim == 0 and not value.requires_grad and math.isfinite(float(value))


@pytest.mark.parametrize("name", METHODS)
def test_nothing_to_learn_is_zero_not_nan(name):
    """A batch without a single unmasked token: a finite loss and no gradient."""
    logits, values, make, batch = case()
    out = replace(make(), mask=torch.zeros_like(make().mask))
    if name == "bradley_terry":
        return  # a reward needs a position to be read from
    loss, info = METHODS[name](out, batch)
    assert loss.isfinite() and all(v.isfinite() for v in info.values())
    assert all(g is None or g.count_nonzero() == 0 for g in grad(loss, logits, values))


def grow(x, width, fill):
    """More columns on the right of x [B,T,...]."""
    return torch.cat([x, torch.full((x.shape[0], width, *x.shape[2:]), fill, dtype=x.dtype)], 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.0, 3.0, -30.0]))
@pytest.mark.parametrize("name", METHODS)
def test_padding_changes_nothing(name, seed, width, fill):
    """Masked columns on the right leave loss and gradient unchanged (dr_grpo's constant is passed, not read
    off the width).
    """
    _, _, make, batch = case(seed)
    out = make()
    wide = Out(
        grow(out.logits, width, fill),
        grow(out.logprobs, width, fill),
        grow(out.mask, width, 0.0),
        grow(out.values, width, fill),
    )
    columns = {
        k: grow(v, width, fill) if v.ndim > 1 and v.shape[1] == out.mask.shape[1] else v
        for k, v in batch.given.items()
    }
    loss, wide_loss = METHODS[name](out, batch)[0], METHODS[name](wide, batch_like(wide.mask, **columns))[0]
    close(wide_loss, loss)
    for g, wide_g in zip(grad(loss, out.logprobs, out.values), grad(wide_loss, out.logprobs, out.values)):
        assert (g is None) == (wide_g is None) and (g is None or torch.allclose(g, wide_g, atol=1e-12))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(2)))
@pytest.mark.parametrize("name", METHODS)
def test_order_of_rows_changes_nothing(name, seed, order):
    """Rows may be shuffled; pairs as pairs."""
    _, _, make, batch = case(seed)
    rows = torch.tensor([2 * i + j for i in order for j in range(2)])
    out = make()
    shuffled = Out(out.logits[rows], out.logprobs[rows], out.mask[rows], out.values[rows])
    close(METHODS[name](shuffled, batch.pick(rows))[0], METHODS[name](out, batch)[0])


# ---- diagnostics ----


def test_pairs_are_averaged():
    """Twice the same pairs: the same loss."""
    _, _, make, batch = case()
    out, twice = make(), torch.arange(4).repeat(2)
    doubled = Out(out.logits[twice], out.logprobs[twice], out.mask[twice], out.values[twice])
    for objective in (
        preferences.dpo,
        preferences.ipo,
        preferences.simpo,
        preferences.odds_ratio,
        preferences.bradley_terry,
    ):
        close(objective(doubled, batch.pick(twice))[0], objective(out, batch)[0])


@pytest.mark.parametrize("objective", [family.grpo, BY_DIALS["grpo"]])
def test_kl_old_is_how_far_the_policy_moved(objective):
    """The mean over samples of the old policy is KL(old || pi), by enumeration."""
    mask = torch.ones(1, 1, dtype=torch.float64)
    total = 0.0
    for token in range(3):
        out = out_of(P.log()[None, None], torch.tensor([[token]]), mask)
        batch = batch_like(mask, old_logprobs=Q.log()[token][None, None], advantages=doubles([1.0]))
        total = total + Q[token] * objective(out, batch)[1]["approx_kl"]
    close(total, (Q * (Q / P).log()).sum())


def test_explained_variance():
    """1 for a perfect critic, 0 for one that knows only the mean."""
    returns, mask = doubles([1, 2, 6, 99]), doubles([1, 1, 1, 0])
    for values, expected in (
        (returns, 1.0),
        (torch.full_like(returns, 3.0), 0.0),
        (doubles([1, 2, 3, 0]), 1 - 9 / 14),
    ):
        batch = batch_like(mask, returns=returns, old_values=values)
        close(
            policy.ppo_value(from_logprobs(returns, mask, values), batch)[1]["explained_variance"], expected
        )


def test_agreement():
    logits, mask = doubles([[1, 0, 0], [0, 1, 0], [0, 0, 1]]), doubles([1, 1, 0])
    teacher = doubles([[9, 1, 0], [3, 2, 0], [0, 0, 1]])
    out = out_of(logits, torch.zeros(1, 3, dtype=torch.long), mask)
    close(distillation.forward_kl(out, batch_like(mask, teacher_logits=teacher))[1]["agreement"], 0.5)


@pytest.mark.parametrize(
    "name, knobs",
    [
        ("grpo", {"low": 0.2, "high": 0.2, "beta": 0.0}),
        ("dapo", {"low": 0.2, "high": 0.28, "beta": 0.0}),
        ("gspo", {"low": 3e-4, "high": 4e-4, "beta": 0.0}),
        ("cispo", {"cap": 5.0, "beta": 0.0}),
        ("dpo", {"beta": 0.1, "smoothing": 0.0}),
        ("orpo", {"beta": 0.1}),
        ("ppo", {"low": 0.2, "high": 0.2, "value_clip": 0.2, "value_weight": 0.1}),
    ],
)
def test_defaults_are_those_of_the_papers(name, knobs):
    parameters = inspect.signature(OBJECTIVES[name].function).parameters.values()
    assert {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY} == knobs


# ---- clear errors and traps ----


def test_pairs_need_their_column():
    _, _, make, batch = case()
    torn = batch_like(make().mask, pair=torch.tensor([0, 1, 0, 1]), ref_logprobs=batch["ref_logprobs"])
    with pytest.raises(ValueError, match="same pair"):
        preferences.dpo(make(), torn)


@pytest.mark.parametrize(
    "objective", [preferences.bradley_terry, policy.ppo_value, family.ppo, BY_DIALS["ppo"]]
)
def test_value_head_is_asked_for(objective):
    _, _, make, batch = case()
    with pytest.raises(ValueError, match="value head"):
        objective(replace(make(), values=None), batch)


def test_orpo_survives_certainty():
    """A log-prob of exactly 0 (reached by rounding in float32) has infinite odds: the gradient must stay
    finite.
    """
    logprobs = torch.tensor([[0.0], [-1.0]], requires_grad=True)
    loss, _ = preferences.orpo(
        from_logprobs(logprobs, torch.ones(2, 1)), batch_like(torch.ones(2, 1), pair=torch.tensor([0, 0]))
    )
    assert loss.isfinite() and grad(loss, logprobs)[0].isfinite().all()


def test_entropy():
    out = out_of(doubles([[0, 0, 0], [0, 0, -math.inf]]), torch.tensor([[0, 0]]), doubles([1, 1]))
    close(parts.entropy(out), (LN3 + LN2) / 2)  # a forbidden token (grammar) has probability 0, not nan


def test_advantages_per_token():
    """[B,T-1] advantages (GAE) weigh each token by its own number."""
    _, _, make, batch = case()
    per_token = torch.randn_like(batch["old_logprobs"])
    by_hand = -(per_token * make().logprobs * make().mask).sum() / make().mask.sum()
    for reinforce in (family.reinforce, BY_DIALS["reinforce"]):
        close(reinforce(make(), batch.add(advantages=per_token))[0], by_hand)
