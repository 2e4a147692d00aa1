"""Rows: a model run on the distinct tokens of a batch. Everything that looks at one token alone (embedding,
linear layers, norms, head) sees each of them once; attention alone sees them in their rows.
"""

from contextlib import contextmanager
from typing import Iterator
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ..tokens.batch import Batch
from ..tokens.layout import Layout, layout
from .positions import LEAK

NAME = "llmlab_rows"  # of our attention among those of transformers
ROUNDING = 16  # units in the last place that another order of sums may move a logit, in spreads of the logits
TRIAL = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 7, 8, 6]]  # two rows that begin alike
REFUSALS = (TypeError, ValueError, RuntimeError, AttributeError, LookupError)

_fits: WeakKeyDictionary = WeakKeyDictionary()


def attention_in_rows(
    module, query, key, value, attention_mask, rows: tuple[Tensor, ...], place: Tensor, **settings
):
    """Attention of transformers' form: query, key, value [1,H,N,D] of distinct tokens -> [1,N,H,D].

    Each row of `rows` ([S,L] for each group of like lengths) reads its own tokens in order, so plain causal
    attention is exact and needs no mask; a token of several rows has the same prefix, and so the same result,
    in all of them.
    """
    distinct, seen = [x[0].transpose(0, 1) for x in (query, key, value)], []
    for group in rows:
        q, k, v = (_gathered(x, group).transpose(1, 2) for x in distinct)
        seen.append(sdpa_attention_forward(module, q, k, v, None, **settings)[0].flatten(0, 1))
    return _gathered(torch.cat(seen), place)[None], None


def _gathered(x: Tensor, index: Tensor) -> Tensor:
    """x [N,H,D] at index [...] -> [...,H,D]; as an embedding, whose gradient adds up fast."""
    return F.embedding(index, x.flatten(1)).unflatten(-1, x.shape[1:])


AttentionInterface.register(NAME, attention_in_rows)


def run(model, lay: Layout):
    """The model's result on a layout: logits [1,M,V] of the tokens under the mask (and values [1,N]).
    Meanwhile no other thread may use the model: its configuration says which attention it has.
    """
    with _in_rows(model.config.get_text_config()):
        return model(
            input_ids=lay.ids[None],
            position_ids=lay.positions[None],
            use_cache=False,
            logits_to_keep=lay.before,
            rows=lay.rows,
            place=lay.place,
        )


@contextmanager
def _in_rows(config) -> Iterator[None]:
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def takes_rows(model, length: int) -> bool:
    """Is a result in rows of at most `length` tokens the one that the model gives with padding? Not where it
    draws dropout, where a hook or a convolution counts on whole rows, where a window ends or another
    attention was chosen; what else its layers do (recurrence, ALiBi) is tried once a model.
    """
    config = model.config.get_text_config()
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    if config._attn_implementation != "sdpa" or any(w and length > w for w in windows):
        return False
    if any(_counts_on_rows(module) for module in model.modules()):
        return False
    if model not in _fits:
        _fits[model] = _same_in_rows(model)
    return _fits[model]


def _counts_on_rows(module) -> bool:
    """Does it draw dropout, fold neighbours, have a hook, or run again in the backward pass?"""
    drawn = module.p if isinstance(module, nn.Dropout) else getattr(module, "attention_dropout", 0.0)
    return bool(
        (module.training and isinstance(drawn, float) and drawn)
        or isinstance(module, nn.Conv1d)
        or module._forward_hooks
        or module._forward_pre_hooks
        or getattr(module, "gradient_checkpointing", False)
    )


def _same_in_rows(model) -> bool:
    """Do two rows that begin alike get the logits that they get side by side?"""
    modes = [(module, module.training) for module in model.modules()]
    ids = torch.tensor(TRIAL, device=next(model.parameters()).device)
    lay = layout(Batch(ids, torch.ones(ids.shape)))
    assert lay is not None
    model.eval()
    try:
        with torch.no_grad():
            found = run(model, lay).logits.flatten(0, 1).float()
            told = model(input_ids=ids[:, :-1], use_cache=False).logits.flatten(0, 1).float()
    except REFUSALS:
        return False
    finally:
        for module, training in modes:
            module.training = training
    most = max(LEAK, ROUNDING * torch.finfo(next(model.parameters()).dtype).eps)
    return found.shape == told.shape and bool((found - told).abs().max() <= most * told.std())
