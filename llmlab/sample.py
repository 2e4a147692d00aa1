"""sample(): batched decoding with any Hugging Face causal LM, the log-probs of what was sampled, and grammar constraints.

Three things make it faster than `generate`: a prompt is read once for all its samples, new keys and values are written into
a buffer that has room for them (concatenating copies the whole cache at every token), and finished rows leave the batch.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from .tokens.batch import pad

Allowed = Callable[[int, list[int]], Tensor | None]  # (row, ids generated so far) -> bool [V]: tokens that may come next; None = all


@dataclass(frozen=True)
class Completions:
    """Prompts × k completions; row r belongs to prompts[r // k].

    ids: generated tokens of each row, with the stop token when one was sampled · logprobs: of those tokens, in nats, under the
    distribution they were drawn from (temperature and constraint applied; greedy: temperature 1) · stopped: False = ran into max_new.
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
) -> Completions:
    """Draw k completions of every prompt; temperature 0 takes the most probable token.

    max_new: longest completion, in tokens, for all or for each prompt. stop: token ids that end a row. generator: makes the
    samples repeatable (None: fresh ones at every call); the global random state is never touched. allowed: which tokens may
    come next, see `Allowed` and `Grammar`; it is asked once for every token of every row, and `stop` must hold the token that ends its texts.
    """
    limits = _limits(prompts, k, max_new, temperature)
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    ids, logprobs, stopped = [None] * len(limits), [None] * len(limits), [None] * len(limits)
    with torch.no_grad(), evaluating(model):
        for rows in _batches(prompts, k):
            decoder = _Decoder(model, [prompts[r // k] for r in rows], [limits[r] for r in rows], rows)
    return Completions(prompts, ids, logprobs, stopped)
