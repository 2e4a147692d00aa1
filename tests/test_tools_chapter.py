"""Chapter 08: the four numbers, the grammar of calls, the price of a call, which half of retrieval failed."""

from dataclasses import replace

import pytest
import torch

from llmlab.chapters.c08_tools_and_retrieval import decide, rag, repair, tools
from llmlab.models.load import load
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


@pytest.mark.parametrize(
    "scores, wanted, area",
    [([3, 2, 1, 0], [1, 1, 0, 0], 1.0), ([0, 1, 2, 3], [1, 1, 0, 0], 0.0), ([1, 1], [1, 0], 0.5)],
)
def test_auc(scores, wanted, area):
    assert decide.auc(torch.tensor(scores, dtype=torch.float), torch.tensor(wanted)) == area


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
