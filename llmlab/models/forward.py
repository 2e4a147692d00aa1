"""forward(): the only place where a model meets a batch, and the only place of the time shift."""

import inspect
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen3ForCausalLM

from ..tokens.batch import Batch
from .positions import check_length, check_packing

# what a model's forward calls its key-value cache: `cache` since transformers 5.24, past_key_values before
CACHE = "cache" if "cache" in inspect.signature(Qwen3ForCausalLM.forward).parameters else "past_key_values"


@dataclass(frozen=True)
class Out:
    """logits [B,T-1,V] · logprobs [B,T-1] of the tokens that follow · mask [B,T-1] · values [B,T-1] or None
    (no value head).
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
    logits = result.logits.float()
    if batch.temperature != 1.0:
        logits = logits / batch.temperature
    return Out(
        logits,
        token_logprobs(logits, batch.ids[:, 1:]),
        batch.mask[:, 1:].to(logits.dtype),
        getattr(result, "values", None),
    )
