"""Imitation: make given text likely, in pretraining, continued pretraining and SFT; and stay close
meanwhile.
"""

from torch import Tensor

from ..models.forward import Out
from ..tokens.batch import Batch
from .parts import detached, kl, token_mean, trained, trained_mean, weighted_sum


def nll(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Make the text likely: next-token loss of pretraining, continued pretraining and SFT (there the mask
    covers the answers only).

    loss = -token_mean(log pi(token)) over the whole batch. GPT, Radford et al. 2018; InstructGPT, arXiv
    2203.02155
    """
    loss = -token_mean(out.logprobs, out.mask)
    return loss, detached(nll=loss, perplexity=loss.exp(), tokens=out.mask.sum())


def kl_to_ref(out: Out, batch: Batch) -> tuple[Tensor, dict]:
    """Stay close to the base model: the exact KL(pi || base), model first, at every token. Jaques et al.,
    arXiv 1611.02796 (KL-control)

    loss = token_mean(sum_v pi(v) log(pi(v) / base(v))) · reads ref_logits [B,T-1,V]
    The other direction, "still cover all the base would say" (arXiv 1606.09282), is forward_kl with the base
    as teacher.
    """
    policy, base = (trained(x, out.mask).log_softmax(-1) for x in (out.logits, batch["ref_logits"]))
    loss = trained_mean(kl(policy, base))
    return loss, detached(kl=loss)


def nll_kl(out: Out, batch: Batch, *, beta: float = 0.1) -> tuple[Tensor, dict]:
    """Learn the text under a KL penalty: loss = nll + beta · KL(pi || base). Reads ref_logits [B,T-1,V].
    KL-control, arXiv 1611.02796
    """
    return weighted_sum(out, batch, terms=((1.0, nll), (beta, kl_to_ref)))
