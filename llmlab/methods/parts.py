"""Parts of objectives: from one number a token to one number, ratios, entropy, sums of objectives.

An objective is a function (out, batch) -> (loss, info). `out` moves and carries the gradient; `batch` is
fixed: its columns were computed before the update. Only `out.mask` is read (already shifted, 0 or 1), never
`batch.mask`. Log-probs, losses and KL are in nats. `info` holds detached scalars to plot. Knobs are keyword
arguments.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..models.forward import Out
from ..tokens.batch import Batch

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
        return trained_mean(torch.special.entr(trained(out.logits, out.mask).softmax(-1)).sum(-1))


def trained(x: Tensor, mask: Tensor) -> Tensor:
    """x [B,T-1,V] of the N tokens under the mask alone, [N,V]; forward_trained() gives logits so already."""
    return x[mask > 0] if x.ndim == 3 else x


def trained_mean(x: Tensor) -> Tensor:
    """token_mean of one number for each token under the mask, x [N]; 0 where there is none."""
    return x.sum() / max(1, len(x))


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
    loss: Tensor = sum(weight * loss for weight, loss, _ in results)  # type: ignore[assignment]
    return loss, {k: v for _, _, info in results for k, v in info.items()}


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) = sum_v p(v) (log p(v) - log q(v)): what it costs to expect q where p is true. Log-probs
    [...,V] x 2 -> [...]
    """
    return (log_p.exp() * (log_p - log_q)).sum(-1)
