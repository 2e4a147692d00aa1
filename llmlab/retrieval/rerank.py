"""Rerank: the best chunks sorted again by how well each of them predicts the question."""

from functools import lru_cache

import numpy as np
import torch

from ..models.forward import forward
from ..tokens import chat
from ..tokens.batch import Batch
from .rank import best
from .retriever import Find

DEPTH = 16  # chunks that are sorted again


@torch.no_grad()
def likelihood(model, tok, question: str, texts: list[str]) -> np.ndarray:
    """How likely a model that has read a text finds the question: the text, then 'Question: …'. Nothing is
    trained. [texts]. Query likelihood, Sachan et al., arXiv 2204.07496

    score(z) = 1/|q| · Σ_t log p(q_t | z, q_<t), in nats a token.
    """
    model.eval()
    rows = [chat.continuation(tok, f"{text}\nQuestion:", f" {question}") for text in texts]
    out = forward(model, Batch.of_rows(tok, rows).to(next(model.parameters()).device))
    return ((out.logprobs * out.mask).sum(1) / out.mask.sum(1)).cpu().numpy()


def reranked(find: Find, model, tok, texts: list[str]) -> Find:
    """A retriever whose best DEPTH chunks are sorted again by the likelihood of the question; of equals the
    first. A question is scored once, so the model must not change meanwhile.
    """

    @lru_cache(maxsize=None)
    def scores(question: str) -> np.ndarray:
        """Of the best DEPTH chunks."""
        return likelihood(model, tok, question, [texts[i] for i in find(question, DEPTH)])

    def found(question: str, k: int) -> list[int]:
        """The k best chunks, best first."""
        first = find(question, max(k, DEPTH))
        if not question.strip():
            return first[:k]
        return ([first[i] for i in best(scores(question), DEPTH)] + first[DEPTH:])[:k]

    return found
