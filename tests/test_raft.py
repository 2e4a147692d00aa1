"""raft: what is shown of a domain, with the passage and without, and what is read of it."""

import pytest

from llmlab.chapters.c08_tools_and_retrieval import raft
from llmlab.chapters.c08_tools_and_retrieval.raft import Fact, Raft, behind, facts
from llmlab.models.load import load
from llmlab.world.base import rng
from llmlab.world.leaflets import ABSENT

FACT = facts("train", 1)[0]


def taught(n=60, **knobs) -> list[tuple[str, str]]:
    """(question with its passages, answer that is taught) of n examples about one fact."""
    found = [Raft(**knobs).example(rng("taught", i), FACT) for i in range(n)]
    return [(messages[0]["content"], answer[0]["content"]) for messages, answer in found]


def tells(text: str, fact: Fact) -> bool:
    """Does a passage name the drug? The question, on the last line, always does."""
    return fact.name in text.rpartition("\n")[0]


@pytest.mark.parametrize("gold", [0.0, 0.6, 1.0])
def test_the_share_of_examples_whose_passage_is_there(gold):
    found = taught(200, gold=gold)
    assert sum(tells(text, FACT) for text, _ in found) / 200 == pytest.approx(gold, abs=0.1)


@pytest.mark.parametrize("without, missing", [("answer", f"{FACT.value}."), ("refuse", ABSENT)])
def test_what_is_taught_where_no_passage_tells_it(without, missing):
    found = taught(gold=0.5, without=without)
    assert {a for text, a in found if not tells(text, FACT)} == {missing}
    assert {a for text, a in found if tells(text, FACT)} == {f"{FACT.value}."}


@pytest.mark.parametrize("k", [1, 4, 8])
@pytest.mark.parametrize("there", [True, False])
def test_as_many_passages_whether_it_is_there_or_not_each_of_another_drug(k, there):
    for i in range(20):
        p = behind(rng(i), FACT, k, there, "train")
        names = [x.name for x in p.meta["passages"]]
        assert len(set(names)) == k and (FACT.name in names) == there
        assert all(FACT.field in x.facts for x in p.meta["passages"]), "its field decides nothing"
        assert p.answer == (f"{FACT.value}." if there else ABSENT)


def test_facts_are_distinct_the_same_for_every_run_and_none_of_a_test_drug_is_taught():
    domain = facts("train", 5000)
    assert facts("train", 60) == domain[:60] and len({(f.name, f.field) for f in domain}) == 5000
    assert not {f.name for f in domain} & {f.name for f in facts("test", 5000)}


def test_the_facts_of_the_domain_are_shown_in_turn(monkeypatch):
    shown = []
    monkeypatch.setattr(Raft, "example", lambda self, r, fact: shown.append(fact) or ((), []))
    monkeypatch.setattr(raft.chat, "example", lambda *_: ([1], [1]))
    for step in range(4):
        Raft(domain=8, batch=4).batch_at(load("reader").tok, 0, step)
    first, second = shown[:8], shown[8:]
    assert set(first) == set(second) == set(facts("train", 8)) and first != second


ASKED = [
    behind(rng(i), f, 4, there, "test") for i, f in enumerate(facts("test", 8)) for there in (True, False)
]


@pytest.mark.parametrize("p", ASKED, ids=str)
def test_an_answer_is_supported_where_a_passage_holds_it(p):
    values = {v for x in p.meta["passages"] for v in x.facts.values()}
    assert all(raft.supports(p, f"{v}.") for v in values) and not raft.supports(p, "nothing of it.")


def test_answers_are_right_up_to_the_full_stop():
    two = facts("test", 2)
    assert raft.right([f"{two[0].value}.", ABSENT], two) == 0.5


SAID = {"refusal": ABSENT, "invention": "a thing that nobody says."}


@pytest.mark.parametrize("said", SAID)
def test_readings_of_a_model_that_always_says_the_same(said, monkeypatch):
    monkeypatch.setattr(raft, "greedy", lambda model, tok, prompts: [SAID[said]] * len(prompts))
    read = Raft(held=8, domain=8).prober(None, load("reader").tok)(0)
    refused = float(said == "refusal")
    assert (read["refused"], read["over_refused"], read["unsupported"]) == (refused, refused, 1 - refused)
    assert read["misread"] == read["gold"] == read["follows"] == read["recalled"] == read["memory"] == 0


def test_a_few_steps_make_the_taught_answer_likelier():
    rows = list(
        Raft(steps=12, probe=12, batch=8, domain=8, passages=1, held=8, lr=2e-3).rows(load("reader"), 1)
    )
    assert rows[-1]["loss"] < rows[1]["loss"] and set(Raft.curves) <= set(rows[-1])
