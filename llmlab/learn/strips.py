"""Strips: what an objective does to every token of a batch, measured by autograd: mask, push, gradient, loss,
advantage, position.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import UserError
from ..methods.parts import Objective
from ..models.forward import Out, forward, token_logprobs
from ..tokens.batch import Batch

SPECIAL, PLAIN, PADDING = "special", "plain", "padding"
VISIBLE = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}


@dataclass(frozen=True)
class Layer:
    """One number a token, values [B,T]; nan where there is none. scale: 'mask' (0 or 1), 'size' (0 and up) or
    'sign' (blue or orange).

    blue: of a 'sign' layer, the sign (+1 or -1) that is drawn in blue: what the update makes likelier.
    """

    name: str
    values: Tensor
    scale: str
    legend: str
    blue: int = 1

    @property
    def largest(self) -> float:
        """The largest size of any finite value."""
        finite = self.values[self.values.isfinite()].abs()
        return float(finite.max()) if len(finite) else 0.0

    @property
    def shades(self) -> Tensor:
        """How strongly each token is coloured [B,T]: from -1 (orange) over 0 (not at all) to 1 (blue, or
        green for sizes); by square root, so that small values show. 0 only where the value is 0 or
        missing.
        """
        share = self.blue * self.values / (self.largest or 1.0)
        return (share.sign() * share.abs().sqrt()).nan_to_num(nan=0.0).clamp(-1, 1)


@dataclass(frozen=True)
class Strip:
    """A batch for the eye. pieces and kinds [B][T] (special, plain, padding); labels [B]; layers by name, in
    the order in which they are offered.
    """

    pieces: list[list[str]]
    kinds: list[list[str]]
    labels: list[str]
    layers: dict[str, Layer]


def measure(tok, batch: Batch, model=None, objective: Objective | None = None) -> Strip:
    """The layers of a batch: what it carries itself (mask, advantages, positions), with a model each token's
    loss, and with an objective what that pushes. Hand over the batch as it is trained on: a mean over more
    rows gives every token less.

    The model is not changed, nor put into training mode.
    """
    if objective is not None and model is None:
        raise UserError("an objective needs a model to measure what it pushes; give the model as well")
    layers = [
        Layer("mask", batch.mask.detach().cpu().float(), "mask", "1: the objective may push this token")
    ]
    if model is not None:
        here = batch.to(next(model.parameters()).device)
        out = _read(model, here)
        layers += _pushed(out, here, objective) if objective else []
        layers.append(_loss(out))
    layers += [make(batch) for name, make in CARRIED.items() if name in batch.given]
    pieces, kinds = _pieces(tok, batch)
    return Strip(pieces, kinds, _labels(batch), {layer.name: layer for layer in layers})


def _loss(out: Out) -> Layer:
    """-log p of every token, in nats."""
    told = "−log p of the token, in nats; also of tokens that are not trained"
    return Layer("loss", on_predicted(-out.logprobs), "size", told)


def _advantages(batch: Batch) -> Layer:
    """The advantage of every token with mask 1; one number a row is that of all its tokens."""
    given = on_predicted(batch["advantages"].expand(len(batch), batch.ids.shape[1] - 1))
    values = given.masked_fill(batch.mask.cpu() == 0, torch.nan)
    told = "blue: better than expected, orange: worse; only where the mask is 1"
    return Layer("advantages", values, "sign", told)


def _positions(batch: Batch) -> Layer:
    """The place of every token in its own document."""
    told = "place inside the token's own document; 0 begins a new one"
    return Layer("positions", batch["positions"].cpu().float(), "size", told)


CARRIED = {"advantages": _advantages, "positions": _positions}  # column of the batch -> its layer


@torch.no_grad()
def _read(model, batch: Batch) -> Out:
    """forward() in evaluation mode."""
    training = model.training
    model.eval()
    try:
        return forward(model, batch)
    finally:
        model.train(training)


def _pushed(out: Out, batch: Batch, objective: Objective) -> list[Layer]:
    """What the objective does: d loss / d log-prob, if it reads log-probs, and the norm of d loss / d
    logits.
    """
    push, gradient = gradients(out, batch, objective)
    told = "d loss / d log p of the token; blue (−): a step makes it likelier, orange (+): less likely"
    weights = [] if push is None else [Layer("weights", on_predicted(push, 0.0), "sign", told, blue=-1)]
    told = "norm of d loss / d logits at the place before, where this token is predicted"
    return [*weights, Layer("gradient", on_predicted(gradient, 0.0), "size", told)]


def gradients(out: Out, batch: Batch, objective: Objective) -> tuple[Tensor | None, Tensor]:
    """(d loss / d log-prob [B,T-1], or None if the objective reads no log-probs; norm of d loss / d logits
    [B,T-1]).

    The first holds the logits fixed and asks what the objective does with each token's log-prob; the second
    lets everything
    flow that reaches the logits (log-probs, and a KL over the vocabulary).
    """
    fixed = replace(out, logprobs=out.logprobs.detach().requires_grad_())
    push = _gradient(objective, fixed, batch, fixed.logprobs)
    logits = out.logits.detach().requires_grad_()
    moving = replace(out, logits=logits, logprobs=token_logprobs(logits, batch.ids[:, 1:]))
    flow = _gradient(objective, moving, batch, logits)
    return push, torch.zeros_like(out.logprobs) if flow is None else flow.norm(dim=-1)


def _gradient(objective: Objective, out: Out, batch: Batch, of: Tensor) -> Tensor | None:
    """d loss / d of, or None if the loss does not depend on it."""
    with torch.enable_grad():
        loss = objective(out, batch)[0]
        return torch.autograd.grad(loss, of, allow_unused=True)[0] if loss.requires_grad else None


def on_predicted(values: Tensor, first: float = torch.nan) -> Tensor:
    """[B,T-1] at the places that predict -> [B,T] on the tokens that are predicted; `first` for the first
    token, which nothing predicts.
    """
    values = values.detach().cpu().float()
    return torch.cat([torch.full((len(values), 1), first), values], 1)


# ---- what is written on a token ----


def visible(text: str) -> str:
    """Text with its spaces, line breaks and characters that do not print made visible."""
    return "".join(VISIBLE.get(c) or (c if c.isprintable() else f"\\u{ord(c):04x}") for c in text)


def piece(tok, token: int) -> str:
    """A token as it is shown. A part of a character has no text of its own and keeps its name in the
    vocabulary.
    """
    name = str(tok.convert_ids_to_tokens(token))
    text = name.replace("▁", " ") if name.startswith("▁") else tok.decode([token])
    return visible(name if "\ufffd" in text or not text else text)


def _pieces(tok, batch: Batch) -> tuple[list[list[str]], list[list[str]]]:
    special = set(tok.all_special_ids) | set(tok.added_tokens_decoder)
    known, pieces, kinds = {}, [], []
    for ids, mask in zip(batch.ids.tolist(), batch.mask.tolist()):
        end = _end(ids, mask, tok.pad_token_id)
        pieces.append([known.get(i) or known.setdefault(i, piece(tok, i)) for i in ids])
        kinds.append([PADDING if t >= end else SPECIAL if i in special else PLAIN for t, i in enumerate(ids)])
    return pieces, kinds


def _end(ids: list[int], mask: list[float], fill: int | None) -> int:
    """Where the padding at the end of a row begins: untrained tokens with the padding's id."""
    end = len(ids)
    while end > 1 and ids[end - 1] == (fill or 0) and not mask[end - 1]:
        end -= 1
    return end


def _labels(batch: Batch) -> list[str]:
    """pair and side, or prompt and reward, or the row's number."""
    if "pair" in batch.given:
        return [
            f"pair {p} · {'rejected' if i % 2 else 'chosen'}" for i, p in enumerate(batch["pair"].tolist())
        ]
    if "group" in batch.given:
        rewards = batch["rewards"].tolist() if "rewards" in batch.given else [None] * len(batch)
        return [
            f"prompt {g}" + ("" if r is None else f" · reward {r:g}")
            for g, r in zip(batch["group"].tolist(), rewards)
        ]
    return [f"row {i}" for i in range(len(batch))]
