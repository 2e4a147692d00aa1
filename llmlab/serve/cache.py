"""The key-value cache of a batch that rows join and leave at any time: token j of a row stands in column j,
whatever the other rows do.

train.sample pads prompts on the left, which is simpler where all rows start together; here a new row would
have to be lined up with the longest one. vLLM goes one step further and cuts a row's columns into pages
(PagedAttention, Kwon et al., 2023), so that short rows take no room for long ones.
"""

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from ..errors import UserError
from ..models.forward import CACHE


class RowLayer(CacheLayerMixin):
    """Keys and values of one layer, each [rows, room, heads, dim] (a new token is one piece of memory);
    `room` doubles when a row outgrows it.
    """

    def __init__(self, cache: "RowCache"):
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor):
        """Empty buffers for all rows; heads, dim, dtype and device come from the first states [n, heads, q,
        dim].
        """
        heads, dim = key_states.shape[1], key_states.shape[3]
        self.keys, self.values = (
            s.new_zeros(self.cache.most, 64, heads, dim) for s in (key_states, value_states)
        )
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Write what the joining rows bring (prompts from column 0 on), or one token of every live row;
        returns what they may look at.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache, n = self.cache, len(key_states)
        self._grow(cache.width)
        if cache.joining:
            rows, width = slice(len(cache.lengths), len(cache.lengths) + n), key_states.shape[2]
            self.clear(rows)
            self.keys[rows, :width], self.values[rows, :width] = (
                key_states.transpose(1, 2),
                value_states.transpose(1, 2),
            )
            return key_states, value_states
        row = torch.arange(n, device=key_states.device)
        self.keys[row, cache.lengths], self.values[row, cache.lengths] = (
            key_states[:, :, 0],
            value_states[:, :, 0],
        )
        return self.keys[:n, : cache.width].transpose(1, 2), self.values[:n, : cache.width].transpose(1, 2)

    def clear(self, rows: slice):
        """Zeros in place of what earlier requests left there: it is masked, but 0 · NaN is NaN, so that one
        adapter's broken numbers would spoil every answer that gets the row after it.
        """
        self.keys[rows], self.values[rows] = 0.0, 0.0

    def _grow(self, width: int):
        """Room for at least `width` columns."""
        while self.keys.shape[1] < width:
            self.keys, self.values = (
                torch.cat([s, torch.zeros_like(s)], 1) for s in (self.keys, self.values)
            )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Joining rows see nothing but themselves (live rows bring a mask of their own)."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """What a joining row has behind it."""
        return 0

    def get_max_length(self) -> int:
        """-1 = no limit, as transformers defines it."""
        return -1


class RowCache(Cache):
    """lengths [n]: tokens of each live row, always the first n rows of the buffers. most: how many rows there
    can be.
    """

    def __init__(self, config, most: int, device):
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise UserError(
                "this batcher serves models with full attention only, this one has"
                f" {', '.join(sorted(kinds))}; serve it with --vllm"
            )
        super().__init__(layers=[RowLayer(self) for _ in range(config.num_hidden_layers)])
        self.most, self.lengths, self.width, self.joining = (
            most,
            torch.zeros(0, dtype=torch.long, device=device),
            0,
            False,
        )

    def join(self, model, prompts: list[list[int]]) -> Tensor:
        """Read the prompts as new rows behind the live ones -> logits [k, V] after each. Padded on the right,
        where causal attention never looks.
        """
        device = self.lengths.device
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        widest = int(lengths.max())
        ids = torch.tensor([p + [0] * (widest - len(p)) for p in prompts], device=device)
        last, which = lengths.unique(
            return_inverse=True
        )  # logits where a prompt ends, not everywhere: [k, distinct lengths, V]
        self.joining, self.width = True, max(self.width, widest)
        inputs = {"input_ids": ids, CACHE: self, "use_cache": True, "logits_to_keep": last - 1}
        logits = model(**inputs).logits
        self.joining, self.lengths = False, torch.cat([self.lengths, lengths])
        return logits[torch.arange(len(prompts), device=device), which]

    def step(self, model, token: Tensor) -> Tensor:
        """Append token [n] to the live rows -> logits [n, V]."""
        self.width = int(self.lengths.max()) + 1
        seen = torch.arange(self.width, device=token.device) <= self.lengths[:, None]
        positions, mask = self.lengths[:, None], seen[:, None, None, :]
        inputs = {"input_ids": token[:, None], "attention_mask": mask, "position_ids": positions}
        logits = model(**inputs, **{CACHE: self}, use_cache=True).logits[:, -1]
        self.lengths = self.lengths + 1
        return logits

    def keep(self, order: Tensor) -> None:
        """Row i becomes what row order[i] was; only rows that change place are copied."""
        moved = (order != torch.arange(len(order), device=order.device)).nonzero()[:, 0]
        for layer in self.layers:
            for states in (layer.keys, layer.values):
                states[moved, : self.width] = states[order[moved], : self.width]
            layer.clear(slice(len(order), len(self.lengths)))
        self.lengths = self.lengths[order]
