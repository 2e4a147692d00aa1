"""Words: a BM25 index kept in a folder and read from there, page by page (mmap), as it is asked."""

import json
import shutil
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator

import bm25s
import numpy as np

from .. import paths
from .rank import BM25, words


@dataclass
class Corpus:
    """Texts as numbers of words in one flat array: what bm25s reads, without a Python list a text."""

    vocab: dict[str, int]
    flat: np.ndarray
    ends: np.ndarray

    @property
    def ids(self) -> "Corpus":
        return self

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[int]]:
        start = 0
        for end in self.ends.tolist():
            yield self.flat[start:end].tolist()
            start = end

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Corpus":
        """Each text is read once and let go."""
        vocab: dict[str, int] = {}
        flat, ends = array("i"), array("q")
        for text in texts:
            flat.extend(vocab.setdefault(w, len(vocab)) for w in words(text) or [""])
            ends.append(len(flat))
        return cls(vocab, np.frombuffer(flat, dtype=np.int32), np.frombuffer(ends, dtype=np.int64))


class KeptBM25(BM25):
    """BM25 out of a folder that `keep` wrote. ids [n]: what each of its scores belongs to."""

    def __init__(self, folder: Path):
        self.index = bm25s.BM25.load(folder, mmap=True)
        self.ids = np.load(folder / "ids.npy", mmap_mode="r")

    def best(self, query: str, k: int) -> list[int]:
        """Ids of the k highest scores above 0, best first; of equals the lowest id."""
        scores = self.scores(query)
        found = np.flatnonzero(scores > 0)
        if len(found) > k:
            least = np.partition(scores[found], len(found) - k)[len(found) - k]
            found = found[scores[found] >= least]
        ids = self.ids[found]
        return ids[np.lexsort((ids, -scores[found]))][:k].tolist()


def keep(folder: Path, texts: Iterable[tuple[int, str]]) -> None:
    """Write the index of texts with their ids. The seal comes last: a killed call leaves none."""
    shutil.rmtree(folder, ignore_errors=True)
    ids = array("q")
    index = bm25s.BM25(k1=1.5, b=0.75)

    def noted() -> Iterator[str]:
        for i, text in texts:
            ids.append(i)
            yield text

    index.index(Corpus.of(noted()), show_progress=False)
    index.save(folder, show_progress=False)
    np.save(folder / "ids.npy", np.frombuffer(ids, dtype=np.int64))
    paths.write_atomic(folder / "seal.json", json.dumps(_seal(folder, np.array(ids))).encode())


def kept(folder: Path, ids: np.ndarray) -> KeptBM25 | None:
    """The index in a folder; None unless it is whole and of just these ids."""
    try:
        whole = json.loads((folder / "seal.json").read_bytes()) == _seal(folder, ids)
        return KeptBM25(folder) if whole else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _seal(folder: Path, ids: np.ndarray) -> dict:
    """What the folder must hold: the hash of its ids, and each file's size."""
    sizes = {f.name: f.stat().st_size for f in sorted(folder.iterdir()) if not f.name.startswith("seal.json")}
    return {"ids": paths.hash_bytes(np.sort(ids).tobytes()), "sizes": sizes}
