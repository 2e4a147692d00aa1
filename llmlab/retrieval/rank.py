"""Rank: chunks by words (BM25), by vectors (cosine), and rankings put together by reciprocal rank."""

import re

import bm25s
import numpy as np


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return re.findall(r"\w+", text.lower())


class BM25:
    """score(q, d) = Σ_{w in q} idf(w) · tf(w,d) / (tf(w,d) + k1 (1 − b + b |d|/mean |d|)), k1 = 1.5,
    b = 0.75, idf(w) = log(1 + (n − df(w) + ½) / (df(w) + ½)). Robertson and Zaragoza 2009, as Lucene and
    bm25s compute it: without the factor k1 + 1, which changes no ranking.
    """

    def __init__(self, texts: list[str]):
        self.index = bm25s.BM25(k1=1.5, b=0.75)
        self.index.index([words(t) or [""] for t in texts], show_progress=False)

    def scores(self, query: str) -> np.ndarray:
        """A score a text; 0 where no word is shared. [texts]"""
        known = [w for w in words(query) if w in self.index.vocab_dict]
        n = self.index.scores["num_docs"]
        return self.index.get_scores(known) if known else np.zeros(n, dtype=np.float32)


def cosine(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Cosines of a query [d] with vectors [n, d] of length 1 -> [n]."""
    return vectors @ (query / max(1e-12, float(np.linalg.norm(query))))


def best(scores: np.ndarray, k: int) -> list[int]:
    """The k highest, best first; of equals the first."""
    return np.argsort(-scores, kind="stable")[:k].tolist()


def fused(rankings: list[list[int]], weights: list[float], constant: int = 60) -> list[int]:
    """Reciprocal rank fusion: score(d) = Σ_i weight_i / (constant + rank_i(d)), ranks from 1. Cormack et al.
    2009, where all weights are 1.
    """
    score: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights):
        for rank, d in enumerate(ranking, 1):
            score[d] = score.get(d, 0.0) + weight / (constant + rank)
    return sorted(score, key=lambda d: (-score[d], d))
