"""Chapter 08, knowledge: who is concerned by the change, what training may show, what an oracle reads in the
documents of each day, and the axis that training and retrieval share.
"""

from itertools import product

import pytest
import torch

from llmlab.chapters.c08_tools_and_retrieval import knowledge, samples
from llmlab.chapters.c08_tools_and_retrieval.knowledge import Edition, Knowledge, Library
from llmlab.models.load import load
from llmlab.world.base import Problem, rng
from llmlab.world.leaflets import ABSENT, QUESTIONS
from llmlab.world.shelf import Shelf

SMALL = Knowledge(way="retrieval", drugs=8, people=4, held=16, shown=8)
BEFORE, AFTER = 1, SMALL.steps + 1


@pytest.fixture(scope="module")
def reader():
    return load("reader")


class Oracle(knowledge.Reader):
    """Reads without a fault: the field of the leaflet that the question names, or that none is there."""

    def answers(self, asked, shown):
        return [self.read(p, found) for p, found in zip(asked, shown)]

    @staticmethod
    def read(p, found):
        told = [f.leaflet.told for f in found if f.leaflet.told.name in p.question]
        if "field" in p.meta:
            return f"{told[0].facts[p.meta['field']]} [1]." if told else ABSENT
        return next((f.leaflet.told.name for f in found if f.leaflet.told.name == p.answer), ABSENT)


@pytest.fixture
def read(reader, monkeypatch):
    """The readings of an oracle under some settings, before the change and after it."""
    monkeypatch.setattr(knowledge, "Reader", Oracle)
    monkeypatch.setattr(knowledge.probes, "read", lambda model, sets: dict.fromkeys(sets, 1.0))
    return lambda experiment, seed=0: [
        experiment.prober(reader.model, reader.tok, seed)(step) for step in (BEFORE, AFTER)
    ]


# ---- the change ----


def test_the_change_concerns_nobody_twice_and_the_seed_decides_whom():
    chosen = set()
    for seed in range(20):
        before, after = SMALL.editions(seed)
        changed, withdrawn = set(after.changed), set(after.withdrawn)
        assert len(changed) == len(withdrawn) == 3 and not changed & withdrawn
        assert set(after.facts) == set(before.facts) - withdrawn
        chosen.add((after.changed, after.withdrawn))
    assert len(chosen) > 10 and SMALL.editions(3) == SMALL.editions(3)


def test_a_new_edition_says_otherwise_in_every_field_and_the_others_say_the_same():
    before, after = SMALL.editions(0)
    assert before.facts == Shelf(8, 4).facts, "what was there before the change is the plain shelf"
    for name, (subject, facts) in after.facts.items():
        was = before.facts[name][1]
        differ = {f for f in facts if facts[f] != was[f]}
        assert subject == before.facts[name][0] and set(facts) == set(was)
        assert differ == (set(facts) if name in after.changed else set())
    told = {x.told.name: x.told.facts for x in after.leaflets}
    assert told == {n: facts for n, (_, facts) in after.facts.items()}, "one leaflet each, of today"


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_even_the_smallest_share_concerns_somebody_and_the_largest_leaves_somebody(share):
    _, after = Knowledge(drugs=3, people=2, changed=share, withdrawn=share).editions(0)
    assert len(after.changed) == len(after.withdrawn) == 2, "a drug and a person"
    assert set(after.facts) - set(after.changed)


# ---- what training shows, and what is asked ----


def texts(experiment, seed, step, n=600):
    days = experiment.editions(seed)
    found = [experiment.text(rng("test", i), days, step) for i in range(n)]
    return [t.question if isinstance(t, Problem) else t for t in found]


def test_training_never_shows_the_wording_of_a_paraphrase_and_asks_in_those_of_recall():
    asked = Knowledge(held=64).asked(0)
    seen = {t for step in (0, Knowledge().steps) for t in texts(Knowledge(questions=1.0), 0, step, 3000)}
    held_out = {q[-1].format(n=n) for n, (s, _) in Shelf(8, 8).facts.items() for q in QUESTIONS[s].values()}
    assert {p.question for p in asked["paraphrase"]} <= held_out and not held_out & seen
    assert {p.question for p in asked["recall"]} <= seen
    documents = texts(Knowledge(questions=0.0), 0, 0)
    assert not any(q in t for q in held_out for t in documents)


def test_texts_are_those_of_the_day():
    before, after = SMALL.editions(0)
    gone = [n for n in after.withdrawn if before.facts[n][0] == "drug"]
    early, late = (" ".join(texts(SMALL, 0, step)) for step in (SMALL.steps - 1, SMALL.steps))
    assert gone and all(n in early and n not in late for n in gone)
    codes = {
        n: [d.facts[n][1]["code"] for d in (before, after)]
        for n in after.changed
        if "code" in after.facts[n][1]
    }
    assert codes and all(old in early and new not in early for old, new in codes.values())
    assert all(new in late and old not in late for old, new in codes.values())


@pytest.mark.parametrize("focus, only", [(1.0, True), (0.0, False)])
def test_focus_is_the_share_of_new_texts_about_changed_names(focus, only):
    experiment = Knowledge(drugs=8, people=4, focus=focus, questions=1.0)
    names = experiment.editions(0)[1].changed
    about = [any(n in t for n in names) for t in texts(experiment, 0, experiment.steps)]
    assert all(about) == only and (only or 0.2 < sum(about) / len(about) < 0.5)


def test_a_batch_is_a_function_of_seed_and_step(reader):
    days = SMALL.editions(0)
    one, same, other, later = (
        SMALL.batch_at(reader.tok, days, seed, step).ids for seed, step in ((0, 3), (0, 3), (1, 3), (0, 4))
    )
    assert torch.equal(one, same)
    assert not any(one.shape == x.shape and torch.equal(one, x) for x in (other, later))


def test_each_group_of_questions_is_about_its_own_names_and_tells_both_days():
    asked, (before, after) = SMALL.asked(0), SMALL.editions(0)
    groups = {"old": after.changed, "leak": after.withdrawn}
    stay = set(before.facts) - set(after.changed) - set(after.withdrawn)
    for kind, names in (groups | {"recall": stay, "paraphrase": stay}).items():
        for p in asked[kind]:
            (name,) = [n for n in before.facts if n in p.question]
            assert name in names and p.answer == before.facts[name][1][p.meta["field"]]
            now = after.facts[name][1][p.meta["field"]] if name in after.facts else ABSENT
            assert p.meta["now"] == now and (now == p.answer) == (name in stay) and p.meta["field"] != "class"
    assert {p.answer for p in asked["inverse"]} <= stay
    keys = [p.question for p in asked["inverse"]]
    assert len(set(keys)) == len(keys), "each inverse question has one answer"


# ---- what an oracle reads ----


def test_an_index_of_the_new_documents_tells_new_values_at_once_and_nothing_withdrawn(read):
    early, late = read(SMALL)
    assert early["recall"] == early["old"] == early["leak"] == 1.0 and early["updated"] == 0.0
    assert late["recall"] == late["updated"] == 1.0 and late["old"] == late["leak"] == 0.0
    assert early["refused"] == 0.0 and late["refused"] == 1.0
    for found in (early, late):
        assert found["paraphrase"] == 1.0 and found["inverse"] == found["inverse_found"] > 0.5


def test_without_documents_the_same_oracle_tells_nothing(read):
    for found in read(Knowledge(way="cpt", drugs=8, people=4, held=16)):
        told = ("recall", "paraphrase", "inverse", "inverse_found", "updated", "old", "leak")
        assert not any(found[k] for k in told)


def test_a_query_costs_its_passages(read):
    by_way = [
        read(Knowledge(way=w, shown=k, drugs=8, people=4, held=16))[0]
        for w, k in product(("cpt", "both"), (1, 4))
    ]
    none, same, one, four = (found["query_tokens"] for found in by_way)
    assert none == same < one < four


def test_tokens_of_a_query_by_hand(reader):
    library = Library(reader.model, reader.tok, Edition(3, 2))
    p = SMALL.asked(0)["recall"][0]
    (found,) = library.find([p], 2)
    prompt = reader.tok.apply_chat_template(
        [{"role": "user", "content": library.reader.text(p, found)}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert library.reader.text(p, []) == p.question and library.find([p], 0) == [[]]
    assert (
        library.tokens(p, found, "95 [1].")
        == len(reader.tok.tokenize(prompt)) + len(reader.tok.tokenize("95 [1].")) + 1
    )


# ---- the axis ----


def test_retrieval_is_read_at_the_steps_of_training_and_changes_with_the_shelf_alone(reader, monkeypatch):
    monkeypatch.setattr(
        Knowledge, "prober", lambda self, *_: lambda step: {"recall": float(step > self.steps)}
    )
    rows = list(Knowledge(way="retrieval", steps=10, update=5, probe=4).rows(reader, 0))
    assert rows == [{"step": s, "recall": float(s > 10)} for s in (0, 4, 8, 12, 15)]


def test_both_phases_have_a_schedule_of_their_own():
    e = Knowledge(steps=20, update=10, warmup=4, lr=1e-3)
    for start, n, peak in ((0, 20, 1e-3), (20, 10, 5e-4)):
        assert e.rate(start) == pytest.approx(peak / 5) and e.rate(start + 4) == pytest.approx(peak)
        assert e.rate(start + n - 1) == pytest.approx(peak * (0.1 + 0.9 / (n - 4)))


def test_samples_ask_what_is_true_after_the_change():
    for way in knowledge.WAYS:
        asked = samples.on_the_last_day(Knowledge(way=way, drugs=8, people=4))
        assert [a.wanted == ABSENT for a in asked] == [False, False, False, True]
        assert all(a.is_right(f" {a.wanted.removesuffix('.')} [2].") for a in asked)
        assert all(("[1]" in a.words) == (way != "cpt") for a in asked)
