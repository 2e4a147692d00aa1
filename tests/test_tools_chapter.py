"""Chapter 08: the four numbers, the grammar of calls, the price of a call, which half of retrieval failed."""

import math
from dataclasses import replace

import pytest
import torch

from llmlab.chapters.c08_tools_and_retrieval import decide, rag, repair, tools
from llmlab.models.forward import forward
from llmlab.models.load import load
from llmlab.retrieval.rerank import DEPTH, likelihood, reranked
from llmlab.tokens import chat
from llmlab.train.rollout import Episode
from llmlab.train.sample import sample
from llmlab.train.tool_grammar import MODES, constraint
from llmlab.world.base import Problem, Score, rng
from llmlab.world.desk import TOOLS, Desk, call, call_text
from llmlab.world.leaflets import ABSENT
from llmlab.world.shelf import Shelf


@pytest.fixture(scope="module")
def talker():
    return load("chat")


# ---- tools ----

ASKED = next(p for p in Desk(1, expect="call", tools=("census",)).problems(1, seed=1))
PERSON = ASKED.meta["chain"][0]["tool_calls"][0]["function"]["arguments"]["person"]
FIELD = ASKED.meta["chain"][0]["tool_calls"][0]["function"]["arguments"]["field"]
OTHER = "job" if FIELD != "job" else "pet"
TURNS = {  # text -> valid, selected, right, executable, wrong but valid
    call_text(call("census", person=PERSON, field=FIELD)): (1, 1, 1, 1, 0),
    call_text(call("census", person=PERSON, field=OTHER)): (1, 1, 0, 1, 1),
    call_text(call("census", person="Nobody Here", field=FIELD)): (1, 1, 0, 0, 1),
    call_text(call("census", person=PERSON, field="shoe size")): (0, 1, 0, 0, 0),
    call_text(call("search", query=PERSON)): (1, 0, 0, 1, 1),
    '<tool_call>\n{"name": "census", "arg': (0, 0, 0, 0, 0),
    "She lives in Tarsk.": (0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("text", TURNS)
def test_the_four_numbers(text):
    found = tools.judge(ASKED, text)
    names = ("valid", "selected", "right", "executable", "wrong_but_valid")
    assert tuple(int(found[n]) for n in names) == TURNS[text]
    assert found["calls"] == float("<tool_call>" in text)


@pytest.mark.parametrize("name", ["base", "chat"])
def test_under_the_grammar_of_calls_whatever_ends_is_valid(name, talker):
    model = load(name).model
    allowed = constraint(talker.tok, TOOLS, "call", model.config.vocab_size)
    asked = Desk(1, expect="call").problems(24, seed=2)
    prompts = [chat.prompt(talker.tok, p.messages, p.meta["tools"]) for p in asked]
    done = sample(
        model,
        prompts,
        max_new=96,
        stop=chat.stop_ids(talker.tok),
        allowed=allowed,
        generator=torch.Generator().manual_seed(0),
    )
    judged = [
        tools.judge(p, talker.tok.decode(ids[:-1]))
        for p, ids, end in zip(asked, done.ids, done.stopped)
        if end
    ]
    assert len(judged) > 12 and all(j["valid"] for j in judged)


def test_auto_allows_a_text_and_a_call_and_text_allows_no_call(talker):
    ids = {
        t: talker.tok(t, add_special_tokens=False)["input_ids"]
        for t in (call_text(ASKED.meta["chain"][0]), "Hello.")
    }
    taken = {}
    for mode in MODES:
        for text, row in ids.items():
            allowed = constraint(talker.tok, TOOLS, mode, talker.model.config.vocab_size)
            taken[mode, text] = all(bool(allowed(0, row[:i])[row[i]]) for i in range(len(row[:1])))
    calls, hello = ids
    assert taken["auto", calls] and taken["auto", hello] and taken["call", calls]
    assert not taken["call", hello] and not taken["text", calls] and taken["text", hello]


def test_examples_come_again_and_none_is_of_a_test_question():
    few = tools.Tools(examples=8, no_calls=0.0)
    assert few.dialogue(0, 3) == few.dialogue(0, 11) != few.dialogue(0, 4)
    asked = {p.question for p in Desk(1, expect="call").problems(200, seed=7)}
    shown = {tools.Tools().dialogue(0, n)[0][1]["content"] for n in range(200)}
    assert not asked & shown


def test_a_plan_stands_in_front_of_the_call_only():
    messages, _ = tools.Tools(plan="on", no_calls=0.0).dialogue(0, 1)
    assert messages[2]["content"].startswith("I need ") and messages[2]["tool_calls"]
    assert messages[-1]["content"] and not messages[-1].get("tool_calls")


# ---- decide ----


def episode(right: float, calls: int) -> Episode:
    turns = [{"role": "tool", "content": ""}] * calls
    return Episode(Problem((), ""), 0, turns, [], [], [], score=Score({"answer": right}))


def test_a_call_costs_its_price():
    found = decide.Decide(price=0.2).rewards([episode(1, 0), episode(1, 1), episode(0, 2), episode(0, 0)])
    assert found.tolist() == pytest.approx([1.0, 0.8, -0.4, 0.0])


def test_sft_shows_calls_only_where_they_are_needed(talker):
    for share in (0.0, 0.9):
        batch = decide.Decide(method="sft", no_calls=share, batch=32).shown_at(talker.tok, 0, 0)
        calls = sum("<tool_call>" in talker.tok.decode(ids[m > 0]) for ids, m in zip(batch.ids, batch.mask))
        assert calls == 32 if share == 0.0 else calls < 10


@pytest.fixture(scope="module")
def compared(talker):
    """(kind, text of the question, chosen turn, rejected turn) of 48 pairs, half of them without need."""
    experiment = decide.Decide(method="dpo", no_calls=0.5, batch=48)
    batch = experiment.pairs_at(talker.tok, 0, 0)
    said = [talker.tok.decode(ids[m > 0]) for ids, m in zip(batch.ids, batch.mask)]
    kinds = [p.meta["kind"] for p in experiment.lessons(0, 0)]
    assert batch["pair"].tolist() == [i // 2 for i in range(96)]
    return list(zip(kinds, said[0::2], said[1::2], experiment.lessons(0, 0)))


def test_pairs_prefer_the_call_where_it_is_needed_and_the_answer_elsewhere(compared):
    assert {kind for kind, *_ in compared} == set(decide.KINDS)
    for kind, chosen, rejected, _ in compared:
        with_call, without = (rejected, chosen) if kind in decide.DIRECT else (chosen, rejected)
        assert with_call.startswith("<tool_call>") and with_call.endswith("</tool_call><|im_end|>")
        assert "<tool_call>" not in without and without.endswith(".<|im_end|>")


def test_pairs_hold_the_right_call_and_the_right_answer(compared):
    for kind, chosen, rejected, p in compared:
        right_call = call_text(p.meta["call"]) if p.meta["call"] else ""
        answer = rejected if kind not in decide.DIRECT else chosen
        assert p.answer in answer and right_call in chosen + rejected


def test_pairs_are_about_the_questions_of_imitation(talker):
    settings = dict(no_calls=0.4, batch=8)
    shown = decide.Decide(method="sft", **settings).shown_at(talker.tok, 3, 2)
    compared = decide.Decide(method="dpo", **settings).pairs_at(talker.tok, 3, 2)
    before = [talker.tok.decode(ids).split("assistant")[0] for ids in shown.ids]
    assert before == [talker.tok.decode(ids).split("assistant")[0] for ids in compared.ids[0::2]]


def test_dpo_begins_undecided_and_its_reference_is_the_model_before_the_first_step(talker):
    loaded = load("chat")
    recipe = decide.Decide(method="dpo", no_calls=0.4, batch=2).recipe(loaded, 0)
    with torch.no_grad():
        for p in loaded.model.parameters():
            p.mul_(1.01)
    batch = next(recipe.stream(5))
    was = forward(talker.model, batch).logprobs
    assert torch.allclose(batch["ref_logprobs"] * batch.mask[:, 1:], was * batch.mask[:, 1:], atol=1e-4)
    loss, info = recipe.objective(forward(talker.model, batch), batch)
    assert loss.item() == pytest.approx(math.log(2) + decide.NLL * info["nll"].item(), abs=1e-4)


# ---- repair ----


def test_gold_traces_show_nothing_that_goes_wrong(talker):
    gold = repair.Repair(shown="gold")
    for i in range(30):
        ids, _ = gold.trace(talker.tok, rng("gold", i))
        assert '"error"' not in talker.tok.decode(ids)
    every = [talker.tok.decode(repair.Repair().trace(talker.tok, rng("all", i))[0]) for i in range(30)]
    assert sum('"error"' in t for t in every) > 10


def test_a_fresh_try_has_one_call_and_what_failed_once_has_passed():
    for kind, works in (("transient", True), ("renamed", False)):
        world = repair.Once((kind,))
        p = world.problems(1, seed=1)[0]
        found = world.reply(p, [*p.messages, p.meta["turn"]])
        assert (found is not None) == works
        if works:
            assert world.reply(p, [*p.messages, p.meta["turn"], found, p.meta["turn"]]) is None


# ---- rag ----

SHELF = Shelf(drugs=12, people=6)


@pytest.fixture(scope="module")
def found():
    return rag.Rag(drugs=12, people=6, length=16, overlap=4).chunks()


def test_a_chunk_tells_it_only_if_it_is_of_the_right_leaflet_and_holds_the_value(found):
    for p in SHELF.problems(10, seed=1):
        telling = [f for f in found if rag.tells(f, p)]
        assert telling and all(
            p.answer in f.chunk.text and f.leaflet.told.name == p.meta["name"] for f in telling
        )
        elsewhere = replace(telling[0], leaflet=replace(telling[0].leaflet, source="other"))
        assert not rag.tells(elsewhere, p)


def test_the_oracle_puts_the_telling_chunk_among_k(found):
    gold, others = found[0], found[1:9]
    for k in (1, 4, 8):
        shown = rag.put(gold, others, k, rng(k))
        assert len(shown) == k and gold in shown and [f for f in shown if f is not gold] == others[: k - 1]
    assert rag.put(None, others, 4, rng(0)) == others[:4]


def test_a_changed_value_stands_where_the_right_one_stood(found):
    p = SHELF.problems(1, seed=2)[0]
    gold = next(f for f in found if rag.tells(f, p))
    stranger = next(f for f in found if f.leaflet.told.subject != gold.leaflet.told.subject)
    (_, changed), new = rag.change([stranger, gold], p)
    assert (
        new != p.answer and new in changed.chunk.text and p.answer not in changed.chunk.text.replace(new, "")
    )


def test_citations_point_to_a_chunk_that_tells_it(found):
    p = SHELF.problems(1, seed=3)[0]
    gold = next(f for f in found if rag.tells(f, p))
    other = next(f for f in found if not rag.tells(f, p))
    assert rag.cites("x [2].", [other, gold], p) and not rag.cites("x [1].", [other, gold], p)
    for strange in ("x.", "x [0].", "x [9].", "x [two]."):
        assert not rag.cites(strange, [other, gold], p)
    assert rag.refuses(ABSENT) and not rag.refuses("no") and rag.is_right(f"{p.answer} [7].", p)


def test_a_search_that_is_no_search_finds_nothing_and_the_conversation_goes_on(talker, found):
    reader = rag.Reader(talker.model, talker.tok, found, False)
    world = rag.Searching(reader, lambda query, k: [0, 1][:k], 2)
    p = world.posed(SHELF.problems(1, seed=1)[0])
    told = world.reply(p, [*p.messages, call("search", query="x")])["content"]
    assert found[0].chunk.text[:8] in told and "[2]" in told
    assert world.reply(p, [*p.messages, call("search", drug="x")])["content"] == ""
    assert world.reply(p, [*p.messages, {"role": "assistant", "content": "20."}]) is None


# ---- rerank ----

SAID = ["Zorvex has the dose 40.", "Belcor has the dose 12.", "Trains run at night.", ""]


@pytest.fixture(scope="module")
def reader():
    return load("reader")


@torch.no_grad()
def plain_likelihood(reader, question, text) -> float:
    """Token by token: the probability of each next token of the question, its mean logarithm."""
    head = reader.tok(f"{text}\nQuestion:", add_special_tokens=False)["input_ids"]
    ids = reader.tok(f"{text}\nQuestion: {question}", add_special_tokens=False)["input_ids"]
    assert ids[: len(head)] == head
    found = []
    for t in range(len(head), len(ids)):
        logits = reader.model(input_ids=torch.tensor([ids[:t]])).logits[0, -1].double()
        found.append(logits.softmax(-1)[ids[t]].log().item())
    return sum(found) / len(found)


def test_the_likelihood_of_a_question_is_the_mean_of_its_tokens_log_probs(reader):
    question = "Which dose does Zorvex have?"
    found = likelihood(reader.model, reader.tok, question, SAID)
    one_by_one = [plain_likelihood(reader, question, text) for text in SAID]
    assert found == pytest.approx(one_by_one, abs=1e-4) and found.argmax() == 0
    assert likelihood(reader.model, reader.tok, question, SAID[::-1]) == pytest.approx(found[::-1], abs=1e-4)


def test_a_planted_relevant_chunk_rises_to_the_top(reader):
    names = ("Belcor", "Tamrin", "Ostrel", "Quibra", "Nolvex")
    texts = [f"{n} has the dose {5 * i + 5}." for i, n in enumerate(names)] + ["Zorvex has the dose 40."]
    find = reranked(lambda question, k: list(range(6))[:k], reader.model, reader.tok, texts)
    assert find("Which dose does Zorvex have?", 1) == [5] and find("Which dose does Quibra have?", 1) == [3]
    assert sorted(find("Which dose does Zorvex have?", 6)) == list(range(6))
    assert find(" ", 3) == [0, 1, 2], "an empty query has no tokens to be predicted"


def test_only_the_first_chunks_are_sorted_again(reader):
    asked, texts = [], ["Trains run at night."] * DEPTH + ["Zorvex has the dose 40."]

    def first(question, k):
        asked.append(k)
        return list(range(len(texts)))[:k]

    find = reranked(first, reader.model, reader.tok, texts)
    assert find("Which dose does Zorvex have?", 4) == [0, 1, 2, 3] and set(asked) == {DEPTH}
    assert find("Which dose does Zorvex have?", DEPTH + 1)[-1] == DEPTH


def test_reranking_reads_a_question_once_however_many_chunks_are_shown(reader, monkeypatch):
    read = []
    monkeypatch.setattr(
        "llmlab.retrieval.rerank.likelihood",
        lambda *args: read.append(args[2]) or likelihood(*args),
    )
    experiment = rag.Rag(rerank="likelihood", drugs=8, people=2, held=4, steps=2)
    _, one, two = experiment.rows(reader, 0)
    assert 4 <= len(read) == len(set(read)) <= 8 and one["mrr"] == one["recall"] <= two["mrr"]
