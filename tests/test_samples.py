"""What a model says, before, on the way and after: held-out prompts, right and wrong marked, and nothing of
the training touched by asking.
"""

import pytest
import torch

from llmlab import cli
from llmlab.chapters.c04_sft.sft import SFT
from llmlab.chapters.c07_reinforcement_learning.grpo import GRPO
from llmlab.lab import registry, runs, samples, sweeps, texts
from llmlab.learn import said
from llmlab.models.load import load

A = {"text": "1", "right": True}


@pytest.mark.parametrize("name", registry.NAMES)
def test_three_to_five_prompts_with_answers_that_count_as_right(name):
    found = samples.asked(registry.get(name)())
    assert (found == []) == (name in samples.SILENT)
    assert not found or 3 <= len(found) <= 5
    for a in found:
        assert a.is_right(a.wanted) and not a.is_right("something else") and a.words and a.about
    assert found == [] or samples.asked(registry.get(name)())[0].words == found[0].words


@pytest.mark.parametrize(
    "experiment", [SFT(steps=10, batch=4, probe=5, held=16), GRPO(steps=5, prompts=2, probe=5)]
)
def test_asking_changes_no_number(experiment, home):
    plain = runs.run(experiment, again=False)
    asked = runs.run(experiment, again=False, ask=True)
    assert asked.rows == plain.rows and plain.samples == []
    steps = sorted({s["step"] for s in asked.samples})
    assert steps[0] == 0 and steps[-1] == experiment.steps and len(steps) == 3
    assert runs.stored(experiment).samples == asked.samples


def test_asking_leaves_the_global_generator_and_the_models_mode(home):
    loaded = load("chat")
    loaded.model.train()
    state = torch.random.get_rng_state()
    one, two = (samples.said(GRPO(), loaded, 0) for _ in range(2))
    assert one == two and loaded.model.training and torch.equal(state, torch.random.get_rng_state())


def test_the_starting_model_is_asked_in_the_form_of_the_run_and_keeps_its_tokenizer():
    loaded = load("base")
    found = samples.before(SFT(), loaded)
    assert loaded.tok.chat_template is None and found[0]["step"] == 0


def test_a_large_model_on_a_cpu_is_not_asked(monkeypatch):
    monkeypatch.setattr(samples, "LARGE", 1000)
    assert samples.said(GRPO(), load("chat"), 0) == []


def test_a_resumed_run_is_asked_before_and_after_only(home):
    experiment, seen = SFT(steps=12, batch=4, probe=6, held=16), []
    with pytest.raises(runs.Interrupted):
        runs.run(experiment, ask=True, stop=lambda: len(seen) > 8, on_row=seen.append)
    done = runs.run(experiment, ask=True)
    assert sorted({s["step"] for s in done.samples}) == [0, 12]
    assert done.rows == runs.run(experiment, again=False).rows


def test_training_shows_in_the_words(home):
    """The base rambles, the fine-tuned one answers: more of it is right after than before."""
    done = runs.run(SFT(steps=90, probe=90, held=16), ask=True)
    right = {s: sum(a["greedy"]["right"] for a in found) for s, found in said.moments(done.samples).items()}
    assert right["before"] == 0 and right["after"] >= 2


def test_the_terminal_and_json_show_them(home, capsys):
    assert (
        cli.main(["run", "sft", "--steps", "10", "--batch", "4", "--probe", "5", "--held", "16", "--json"])
        == 0
    )
    out = capsys.readouterr().out
    assert "what the model says" in out and '"samples": [' in out


# ---- tables ----

ONE = {"about": "a <b>", "prompt": "Who?\nNow", "wanted": "Ann", "sampled": [{"text": "x", "right": False}]}


def answer(step, text, right):
    return ONE | {"step": step, "greedy": {"text": text, "right": right}}


def test_a_table_has_before_on_the_way_and_after_and_escapes_everything():
    table = said.table(
        {"here": [answer(0, "<i>Bo", False), answer(5, "", False), answer(9, "Ann", True)]}, True
    )
    assert all(
        w in table for w in ("before", "step 5", "after", "&lt;i&gt;Bo", "a &lt;b&gt;", "(nothing)", "✓", "✗")
    )
    assert "<i>Bo" not in table and "two samples" in table


def test_a_long_answer_shows_how_it_begins_and_how_it_ends():
    steps = "swap(s y t m d) = d y t m s; cut(d y t m s) = d d y t m s; cut(d d y t m s) = d y; so d y t m s."
    told = said.short(steps)
    assert told.startswith("swap(s y t m d) = d y t m s") and told.endswith("so d y t m s.") and " … " in told
    assert len(told) <= said.LONGEST + 3 and len(said.short(steps, 20)) <= 23
    assert said.short("as it is") == "as it is" and said.short("\n") == "(nothing)"


def test_two_settings_stand_side_by_side():
    one, other = ([answer(0, "Bo", False), answer(9, t, True)] for t in ("Ann", "Ann."))
    table = said.table({"lr 0.1": one, "lr 0.2": other})
    assert "after: lr 0.1" in table and "after: lr 0.2" in table and "before" in table
    assert said.table({"x": []}) == ""


# ---- stored ----


@pytest.mark.parametrize("name", sweeps.GRIDS)
def test_every_setting_of_every_shipped_sweep_has_its_texts(name):
    grid, found = sweeps.GRIDS[name], texts.load(name)
    assert set(found) == {texts.key(point, grid) for point in grid.points()}
    for point in grid.points():
        assert bool(found[texts.key(point, grid)]) == bool(samples.asked(registry.get(name)(**point)))


def test_texts_that_other_code_made_are_not_shown(monkeypatch):
    monkeypatch.setattr(texts.record, "is_current", lambda found, wanted: False)
    assert texts.load("cpt") == {}


def test_problems_of_your_own_are_asked_in_place_of_the_labs(tmp_path):
    from llmlab.lab.own_problems import own

    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(f'{{"question": "Twice {i}?", "answer": {2 * i}}}' for i in range(20)))
    given = own(str(file))
    found = samples.asked(registry.get("star")(), given)
    assert 1 <= len(found) <= 3 and all(a.problem in given.test for a in found)
    assert all(a.is_right(f"It is {a.wanted}.") and not a.is_right("It is 1.") for a in found)


def test_settings_that_are_asked_other_things_have_rows_of_their_own():
    one = [dict(step=s, about="a", prompt="1?", wanted="1", greedy=A, sampled=[]) for s in (0, 4)]
    other = [a | {"prompt": "2?"} for a in one]
    same, apart = (said.table({"x": one, "y": side}) for side in (one, other))
    assert same.count("<tr>") == 2 and "–" not in same
    assert (
        apart.count("<tr>") == 3 and apart.count("<td>–</td>") == 2 and apart.index("1?") < apart.index("2?")
    )


def test_what_trains_nothing_is_asked_once():
    scale, loaded = registry.get("scale")(), load("reasoner")
    assert samples.before(scale, loaded) and samples.said(scale, loaded, 8) == []
    assert list(said.moments(samples.before(scale, loaded))) == ["answer"]


def test_a_revision_is_shown_in_place_of_the_answer():
    revise, loaded = registry.get("revise"), load("reasoner")
    for feedback in ("flag", "resample"):
        first, last = (samples.said(revise(feedback=feedback), loaded, step) for step in (0, 4))
        assert all(b["greedy"] == a["greedy"] for a, b in zip(first, last) if a["greedy"]["right"])
    changed = [
        a["greedy"] != b["greedy"] for a, b in zip(*(samples.said(revise(), loaded, s) for s in (0, 4)))
    ]
    assert any(changed)
    assert samples.said(revise(feedback="critique"), loaded, 0) == []
