"""Chunks, rankings, their fusion, vectors and the loss that trains them, each against a second derivation."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.retrieval import dense
from llmlab.retrieval.chunks import WORD, cut, windows
from llmlab.retrieval.rank import BM25, best, cosine, fused
from llmlab.retrieval.retriever import Retriever
from llmlab.retrieval.words import Corpus, keep, kept

TEXTS = st.text(alphabet="abcé漢 \n\t\r\u2028\u00a0\ufeff", max_size=200)
SIZES = st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))
SAID = ["the dose is forty", "the dose of Zorvex is the dose", "trains run at night", ""]


# --- chunks


@given(TEXTS, SIZES)
def test_chunks_are_the_windows_of_the_words(text, sizes):
    length, overlap = sizes
    words, chunks = re.findall(r"\S+", text), cut("f", text, length, overlap)
    step = length - overlap
    starts = [0, *range(step, max(1, len(words) - overlap), step)][: len(chunks)]
    assert [c.text.split() for c in chunks] == [words[s : s + length] for s in starts]
    assert bool(chunks) == bool(words)


@given(TEXTS, SIZES)
def test_chunks_cover_the_text_and_overlap_exactly(text, sizes):
    length, overlap = sizes
    chunks = [c.text.split() for c in cut("f", text, length, overlap)]
    joined = chunks[0] if chunks else []
    for before, after in zip(chunks, chunks[1:]):
        assert before[len(before) - overlap :] == after[:overlap] and len(after) > overlap
        joined = joined + after[overlap:]
    assert joined == text.split()


@given(TEXTS, SIZES)
def test_a_chunks_lines_are_those_of_its_first_and_last_word(text, sizes):
    lines = text.split("\n")
    for chunk in cut("f", text, *sizes):
        inside = "\n".join(lines[chunk.line - 1 : chunk.last])
        assert chunk.text in inside
        assert lines[chunk.line - 1].split()[-1:] and chunk.text.split()[0] in lines[chunk.line - 1]
        assert chunk.text.split()[-1] in lines[chunk.last - 1]


@given(st.integers(1, 400), SIZES)
def test_a_long_word_is_cut_and_nothing_is_lost(n, sizes):
    text = "".join(chr(97 + i % 26) for i in range(n))
    length, overlap = sizes
    chunks = cut("f", text, length, overlap)
    assert max(len(c.text) for c in chunks) <= 64 * length
    assert sum(len(c.text) for c in chunks) == n + 64 * overlap * (len(chunks) - 1)
    assert WORD.findall(text) == [text[i : i + 64] for i in range(0, n, 64)]


@pytest.mark.parametrize("length, overlap", [(4, 4), (4, 5), (4, -1), (0, 0)])
def test_an_overlap_as_long_as_a_chunk_is_refused(length, overlap):
    with pytest.raises(ValueError, match="below the length"):
        cut("f", "a b", length, overlap)


def test_chunks_of_a_long_document_come_one_by_one():
    found = windows("f", "word " * 1_000_000, 32)
    assert next(found).text == " ".join(["word"] * 32)


# --- words


def by_hand(texts: list[str], query: str) -> list[float]:
    """BM25 out of its formula."""
    docs = [t.lower().split() for t in texts]
    mean = sum(max(1, len(d)) for d in docs) / len(docs)  # an empty text counts as one empty word
    scores = []
    for d in docs:
        score = 0.0
        for w in query.lower().split():
            df, tf = sum(w in x for x in docs), d.count(w)
            idf = math.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
            score += idf * tf / (tf + 1.5 * (0.25 + 0.75 * max(1, len(d)) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["dose", "the dose of Zorvex", "trains", "dose dose night"])
def test_bm25_is_its_formula(query):
    assert BM25(SAID).scores(query) == pytest.approx(by_hand(SAID, query), abs=1e-6)


def test_unknown_words_score_nothing():
    assert BM25(SAID).scores("xylophone").tolist() == [0.0] * 4
    assert BM25(SAID).scores("").tolist() == [0.0] * 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("abc 9", max_size=12), min_size=1, max_size=8), st.text("abc 9", max_size=8))
def test_the_kept_index_scores_like_the_one_in_memory(tmp_path_factory, texts, query):
    folder = tmp_path_factory.mktemp("words") / "w"
    ids = np.arange(100, 100 + len(texts))
    keep(folder, zip(ids.tolist(), texts))
    found = kept(folder, ids)
    scores = BM25(texts).scores(query)
    assert found.scores(query) == pytest.approx(scores)
    right = [i + 100 for i in best(scores, 3) if scores[i] > 0]
    assert found.best(query, 3) == right


def test_a_kept_index_of_other_chunks_or_cut_short_is_none(tmp_path):
    keep(tmp_path / "w", [(7, "a b"), (5, "b c")])
    assert kept(tmp_path / "w", np.array([5, 7])) and not kept(tmp_path / "w", np.array([5, 8]))
    for file in (tmp_path / "w").iterdir():
        raw = file.read_bytes()
        file.write_bytes(raw[: len(raw) // 2])
        assert kept(tmp_path / "w", np.array([5, 7])) is None, file.name
        file.unlink()
        assert kept(tmp_path / "w", np.array([5, 7])) is None, file.name
        file.write_bytes(raw)
    assert kept(tmp_path / "w", np.array([5, 7]))


def test_a_corpus_is_read_as_often_as_one_likes():
    corpus = Corpus.of(iter(["a b a", "", "b"]))
    assert list(corpus) == list(corpus) == [[0, 1, 0], [2], [1]] and len(corpus) == 3
    assert corpus.vocab == {"a": 0, "b": 1, "": 2}


# --- rankings


def test_fusion_by_hand():
    a, b, c = 0.5 / 61 + 0.5 / 63, 0.5 / 62 + 0.5 / 61, 0.5 / 62
    assert b > a > c
    assert fused([[10, 11], [11, 12, 10]], [0.5, 0.5]) == [11, 10, 12]
    assert fused([[10, 11], [11, 12, 10]], [1.0, 0.0])[:2] == [10, 11]
    assert fused([[3], [1]], [1, 1]) == [1, 3]  # of equals the lowest


def test_of_equals_the_first_is_best():
    assert best(np.array([1.0, 3.0, 3.0, 2.0]), 3) == [1, 2, 3]


def test_cosine_is_that_of_any_query():
    v = np.eye(3, dtype=np.float32)
    assert cosine(np.array([0, 5.0, 0]), v).tolist() == [0, 1, 0]
    assert cosine(np.zeros(3), v).tolist() == [0, 0, 0]


def test_a_retriever_by_each_way():
    vectors = np.eye(4, dtype=np.float32)
    asked = {"trains": vectors[0], "zorvex": vectors[3]}
    assert Retriever("bm25", SAID)("trains", 1) == [2]
    assert Retriever("states", SAID, vectors, asked.get)("trains", 1) == [0]
    assert Retriever("hybrid", SAID, vectors, asked.get, weight=0.0)("trains", 1) == [2]
    assert Retriever("hybrid", SAID, vectors, asked.get, weight=1.0)("trains", 1) == [0]
    assert set(Retriever("hybrid", SAID, vectors, asked.get)("trains", 2)) == {0, 2}


# --- vectors


def test_a_vector_is_the_mean_of_the_last_states(tiny):
    text = "The dose of Zorvex is 40."
    ids = torch.tensor([tiny.tok(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        mean = tiny.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0].mean(0)
    assert torch.allclose(dense.embed(tiny.model, tiny.tok, [text])[0], mean / mean.norm(), atol=1e-5)


def test_a_vector_does_not_depend_on_its_neighbours(tiny):
    texts = ["short", "a much longer text, " * 20, "of middle length, with words", ""]
    together = dense.vectors(tiny.model, tiny.tok, texts)
    alone = np.concatenate([dense.vectors(tiny.model, tiny.tok, [t]) for t in texts])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(dense.vectors(tiny.model, tiny.tok, texts, size=2), together, atol=1e-5)
    assert np.allclose(np.linalg.norm(together[:3], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_info_nce_of_equal_vectors_is_log_n(n):
    same = F.normalize(torch.ones(n, 4), dim=-1)
    assert float(dense.info_nce(same, same)) == pytest.approx(math.log(n), abs=1e-6)


def test_the_gradient_of_info_nce_is_softmax_minus_one(temperature=0.1):
    g = torch.Generator().manual_seed(0)
    q, p = (torch.randn(5, 8, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    dense.info_nce(q, p, temperature).backward()
    with torch.no_grad():
        error = ((q @ p.T / temperature).softmax(-1) - torch.eye(5)) / (5 * temperature)
    assert torch.allclose(q.grad, error @ p) and torch.allclose(p.grad, error.T @ q)


def test_contrast_brings_a_question_near_its_passage(tiny):
    words = ["anna", "bert", "cora", "dora"]
    pairs = lambda step: [(f"who is {w}?", f"{w} lives here") for w in words]
    rows = list(dense.contrast(tiny.model, tiny.tok, pairs, steps=20, lr=3e-3))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"] and rows[-1]["nearest"] == 1.0
