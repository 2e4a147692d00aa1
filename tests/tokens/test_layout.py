"""Layout: every token that a batch needs is there once, and each row reads its own tokens in order."""

import torch
from helpers_layout import batches
from hypothesis import given

from llmlab.tokens.batch import Batch, pad
from llmlab.tokens.layout import layout


def documents(batch: Batch) -> list[tuple[tuple[int, ...], list[int]]]:
    """(first position and ids, places at which a token under the mask is predicted) of each document, one
    token after the other: the definition that the layout is compared with.
    """
    found = []
    for r, (ids, mask) in enumerate(zip(batch.ids.tolist(), batch.mask.tolist())):
        places = batch["positions"][r].tolist() if "positions" in batch.given else list(range(len(ids)))
        for t in range(len(ids) - 1):
            if t == 0 or places[t] != places[t - 1] + 1:
                found.append(([], [], places[t]))
            found[-1][0].append(ids[t])
            if mask[t + 1] > 0:
                found[-1][1].append(len(found[-1][0]) - 1)
    return [((first, *ids[: at[-1] + 1]), at) for ids, at, first in found if at]


@given(batches())
def test_each_distinct_prefix_is_there_once_and_predicts_what_is_under_the_mask(batch):
    lay, wanted = layout(batch), documents(batch)
    if lay is None:
        assert not wanted
        return
    prefixes = {row[: t + 1] for row, _ in wanted for t in range(1, len(row))}
    assert len(lay.ids) == len(prefixes)
    assert len(lay.before) == int((batch.mask[:, 1:] > 0).sum()) == sum(len(at) for _, at in wanted)
    every = [row[: t + 1] for group in lay.rows for row in group for t in range(len(row))]
    assert [int(every[place][-1]) for place in lay.place] == list(range(len(lay.ids)))
    path = {}  # slot -> the tokens read up to it, by the row in which it is met
    for slot, place in enumerate(lay.place.tolist()):
        path[slot] = tuple(lay.ids[every[place]].tolist())
        assert int(lay.positions[slot]) == int(lay.positions[every[place][0]]) + len(path[slot]) - 1
    told = [path[slot] for slot in lay.before.tolist()]
    assert told == [row[1 : t + 2] for row, at in wanted for t in at]


def test_an_empty_mask_has_no_layout():
    assert layout(Batch(torch.ones(2, 4, dtype=torch.long), torch.zeros(2, 4))) is None


def test_a_prompt_is_there_once_for_all_its_answers_and_a_row_once_for_all_its_copies():
    rows = [[5, 6, 7, 8, 9], [5, 6, 7, 3, 2], [5, 6, 7, 8, 9]]
    lay = layout(Batch(torch.tensor(rows), torch.tensor([[0, 0, 0, 1, 1]] * 3).float()))
    assert lay.ids.tolist() == [5, 6, 7, 3, 8]  # the last token of a row predicts nothing
    assert lay.positions.tolist() == [0, 1, 2, 3, 3]
    assert lay.before.tolist() == [2, 4, 2, 3, 2, 4]


def test_nothing_behind_the_last_trained_token_is_computed():
    ids = torch.tensor([[5, 6, 7, 8, 9, 4]])
    lay = layout(Batch(ids, torch.tensor([[0.0, 0, 1, 0, 0, 0]])))
    assert lay.ids.tolist() == [5, 6]


def test_a_long_conversation_costs_what_its_tokens_cost():
    """No square of a row's length is ever stored."""
    rows = [list(range(4000)), *([[1, 2, 3]] * 15)]
    batch = Batch(pad(rows, 0), pad([[0] + [1] * (len(r) - 1) for r in rows], 0).float())
    lay = layout(batch)
    stored = [lay.ids, lay.positions, lay.place, lay.before, *lay.rows]
    assert len(lay.ids) == 3999 + 2 and sum(x.numel() for x in stored) < 6 * 4000


def test_one_long_document_packed_among_many_short_ones_is_left_alone():
    places = torch.cat([torch.arange(2000), torch.arange(2).repeat(500)])[None]
    ids = torch.randint(1, 9, places.shape)
    assert layout(Batch(ids, (places > 0).float(), {"positions": places})) is None
    few = {"positions": places[:, :2040]}
    rows = layout(Batch(ids[:, :2040], (places[:, :2040] > 0).float(), few)).rows
    assert [group.shape[1] for group in rows] == [1, 1999]
