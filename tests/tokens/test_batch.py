"""Batch: every mistake in its making is one sentence, and nothing changes it afterwards."""

import pytest
import torch

from llmlab.tokens.batch import COLUMNS, Batch, MissingColumn, concatenate, pad
from llmlab.tokens import pairs
from llmlab.world import talk


def batch(rows=4, width=5, **given):
    return Batch(torch.arange(rows * width).view(rows, width), torch.ones(rows, width), given)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_column_says_what_it_is_and_who_makes_it(name):
    shape, meaning, maker = COLUMNS[name]
    with pytest.raises(MissingColumn) as error:
        batch()[name]
    assert str(error.value) == f"this batch has no column '{name}' {shape} ({meaning}); it is made by {maker}"


def test_a_column_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="unknown column 'advantage'; known: .*advantages"):
        batch().add(advantage=torch.zeros(4, 1))


def test_rows_of_columns_are_counted():
    with pytest.raises(ValueError, match="column 'rewards' has 3 rows, the batch has 4"):
        batch().add(rewards=torch.zeros(3))


@pytest.mark.parametrize("name", [n for n, (shape, _, _) in COLUMNS.items() if shape != "[B]"])
def test_a_number_a_row_where_a_number_a_token_belongs_is_refused(name):
    with pytest.raises(ValueError, match=rf"column '{name}' is .*view\(-1, 1\)"):
        batch().add(**{name: torch.zeros(4)})


def test_a_number_a_row_is_right_where_it_belongs():
    assert batch().add(rewards=torch.zeros(4), advantages=torch.zeros(4, 1))["advantages"].shape == (4, 1)


@pytest.mark.parametrize("ids, mask", [((2, 3), (2, 4)), ((3,), (3,)), ((2, 3, 1), (2, 3, 1))])
def test_ids_and_mask_are_two_tables_of_one_shape(ids, mask):
    with pytest.raises(ValueError, match=r"must both be \[B,T\]"):
        Batch(torch.zeros(ids), torch.zeros(mask))


def test_add_leaves_the_original_alone_and_cuts_the_gradient():
    old = batch(rewards=torch.ones(4))
    new = old.add(step=torch.zeros(4), rewards=torch.full((4,), 2.0, requires_grad=True))
    assert (
        set(old.given) == {"rewards"}
        and float(old["rewards"].sum()) == 4
        and float(new["rewards"].sum()) == 8
    )
    assert not new["rewards"].requires_grad


def test_columns_cannot_be_changed_behind_the_batch():
    given = {"rewards": torch.ones(4)}
    made = batch(**given)
    with pytest.raises(TypeError):
        made.given["step"] = torch.zeros(4)
    with pytest.raises(AttributeError):
        made.ids = torch.zeros(4, 5)


def test_pick_takes_rows_in_the_order_asked_for():
    picked = batch(group=torch.tensor([7, 8, 9, 10])).pick(torch.tensor([2, 0]))
    assert (
        picked.ids[:, 0].tolist() == [10, 0]
        and picked["group"].tolist() == [9, 7]
        and picked.mask.shape == (2, 5)
    )


def test_pick_refuses_to_tear_a_pair(shipped):
    pairs = pairs.answers(shipped.tok, talk.pairs(3))
    assert pairs.pick(torch.tensor([4, 5, 0, 1]))["pair"].tolist() == [2, 2, 0, 0]
    for torn in ([0, 1, 2], [1, 2], [0, 2, 1, 3]):
        with pytest.raises(ValueError, match="tear a preference pair apart"):
            pairs.pick(torch.tensor(torn))


def test_to_moves_the_columns_too():
    moved = batch(rewards=torch.ones(4)).to("meta")
    assert {moved.ids.device.type, moved.mask.device.type, moved["rewards"].device.type} == {"meta"}


def test_temperature_survives_every_copy():
    warm = Batch(torch.zeros(2, 3), torch.ones(2, 3), temperature=0.7)
    copies = [
        warm.add(rewards=torch.ones(2)),
        warm.pick(torch.tensor([0])),
        warm.to("cpu"),
        concatenate([warm, warm]),
    ]
    assert [c.temperature for c in copies] == [0.7] * 4


def test_pad():
    rows = [[1, 2, 3], [4]]
    assert pad(rows, 0).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert pad(rows, 9, side="left").tolist() == [[1, 2, 3], [9, 9, 4]]
    assert pad(rows, 0, width=4).tolist() == [[1, 2, 3, 0], [4, 0, 0, 0]]


def test_concatenate_puts_rows_and_columns_one_after_the_other():
    both = concatenate([batch(2, 3, rewards=torch.ones(2)), batch(1, 3, rewards=torch.zeros(1))])
    assert len(both) == 3 and both["rewards"].tolist() == [1, 1, 0] and both.ids[:, 0].tolist() == [0, 3, 0]


def test_a_pair_is_chosen_then_rejected_with_the_answers_alone_trained(shipped):
    pairs = talk.pairs(3)
    made = pairs.answers(shipped.tok, pairs)
    trained = [shipped.tok.decode(ids[mask > 0]).strip() for ids, mask in zip(made.ids, made.mask)]
    assert trained == [text for p in pairs for text in (p.chosen, p.rejected)]
    assert made["pair"].tolist() == [0, 0, 1, 1, 2, 2]
