"""sample(): batched decoding with any Hugging Face causal LM, the log-probs of what was sampled, and grammar
constraints.

Four things make it faster than `generate`: a prompt is read once for all its samples; new keys and values go
into a buffer that has room for them (concatenating copies the whole cache at every token); a finished row
leaves the batch at once; and one random number a row picks the token, where `multinomial` draws one for every
entry of the vocabulary.
"""

from collections.abc import Callable, Collection
from contextlib import contextmanager
from dataclasses import dataclass

import llguidance.hf
import torch
import torch.nn.functional as F
from llguidance import LLMatcher
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from ..errors import UserError
from ..models.forward import CACHE
from ..models.positions import check_length
from ..tokens.batch import pad

Allowed = Callable[
    [int, list[int]], Tensor | None
]  # (row, ids generated so far) -> bool [V]: what may come next; None = everything


@dataclass(frozen=True)
class Completions:
    """Prompts × k completions; row r belongs to prompts[r // k].

    ids: generated tokens of a row, with the stop token if one was sampled · logprobs: of those tokens, in
    nats, under the distribution
    they were drawn from (temperature and constraint applied; greedy: temperature 1) · stopped: False = the
    row ran into max_new.
    """

    prompts: list[list[int]]
    ids: list[list[int]]
    logprobs: list[list[float]]
    stopped: list[bool]

    def __len__(self):
        return len(self.ids)


def sample(
    model,
    prompts: list[list[int]],
    *,
    k: int = 1,
    max_new: int | list[int],
    temperature: float = 1.0,
    stop: Collection[int],
    generator: torch.Generator | None = None,
    allowed: Allowed | None = None,
    rows_at_once: int = 1024,
) -> Completions:
    """Draw k completions of every prompt; temperature 0 takes the most probable token.

    max_new: longest completion in tokens, one number or one for each prompt. stop: token ids that end a row.
    generator: makes samples
    repeatable (None: new ones at every call); the global random state is never touched. allowed: constraint,
    see `Allowed` and `Grammar`,
    asked once for each token of each row. rows_at_once: lower it when memory is short (the cache is the
    largest part).
    """
    limits = _limits(prompts, k, max_new, temperature)
    check_length(model, max((len(prompts[r // k]) + new - 1 for r, new in enumerate(limits)), default=0))
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    by_length = sorted(
        range(len(limits)), key=lambda r: len(prompts[r // k])
    )  # neighbours of equal length need little padding
    results = [None] * len(limits)
    with torch.no_grad(), evaluating(model):
        for start in range(0, len(limits), rows_at_once):
            rows = by_length[start : start + rows_at_once]
            pick = _picker(rows, temperature, generator, allowed)
            batch = _Batch(model, [prompts[r // k] for r in rows], max(limits[r] for r in rows))
            for r, result in zip(rows, _decode(batch, [limits[r] for r in rows], pick, stop)):
                results[r] = result
    ids, logprobs, stopped = map(list, zip(*results)) if results else ([], [], [])
    return Completions(prompts, ids, logprobs, stopped)


@contextmanager
def evaluating(model):
    """Switch dropout off, and give every module its own mode back afterwards (some may have been frozen in
    eval on purpose).
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


def _limits(prompts, k, max_new, temperature) -> list[int]:
    """Check the arguments; the longest completion of every row."""
    limits = [max_new] * len(prompts) if isinstance(max_new, int) else list(max_new)
    if len(limits) != len(prompts):
        raise UserError(
            f"max_new has {len(limits)} entries for {len(prompts)} prompts: give one number, or one for each"
            " prompt"
        )
    if min(limits, default=1) < 1 or k < 1:
        raise UserError(f"max_new ({max_new}) and k ({k}) must be at least 1")
    if temperature < 0 or (temperature == 0 and k > 1):
        raise UserError(
            f"temperature {temperature} with k={k}: use a positive temperature, or temperature 0 and k=1"
            " (greedy rows are all the same)"
        )
    if empty := [i for i, p in enumerate(prompts) if not p]:
        raise UserError(
            f"prompt {empty[0]} is empty: give it at least one token, for example the begin-of-text token"
        )
    return [limit for limit in limits for _ in range(k)]


# --- decoding
# -------------------------------------------------------------------------------------------------------


def _decode(
    batch: "_Batch", limits: list[int], pick: Callable, stop: Collection[int]
) -> list[tuple[list[int], list[float], bool]]:
    """Generate until every row has stopped or reached its limit. Returns (ids, logprobs, stopped) of each
    row.
    """
    rows, width, vocab = len(limits), max(limits), batch.logits.shape[-1]
    limit, stop_ids = (
        torch.tensor(limits, device=batch.device),
        torch.tensor(sorted(stop), device=batch.device, dtype=torch.long),
    )
    ends = torch.zeros(vocab, dtype=torch.bool, device=batch.device).index_fill_(0, stop_ids, True)
    ids = torch.zeros(rows, width, dtype=torch.long, device=batch.device)
    logprobs = torch.zeros(rows, width, device=batch.device)
    length, stopped = torch.zeros_like(limit), torch.zeros_like(limit, dtype=torch.bool)
    for t in range(width):
        token, logprob = pick(batch.logits, batch.row, ids[:, :t])
        ids[batch.row, t], logprobs[batch.row, t], length[batch.row], stopped[batch.row] = (
            token,
            logprob,
            t + 1,
            ends[token],
        )
        done = ends[token] | (limit[batch.row] == t + 1)
        if done.all():
            break
        if done.any():
            keep = _close_ranks(~done)
            token = token[keep]
            batch.keep(keep)
        batch.step(token)
    if not logprobs.isfinite().all():
        raise UserError(
            "the model's logits are not finite (NaN or infinity): the weights have diverged, go back to an"
            " earlier checkpoint"
        )
    return [
        (i[:n], p[:n], s)
        for i, p, n, s in zip(ids.tolist(), logprobs.tolist(), length.tolist(), stopped.tolist())
    ]


def _close_ranks(live: Tensor) -> Tensor:
    """live [n] bool -> the row to put in each place so that the live ones come first: the last of them fill
    the gaps, the others stay.
    """
    count = int(live.sum())
    order = torch.arange(count, device=live.device)
    order[(~live[:count]).nonzero()[:, 0]] = live[count:].nonzero()[:, 0] + count
    return order


def _picker(
    rows: list[int], temperature: float, generator: torch.Generator, allowed: Allowed | None
) -> Callable:
    """pick(logits [n,V], live [n], history [B,t]) -> token [n], logprob [n], for the live ones among the B
    rows decoded together.
    """

    def pick(logits, live, history):
        """A token and its log-prob for each live row: logits [n,V], live [n], history [B,t] -> [n], [n]."""
        if allowed:
            logits = _constrain(logits, allowed, [rows[i] for i in live.tolist()], history[live].tolist())
        if temperature == 0:
            return _gather(logits.float().softmax(-1), logits.argmax(-1, keepdim=True))
        # Finished rows get a number too: a row's sample must not depend on when the others end.
        uniform = torch.rand(len(rows), dtype=torch.float64, generator=generator, device=generator.device).to(
            logits.device
        )
        return _draw((logits.float() / temperature).softmax(-1), uniform[live])

    return pick


def _draw(probs: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """The first token at which the running sum of probs [n,V] exceeds uniform [n]. In float64: float32 would
    distort rare tokens.
    """
    total = probs.cumsum(-1, dtype=torch.float64)
    token = torch.searchsorted(total, uniform[:, None] * total[:, -1:], right=True)
    return _gather(probs, token.clamp_(max=probs.shape[-1] - 1))


def _gather(probs: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """probs [n,V], token [n,1] -> token [n], its log-prob [n]."""
    return token[:, 0], probs.gather(1, token)[:, 0].log()


def _constrain(logits: Tensor, allowed: Allowed, rows: list[int], histories: list[list[int]]) -> Tensor:
    """logits [n,V] with minus infinity wherever the constraint forbids the token."""
    logits = logits.clone()
    for i, (row, ids) in enumerate(zip(rows, histories)):
        mask = allowed(row, ids)
        if mask is None:
            continue
        if not mask.any():
            raise UserError(f"the constraint allows no token at all for row {row} after {ids}")
        logits[i].masked_fill_(~mask.to(logits.device), float("-inf"))
    return logits


class _Batch:
    """Rows that are decoded together: which are still live (`row` [n]), what the model expects next (`logits`
    [n,V]), and the cache.
    """

    def __init__(self, model, prompts: list[list[int]], longest: int):
        """Read each distinct prompt once, padded on the left, and give every row its own copy of the
        cache.
        """
        self.model, self.device, self.cache = (
            model,
            next(model.parameters()).device,
            _growing_cache(model.config),
        )
        number = {prompt: i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        ids = pad([list(prompt) for prompt in number], 0, side="left").to(self.device)
        mask = pad([[1] * len(prompt) for prompt in number], 0, side="left").to(self.device)
        self._forward(ids, mask.bool(), (mask.cumsum(-1) - 1).clamp(min=0))
        if all(getattr(layer, "keys", None) is None for layer in self.cache.layers):
            raise UserError(
                f"{type(model).__name__} ignores the key-value cache it is given: pure state-space models"
                " cannot be sampled here"
            )
        owner = torch.tensor([number[tuple(prompt)] for prompt in prompts], device=self.device)
        self.cache.reorder_cache(owner)
        self.row, self.logits, self.position = (
            torch.arange(len(prompts), device=self.device),
            self.logits[owner],
            mask.sum(-1)[owner],
        )
        self.mask = F.pad(mask.bool()[owner], (0, longest), value=True)  # new tokens need no padding
        self.width = ids.shape[1]

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor):
        """ids, positions [n,q], mask [n, tokens so far + q] -> self.logits [n,V] after the last token."""
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        inputs |= {CACHE: self.cache, "use_cache": True, "logits_to_keep": 1}
        self.logits = self.model(**inputs).logits[:, -1]

    def step(self, token: Tensor):
        """Append token [n] to the live rows."""
        self.width += 1
        self._forward(token[:, None], self.mask[:, : self.width], self.position[:, None])
        self.position = self.position + 1

    def keep(self, order: Tensor):
        """Row i becomes what row order[i] was."""
        self.row, self.mask, self.position = self.row[order], self.mask[order], self.position[order]
        self.cache.reorder_cache(order)


# --- key-value cache
# ------------------------------------------------------------------------------------------------


def _growing_cache(config) -> DynamicCache:
    """The cache transformers would make for this model, with growing buffers in its attention layers (other
    kinds stay as they are).
    """
    cache, replaced = DynamicCache(config=config), (DynamicLayer, DynamicSlidingWindowLayer)
    cache.layers = [
        GrowingLayer(getattr(layer, "sliding_window", None)) if type(layer) in replaced else layer
        for layer in cache.layers
    ]
    return cache


class GrowingLayer(CacheLayerMixin):
    """Keys and values of one layer, each [rows, heads, room, dim], of which the first `rows` × `length` are
    in use.

    `room` doubles when it is full, so a new token costs one write instead of a copy of the past. Sliding
    attention returns the last
    `sliding_window` tokens only; transformers builds the masks from what `get_mask_sizes` says.
    """

    def __init__(self, sliding_window: int | None = None):
        super().__init__()
        self.sliding_window, self.is_sliding = sliding_window, sliding_window is not None
        self.rows = self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor):
        """Empty buffers; heads, dim, dtype and device come from the first states [rows, heads, q, dim]."""
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.dtype, self.device, self.rows, self.is_initialized = (
            key_states.dtype,
            key_states.device,
            len(key_states),
            True,
        )

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Append q tokens; returns what their queries may see, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        count, first = self.get_mask_sizes(key_states.shape[2])
        end = first + count
        if end > self.keys.shape[2]:
            self._copy(slice(0, self.rows), room=2 * end)
        self.keys[: self.rows, :, self.length : end] = key_states
        self.values[: self.rows, :, self.length : end] = value_states
        self.length = end
        return self.keys[: self.rows, :, first:end], self.values[: self.rows, :, first:end]

    def _copy(self, rows: Tensor | slice, room: int):
        """Move the given rows to new buffers with place for `room` tokens."""
        for name in ("keys", "values"):
            old = getattr(self, name)[:, :, : self.length][rows]
            new = old.new_empty(len(old), old.shape[1], room, old.shape[3])
            new[:, :, : self.length] = old
            setattr(self, name, new)

    def reorder_cache(self, beam_idx: Tensor):
        """Row i becomes what row beam_idx[i] was. More rows than before get new buffers; otherwise only rows
        that change place are copied.
        """
        if len(beam_idx) > self.rows:
            self._copy(beam_idx, room=self.keys.shape[2])
        else:
            moved = (beam_idx != torch.arange(len(beam_idx), device=beam_idx.device)).nonzero()[:, 0]
            for states in (self.keys, self.values):
                states[moved, :, : self.length] = states[beam_idx[moved], :, : self.length]
        self.rows = len(beam_idx)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(tokens that the next update returns, index of the first of them)."""
        first = max(self.length - self.sliding_window + 1, 0) if self.is_sliding else 0
        return self.length + query_length - first, first

    def get_seq_length(self) -> int:
        """Tokens seen, padding included."""
        return self.length

    def get_max_length(self) -> int:
        """-1 = no limit, as transformers defines it."""
        return -1


# --- grammar
# --------------------------------------------------------------------------------------------------------


class Grammar:
    """A constraint for `sample(allowed=...)`: only tokens that can still lead to a text of the grammar
    (llguidance).

    A complete text may only be followed by tok.eos_token_id, so `stop` must contain it. One object serves any
    number of calls.
    """

    def __init__(self, tok, grammar: str, n_vocab: int):
        """grammar: made by one of LLMatcher.grammar_from_…; n_vocab: the model's config.vocab_size, which may
        exceed len(tok).
        """
        self.tokens = llguidance.hf.from_tokenizer(tok, n_vocab=n_vocab)
        if problem := LLMatcher.validate_grammar(grammar, self.tokens):  # LLMatcher itself never raises
            raise UserError(f"not a valid grammar: {problem}")
        self.grammar, self.n_vocab, self.eos, self.matchers = grammar, n_vocab, tok.eos_token_id, {}

    def __call__(self, row: int, ids: list[int]) -> Tensor:
        """Called for every token of a row in turn, beginning with no ids: bool [n_vocab]."""
        if not ids:
            self.matchers[row] = LLMatcher(self.tokens, self.grammar)
        matcher = self.matchers[row]
        if ids:
            matcher.consume_token(ids[-1])
        if matcher.is_error():
            raise UserError(f"the grammar cannot continue row {row}: {matcher.get_error()}")
        if matcher.is_stopped():  # complete: without this the text would ramble on after its last character
            return torch.arange(self.n_vocab) == self.eos
        return (
            torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8)[: self.n_vocab] > 0
        )


def json_schema_constraint(tok, schema: dict, n_vocab: int) -> Grammar:
    """Only JSON that fits the schema, without white space (llguidance's flexible default lets a weak model
    emit tabs for ever).
    """
    return Grammar(
        tok, LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False}), n_vocab
    )


def regex_constraint(tok, pattern: str, n_vocab: int) -> Grammar:
    """Only texts that match the regular expression as a whole."""
    return Grammar(tok, LLMatcher.grammar_from_regex(pattern), n_vocab)
