"""The table of renamed knobs, values and metrics: one to one, and said to whoever types an old one."""

import pytest

from llmlab import cli
from llmlab.lab import registry, renamed

FLAGS = [(name, old, new) for name, names in renamed.KNOBS.items() for old, new in names.items()]
WORDS = [
    (name, knob, old, new)
    for name, knobs in renamed.VALUES.items()
    for knob, values in knobs.items()
    for old, new in values.items()
]


def knobs_of(name: str) -> dict:
    return {k.name: k for k in registry.get(name).knobs()}


@pytest.mark.parametrize("name, old, new", FLAGS)
def test_a_new_name_is_a_knob_and_the_old_one_is_none(name, old, new):
    assert new in knobs_of(name) and old not in knobs_of(name)


@pytest.mark.parametrize("name, knob, old, new", WORDS)
def test_a_new_value_is_a_choice_and_the_old_one_is_none(name, knob, old, new):
    assert new in knobs_of(name)[knob].choices and old not in knobs_of(name)[knob].choices


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_table_can_be_read_both_ways(name):
    """No two old names become one, and today's settings survive the way back and forth."""
    metrics = renamed.STEPS | renamed.METRICS.get(name, {})
    for table in (renamed.KNOBS.get(name, {}), metrics, *renamed.VALUES.get(name, {}).values()):
        assert len(set(table.values())) == len(table)
    assert not metrics.keys() & registry.get(name).curves.keys()
    choices = [{}] + [{k.name: c} for k in registry.get(name).knobs() for c in k.choices]
    for settings in ({k.name: k.default for k in registry.get(name).knobs()} | c for c in choices):
        assert renamed.knobs(name, renamed.old_knobs(name, settings)) == settings


def test_a_study_is_renamed_inside():
    today = {"of": "policy", "knobs": {"kl_penalty": "k3", "lr": 1e-3}, "exam": ["solved"], "every": 5}
    before = renamed.old_knobs("study", today)
    assert before == today | {"knobs": {"leash": "k3", "lr": 1e-3}}
    assert renamed.knobs("study", before) == today


def said(capsys, *argv) -> str:
    assert cli.main(list(argv)) == 2
    out = capsys.readouterr()
    assert not out.out and out.err.count("\n") == 1
    return out.err


@pytest.mark.parametrize("name, old, new", FLAGS)
def test_an_old_flag_gets_a_sentence_with_the_new_one(capsys, name, old, new):
    assert f"--{old} is called --{new} now" in said(capsys, "run", name, f"--{old}", "1")


@pytest.mark.parametrize("name, knob, old, new", WORDS)
def test_an_old_value_gets_a_sentence_with_the_new_one(capsys, name, knob, old, new):
    assert f"--{knob} {old} is called --{knob} {new} now" in said(capsys, "run", name, f"--{knob}", old)


def test_a_flag_that_never_was_is_unknown_as_before(capsys):
    assert "unknown option '--lash'" in said(capsys, "run", "policy", "--lash", "1")
    assert "--clip is one of" in said(capsys, "run", "policy", "--clip", "tight")
