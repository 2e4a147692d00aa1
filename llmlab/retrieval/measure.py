"""What an index of many chunks costs: python -m llmlab.retrieval.measure [CHUNKS]. A vector is the mean of
random word vectors, so that LanceDB and BM25 are measured and no model.
"""

import json
import random
import resource
import sys
import tempfile
import time
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Iterator

import numpy as np

from .chunks import Chunk, windows
from .index import Documents, Index
from .rank import best

WIDTH, VOCABULARY, LENGTH, EACH = 128, 20_000, 32, 100  # EACH: chunks of a document
ASKED, K = 50, 10
VECTORS = np.random.default_rng(0).standard_normal((VOCABULARY, WIDTH), dtype=np.float32)
ZIPF = list(accumulate(1 / (i + 1) for i in range(VOCABULARY)))


def words(r: random.Random, n: int) -> str:
    """n words, the i-th most frequent in proportion to 1/i."""
    return " ".join(f"w{i}" for i in r.choices(range(VOCABULARY), cum_weights=ZIPF, k=n))


def document(number: int, chunks: int) -> Iterator[Chunk]:
    """The same for the same number."""
    r = random.Random(number)
    text = "\n".join(words(r, 16) for _ in range(chunks * LENGTH // 16))
    return windows(str(number), text, LENGTH)


def embed(texts: list[str]) -> np.ndarray:
    """The mean of its words' vectors, of length 1. [texts, WIDTH]"""
    found = np.stack([VECTORS[[int(w[1:]) for w in t.split()]].mean(0) for t in texts])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def peak() -> int:
    """Most memory that this process ever had, in MB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def measured(chunks: int, folder: Path) -> dict[str, float]:
    """Seconds to index and to look for changes where there are none, ms a question, recall@10 against numpy,
    MB at the most: before, while indexing, while asking.
    """
    documents = {f"{i:032x}": partial(document, i, EACH) for i in range(chunks // EACH)}
    found: dict[str, float] = {"chunks": len(documents) * EACH, "before_mb": peak()}
    for name in ("index_s", "unchanged_s"):
        began = time.perf_counter()
        index = Index(folder, documents, embed, WIDTH)
        index.update()
        found[name] = round(time.perf_counter() - began, 2)
    found["index_mb"] = peak()
    r = random.Random("questions")
    questions = [words(r, 8) for _ in range(ASKED)]
    nearest = exact(documents, questions)
    for name, way in (("bm25", "bm25"), ("exact", "states"), ("hybrid", "hybrid"), ("ann", "states")):
        search = partial(index.search, k=K, way=way, ann=name == "ann")
        search(questions[0])  # makes the lists of ann
        began = time.perf_counter()
        hits = [search(q) for q in questions]
        found[f"{name}_ms"] = round((time.perf_counter() - began) * 1000 / ASKED, 1)
        if way == "states":
            right = [len(n & {(h.mark, h.line) for h in hit}) / K for n, hit in zip(nearest, hits)]
            found[f"{name}_recall"] = round(sum(right) / ASKED, 3)
    return found | {"asking_mb": peak()}


def exact(documents: Documents, questions: list[str]) -> list[set[tuple[str, int]]]:
    """(document, line) of the K nearest chunks of each question, by numpy, a document at a time."""
    asked = embed(questions)
    near: list[list[tuple[float, str, int]]] = [[] for _ in questions]
    for mark, read in documents.items():
        chunks = list(read())
        scores = embed([c.text for c in chunks]) @ asked.T
        for q, of in enumerate(near):
            of += [(float(scores[i, q]), mark, chunks[i].line) for i in best(scores[:, q], K)]
            of[:] = sorted(of, reverse=True)[:K]
    return [{(mark, line) for _, mark, line in of} for of in near]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(
            json.dumps(measured(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, Path(folder) / "index"))
        )
