"""Knobs: each says what it does and keeps its range; what does not fit together is one sentence."""

from dataclasses import asdict

import pytest

from llmlab.chapters.c02_continued_pretraining.cpt import CPT, SHARES
from llmlab.lab import registry, runs
from llmlab.lab.experiment import BadKnob


@pytest.mark.parametrize(
    "name, k",
    [(n, k) for n in registry.NAMES for k in registry.get(n).knobs()],
    ids=lambda x: getattr(x, "name", x),
)
def test_a_knob_has_help_and_a_range_that_it_keeps(name, k):
    cls = registry.get(name)
    assert k.help and (k.choices or k.low <= k.default <= k.high)
    for bad in ["nonsense"] if k.choices else [k.low - 1, k.high + 1, float("nan")]:
        with pytest.raises(BadKnob, match=f"--{k.name} (is one of|.* is out of range; choose)"):
            cls(**{k.name: bad})


@pytest.mark.parametrize(
    "settings, fix",
    [
        (dict(replay=0.7, anneal=1.0), r"keep replay × \(1 \+ anneal\) at most 1"),
        (dict(gate=15, probe=10), "not a multiple of --probe"),
    ],
)
def test_knobs_that_do_not_fit_each_other_are_one_sentence(settings, fix):
    with pytest.raises(BadKnob, match=fix):
        CPT(**settings)


def test_a_late_knob_changes_no_key_of_what_was_stored_before_it_came():
    """At its default it is not among the settings; off it, it is."""
    assert "fresh" not in CPT().settings() and CPT(fresh=75).settings() == CPT().settings() | {"fresh": 75}
    assert runs.key(CPT(), 0, "base") == runs.named("cpt", asdict_without(CPT(), "fresh"), 0, "base")
    assert runs.key(CPT(fresh=75), 0, "base") != runs.key(CPT(), 0, "base")


def asdict_without(experiment, knob: str) -> dict:
    """All knobs but one, as settings were before that one came."""
    return {name: value for name, value in asdict(experiment).items() if name != knob}


def test_fresh_documents_are_read_again(shipped):
    """Domain rows of step 3 are those of step 1 where two steps are fresh; the replay goes on."""
    batch = lambda fresh, step: CPT(replay=0.5, batch=4, fresh=fresh).batch_at(
        shipped.tok, 0, step, 0.5, SHARES, None
    )
    domain, general = slice(0, 2), slice(2, 4)
    first, again, new = batch(2, 1).ids, batch(2, 3).ids, batch(0, 3).ids
    assert first[domain].equal(again[domain]) and not first[domain].equal(new[domain])
    assert again[general].equal(new[general])
