"""Index: the chunks of many documents, kept on disk: in LanceDB with their vectors, their words by BM25.

A row belongs to the content that it was cut from (`mark`), not to a file's name: a renamed file needs no new
vectors, and a copy is kept once. Rows are added in batches, each of them whole or not there; what a killed
call has added stays, and the next call goes on behind it.
"""

import errno
import hashlib
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from .. import paths
from ..errors import UserError
from . import words
from .chunks import Chunk
from .rank import fused
from .retriever import DEPTH

MANY = 64  # files of a table that are worth being put together
BATCH = 256  # chunks that are embedded and added together: the most that a kill can lose
FROM = 4096  # chunks from which an approximate search is worth its lists
GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # errors of the system that only damage explains
Embed = Callable[[list[str]], np.ndarray]  # texts -> [texts, width], each of length 1
Documents = Mapping[str, Callable[[], Iterable[Chunk]]]  # mark -> its chunks, always the same for one mark
T = TypeVar("T")


class Missing(UserError):
    """LanceDB is not installed."""


class Damaged(Exception):
    """What lies on disk is not what was written."""


class Hit(NamedTuple):
    """A chunk that was found: the content that it is from, its first and last line, its text."""

    mark: str
    line: int
    last: int
    text: str


class Held(NamedTuple):
    """What the table has of one mark: how many chunks, and whether the last one is among them."""

    chunks: int
    whole: bool


@dataclass
class Changes:
    """What an update did: chunks added, and removed."""

    added: int = 0
    removed: int = 0


class Index:
    """The index in a folder. width: of the vectors, 0 for words alone. One process at a time: see
    paths.alone.
    """

    def __init__(self, folder: Path, documents: Documents, embed: Embed | None = None, width: int = 0):
        try:
            import lancedb
        except ImportError:
            raise Missing(f"an index of your documents needs LanceDB; run: {paths.extra('rag')}") from None
        self.connect = lancedb.connect
        self.folder, self.documents, self.embed, self.width = folder, documents, embed, width
        self.table: Any = None
        self.words: words.KeptBM25 | None = None
        self.mended = ""  # why it was built anew

    def update(self, on_chunks: Callable[[int], None] = lambda n: None) -> Changes:
        """Make it hold these documents and no others; on_chunks is told how many were added so far. A damaged
        index is built anew.
        """
        return self._whole(lambda: self._update(on_chunks), lambda: self._update(on_chunks))

    def search(self, question: str, k: int, way: str = "bm25", weight: float = 0.5, ann: bool = False):
        """The k best chunks, best first: by words (bm25), by vectors (states), or by both (hybrid). The
        vectors are all compared (exact), unless ann: then those of the 20 nearest of √n lists (IVF_FLAT).
        """
        asked = self.embed([question])[0] if self.embed is not None and way != "bm25" else None

        def work() -> list[Hit]:
            with intact():
                return self._search(question, asked, k, way, weight, ann) if len(self) else []

        return self._whole(work, lambda: [self._update(), work()][1])

    def __len__(self) -> int:
        return self.table.count_rows() if self.table is not None else 0

    def _whole(self, work: Callable[[], T], anew: Callable[[], T]) -> T:
        """The work; if the disk holds something else than was written, the work with a new index."""
        try:
            return work()
        except Damaged as e:
            self.mended = str(e)
            shutil.rmtree(self.folder, ignore_errors=True)
        try:
            return anew()
        except Damaged as e:
            raise UserError(
                f"the index in '{self.folder}' cannot be written and read ({e}); remove that folder, or set"
                " LLMLAB_HOME to another disk"
            ) from None

    # --- keeping

    def _update(self, on_chunks: Callable[[int], None] = lambda n: None) -> Changes:
        self.words = None
        with intact():
            self.table = self._open()
            held = self._held()
        unsound = [m for m, h in held.items() if h.chunks < 0]
        gone = [m for m in held if m not in self.documents]
        changes = Changes(removed=sum(max(0, held[m].chunks) for m in gone))
        self._delete(gone + unsound)
        held = {m: h for m, h in held.items() if h.chunks >= 0}
        wanted = {m: read for m, read in self.documents.items() if m not in held or not held[m].whole}
        rows = chain.from_iterable(_rows(m, read, held.get(m)) for m, read in wanted.items())
        while batch := list(islice(rows, BATCH)):
            self._add(batch)
            changes.added += len(batch)
            on_chunks(changes.added)
        with intact():
            if changes.added or gone or unsound or self._parts() > MANY:
                self.table.optimize(cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True)
            self.words = self._words()
        return changes

    def _words(self) -> words.KeptBM25 | None:
        """The index of the words, made again where it is not of these chunks; None where there are none."""
        parts = [b.column("id").to_numpy() for b in self._scan("id")]
        if not parts:
            return None
        folder, ids = self.folder / "words", np.concatenate(parts)
        if (found := words.kept(folder, ids)) is None:
            words.keep(folder, self._texts())
            found = words.kept(folder, ids)
        if found is None:
            raise Damaged("the index of its words cannot be read back")
        return found

    def _parts(self) -> int:
        """Files that the table lies in."""
        return sum(1 for _ in (self.folder / "chunks.lance" / "data").glob("*"))

    def _open(self):
        """The table; a new one where there is none."""
        paths.writable(self.folder)
        schema = pa.schema(
            [("id", pa.int64()), ("mark", pa.string()), ("number", pa.int32()), ("end", pa.bool_())]
            + [("line", pa.int32()), ("last", pa.int32()), ("text", pa.large_string())]
            + ([("vector", pa.list_(pa.float32(), self.width))] if self.width else [])
        )
        db = self.connect(str(self.folder))
        if not (self.folder / "chunks.lance").is_dir():
            return db.create_table("chunks", schema=schema)
        table = db.open_table("chunks")
        if table.schema != schema:
            raise Damaged("its table has other columns")
        return table

    def _scan(self, *columns: str) -> Iterator[pa.RecordBatch]:
        return self.table.search().select(list(columns)).to_batches(batch_size=8192)

    def _texts(self) -> Iterator[tuple[int, str]]:
        for batch in self._scan("id", "text"):
            yield from zip(batch.column("id").to_pylist(), batch.column("text").to_pylist())

    def _held(self) -> dict[str, Held]:
        """What is there of each mark; a count of −1 where chunks are missing in the middle."""
        found: dict[str, tuple[int, int, bool]] = {}
        for batch in self._scan("mark", "number", "end"):
            each = pa.Table.from_batches([batch]).group_by("mark")
            told = each.aggregate([("number", "count"), ("number", "max"), ("end", "max")])
            for row in told.to_pylist():
                n, most, end = found.get(row["mark"], (0, -1, False))
                found[row["mark"]] = (
                    n + row["number_count"],
                    max(most, row["number_max"]),
                    end or row["end_max"],
                )
        return {m: Held(n if n == most + 1 else -1, end) for m, (n, most, end) in found.items()}

    def _delete(self, marks: list[str]) -> None:
        with intact():
            for start in range(0, len(marks), 500):
                some = ", ".join(f"'{m}'" for m in marks[start : start + 500])
                self.table.delete(f"mark IN ({some})")

    def _add(self, batch: list[dict]) -> None:
        columns = {name: [row[name] for row in batch] for name in batch[0]}
        if self.width:
            assert self.embed is not None
            flat = np.ascontiguousarray(self.embed(columns["text"]), dtype=np.float32).ravel()
            if not np.isfinite(flat).all():
                raise UserError("the model makes vectors that are not finite; its weights have diverged")
            columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(flat), self.width)
        with intact():
            self.table.add(pa.table(columns, schema=self.table.schema))

    # --- asking

    def _search(self, question: str, asked, k: int, way: str, weight: float, ann: bool) -> list[Hit]:
        if way == "bm25":
            return self._hits(self._by_words(question, k))
        if way == "states":
            return self._hits(self._by_vectors(asked, k, ann))
        rankings = [self._by_words(question, max(k, DEPTH)), self._by_vectors(asked, max(k, DEPTH), ann)]
        return self._hits(fused(rankings, [1 - weight, weight])[:k])

    def _by_words(self, question: str, k: int) -> list[int]:
        assert self.words is not None
        return self.words.best(question, k)

    def _by_vectors(self, asked: np.ndarray, k: int, ann: bool) -> list[int]:
        """Ids of the k nearest by cosine, best first; of equals the lowest id."""
        if ann and len(self) >= FROM and not self.table.list_indices():
            lists = round(len(self) ** 0.5)
            self.table.create_index(metric="dot", index_type="IVF_FLAT", num_partitions=lists)
        query = self.table.search(asked).distance_type("dot").limit(k)
        found = (query if ann else query.bypass_vector_index()).select(["id", "_distance"]).to_arrow()
        return [i for _, i in sorted(zip(found["_distance"].to_pylist(), found["id"].to_pylist()))]

    def _hits(self, ids: list[int]) -> list[Hit]:
        if not ids:
            return []
        where = f"id IN ({', '.join(map(str, ids))})"
        rows = self.table.search().where(where).select(["id", *Hit._fields]).limit(len(ids)).to_list()
        found = {row["id"]: Hit(*(row[f] for f in Hit._fields)) for row in rows}
        if len(found) < len(ids):
            raise Damaged("chunks that its words name are missing")
        return [found[i] for i in ids]


def _rows(mark: str, read: Callable[[], Iterable[Chunk]], held: Held | None) -> Iterator[dict]:
    """The rows of one content that are not there yet."""
    chunks = iter(read())
    chunk = next(chunks, None)
    number = 0
    while chunk is not None:
        after = next(chunks, None)
        if held is None or number >= held.chunks:
            where = dict(line=chunk.line, last=chunk.last, text=chunk.text)
            yield dict(id=_id(mark, number), mark=mark, number=number, end=after is None, **where)
        chunk, number = after, number + 1


def _id(mark: str, number: int) -> int:
    """The same for the same chunk in every index: of equals the same one comes first, whatever was added
    when.
    """
    return int.from_bytes(hashlib.sha256(f"{mark} {number}".encode()).digest()[:8]) >> 1


@contextmanager
def intact():
    """Whatever goes wrong in here is Damaged, except what the system refuses: a full disk damages nothing."""
    try:
        yield
    except (UserError, Damaged, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as e:  # a panic of LanceDB's Rust code is no Exception
        said = (str(e).strip() or type(e).__name__).split("\n")[0].split(", /")[0][:160]
        number = re.search(r"(?:os error|Errno) (\d+)", said)
        if number and int(number[1]) not in GONE:
            raise paths.NoRoom(
                f"the index cannot be read or written ({said}); it is kept as it is: free some space, or set"
                " LLMLAB_HOME to another disk"
            ) from None
        raise Damaged(said) from e
