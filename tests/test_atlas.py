"""The life-cycle map and the decision flow: every way ends at a lever, and what it says we measured was
measured.
"""

import pytest

from llmlab.chapters.c02_continued_pretraining.cpt import CPT
from llmlab.learn import atlas
from llmlab.learn.widgets import Flow, Map
from llmlab.learn.widgets.atlas import outline

LEAVES = list({leaf.lever: leaf for leaf in atlas.leaves()}.values())


def test_every_answer_leads_to_a_lever_and_each_kind_of_gap_to_its_own():
    assert {leaf.lever.split()[0] for leaf in LEAVES} == {
        "Write",
        "Tokenizer",
        "Continued",
        "Supervised",
        "Preferences:",
        "Reinforcement",
        "Reward",
        "Retrieval:",
        "Test-time",
        "Distillation",
    }
    assert all(leaf.why and leaf.risk and leaf.measure for leaf in LEAVES)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.lever)
def test_the_evidence_of_a_lever_comes_from_stored_runs_of_three_seeds(leaf):
    for read in leaf.evidence:
        found = read()
        assert found.seeds == 3, f"llmlab build runs ({found.command})"
        assert found.command.startswith("llmlab run ") and f"{found.final:.2g}" in str(found)


def test_a_reading_is_the_median_of_what_the_runs_say():
    from statistics import median

    from llmlab.lab import runs

    found = atlas.reading(CPT(replay=0.0), "general_recall")
    assert found.final == median(
        runs.stored(CPT(replay=0.0), s).rows[-1]["general_recall"] for s in (0, 1, 2)
    )
    assert found.command == "llmlab run cpt --replay 0.0"


def test_what_is_not_stored_is_said_and_not_trained():
    found = atlas.reading(CPT(replay=0.123), "general_recall")
    assert (
        found.seeds == 0
        and str(found)
        == "known people recalled (share): no run is stored; `llmlab run cpt --replay 0.123` makes one"
    )


def test_the_flow_goes_there_and_back():
    flow = Flow()
    flow.answer("no")
    flow.answer("cost: it is right, but too slow or too expensive")
    assert isinstance(flow.here, atlas.Leaf) and flow.here.lever == "Distillation"
    flow.back()
    flow.back()
    assert flow.here is atlas.FLOW and flow.path == []


def test_both_have_a_text_for_readers_without_a_kernel():
    assert all(leaf.lever in outline(atlas.FLOW) for leaf in LEAVES)
    assert all(s.name in Map()._repr_mimebundle_()["text/markdown"] for s in atlas.STAGES)


def test_the_glossary_explains_each_term_once():
    assert len(atlas.GLOSSARY) >= 30 and all(len(v) > 10 for v in atlas.GLOSSARY.values())
