"""A reference computes each row once, and its column is the one that a step would have computed."""

import pytest
import torch
from helpers_layout import batches
from hypothesis import given, settings

from llmlab.chapters.c06_preferences.prefer import Prefer
from llmlab.models.load import load
from llmlab.tokens.batch import Batch, pad
from llmlab.train import loop, reference
from llmlab.train.reference import Reference


@pytest.fixture(scope="module")
def chat():
    return load("chat")


@settings(max_examples=20)
@given(first=batches(), second=batches())
def test_the_column_is_that_of_a_model_asked_again(chat, first, second):
    remembered = Reference(chat.model)
    for batch in (first, second, first):
        batch = Batch(batch.ids, batch.mask)
        asked = loop.add_logprobs(chat.model, batch, "ref_logprobs")["ref_logprobs"]
        told, there = remembered(batch)["ref_logprobs"], batch.mask[:, 1:] > 0
        assert told.shape == asked.shape and (told[~there] == 0).all()
        assert torch.allclose(told[there], asked[there], atol=1e-4)


def test_a_row_is_computed_once_whatever_its_padding_and_its_neighbours(chat, monkeypatch):
    asked = []
    right = reference.add_logprobs
    monkeypatch.setattr(
        reference, "add_logprobs", lambda m, b, column: (asked.append(len(b)), right(m, b, column))[1]
    )
    rows, masks = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 8]], [[0, 0, 1, 1], [0, 0, 1], [0, 0, 1, 1]]
    remembered = Reference(chat.model)
    remembered(Batch(pad(rows, 0), pad(masks, 0).float()))
    assert asked == [2]
    remembered(Batch(pad(rows[1:], 0, 9), pad(masks[1:], 0, 9).float()))
    assert asked == [2]
    remembered(Batch(pad(rows[:1], 0), pad([[0, 1, 1, 1]], 0).float()))
    assert asked == [2, 1], "another mask is another row"


def test_stored_pairs_cost_the_reference_one_epoch(chat, monkeypatch):
    asked = []
    right = reference.add_logprobs
    monkeypatch.setattr(
        reference, "add_logprobs", lambda m, b, column: (asked.append(len(b)), right(m, b, column))[1]
    )
    stream = Prefer(examples=8, batch=4).recipe(load("chat"), seed=0).stream(0)
    for _ in range(8):
        assert "ref_logprobs" in next(stream).given
    assert sum(asked) <= 16
