"""Distillation: learn from what a teacher would say, not only from what was said."""

import math

import torch
from torch import Tensor

from ..models.forward import Out
from ..tokens.batch import Batch
from .parts import detached, kl, token_mean


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
