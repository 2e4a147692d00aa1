"""Preferences: losses on pairs of answers, rows 2i chosen and 2i+1 rejected. One short function a method.

They differ in two things: what is compared (the log-ratio to a reference, its mean, the mean log-prob, or a
value head's reward), and the curve that it is put on (logistic or square).
"""

from dataclasses import dataclass
from functools import partial
from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.forward import Out
from ..tokens.batch import Batch
from .advantages import last_token
from .parts import (
    Objective,
    detached,
    log_ratio,
    sequence_logprob,
    token_mean,
    values_of,
    weighted_sum,
)


def pairs(x: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows 2i (chosen) and 2i+1 (rejected) of x [B,...], each [B/2,...]; the column `pair` vouches for the
    order.
    """
    pair = batch["pair"]
    if not torch.equal(pair[0::2], pair[1::2]):
        raise ValueError(
            "rows 2i and 2i+1 do not belong to the same pair; build the batch with tokens.pairs.contrast"
        )
    return x[0::2], x[1::2]


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
