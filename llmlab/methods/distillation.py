"""Distillation: learn from what a teacher would say, not only from what was said. With a temperature T both
models' logits are divided by it and the loss is times T², so that its gradient keeps its size (Hinton et al.,
section 2).
"""

import math
from functools import partial
from typing import Callable

import torch
from torch import Tensor

from ..models.forward import Out
from ..tokens.batch import Batch
from .imitation import nll
from .parts import Objective, detached, kl, trained, trained_mean, weighted_sum

NEVER = -80.0  # log-prob of an event that cannot happen, finite so that 0 · NEVER is 0


def top_k(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The teacher's k likeliest tokens, the likeliest first, and their log-probs with one entry more: that of
    all other tokens together, the tail. logits [N,V] -> ids [N,k], log-probs [N,k+1]

    An objective on them compares k + 1 events, so it is never larger than the one on all V tokens (data
    processing inequality), and equal for k = V. What it cannot see is how the student shares out the tail.
    TRL's ServerDistillationTrainer has the same tail for the forward KL only (loss_top_k, loss_add_tail);
    without it both sides are renormalised on the k tokens, which bounds nothing, and for beta > 0 it takes k
    = 1 alone. The top_k of its DistillationTrainer is a setting of the sampler.
    """
    logprobs = logits.log_softmax(-1)
    ids = logprobs.topk(k).indices
    return ids, with_tail(logprobs, ids)


def with_tail(logprobs: Tensor, ids: Tensor) -> Tensor:
    """Log-probs of the tokens `ids` and, last, of all others together. [N,V], [N,k] -> [N,k+1]"""
    chosen = logprobs.gather(-1, ids)
    if ids.shape[-1] == logprobs.shape[-1]:
        return torch.cat([chosen, torch.full_like(chosen[:, :1], NEVER)], -1)
    rest = logprobs.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([chosen, rest], -1)


def both(out: Out, batch: Batch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probs of teacher and student at the tokens under the mask: [N,V] each, or [N,k+1] if the batch has
    the teacher's top k, which are those of temperature 1.
    """
    student = (trained(out.logits, out.mask) / temperature).log_softmax(-1)
    if "teacher_ids" not in batch.given:
        return (trained(batch["teacher_logits"], out.mask) / temperature).log_softmax(-1), student
    if temperature != 1:
        raise ValueError(f"the teacher's top k are those of temperature 1, and this loss wants {temperature}")
    ids = trained(batch["teacher_ids"], out.mask)
    return trained(batch["teacher_logprobs"], out.mask), with_tail(student, ids)


def agreement(out: Out, batch: Batch) -> Tensor:
    """Share of the tokens where student and teacher would pick the same next token."""
    if "teacher_ids" in batch.given:
        favourite = trained(batch["teacher_ids"], out.mask)[:, 0]
    else:
        favourite = trained(batch["teacher_logits"], out.mask).argmax(-1)
    return trained_mean((trained(out.logits, out.mask).argmax(-1) == favourite).float())


def forward_kl(out: Out, batch: Batch, *, temperature: float = 1.0) -> tuple[Tensor, dict]:
    """Distillation: cover everything the teacher would say. Hinton et al., arXiv 1503.02531

    loss = T² · token_mean(KL(teacher || student)) · reads teacher_logits [B,T-1,V], or the teacher's top k
    """
    teacher, student = both(out, batch, temperature)
    loss = temperature**2 * trained_mean(kl(teacher, student))
    return loss, detached(forward_kl=loss, agreement=agreement(out, batch))


def reverse_kl(out: Out, batch: Batch, *, temperature: float = 1.0) -> tuple[Tensor, dict]:
    """Distillation: say nothing the teacher would not say. MiniLLM, arXiv 2306.08543

    loss = T² · token_mean(KL(student || teacher)) · reads teacher_logits [B,T-1,V], or the teacher's top k
    """
    teacher, student = both(out, batch, temperature)
    loss = temperature**2 * trained_mean(kl(student, teacher))
    return loss, detached(reverse_kl=loss, agreement=agreement(out, batch))


def js(out: Out, batch: Batch, *, beta: float = 0.5, temperature: float = 1.0) -> tuple[Tensor, dict]:
    """Distillation between both directions: never larger than T² ln 2 at beta = 1/2. GKD, arXiv 2306.13649

    M = beta · teacher + (1 - beta) · student;  loss = T² · token_mean(beta KL(teacher || M) + (1 - beta)
    KL(student || M)), 0 < beta < 1.
    loss/beta tends to forward_kl for beta -> 0, loss/(1-beta) to reverse_kl for beta -> 1. Reads
    teacher_logits [B,T-1,V], or the teacher's top k.
    """
    if not 0 < beta < 1:
        raise ValueError(
            f"js mixes both models with 0 < beta < 1, not {beta}; its ends are the objectives forward_kl and"
            " reverse_kl"
        )
    teacher, student = both(out, batch, temperature)
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log(1 - beta))
    divergence = beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)
    loss = temperature**2 * trained_mean(divergence)
    return loss, detached(js=loss, agreement=agreement(out, batch))


def objective(beta: float, *, temperature: float = 1.0, labels: float = 0.0) -> Objective:
    """The direction by TRL's `beta`: 0 forward KL, 1 reverse KL, js between; `labels`: the share of the loss
    that the likelihood of the text itself has (Hinton et al.).
    """
    ends: dict[float, Callable] = {0.0: forward_kl, 1.0: reverse_kl}
    taught = partial(ends.get(beta) or partial(js, beta=beta), temperature=temperature)
    return partial(weighted_sum, terms=((1 - labels, taught), (labels, nll))) if labels else taught
