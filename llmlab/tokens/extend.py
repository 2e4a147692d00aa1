"""Vocabulary extension: measure how a tokenizer shatters words, choose the ones worth a token, add them to
tokenizer and model.
"""

import re
from collections import Counter
from typing import Iterable

import torch
from tokenizers import AddedToken
from torch import Tensor

INITS = ("pieces", "mean", "random", "small")
WORD = re.compile(r"[^\W\d_]{3,}")


def pieces(tok, word: str) -> list[int]:
    """Ids of a word as it stands inside a sentence: with a space before it."""
    return tok(f" {word}", add_special_tokens=False)["input_ids"]


def fragmentation(tok, words: Iterable[str], limit: int = 5) -> dict[str, float]:
    """Mean number of tokens a word, and the share of words of `limit` tokens and more."""
    lengths = [len(pieces(tok, w)) for w in words]
    return {
        "tokens_per_word": sum(lengths) / len(lengths),
        "shattered": sum(n >= limit for n in lengths) / len(lengths),
    }


def shortlist(tok, texts: Iterable[str], n: int) -> list[tuple[str, int]]:
    """The n words whose own token would save most: (word, tokens saved in these texts), best first.

    saved = occurrences behind a space × (pieces − 1)
    """
    found = Counter(m[1] for text in texts for m in re.finditer(rf" ({WORD.pattern})", text))
    saved = {w: c * (len(pieces(tok, w)) - 1) for w, c in found.items()}
    return sorted(((w, s) for w, s in saved.items() if s), key=lambda ws: (-ws[1], ws[0]))[:n]


def add_words(
    model, tok, words: list[str], init: str = "pieces", generator: torch.Generator | None = None
) -> Tensor:
    """Add each word, with the space before it, to the tokenizer, and rows for them to the model; the new ids.

    A word at the very start of a text has no space before it and is still spelt in pieces. The embedding
    matrix never shrinks (real models
    often have more rows than tokens); a separate output matrix gets rows made in the same way, tied ones
    share them.
    """
    if init not in INITS:
        raise ValueError(f"init is one of {', '.join(INITS)}, not '{init}'")
    spelt, before = [pieces(tok, w) for w in words], len(tok)
    if not words:
        return torch.arange(0)
    tok.add_tokens([AddedToken(f" {w}", normalized=False) for w in words])
    old = model.get_input_embeddings().weight.shape[0]
    model.resize_token_embeddings(max(old, len(tok)), mean_resizing=False)
    matrices = {
        id(m.weight): m.weight
        for m in (model.get_input_embeddings(), model.get_output_embeddings())
        if m is not None
    }
    with torch.no_grad():
        for weight in matrices.values():
            weight[before : len(tok)] = new_rows(weight[:before], spelt, init, generator).to(weight.dtype)
    return torch.arange(before, len(tok))


def new_rows(
    weight: Tensor, spelt: list[list[int]], init: str, generator: torch.Generator | None = None
) -> Tensor:
    """First values of the new rows, from the old ones: weight [V,D], spelt: the old ids of each word ->
    [len(spelt),D].

    pieces  mean of the rows of the word's pieces
    mean    mean of all rows, with noise that keeps the rows apart (Hewitt 2021, "Initializing new word
    embeddings"; the bound on the change)
    random  normal, with the standard deviation of a fresh Qwen3 model (0.02)
    small   normal with 1e-4: a norm close to 0, so a logit close to 0 where all others are negative
    """
    noise = torch.randn(len(spelt), weight.shape[1], generator=generator)
    if init == "pieces":
        return torch.stack([weight[ids].mean(0) for ids in spelt])
    if init == "mean":
        return weight.mean(0) + 1e-2 * weight.std(0) * noise
    return noise * (0.02 if init == "random" else 1e-4)
