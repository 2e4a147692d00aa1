"""Retriever: question -> the numbers of the best chunks, by one of four ways."""

from dataclasses import dataclass
from typing import Callable

import numpy as np

from .rank import BM25, best, cosine, fused

WAYS = ("bm25", "states", "encoder", "hybrid")
DEPTH = 50  # how far down a ranking the fusion looks
Find = Callable[[str, int], list[int]]  # question, k -> the numbers of the k best chunks


@dataclass
class Retriever:
    """texts, their vectors [texts, d] and what makes a vector of a question; `vectors` and `embed` are not
    read by bm25. weight: of the vectors in the hybrid, from 0 to 1.
    """

    way: str
    texts: list[str]
    vectors: np.ndarray | None = None
    embed: Callable[[str], np.ndarray] | None = None
    weight: float = 0.5

    def __post_init__(self):
        self.words = BM25(self.texts) if self.way in ("bm25", "hybrid") else None

    def __call__(self, question: str, k: int) -> list[int]:
        """The k best chunks, best first."""
        if self.way == "hybrid":
            rankings = [self._by_words(question, DEPTH), self._by_vectors(question, DEPTH)]
            return fused(rankings, [1 - self.weight, self.weight])[:k]
        return (self._by_words if self.way == "bm25" else self._by_vectors)(question, k)

    def _by_words(self, question: str, k: int) -> list[int]:
        assert self.words is not None
        return best(self.words.scores(question), k)

    def _by_vectors(self, question: str, k: int) -> list[int]:
        assert self.vectors is not None and self.embed is not None
        return best(cosine(self.embed(question), self.vectors), k)
