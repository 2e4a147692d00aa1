"""positions: what a model can do with the place of a token. Some have a table of positions that ends (GPT-2),
and in some layers a packed document reads the one before it, whatever the position ids say.
"""

from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..errors import UserError

LEAK = 1e-3  # of the spread of the logits: what documents packed together may change in one another

_room: WeakKeyDictionary = WeakKeyDictionary()
_isolated: WeakKeyDictionary = WeakKeyDictionary()


class NoPosition(UserError):
    """A row that the model has no positions for; the message names the fix."""


def check_length(model, length: int) -> None:
    """Raises NoPosition for a row longer than the model's table of positions (rotary ones have none)."""
    if model not in _room:
        _room[model] = min(
            (
                m.num_embeddings
                for name, m in model.named_modules()
                if isinstance(m, nn.Embedding) and ("wpe" in name or "position" in name)
            ),
            default=None,
        )
    if _room[model] is not None and length > _room[model]:
        raise NoPosition(
            f"a row of {length} tokens is longer than the {_room[model]} positions that this model has; make"
            " rows or answers shorter (--length, --most)"
        )


def check_packing(model) -> None:
    """Raises NoPosition where a document changes what the model says of the next one in its row, although the
    positions begin anew: linear attention, state spaces, ALiBi. Tried once a model, on eight tokens.
    """
    if model not in _isolated:
        _isolated[model] = _leak(model) <= LEAK
    if not _isolated[model]:
        raise NoPosition(
            "in this model documents that are packed into one row read each other (position ids do not"
            " separate them in all its layers); train it without packing (--packed no, or --packing another)"
        )


def _leak(model) -> float:
    """How far the second of two packed documents is moved by the first, in spreads of its logits."""
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    places = torch.arange(8, device=device) % 4
    rows = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 5, 6, 7, 8]], device=device)
    model.eval()
    try:
        with torch.no_grad():
            one, other = (
                model(input_ids=row[None], position_ids=places[None], use_cache=False).logits[0, 4:].float()
                for row in rows
            )
    finally:
        for module, training in modes:
            module.training = training
    return ((one - other).abs().max() / one.std()).item()
