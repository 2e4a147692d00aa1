"""Speculative decoding: a small model drafts a few tokens, the large one checks them all in one forward, and
what comes out has the large model's distribution. Leviathan et al., arXiv 2211.17192; Chen et al., 2302.01318
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError
from ..models.positions import check_length
from .sample import evaluating


@dataclass(frozen=True)
class Speculated:
    """ids: generated tokens, with the stop token if one came · drafted, accepted: tokens that the small model
    proposed and those of them that are in ids · forwards: of the large model; without drafts it would take
    one a token.
    """

    ids: list[int]
    drafted: int
    accepted: int
    forwards: int


def acceptance(p: Tensor, q: Tensor) -> Tensor:
    """Chance that each token is kept once the draft has proposed it: min(1, p/q). [V], [V] -> [V]"""
    return (p / q.clamp(min=torch.finfo(q.dtype).tiny)).clamp(max=1)


def residual(p: Tensor, q: Tensor) -> Tensor:
    """What is drawn from in place of a rejected token: the positive part of p − q, normalised. [V], [V] ->
    [V]; only read where a rejection is possible, which is where p and q differ.
    """
    left = (p - q).clamp(min=0)
    return left / left.sum()


@torch.no_grad()
def speculate(
    model,
    draft,
    prompt: list[int],
    *,
    gamma: int = 4,
    max_new: int,
    temperature: float = 1.0,
    stop: Collection[int],
    generator: torch.Generator | None = None,
) -> Speculated:
    """Continue one prompt as `model` would, γ drafted tokens a round. temperature 0 is greedy, and then the
    ids are those of sample(). Both models share a vocabulary. No cache: every forward reads the whole text.
    Raises UserError.
    """
    if not prompt or min(gamma, max_new) < 1:
        raise UserError(
            f"speculate needs a prompt, and gamma ({gamma}) and max_new ({max_new}) of at least 1"
        )
    for each in (model, draft):
        check_length(each, len(prompt) + max_new - 1)
    new: list[int] = []
    drafted = accepted = forwards = 0
    with evaluating(model), evaluating(draft):
        while len(new) < max_new and not (new and new[-1] in stop):
            n = min(gamma, max_new - len(new) - 1)  # the round ends with a token of the large model's own
            tokens, q = propose(draft, prompt + new, n, temperature, stop, generator)
            p = following(model, prompt + new + tokens, len(tokens) + 1, temperature)
            kept, token = check(tokens, p, q, generator)
            new += tokens[:kept]
            new += [] if new and new[-1] in stop else [token]
            drafted, accepted, forwards = drafted + len(tokens), accepted + kept, forwards + 1
    return Speculated(new, drafted, accepted, forwards)


def following(model, ids: list[int], last: int, temperature: float) -> Tensor:
    """Probabilities of what follows each of the last tokens: [last,V], in float64. At temperature 0 all of
    it is on the likeliest token.
    """
    device = next(model.parameters()).device
    logits = model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0, -last:].cpu()
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).double()
    return (logits.double() / temperature).softmax(-1)


def propose(
    draft, ids: list[int], n: int, temperature: float, stop: Collection[int], generator
) -> tuple[list[int], list[Tensor]]:
    """At most n tokens of the draft, none behind a stop token, and the distribution each was drawn from."""
    tokens: list[int] = []
    q: list[Tensor] = []
    while len(tokens) < n and not (tokens and tokens[-1] in stop):
        q.append(following(draft, ids + tokens, 1, temperature)[0])
        tokens.append(draw(q[-1], generator))
    return tokens, q


def check(tokens: list[int], p: Tensor, q: list[Tensor], generator) -> tuple[int, int]:
    """How many drafted tokens are kept, and the large model's own next one: at the first rejection from the
    residual, behind them all from p [n+1,V].
    """
    for i, token in enumerate(tokens):
        if not happens(float(acceptance(p[i], q[i])[token]), generator):
            return i, draw(residual(p[i], q[i]), generator)
    return len(tokens), draw(p[len(tokens)], generator)


def happens(chance: float, generator) -> bool:
    """A coin that falls so with the given chance."""
    return float(torch.rand((), dtype=torch.float64, generator=generator)) < chance


def draw(probs: Tensor, generator) -> int:
    """One token of a distribution [V]."""
    return int(torch.multinomial(probs, 1, generator=generator))
