"""Stored sweeps: what is stored is found at once, what is not is named, and what other code made, or somebody
changed, is not shown as current.
"""

import pandas as pd
import pytest

from llmlab import paths
from llmlab.chapters.c02_continued_pretraining.cpt import CPT
from llmlab.lab import code, record, sweeps, vouched
from llmlab.learn.widgets import Panel
from llmlab.learn.widgets.sliders import slider_of, stops

AXES = {"replay": (0.0, 0.2), "warmup": (0, 20)}


def rows(grid, seeds=5):
    """A made-up sweep: the loss says which point and seed it belongs to."""
    for point in grid.points():
        for seed in range(seeds):
            for step in range(0, 151, 10):
                yield (
                    point
                    | {"seed": seed, "step": step}
                    | {m: point["replay"] + seed / 100 + step / 1000 for m in CPT.curves}
                )


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A small stored sweep of cpt in a data folder that shares the checkpoints."""
    (tmp_path / "checkpoints").symlink_to(paths.data() / "checkpoints")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    grid = sweeps.Grid("cpt", AXES)
    monkeypatch.setitem(sweeps.GRIDS, "cpt", grid)
    sweeps._write(grid, list(rows(grid)))
    return grid


def test_every_point_is_found_with_all_its_seeds(grid):
    sweep = sweeps.load("cpt")
    for point in grid.points():
        found = sweep.at(point)
        assert [c.seed for c in found] == [0, 1, 2, 3, 4]
        assert found[3].curve("domain_loss")[50] == pytest.approx(point["replay"] + 0.03 + 0.05)
    assert (
        sweep.at(CPT().settings())[0].curve("arithmetic")
        and sweep.at({"replay": 0.2})[0].curve("nothing") == {}
    )


@pytest.mark.parametrize("off", [{"replay": 0.1}, {"lr": 1e-3}, {"replay": 0.3, "steps": 100}])
def test_a_point_that_is_not_stored_is_named(grid, off):
    sweep = sweeps.load("cpt")
    assert sweep.at(CPT(**off).settings()) == [] and sweep.missing(CPT(**off).settings()) == [
        k for k in CPT().settings() if k in off
    ]


def test_a_stale_sweep_is_not_loaded(grid, monkeypatch):
    monkeypatch.setattr(code, "version", lambda file: "of other code")
    assert not sweeps.is_current(grid) and sweeps.load("cpt") is None
    with pytest.raises(sweeps.NoSweep, match="run: llmlab build sweeps"):
        sweeps.need("cpt")
    panel = Panel("cpt", show=["replay"])
    assert "stale" in panel.status.value and panel.sweep is None


def test_a_sweep_over_words_comes_back_whole_in_another_process(grid, monkeypatch):
    import subprocess
    import sys

    words = sweeps.Grid("cpt", {"packing": ("none", "plain")})
    monkeypatch.setitem(sweeps.GRIDS, "cpt", words)
    flat = dict.fromkeys(CPT.curves, 0.5)
    sweeps._write(
        words, [p | {"seed": s, "step": t} | flat for p in words.points() for s in range(5) for t in (0, 10)]
    )
    code = (
        "from llmlab.lab import sweeps; print(sweeps.is_current(sweeps.Grid('cpt', {'packing': ('none',"
        " 'plain')})))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "True\n"
    )
    assert len(sweeps.load("cpt").at({"packing": "none"})) == 5


def test_another_grid_makes_it_stale(grid):
    assert not sweeps.is_current(sweeps.Grid("cpt", AXES | {"warmup": (0, 40)})) and not sweeps.is_current(
        sweeps.Grid("cpt", AXES, seeds=6)
    )


def test_one_altered_number_is_noticed(grid):
    frame = sweeps._read(grid)
    frame.loc[7, "arithmetic"] += 0.01
    head = grid.file.read_bytes().partition(b"\n")[0]
    grid.file.write_bytes(head + b"\n" + frame.to_parquet(compression="zstd", index=False))
    assert not sweeps.is_current(grid) and sweeps.load("cpt") is None


def test_what_other_code_made_is_stale_unless_it_is_vouched_for(grid, monkeypatch):
    old = code.of(CPT())["cpt"]
    monkeypatch.setattr(code, "version", lambda file: "other code")
    assert not sweeps.is_current(grid) and sweeps.load("cpt") is None
    vouched.add([{"name": "cpt", "old": old, "new": "other code"}])
    assert sweeps.is_current(grid) and sweeps.load("cpt").at(CPT().settings())


def test_the_seals_name_every_sweep_with_what_is_there_and_what_is_wanted(grid, monkeypatch):
    monkeypatch.setitem(sweeps.GRIDS, "sft", sweeps.Grid("sft", {"examples": (10, 0)}))
    found = {name: (there, wanted) for name, there, wanted in sweeps.seals()}
    assert list(found) == list(sweeps.GRIDS) and found["cpt"] == (grid.seal, grid.seal)
    assert found["sft"] == (None, sweeps.GRIDS["sft"].seal)
    assert "cpt" not in (stale := record.stale(sweeps.seals())) and "sft" in stale


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_stale_not_a_crash(grid, cut):
    raw = grid.file.read_bytes()
    grid.file.write_bytes(raw[: int(len(raw) * cut) if cut < 1 else cut])
    assert sweeps.load("cpt") is None


def test_the_panel_answers_from_the_sweep_at_once(grid):
    panel = Panel("cpt", show=["replay", "lr", "warmup"])
    assert panel.sweep and "stored: 5 seeds" in panel.status.value
    seen = []
    for value in (0.2, 0.0, 0.2):
        panel.sliders["replay"].value = value
        seen.append(panel.picture.value)
    assert (
        seen[0] == seen[2] != seen[1] and panel._thread is None
    )  # nothing was trained for it (how fast: test_browser_widgets.py)
    panel.sliders["replay"].value = 0.3
    assert "not stored: replay 0.3" in panel.status.value and "Run" in panel.status.value
    panel.sliders["replay"].value = 0.2
    panel.sliders["lr"].value = 1e-3
    assert "not stored: lr" in panel.status.value


def test_compare_keeps_a_setting_and_reset_starts_over(grid):
    panel = Panel("cpt", show=["replay", "warmup"])
    panel.sliders["replay"].value = 0.0
    panel.compare()
    panel.compare()
    panel.sliders["replay"].value = 0.2
    assert [label for label, _ in panel.pinned] == ["kept: replay 0, warmup 20"]
    panel.reset()
    assert panel.pinned == [] and panel.sliders["replay"].value == CPT().replay


def test_another_model_has_no_stored_runs(grid, tmp_path):
    assert Panel("cpt", show=["replay"], model=str(tmp_path)).sweep is None


@pytest.mark.parametrize("k", [k for k in CPT.knobs() if not k.choices], ids=lambda k: k.name)
def test_stops_are_round_ordered_and_inside_the_range(k):
    found = stops(k)
    assert found == sorted(set(found)) and 5 <= len(found) <= 25
    assert all(k.low <= v <= k.high and isinstance(v, k.kind) and float(f"{v:.3g}") == v for v in found)


def test_a_swept_slider_has_stored_values_marked_and_starts_at_the_default():
    k = next(k for k in CPT.knobs() if k.name == "replay")
    slider = slider_of(k, (0.0, 0.35))
    assert slider.value == k.default and ("0.35 ●", 0.35) in slider.options and ("0.3", 0.3) in slider.options


def test_a_menu_marks_what_is_stored_and_keeps_its_values():
    k = next(k for k in CPT.knobs() if k.name == "packing")
    menu = slider_of(k, ("none", "plain"))
    assert [v for _, v in menu.options] == list(k.choices) and menu.value == k.default
    assert [v for text, v in menu.options if text.endswith(" ●")] == [
        v for v in k.choices if v in ("none", "plain")
    ]
    assert [text for text, _ in slider_of(k).options] == list(k.choices)


@pytest.fixture
def turns(grid, monkeypatch):
    """The same sweep with each knob turned alone."""
    alone = sweeps.Grid("cpt", alone=AXES)
    monkeypatch.setitem(sweeps.GRIDS, "cpt", alone)
    sweeps._write(alone, list(rows(alone)))
    return alone


def test_knobs_swept_alone_have_the_defaults_and_one_point_for_each_other_value(turns):
    assert turns.points() == [
        {"replay": 0.2, "warmup": 20},
        {"replay": 0.0, "warmup": 20},
        {"replay": 0.2, "warmup": 0},
    ]
    mixed = sweeps.Grid("cpt", {"replay": (0.0, 0.2)}, {"warmup": (0, 20)})
    assert mixed.points() == [
        {"replay": 0.0, "warmup": 20},
        {"replay": 0.2, "warmup": 20},
        {"replay": 0.2, "warmup": 0},
    ]
    assert len({g.seal.identity for g in (mixed, turns, sweeps.Grid("cpt", AXES))}) == 3


def test_turned_alone_the_defaults_come_first_and_each_other_value_has_its_runs(turns):
    found = sweeps.load("cpt").turned()
    assert list(found) == ["defaults", "replay 0.0", "warmup 0"]
    assert all([c.seed for c in runs] == [0, 1, 2, 3, 4] for runs in found.values())
    assert found["replay 0.0"][2].curve("domain_loss")[50] == pytest.approx(0.02 + 0.05)  # as `rows` made it


def test_the_figure_of_turned_knobs_has_a_row_a_value_and_the_difference_paired_by_seed(turns):
    from llmlab.learn import draw

    left, right = draw.turned("cpt", {"domain_loss": "loss (nats)", "arithmetic": "right (share)"}).axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["replay 0.0", "warmup 0"]
    dots = [dots.get_offsets() for dots in left.collections if len(dots.get_offsets()) == 5]
    assert [tuple(sorted({round(x, 6) for x, _ in d})) for d in dots] == [(-CPT().replay,), (0.0,)]


def test_the_panel_says_which_knobs_were_not_swept_together(turns):
    panel = Panel("cpt", show=["replay", "warmup"])
    off = {axis: next(v for v in values if v != CPT().settings()[axis]) for axis, values in AXES.items()}
    for axis, value in off.items():
        panel.sliders[axis].value = value
    assert "stored one at a time, not together: replay, warmup" in panel.status.value
    panel.sliders["replay"].value = CPT().replay
    assert "stored: 5 seeds" in panel.status.value


def test_the_shipped_sweeps_have_at_least_five_seeds():
    assert all(g.seeds >= 5 for g in sweeps.GRIDS.values())
    assert set(sweeps.GRIDS["cpt"].axes) == {"replay", "lr", "warmup"}


@pytest.mark.parametrize("name", sweeps.GRIDS)
def test_a_panel_opens_on_a_stored_setting(name):
    assert sweeps.GRIDS[name].default in sweeps.GRIDS[name].points()


def test_frames_come_back_as_written(grid):
    assert isinstance(sweeps._read(grid), pd.DataFrame) and len(sweeps._read(grid)) == 4 * 5 * 16


def test_every_point_of_every_shipped_sweep_has_all_its_seeds_and_curves():
    for name, grid in sweeps.GRIDS.items():
        sweep = sweeps.need(name)
        for point in grid.points():
            found = sweep.at(sweep.default.settings() | point)
            assert [r.seed for r in found] == list(range(grid.seeds)), (name, point)
            assert all(len(r.curve(m)) > 1 for r in found for m in sweep.default.curves), (name, point)
