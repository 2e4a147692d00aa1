"""Preferences: the losses on pairs beside plain DPO. One short function a method, (out, batch) -> (loss,
info), rows 2i chosen, 2i+1 rejected.

They differ in two things: what is compared (the log-ratio to a reference, its mean, or the mean log-prob),
and the curve that it is put on (logistic or square).
"""

from dataclasses import dataclass
from functools import partial
from typing import Callable

import torch.nn.functional as F
from torch import Tensor

from ..models.forward import Out
from ..tokens.batch import Batch
from .objectives import (
    Objective,
    log_ratio,
    nll_chosen,
    orpo,
    pair_info,
    pairs,
    prefer,
    sequence_logprob,
    weighted_sum,
)


def smoothed(margin: Tensor, smoothing: float) -> Tensor:
    """Bradley-Terry where a share of the labels is taken to be wrong; ln 2 when undecided. margin [B/2].
    cDPO, Mitchell 2023

    -(1 - eps) log sigmoid(margin) - eps log sigmoid(-margin): finite margins are best, sigmoid(margin) = 1 -
    eps.
    """
    return (1 - smoothing) * prefer(margin) + smoothing * prefer(-margin)


def dpo(out: Out, batch: Batch, *, beta: float = 0.1, smoothing: float = 0.0) -> tuple[Tensor, dict]:
    """Raise the chosen answer against the rejected one, relative to the reference. DPO, arXiv 2305.18290;
    label smoothing: cDPO

    reward = beta · sum_t log(pi/ref);  loss = smoothed(reward_w - reward_l) · reads pair [B], ref_logprobs
    [B,T-1]. ln 2 at the start.
    """
    reward_w, reward_l = pairs(beta * log_ratio(out, batch, "ref_logprobs").sum(1), batch)
    margin = reward_w - reward_l
    return smoothed(margin, smoothing), pair_info(
        margin, reward=(reward_w, reward_l), logprob=pairs(sequence_logprob(out), batch)
    )


def ipo(out: Out, batch: Batch, *, beta: float = 0.1) -> tuple[Tensor, dict]:
    """Bring the margin to a fixed size instead of to infinity. IPO, arXiv 2310.12036 eq. 17, with log-ratios
    per token as TRL has it

    h = mean_t log(pi/ref);  loss = mean (h_w - h_l - 1/(2 beta))² · reads pair [B], ref_logprobs [B,T-1].
    1/(2 beta)² at the start.
    """
    h = log_ratio(out, batch, "ref_logprobs").sum(1) / out.mask.sum(1).clamp(min=1)
    h_w, h_l = pairs(h, batch)
    loss = (h_w - h_l - 1 / (2 * beta)).square().mean()
    return loss, pair_info(h_w - h_l, reward=(h_w, h_l), logprob=pairs(sequence_logprob(out), batch))


def simpo(out: Out, batch: Batch, *, beta: float = 2.0, gamma: float = 1.0) -> tuple[Tensor, dict]:
    """Compare mean log-probs, without a reference, and ask for a head start. SimPO, arXiv 2405.14734 eq. 6

    s = mean_t log pi;  loss = -log sigmoid(beta (s_w - s_l) - gamma) · gamma in units of the margin · reads
    pair [B].
    """
    s_w, s_l = pairs(sequence_logprob(out) / out.mask.sum(1).clamp(min=1), batch)
    margin = beta * (s_w - s_l)
    return -F.logsigmoid(margin - gamma).mean(), pair_info(
        margin, logprob=pairs(sequence_logprob(out), batch)
    )


@dataclass(frozen=True)
class Method:
    """A loss on pairs: its function, whether it reads a reference, which of the knobs smoothing and gamma it
    has, and its paper.
    """

    function: Callable
    reference: bool
    extra: tuple[str, ...]
    paper: str


METHODS: dict[str, Method] = {
    "sft": Method(nll_chosen, False, (), "imitation of the chosen answers alone"),
    "dpo": Method(dpo, True, ("smoothing",), "arXiv 2305.18290"),
    "ipo": Method(ipo, True, (), "arXiv 2310.12036"),
    "simpo": Method(simpo, False, ("gamma",), "arXiv 2405.14734"),
    "orpo": Method(orpo, False, (), "arXiv 2403.07691"),
}


def objective(
    method: str, *, beta: float, smoothing: float = 0.0, gamma: float = 0.0, nll: float = 0.0
) -> Objective:
    """A method with its knobs, plus `nll` times the loss on the chosen answers (as in RPO, arXiv
    2404.19733).
    """
    chosen = METHODS[method]
    given = {"smoothing": smoothing, "gamma": gamma}
    settings = {} if method == "sft" else {"beta": beta} | {k: given[k] for k in chosen.extra}
    one = partial(chosen.function, **settings)
    return partial(weighted_sum, terms=((1.0, one), (nll, nll_chosen))) if nll else one
