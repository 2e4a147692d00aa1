"""Chapter 01: who reads whom where prefixes are shared, and how many tokens that leaves to compute."""

import torch
from helpers_layout import batches
from hypothesis import assume, given

from llmlab.chapters.c01_data_topology import sharing
from llmlab.models.load import load
from llmlab.tokens.batch import Batch
from llmlab.tokens.layout import layout

PAIR = Batch(torch.tensor([[5, 6, 7, 8, 9], [5, 6, 3, 2, 9]]), torch.tensor([[0.0, 0, 1, 1, 1]] * 2))


def test_a_token_reads_its_own_prefix_and_no_sibling():
    assert layout(PAIR).ids.tolist() == [5, 6, 3, 2, 7, 8]
    assert sharing.sees(layout(PAIR)).int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1, 1],
    ]


def test_what_is_computed():
    assert sharing.computed(PAIR) == {"padded": 8, "packed": 8, "shared": 6, "trained": 6}


@given(batches())
def test_sharing_never_computes_more_and_each_token_reads_as_many_as_stand_before_it(batch):
    lay = layout(batch)
    assume(lay is not None)
    told = sharing.computed(batch)
    assert told["shared"] <= told["packed"] <= told["padded"]
    first = {int(p[0]): int(lay.positions[p[0]]) for p in sharing.paths(lay)}
    if set(first.values()) == {0}:
        assert torch.equal(sharing.sees(lay).sum(1), lay.positions + 1)


def test_the_picture_has_a_line_for_each_distinct_token():
    drawn = sharing.picture(load("chat").tok, PAIR)
    assert len(drawn.axes[0].get_yticks()) == 6 and drawn._repr_png_()[:4] == b"\x89PNG"
