"""forward(): the only place where a model meets a batch, and the only place of the time shift."""

import inspect
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen3ForCausalLM

from ..tokens.batch import Batch
from ..tokens.layout import Layout, layout
from .positions import check_length, check_packing
from .rows import run, takes_rows

SAVING = 0.9  # of the places of the plain form: with more a layout is not worth its making
# what a model's forward calls its key-value cache: `cache` since transformers 5.24, past_key_values before
CACHE = "cache" if "cache" in inspect.signature(Qwen3ForCausalLM.forward).parameters else "past_key_values"


@dataclass(frozen=True)
class Out:
    """logits [B,T-1,V] · logprobs [B,T-1] of the tokens that follow · mask [B,T-1] · values [B,T-1] or None
    (no value head). From forward_trained() logits may be [N,V], a row for each of the N tokens under the mask
    in reading order, and logprobs and values 0 at all others.
    """

    logits: Tensor
    logprobs: Tensor
    mask: Tensor
    values: Tensor | None = None


def token_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(target) per position. logits [B,T,V], targets [B,T] -> [B,T], in nats."""
    flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction="none")
    return -flat.view(targets.shape)


def forward(model, batch: Batch) -> Out:
    """Run the model and line its predictions up with the tokens they predict.

    No attention mask is passed: rows are padded on the right, where causal attention makes padding harmless.
    With a
    `positions` column attention stays inside each packed document (transformers reads the resets; exact only
    without attention mask and cache). Raises NoPosition for a row or a packing that the model cannot take.
    """
    check_length(model, batch.ids.shape[1] - 1)
    positions = batch.given.get("positions")
    if positions is not None:
        check_packing(model)
    inputs = {} if positions is None else {"position_ids": positions[:, :-1]}
    result = model(input_ids=batch.ids[:, :-1], use_cache=False, **inputs)
    logits = _tempered(result.logits, batch)
    return Out(
        logits,
        token_logprobs(logits, batch.ids[:, 1:]),
        batch.mask[:, 1:].to(logits.dtype),
        _values(result),
    )


def _tempered(logits: Tensor, batch: Batch) -> Tensor:
    """Logits of the distribution that was sampled from, in fp32."""
    return logits.float() if batch.temperature == 1.0 else logits.float() / batch.temperature


def _values(result) -> Tensor | None:
    """The value head's, if there is one (a result of transformers is a dict, which has a method `values`)."""
    values = getattr(result, "values", None)
    return values if isinstance(values, Tensor) else None


def forward_trained(model, batch: Batch) -> Out:
    """forward() for objectives, which read nothing outside the mask: the same numbers there for less work.
    Each distinct token is computed once, however many rows begin with it, padding never, and the output head
    only where a token under the mask is predicted. The plain form is taken where that saves nothing, and for
    models that cannot (rows.takes_rows). Raises NoPosition as forward() does.
    """
    check_length(model, batch.ids.shape[1] - 1)
    lay = layout(batch)
    places = batch.mask[:, 1:].numel()
    if lay is None or len(lay.ids) + len(lay.before) > SAVING * 2 * places:
        return forward(model, batch)
    if not takes_rows(model, max(group.shape[1] for group in lay.rows)):
        return forward(model, batch)
    return _out(run(model, lay), lay, batch)


def _out(result, lay: Layout, batch: Batch) -> Out:
    """What a model said of the tokens under the mask, in the shape in which objectives read it."""
    logits, trained = _tempered(result.logits[0], batch), batch.mask[:, 1:] > 0
    logprobs = token_logprobs(logits[None], batch.ids[:, 1:][trained][None])[0]
    values = _values(result)
    return Out(
        logits,
        placed(logprobs, trained),
        batch.mask[:, 1:].to(logits.dtype),
        None if values is None else placed(values[0, lay.before], trained),
    )


def placed(x: Tensor, trained: Tensor) -> Tensor:
    """x [N,...] at the N places where trained [B,T-1] is true, 0 elsewhere: [B,T-1,...]."""
    full = x.new_zeros(*trained.shape, *x.shape[1:])
    full[trained] = x
    return full
