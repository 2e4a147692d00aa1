"""Verification: the head's loss by hand, marks on the right tokens, labels behind the right steps."""

import pytest
import torch

from llmlab.chapters.c09_reasoning.verify import (
    AGGREGATIONS,
    SPLIT,
    labelled_batch,
    marked,
    open_row,
    padded,
    reached,
    truth,
)
from llmlab.methods.verification import cross_entropy
from llmlab.models.forward import Out
from llmlab.models.load import load
from llmlab.tokens.batch import Batch
from llmlab.world.base import rng
from llmlab.world.reasoning import Reasoning, first_wrong, slipped, sound

WORLD = Reasoning(levels=(1, 2))
PROBLEMS = WORLD.problems(40, seed=3)


def solved(p) -> str:
    return WORLD.solution(p)[0]["content"]


@pytest.fixture(scope="module")
def tok():
    return load("chat").tok


def test_the_loss_is_that_of_a_logistic_regression_at_the_marks():
    values = torch.tensor([[0.0, 2.0, -1.0]], requires_grad=True)
    mask, wanted = torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    batch = Batch(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4), {"returns": wanted})
    out = Out(torch.zeros(1, 3, 5), torch.zeros(1, 3), mask, values)
    loss, info = cross_entropy(out, batch)
    by_hand = -(torch.tensor(2.0).sigmoid().log() + (1 - torch.tensor(-1.0).sigmoid()).log()) / 2
    assert loss.item() == pytest.approx(by_hand.item()) and info["label_accuracy"] == 1.0
    loss.backward()
    assert values.grad[0, 0] == 0.0
    assert values.grad[0, 1].item() == pytest.approx((torch.tensor(2.0).sigmoid().item() - 1) / 2)


def test_a_mark_stands_behind_every_step_and_behind_the_answer(tok):
    for p in PROBLEMS:
        ids, marks = marked(tok, p, solved(p))
        places = [t for t, m in enumerate(marks) if m]
        assert len(places) == solved(p).count(SPLIT) + 1
        before = [tok.decode(ids[:t]).rpartition("assistant")[2] for t in places]
        assert all(b.endswith(SPLIT) for b in before[:-1]) and before[-1].endswith(f"so {p.answer}.")
        assert len(ids) - 1 in places or tok.decode(ids[places[-1] :]).strip() in ("<|im_end|>", "")


def test_labels_say_which_step_is_wrong(tok):
    for i, p in enumerate(PROBLEMS):
        wrong = slipped(rng(i), p)[1]
        labels = truth(p, wrong)
        assert labels.index(0.0) == first_wrong(p, wrong) - 1 and len(labels) == wrong.count(SPLIT) + 1
        assert truth(p, solved(p)) == [1.0] * len(labels) or p.meta["family"] in ("links", "reach")
        assert set(truth(p, wrong, "outcome")) == {labels[-1]}
    batch = labelled_batch(tok, [(marked(tok, p, solved(p)), truth(p, solved(p))) for p in PROBLEMS[:4]])
    assert torch.equal(batch["returns"], batch.mask[:, 1:]), "right everywhere: the labels are the marks"


def test_padding_is_true_and_tells_nothing_new():
    (p,) = Reasoning(("columns",), (1,)).problems(1)
    more = padded(solved(p))
    assert more.count(SPLIT) == solved(p).count(SPLIT) + 1 and more.endswith(f"so {p.answer}.")
    assert truth(p, more)[-1] == 1.0 and not sound(p, more), "the columns are not due once more"
    assert padded("so 5.") == "so 5."


def test_a_sum_pays_for_padding_and_a_minimum_does_not():
    scores, longer = [0.9, 0.8, 0.9], [0.9, 0.8, 0.9, 0.9]
    assert AGGREGATIONS["sum"](longer) > AGGREGATIONS["sum"](scores)
    assert AGGREGATIONS["min"](longer) == AGGREGATIONS["min"](scores) == 0.8
    assert AGGREGATIONS["product"](longer) < AGGREGATIONS["product"](scores)
    assert AGGREGATIONS["last"]([0.1, 0.7]) == 0.7


class Done:
    """What a sampler gives."""

    def __init__(self, ids):
        self.ids = ids


class Model:
    """Says where it is."""

    device = "cpu"


@pytest.mark.parametrize("right", [True, False])
def test_rollouts_label_a_step_by_where_it_leads(tok, monkeypatch, right):
    """With a model that always ends rightly every prefix is good; with one that never does, none is."""
    from llmlab.chapters.c09_reasoning import verify

    asked = PROBLEMS[:6]
    solutions = [(p, slipped(rng(i), p)[1]) for i, p in enumerate(asked)]
    said = {i: f" so {p.answer}." if right else " so x." for i, p in enumerate(asked)}
    number = [i for i, (_, s) in enumerate(solutions) for _ in range(s.count(SPLIT))]

    def answer(model, prompts, *, k, **settings):
        assert len(prompts) == len(number)
        return Done([tok.encode(said[i], add_special_tokens=False) for i in number for _ in range(k)])

    monkeypatch.setattr(verify, "sample", answer)
    labels = reached(Model(), tok, WORLD, solutions, 2, 0)
    assert all(set(y[:-1]) <= {float(right)} for y in labels)
    assert [len(y) for y in labels] == [s.count(SPLIT) + 1 for _, s in solutions]


def test_an_open_row_ends_where_the_next_step_begins(tok):
    (p,) = Reasoning(("columns",), (1,)).problems(1)
    before = solved(p)[: solved(p).index(SPLIT) + 1]
    ids = open_row(tok, p, before)
    whole, _ = marked(tok, p, solved(p))
    assert whole[: len(ids)] == ids and tok.decode(ids).endswith(before)
