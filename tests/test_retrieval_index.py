"""The kept index: what is embedded again and what is not, kills, damage, exactness, memory."""

import json
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb")
import helpers_index as helper  # noqa: E402

from llmlab import paths  # noqa: E402
from llmlab.errors import UserError  # noqa: E402
from llmlab.retrieval import index as indices  # noqa: E402
from llmlab.retrieval import measure  # noqa: E402
from llmlab.retrieval.chunks import Chunk, cut  # noqa: E402
from llmlab.retrieval.index import Hit, Index  # noqa: E402
from llmlab.retrieval.rank import BM25, best, cosine  # noqa: E402

EACH = 25  # chunks of a document of the helper


class Counted:
    """Vectors, and how many texts went in at each call."""

    def __init__(self):
        self.calls: list[int] = []

    def __call__(self, texts):
        self.calls.append(len(texts))
        return helper.vectors(texts)


def updated(folder: Path, numbers, **more) -> tuple[Index, int]:
    """The index of these documents, and how many texts were embedded for it."""
    embed = Counted()
    index = Index(folder, helper.documents(numbers), embed, helper.WIDTH, **more)
    index.update()
    return index, sum(embed.calls)


def told(index: Index) -> list:
    return [index.search(q, 5, way) for q in helper.QUESTIONS for way in ("bm25", "states", "hybrid")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder, answers) of an index of four documents, not to be changed."""
    folder = tmp_path_factory.mktemp("index") / "whole"
    return folder, told(updated(folder, range(4))[0])


def test_what_is_there_is_not_embedded_again(whole):
    index, embedded = updated(whole[0], range(4))
    assert embedded == 0 and len(index) == 4 * EACH and not index.mended
    assert told(index) == whole[1]


def test_only_what_is_new_is_embedded_and_what_is_gone_leaves(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "i")
    index, embedded = updated(folder, [0, 2, 3, 7])
    assert embedded == EACH and len(index) == 4 * EACH
    assert told(index) == told(updated(tmp_path / "fresh", [0, 2, 3, 7])[0])
    marks = {h.mark for hits in told(index) for h in hits}
    assert f"{1:032x}" not in marks and f"{7:032x}" in marks


def test_an_index_of_nothing_answers_nothing(tmp_path):
    index, embedded = updated(tmp_path / "i", [])
    assert embedded == 0 and len(index) == 0 and index.search("w1", 5, "hybrid") == []
    index, embedded = updated(tmp_path / "i", [1])
    assert embedded == EACH and index.search("w1", 5)


def test_words_alone_need_no_vectors(tmp_path):
    index = Index(tmp_path / "i", helper.documents(range(4)))
    index.update()
    texts = [c.text for read in helper.documents(range(4)).values() for c in read()]
    scores = BM25(texts).scores("w1 w4")
    found = index.search("w1 w4", 5)
    assert sorted(scores)[-5:] == pytest.approx(sorted(scores[texts.index(h.text)] for h in found))
    assert index.search("nothing-of-this", 5) == []


def test_the_exact_search_is_that_of_numpy(whole):
    index, _ = updated(whole[0], range(4))
    chunks = [(m, c) for m, read in helper.documents(range(4)).items() for c in read()]
    every = helper.vectors([c.text for _, c in chunks])
    for q in helper.QUESTIONS:
        right = [chunks[i] for i in best(cosine(helper.vectors([q])[0], every), 10)]
        assert index.search(q, 10, "states") == [Hit(m, c.line, c.last, c.text) for m, c in right]


def test_the_hybrid_with_one_weight_is_one_of_its_halves(whole):
    index, _ = updated(whole[0], range(4))
    for q in helper.QUESTIONS:
        assert index.search(q, 5, "hybrid", weight=1.0) == index.search(q, 5, "states")
        by_words = index.search(q, 5)
        assert index.search(q, 5, "hybrid", weight=0.0)[: len(by_words)] == by_words


def test_no_more_than_a_batch_is_in_memory(tmp_path):
    embed, opened = Counted(), []

    def document(number):
        for n in range(100):
            opened.append(number * 100 + n)
            yield Chunk("f", n, f"w{n}")

    def seen(texts):
        assert len(opened) <= sum(embed.calls) + 2 * indices.BATCH
        return embed(texts)

    Index(tmp_path, {f"{i:032x}": partial(document, i) for i in range(20)}, seen, helper.WIDTH).update()
    assert len(opened) == 2000 and max(embed.calls) == indices.BATCH


def test_a_file_that_fails_leaves_what_was_finished(tmp_path):
    def bad():
        raise UserError("this file is bad")
        yield

    documents = helper.documents(range(4)) | {"f" * 32: bad}
    with pytest.raises(UserError, match="this file is bad"):
        Index(tmp_path, documents, helper.vectors, helper.WIDTH).update()
    index, embedded = updated(tmp_path, range(4))
    assert embedded <= helper.indices.BATCH and told(index) == told(updated(tmp_path / "f", range(4))[0])


def test_vectors_that_are_not_finite_are_refused(tmp_path):
    diverged = lambda texts: np.full((len(texts), 8), np.nan, np.float32)
    with pytest.raises(UserError, match="not finite"):
        Index(tmp_path, helper.documents([0]), diverged, 8).update()


def test_many_kills_lose_at_most_a_batch_each(tmp_path):
    done = subprocess.run(
        [sys.executable, helper.__file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent), "OMP_NUM_THREADS": "1"},
    )
    found = json.loads(done.stdout)
    assert found["kills"] >= 10 and found["ended"] >= 1 and not found["failed"] and found["same"], done.stderr
    for embedded, kills in found["embedded"]:
        least = sum(helper.SIZES.values())
        assert least <= embedded <= least + helper.indices.BATCH * kills


def files_of(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file())


@pytest.mark.parametrize("how", ["delete", "truncate", "garbage", "empty"])
def test_a_damaged_index_is_built_again(whole, tmp_path, how):
    r = random.Random(how)
    for n, file in enumerate(files_of(whole[0])):
        folder = shutil.copytree(whole[0], tmp_path / str(n))
        broken = folder / file.relative_to(whole[0])
        raw = broken.read_bytes()
        match how:
            case "delete":
                broken.unlink()
            case "truncate":
                broken.write_bytes(raw[: r.randrange(len(raw))] if raw else b"")
            case "garbage":
                broken.write_bytes(r.randbytes(100))
            case "empty":
                broken.write_bytes(b"")
        assert told(updated(folder, range(4))[0]) == whole[1], broken
        shutil.rmtree(folder)


def test_a_table_that_was_only_begun_is_built_again(whole, tmp_path):
    (tmp_path / "i" / "chunks.lance" / "data").mkdir(parents=True)
    index, embedded = updated(tmp_path / "i", range(4))
    assert index.mended and embedded == 4 * EACH and told(index) == whole[1]


def test_a_table_of_other_columns_is_built_again(whole, tmp_path):
    Index(tmp_path, helper.documents(range(2))).update()
    index, _ = updated(tmp_path, range(4))
    assert "columns" in index.mended and told(index) == whole[1]


def test_chunks_that_are_missing_in_the_middle_are_made_again(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "i")
    table = indices.Index(folder, {}).connect(str(folder)).open_table("chunks")
    table.delete(f"mark = '{2:032x}' AND number = 3")
    index, embedded = updated(folder, range(4))
    assert embedded == EACH and told(index) == whole[1] and not index.mended


def test_damage_that_is_met_while_asking_is_mended(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "i")
    index, _ = updated(folder, range(4))
    shutil.rmtree(folder / "chunks.lance" / "data")
    assert told(index) == whole[1]


@pytest.mark.parametrize(
    "why", ["No space left on device (os error 28)", "Too many open files (os error 24)"]
)
def test_what_the_system_refuses_damages_nothing(whole, tmp_path, why):
    folder = shutil.copytree(whole[0], tmp_path / "i")
    index, _ = updated(folder, range(4))

    def refuse(*_):
        raise RuntimeError(f"lance error: LanceError(IO): {why} at path x, /root/object_store.rs:1006:34")

    index._held = refuse
    with pytest.raises(paths.NoRoom, match="free some space") as e:
        index.update()
    assert "object_store" not in str(e.value) and updated(folder, range(4))[1] == 0


def test_without_lancedb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(UserError, match=r"pip install .*\[rag\]"):
        Index(tmp_path, {})


def test_lines_travel_with_the_chunks(tmp_path):
    text = "one two\r\nthree\tfour\n\n\u2028five six seven\n" * 3
    index = Index(tmp_path, {"a" * 32: partial(cut, "f", text, 4, 1)})
    index.update()
    lines = text.split("\n")
    for hit in index.search("five", 10):
        assert hit.text.split()[0] in lines[hit.line - 1] and hit.text.split()[-1] in lines[hit.last - 1]


def test_twenty_thousand_chunks(tmp_path):
    """In a process of its own, for its memory. A Python list of all vectors alone would take 80 MB more."""
    done = subprocess.run(
        [sys.executable, "-m", measure.__name__, "20000"], capture_output=True, text=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert found["chunks"] == 20_000 and found["exact_recall"] == 1.0 and found["ann_recall"] > 0.7
    assert found["index_mb"] - found["before_mb"] < 400
