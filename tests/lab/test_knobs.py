"""Knobs: each says what it does and keeps its range; what does not fit together is one sentence."""

import pytest

from llmlab.chapters.c02_continued_pretraining.cpt import CPT
from llmlab.lab import registry
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
