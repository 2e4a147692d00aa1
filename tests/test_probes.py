"""Probes against the slow way: decoding token by token, and cross-entropy by hand."""

import math

import pytest
import torch

from llmlab.train import probes
from llmlab.tokens import chat
from llmlab.tokens.batch import Batch
from llmlab.world import Census, Formulary, Strings, Sums, Talk, corpora

WORLDS = {"census": Census(), "sums": Sums(("add", "subtract")), "strings": Strings(2)}


def greedy(model, head: list[int], length: int) -> list[int]:
    """The most probable continuation, one token at a time, without a cache."""
    ids = list(head)
    for _ in range(length):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(head) :]


@pytest.mark.parametrize("name", WORLDS)
def test_exact_is_what_greedy_decoding_gets_right(shipped, name):
    problems = WORLDS[name].problems(12, seed=3)
    rows = probes.question_rows(shipped.tok, WORLDS[name], problems)
    right = 0
    for ids, mask in rows:
        start = mask.index(1)
        right += greedy(shipped.model, ids[:start], len(ids) - start) == ids[start:]
    assert probes.exact(shipped.model, probes.batches(rows, size=5)) == right / 12


def test_exact_wants_every_masked_token_and_no_other(tiny):
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        best = tiny.model(input_ids=ids).logits.argmax(-1)[0].tolist()
    row, wrong = [5, 6, best[1], 8], [5, 6, (best[1] + 1) % 1024, 8]
    assert probes.exact(tiny.model, [Batch(torch.tensor([row]), torch.tensor([[0.0, 0, 1, 0]]))]) == 1
    assert probes.exact(tiny.model, [Batch(torch.tensor([wrong]), torch.tensor([[0.0, 0, 1, 0]]))]) == 0
    assert probes.exact(
        tiny.model, [Batch(torch.tensor([row, wrong, wrong]), torch.tensor([[0.0, 0, 1, 0]] * 3))]
    ) == pytest.approx(1 / 3)


def test_loss_is_cross_entropy_by_hand(shipped):
    rows = probes.question_rows(shipped.tok, Strings(2), Strings(2).problems(7))
    total = count = 0.0
    for ids, mask in rows:
        with torch.no_grad():
            logp = shipped.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        total -= sum(float(logp[t - 1, ids[t]]) for t in range(1, len(ids)) if mask[t])
        count += sum(mask[1:])
    assert probes.loss(shipped.model, probes.batches(rows, size=3)) == pytest.approx(total / count, rel=1e-4)


def test_an_untrained_model_is_as_surprised_as_chance(tiny):
    prepared = probes.text_rows(tiny.tok, [next(corpora.general(i)) for i in range(4)])
    assert probes.loss(tiny.model, prepared) == pytest.approx(math.log(len(tiny.tok)), rel=0.02)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("probe", [probes.exact, probes.loss])
def test_mode_gradients_and_weights_are_left_as_they_were(tiny, train, probe):
    prepared = probes.batches(probes.question_rows(tiny.tok, Sums(), Sums().problems(3)))
    tiny.model.train(train)
    before, state = [p.clone() for p in tiny.model.parameters()], torch.get_rng_state()
    probe(tiny.model, prepared)
    assert tiny.model.training == train and all(p.grad is None for p in tiny.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, tiny.model.parameters())) and torch.equal(
        state, torch.get_rng_state()
    )


def test_probes_read_without_dropout(tiny):
    for layer in tiny.model.model.layers:
        layer.self_attn.attention_dropout = 0.9
    prepared = probes.text_rows(tiny.tok, ["Anna lives in Tarsk."])
    tiny.model.train()
    assert probes.loss(tiny.model, prepared) == probes.loss(tiny.model, prepared)


def test_the_mode_comes_back_even_after_an_error(tiny):
    tiny.model.train()
    with pytest.raises(IndexError):
        probes.loss(tiny.model, [Batch(torch.full((1, 3), 10**6), torch.ones(1, 3))])
    assert tiny.model.training


def test_read_takes_losses_for_losses_and_the_rest_for_shares(shipped):
    sums = probes.batches(probes.question_rows(shipped.tok, Sums(), Sums().problems(8)))
    figures = probes.read(shipped.model, {"general_loss": sums, "arithmetic": sums})
    assert figures == {
        "general_loss": probes.loss(shipped.model, sums),
        "arithmetic": probes.exact(shipped.model, sums),
    }


def test_batches_keep_every_row_once_whatever_the_size():
    rows = [([i] * (1 + i % 7), [1] * (1 + i % 7)) for i in range(1, 30)]
    for size in (1, 4, 64):
        made = probes.batches(rows, size)
        assert all(len(b) <= size for b in made)
        assert sorted(ids[mask > 0].tolist() for b in made for ids, mask in zip(b.ids, b.mask)) == sorted(
            ids for ids, _ in rows
        )


def test_question_rows_take_the_form_that_the_tokenizer_speaks(shipped, tiny):
    problem = Talk(("fact",)).problems(1)[0]
    plain, spoken = (
        tok.decode(probes.question_rows(tok, Talk(), [problem])[0][0]) for tok in (shipped.tok, tiny.tok)
    )
    assert plain == f"Question: {problem.question}\nAnswer: {problem.answer}." and spoken.startswith(
        "<|im_start|>user\n" + problem.question
    )


def test_cloze_rows_ask_for_the_value_alone(shipped):
    clozes = Formulary().clozes(20)
    for (head, tail, _), (ids, mask) in zip(clozes, probes.cloze_rows(shipped.tok, clozes)):
        assert shipped.tok.decode([i for i, kept in zip(ids, mask) if kept]).strip() == tail.strip()
        assert shipped.tok.decode([i for i, kept in zip(ids, mask) if not kept]) == head


def test_text_rows_count_every_token_up_to_the_cut(shipped):
    short, long = probes.text_rows(shipped.tok, ["Anna.", "Tarsk " * 99], cut=20)[0].mask.sum(1).tolist()
    assert short == len(shipped.tok("Anna.")["input_ids"]) + 1 and long == 20


def test_a_model_without_a_template_can_be_asked(shipped):
    assert shipped.tok.chat_template is None and chat.prompt(shipped.tok, [{"role": "user", "content": "x"}])
