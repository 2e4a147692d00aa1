"""The panel without a browser: it trains in the background, stops, goes on, keeps finished runs, and says
what is wrong in a sentence.
"""

import re
import shutil
import subprocess
import time

import pytest

from llmlab import paths
from llmlab.chapters.c02_continued_pretraining.cpt import CPT
from llmlab.errors import UserError
from llmlab.lab import registry, sweeps, times
from llmlab.lab.registry import NAMES
from llmlab.learn.widgets import Panel
from llmlab.learn.widgets.scripts import script


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module", params=NAMES)
def shown(request):
    """The panel of an experiment, for the tests that leave it as it was."""
    return Panel(request.param)


@pytest.fixture
def panel(monkeypatch):
    """A panel whose runs read four rows of each set."""
    prepare = CPT.prepare
    monkeypatch.setattr(
        CPT,
        "prepare",
        lambda self, tok, texts: {
            name: [batches[0].pick(slice(0, 4))] for name, batches in prepare(self, tok, texts).items()
        },
    )
    panel = Panel("cpt", show=["replay", "steps", "gate"], batch=2, probe=5)
    panel.sliders["steps"].value = 30
    yield panel
    panel.stop()
    panel.wait(30)


def test_there_is_a_slider_for_every_knob_and_it_shows_the_default(shown):
    assert list(shown.sliders) == [k.name for k in shown.cls.knobs()]
    for k in shown.cls.knobs():
        value = shown.sliders[k.name].value
        assert value == k.default if k.choices else value == pytest.approx(k.default, rel=1e-6)


def test_run_draws_and_stores(panel):
    empty = panel.picture.value
    panel.start()
    assert panel.run_button.disabled and not panel.stop_button.disabled
    panel.wait(120)
    assert panel.last.rows[-1]["step"] == 30 and panel.picture.value != empty and "done" in panel.status.value
    assert not panel.run_button.disabled and panel.stop_button.disabled


def test_stop_is_prompt_and_the_next_run_goes_on(panel):
    panel.seed.value = 5
    panel.start()
    wait_for(lambda: "step 1" in panel.status.value or panel.bar.value >= 1)
    panel.stop()
    panel.wait(10)
    assert "stopped by hand" in panel.status.value and panel.last is None
    pictures = []
    draw = panel._draw
    panel._draw = lambda: (pictures.append(len(panel._live.rows) if panel._live else 0), draw())
    panel.start()
    panel.wait(120)
    assert panel.last.rows[-1]["step"] == 30 and [r["step"] for r in panel.last.rows] == list(range(31))


def test_bad_settings_are_a_sentence_not_a_traceback(panel):
    panel.sliders["gate"].value = 7
    panel.start()
    assert "not a multiple" in panel.status.value and panel._thread is None


def test_three_finished_runs_stay_for_comparison(panel):
    panel.sliders["steps"].value = 10
    for replay in (0.0, 0.1, 0.2, 0.3):
        panel.sliders["replay"].value = replay
        panel.start()
        panel.wait(60)
    assert len(panel.done) == 3 and "replay 0.3" in panel.done[-1][0]
    panel.clear()
    assert panel.done == []


def test_single_stored_runs_answer_where_there_is_no_sweep(home):
    from llmlab.lab import runs

    panel = Panel("topology", show=["loss", "batch"], steps=10, probe=10, warmup=2)
    assert "not stored" in panel.status.value
    panel.sliders["batch"].value = 2
    for seed in (0, 1):
        runs.run(panel.experiment(), seed)
    again = Panel("topology", show=["loss", "batch"], steps=10, probe=10, warmup=2)
    again.sliders["batch"].value = 2
    assert "stored: 2 seeds" in again.status.value
    again.start()
    again.wait(60)
    assert again.last.seed == 0
    assert len(again._stored(again.experiment())) == 1  # the finished one is drawn as itself


# ---- presets, knobs in front, more curves, words ----


def test_a_preset_sets_its_knobs_and_the_defaults_of_the_others(shown):
    for label, values in shown.cls.presets.items():
        button = shown.preset_buttons[label]
        button.click()
        wanted = shown.cls(**values)
        assert shown.experiment() == wanted, label
    shown.reset()
    assert shown.experiment() == shown.cls()


BOOKS = "".join(p.read_text("utf-8") for p in paths.shipped("notebooks/py").glob("*.py"))
IN_A_BOOK = [n for n in registry.NAMES if registry.get(n).presets and f'Panel("{n}"' in BOOKS]


@pytest.mark.parametrize("name", IN_A_BOOK)
def test_a_preset_answers_at_once_or_within_half_a_minute(name, monkeypatch):
    """● stands on the presets that are points of the sweep, and on no other; Run trains the others in at most
    30 s on the machine that the times were measured on.
    """
    monkeypatch.setattr(sweeps, "is_current", lambda grid: True)
    cls, panel = registry.get(name), Panel(name)
    points = [cls(**p).settings() for p in sweeps.GRIDS[name].points()] if name in sweeps.GRIDS else []
    seconds = times.read(paths.data())[name]["seconds"]
    for label, values in cls.presets.items():
        stored = cls(**values).settings() in points
        button = panel.preset_buttons[label]
        assert button.description.endswith(" ●") == stored == ("at once" in button.tooltip), label
        longer = getattr(cls(**values), "steps", 1) / getattr(cls(), "steps", 1)
        assert stored or seconds * longer <= 30, label


def test_few_knobs_and_at_most_four_plots_stand_in_front(shown):
    assert 1 <= len(shown.front) <= 3 and len(shown._board.metrics) <= 4
    assert set(shown.sliders) == {k.name for k in shown.cls.knobs()}
    assert (shown._more is not None) == (len(shown.cls.curves) > 4)
    if shown._more:
        before = shown.more_picture.layout.display
        shown.more_curves.value = True
        assert before == "none" and shown.more_picture.layout.display == "" and shown.more_picture.value
        shown.more_curves.value = False


def test_knobs_have_whole_words_and_the_papers_symbols():
    panel = Panel("policy")
    words = {n: s.description for n, s in panel.sliders.items()}
    assert words["epsilon"] == "clip range ε" and words["beta"] == "KL penalty β" and words["lam"] == "GAE λ"
    assert words["group"] == "samples a prompt K" and words["lr"] == "learning rate"
    assert Panel("prefer").sliders["beta"].description == "DPO β"


def test_a_status_with_markup_in_it_is_text(monkeypatch):
    panel = Panel("topology")
    monkeypatch.setattr(Panel, "experiment", lambda self: (_ for _ in ()).throw(UserError("<img src=x> no")))
    panel.answer()
    assert "<img" not in panel.status.value and "&lt;img" in panel.status.value


def test_the_first_minute_answers_before_and_after(home):
    from llmlab.chapters.c01_data_topology.topology import Topology
    from llmlab.learn.widgets import FirstMinute

    first = FirstMinute()
    first.experiment = Topology(steps=40, probe=40)
    first.bar.max = 40
    before = first.ask("What is the hobby of Ivana Reuter?")
    first.train().wait(120)
    steps = [s for s, _ in first.seen]
    assert steps[0] == 0 and steps[-1] == 40 and len(steps) >= 4
    assert first.seen[-1][1][0] != before and "llmlab-said" in first.table.value
    own = first.table.value.split("<tr>")[2]
    assert own.count("✓") + own.count("✗") == len(steps), "the census knows the answer to this question"
    first.ask("<script>")
    own = first.table.value.split("<tr>")[2]
    assert "<script>" not in first.table.value and not {"✓", "✗"} & set(own), "nobody knows this one"
    first.reset()
    assert first.seen == [] and first.ask("What is the hobby of Ivana Reuter?") == before
    assert first.ask(" ") == "" and "question" in first.status.value


# ---- the scripts in the browser ----


def test_no_function_is_written_in_two_scripts():
    """What several widgets draw with stands in elements.js alone."""
    seen = {}
    for file in (paths.PACKAGE / "learn" / "widgets").glob("*.js"):
        for text in re.findall(r"^function .*?^}", file.read_text("utf-8"), re.M | re.S):
            assert text not in seen, f"{file.name} and {seen[text]}: {text}"
            seen[text] = file.name


@pytest.mark.parametrize("name", ["forest", "lesson", "mechanisms", "strip"])
def test_a_script_has_its_elements_in_front_and_still_parses(name, tmp_path):
    text = script(name)
    assert text.index("function make(") < text.index("export ")
    if node := shutil.which("node"):
        (tmp_path / "all.mjs").write_text(text, encoding="utf-8")
        done = subprocess.run([node, "--check", str(tmp_path / "all.mjs")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
