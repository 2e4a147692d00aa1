"""Packing: no token lost, doubled or moved; a reset row gives every document the logits it has on its own."""

from itertools import count

import pytest
import torch
from helpers_models import VOCAB
from helpers_models import tiny as sharp
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.models.forward import forward
from llmlab.tokens.batch import Batch, pad
from llmlab.tokens.pack import encode_documents, pack, padding
from llmlab.tokens.special import document_end

sizes = st.lists(st.integers(1, 12), min_size=1, max_size=20)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 9))  # rows, length


def numbered(lengths):
    """Documents whose tokens are 1, 2, 3, … through the whole corpus, so that any loss or swap shows."""
    number = count(1)
    return [[next(number) for _ in range(n)] for n in lengths]


@settings(max_examples=80, deadline=None)
@given(sizes, shapes, st.sampled_from(["plain", "reset"]))
def test_every_token_appears_once_and_in_order(lengths, shape, how):
    rows, length = shape
    batches = list(pack(numbered(lengths), rows=rows, length=length, how=how))
    tokens = torch.cat([b.ids.flatten() for b in batches]).tolist() if batches else []
    assert tokens == list(range(1, len(tokens) + 1))
    assert sum(lengths) - len(tokens) < rows * length  # only what does not fill a batch is left over
    assert all(b.ids.shape == (rows, length) for b in batches)


@settings(max_examples=80, deadline=None)
@given(sizes, shapes)
def test_positions_restart_with_every_document_and_row(lengths, shape):
    rows, length = shape
    documents = numbered(lengths)
    firsts = {d[0] for d in documents}
    for batch in pack(documents, rows=rows, length=length, how="reset"):
        for ids, positions, mask in zip(batch.ids.tolist(), batch["positions"].tolist(), batch.mask.tolist()):
            for t, token in enumerate(ids):
                assert positions[t] == (0 if t == 0 or token in firsts else positions[t - 1] + 1)
                assert mask[t] == (positions[t] > 0)  # nobody can foresee a document's first token


@settings(max_examples=40, deadline=None)
@given(sizes, shapes)
def test_without_packing_a_row_is_a_document_cut_and_padded(lengths, shape):
    rows, length = shape
    documents = numbered(lengths)
    batches = list(pack(documents, rows=rows, length=length, how="none", fill=0))
    found = [ids for b in batches for ids in b.ids.tolist()]
    expected = [(d[:length] + [0] * length)[:length] for d in documents]
    assert found == expected[: len(expected) // rows * rows]
    assert all(
        torch.equal(b.mask, (b.ids > 0).float())
        and padding(b) == pytest.approx(float((b.ids == 0).float().mean()))
        for b in batches
    )


def test_plain_rows_are_trained_throughout_and_have_no_positions():
    batch = next(pack(numbered([3, 9]), rows=2, length=6))
    assert batch.mask.all() and "positions" not in batch.given


def test_documents_are_closed_by_the_end_token_alone(shipped):
    texts, end = ["Anna lives in Tarsk.", "", "12 + 30 = 42."], document_end(shipped.tok)
    found = list(encode_documents(shipped.tok, texts, end, chunk=2))
    assert [ids[-1] for ids in found] == [end] * 3 and [ids.count(end) for ids in found] == [1] * 3
    assert [shipped.tok.decode(ids[:-1]) for ids in found] == texts


def test_an_unknown_way_of_packing_is_named():
    with pytest.raises(ValueError, match="packing is one of none, plain, reset, not 'tight'"):
        next(pack([[1]], rows=1, length=1, how="tight"))


def packed_against_alone(model, how):
    """Largest difference of logits between documents in a packed row and the same documents alone."""
    r = torch.Generator().manual_seed(0)
    documents = [torch.randint(3, VOCAB, (n,), generator=r).tolist() for n in (7, 20, 13, 9, 11, 20)]
    batch, worst = next(pack(documents, rows=2, length=40, how=how)), 0.0
    with torch.no_grad():
        logits = forward(model, batch).logits
        for row, start, ids in [
            (0, 0, documents[0]),
            (0, 7, documents[1]),
            (0, 27, documents[2]),
            (1, 9, documents[4]),
            (1, 20, documents[5]),
        ]:
            alone = forward(model, Batch(torch.tensor([ids]), torch.ones(1, len(ids)))).logits[0]
            worst = max(worst, float((logits[row, start : start + len(alone)] - alone).abs().max()))
    return worst


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3"])
def test_reset_rows_are_exact_and_plain_rows_are_not(family):
    model = sharp(family)
    assert packed_against_alone(model, "reset") < 1e-4
    assert packed_against_alone(model, "plain") > 0.01


def test_reset_is_exact_on_the_shipped_model(shipped):
    assert packed_against_alone(shipped.model, "reset") < 1e-4
    assert packed_against_alone(shipped.model, "plain") > 0.01


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3"])
def test_padding_on_the_right_changes_nothing_and_on_the_left_everything(family):
    model, rows = sharp(family), [[5, 9, 77, 31, 8], [12, 40, 3, 6, 99, 101, 54, 7, 60]]
    alone = Batch(torch.tensor([rows[0]]), torch.ones(1, 5))
    with torch.no_grad():
        expected = forward(model, alone).logprobs[0]
        right = forward(model, Batch(pad(rows, 0), pad([[1.0] * len(r) for r in rows], 0.0))).logprobs[0, :4]
        left = forward(
            model, Batch(pad(rows, 0, side="left"), pad([[1.0] * len(r) for r in rows], 0.0, side="left"))
        ).logprobs[0, -4:]
    torch.testing.assert_close(right, expected, atol=1e-4, rtol=0)
    assert (left - expected).abs().max() > 0.01
