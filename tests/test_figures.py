"""Figures: median and band of the seeds, units on every axis."""

import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from llmlab.lab.registry import NAMES, get
from llmlab.lab.runs import Run
from llmlab.learn import draw, figures
from llmlab.learn.widgets.panel import Live


def run(values):
    return Live(0, [{"step": s, "accuracy": v} for s, v in enumerate(values)])


def test_line_is_the_median_and_band_the_range():
    figure = figures.curves(
        {"a": [run([0.0, 0.1, 0.1]), run([0.2, 0.3, 0.2]), run([0.4, 0.9, 0.5])]},
        {"accuracy": "accuracy (share)"},
    )
    axis = figure.axes[0]
    assert list(axis.lines[0].get_ydata()) == [0.2, 0.3, 0.2]
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == 0.0 and band.max() == 0.9
    assert axis.get_xlabel() == "step" and axis.get_ylim() == (-0.03, 1.03)


def test_two_readings_are_two_bars_and_no_course():
    figure = figures.curves({"a": [run([0.0, 0.1]), run([0.4, 0.9])]}, {"accuracy": "accuracy (share)"})
    bars = [path.vertices.tolist() for path in figure.axes[0].collections[0].get_paths()]
    assert [[y for _, y in bar] for bar in bars] == [[0.0, 0.4], [0.1, 0.9]]
    assert figure.axes[0].lines[0].get_marker() == "o"


def test_one_seed_has_no_band_and_unread_metrics_are_no_error():
    figure = figures.curves(
        {"a": [run([0.0, 0.1])]}, {"accuracy": "accuracy (share)", "other": "other (nats)"}
    )
    assert not figure.axes[0].collections and not figure.axes[1].lines


def test_png():
    assert figures.png(figures.curves({}, {"accuracy": "accuracy (share)"})).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_that_is_drawn_has_a_unit(name):
    assert len(get(name).curves) <= 9
    assert all(
        re.search(
            r"\((share|nats|probability|ratio|kbit|tokens|passes|std|points|words)"
            r"|\((samples|requests|checks)",
            label,
        )
        for label in get(name).curves.values()
    )
    assert all(len(label) <= 44 for label in get(name).curves.values()), (
        "a longer title runs into its neighbour's"
    )


# ---- the board behind a panel ----

METRICS = {"accuracy": "accuracy (share)", "other": "other (nats)"}


def test_against_draws_the_median_path_over_another_metric():
    """The paths meet where both metrics were read; the median is taken step by step."""
    runs = [
        Live(0, [{"step": s, "kl": k, "gold": g} for s, (k, g) in enumerate(path)] + [{"step": 9, "kl": 7.0}])
        for path in (((0, 1), (2, 3)), ((0, 1), (4, 5)), ((0, 1), (3, 3)))
    ]
    axis = figures.against({"a": runs}, ("kl", "KL (nats)"), {"gold": "gold (points)"}).axes[0]
    median = axis.lines[-1]
    assert list(median.get_xdata()) == [0, 3] and list(median.get_ydata()) == [1, 3] and len(axis.lines) == 4
    assert axis.get_xlabel() == "KL (nats)" and axis.get_title(loc="left") == "gold (points)"


def two(a, b):
    return Live(0, [{"step": s, "accuracy": a, "other": b * s} for s in range(5)])


def test_the_board_shows_other_curves_in_another_picture_and_the_same_in_the_same():
    board = figures.Board(METRICS, [two(0.1, 1.0), two(0.9, 3.0)])
    one, other = board.png({"x": [two(0.1, 1.0)]}), board.png({"x": [two(0.9, 3.0)]})
    assert one != other and one.startswith(b"\x89PNG") and board.png({"x": [two(0.1, 1.0)]}) == one
    assert (
        not any(axis.lines or axis.collections for axis in board.axes) and not board.figure.legends
    )  # nothing is left behind


def test_the_boards_scale_is_that_of_all_runs_grows_and_never_shrinks():
    board = figures.Board(METRICS, [two(0.1, 1.0), two(0.9, 3.0)])
    low, high = board.axes[1].get_ylim()
    assert low < 0 and 12 < high < 13 and board.axes[0].get_ylim() == (-0.03, 1.03)
    board.png({"x": [two(0.1, 5.0)]})
    wide = board.axes[1].get_ylim()
    assert wide[1] > 20
    board.png({"x": [two(0.1, 1.0)]})
    assert board.axes[1].get_ylim() == wide


def test_an_empty_board_has_axes_of_the_runs_length():
    board = figures.Board(METRICS)
    assert board.png({}, steps=150).startswith(b"\x89PNG") and board.axes[0].get_xlim()[1] == pytest.approx(
        153
    )


def test_the_board_draws_what_curves_draws():
    from io import BytesIO

    import numpy as np
    from PIL import Image

    board = figures.Board(METRICS, [two(0.5, 1.0)])
    empty, full = (
        np.asarray(Image.open(BytesIO(board.png(g)))).astype(int)
        for g in ({}, {"x": [two(0.2, 1.0), two(0.5, 1.0), two(0.8, 1.0)]})
    )
    changed = np.abs(full - empty).sum(2) > 0
    height, width = changed.shape
    assert changed[: height // 2, : width // 2].mean() > 0.05  # a band across the first panel


def extents(figure, artists):
    """Where things lie on the canvas."""
    FigureCanvasAgg(figure).draw()
    return [a.get_window_extent() for a in artists]


def run_of(metrics) -> Live:
    return Live(0, [{"step": s} | {m: 0.1 * s for m in metrics} for s in range(4)])


@pytest.mark.parametrize("n", range(1, 8))
def test_the_legend_lies_on_no_data(n):
    names = [f"arm {i} with a rather long name, of which there are some" for i in range(n)]
    run = run_of(["a", "b", "c", "d"])
    for figure in (
        figures.curves({name: [run] for name in names}, {m: f"{m} (share)" for m in "abcd"}, "a title"),
        figures.against(
            {name: [run] for name in names}, ("a", "a (nats)"), {"b": "b (share)", "c": "c (nats)"}
        ),
    ):
        (legend,), axes = figure.legends, [a for a in figure.axes if a.axison]
        found, *panels = extents(figure, [legend, *axes])
        words = extents(figure, [t for a in axes for t in (a.title, a._left_title, a.xaxis.label)])
        assert not any(found.overlaps(box) for box in (*panels, *words))
        assert [t.get_text() for t in legend.get_texts()] == names


def test_groups_without_a_name_have_no_legend():
    assert figures.curves({"": [run_of(["a"])]}, {"a": "a (share)"}).legends == []


@pytest.mark.parametrize("name", NAMES)
def test_no_title_of_a_panel_runs_into_the_next(name):
    metrics = get(name).curves
    figure = figures.curves({"seed 0": [run_of(metrics)]}, metrics)
    titles = [a._left_title for a in figure.axes if a.axison]
    boxes = extents(figure, titles)
    for i, box in enumerate(boxes):
        assert box.x1 <= figure.bbox.x1 + 1, titles[i].get_text()
        assert not any(box.overlaps(other) for other in boxes[i + 1 :]), titles[i].get_text()


# ---- room for the first steps ----


def shares(axis, step: int, low: float, high: float) -> tuple[float, float]:
    """Of the axis's width: how far right a step lies; of its height: how far apart two values are."""
    along = lambda x, y: axis.transAxes.inverted().transform(axis.transData.transform((x, y)))
    return along(step, low)[0], along(step, high)[1] - along(step, low)[1]


def test_the_v_of_the_stability_gap_is_seen_in_the_panel(monkeypatch):
    """The panel of chapter 02: step 20 lies a third to the right, the rise of general loss and the dip of
    known people take a good part of the height. (Also with a sweep of older code: these are its curves.)
    """
    from statistics import median

    from llmlab.lab import sweeps
    from llmlab.learn.widgets import Panel

    monkeypatch.setattr(sweeps, "is_current", lambda grid: True)
    panel, sweep = Panel("cpt"), sweeps.need("cpt")
    axes = dict(zip(panel._board.metrics, panel._board.axes))
    for metric, most in (("general_loss", 0.1), ("general_recall", 0.3)):
        curve = [median(r.curve(metric)[s] for r in sweep.at(sweep.grid.default)) for s in (0, 20)]
        right, high = shares(axes[metric], 20, min(curve), max(curve))
        assert 0.3 < right < 0.45 and high > most, metric


def test_early_stretches_steps_and_losses_and_leaves_shares_alone():
    runs = [Live(0, [{"step": s, "a": 8 / (1 + s), "b": 0.5} for s in range(0, 151, 10)])]
    loss, share = figures.curves({"x": runs}, {"a": "loss (nats)", "b": "right (share)"}, early=True).axes
    assert loss.get_yscale() == "log" and share.get_yscale() == "linear"
    assert loss.get_xscale() == share.get_xscale() == "function"
    assert list(loss.get_xticks()) == [0, 10, 20, 50, 100, 150] and "root" in loss.get_xlabel()


@pytest.mark.parametrize("steps", [1, 5, 10, 60, 150, 1000, 20000])
def test_ticks_of_a_root_axis_begin_with_0_end_with_the_last_step_and_keep_apart(steps):
    ticks = figures._ticks(steps, figures.APART)
    gaps = [(b / steps) ** 0.5 - (a / steps) ** 0.5 for a, b in zip(ticks, ticks[1:])]
    assert ticks[0] == 0 and ticks[-1] == steps and min(gaps) >= 0.04


def test_an_early_board_takes_losses_of_every_size():
    """Also 0, of which there is no logarithm, and none at all."""
    board = figures.Board({"a": "loss (nats)"}, early=True)
    for value in (0.0, 0.5, 40.0):
        assert board.png({"x": [Live(0, [{"step": s, "a": value} for s in range(3)])]})


def test_the_title_of_a_run_names_the_knobs_that_were_turned(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(figures, "curves", lambda *a, title: titles.append(title) or figures.panels(1)[0])
    done = Run("policy", {}, 0, "chat", "key", [{"step": 0, "accuracy": 0.5}], 1.0)
    for turned in ({}, {"clip": "higher", "lr": 5e-4}):
        figures.of_run(done, {"accuracy": "right (share)"}, tmp_path / "run.png", turned)
    assert titles == ["policy on chat: all knobs at their defaults", "policy on chat: clip higher, lr 0.0005"]


def test_rates_have_a_line_an_arm_and_a_ring_at_the_best():
    drawn = draw.rates({
        "SFT (share)": {"full": {"0.001": 0.2, "0.01": 0.6, "0.1": 0.1}, "rank 8": {"0.01": 0.3, "0.1": 0.4}},
        "DPO (share)": {"rank 8": {"0.01": 0.9, "0.1": 0.8}},
    })  # fmt: skip
    first, second = drawn.axes[:2]
    rings = [line for axis in (first, second) for line in axis.lines if line.get_fillstyle() == "none"]
    assert [(x, y) for ring in rings for x, y in ring.get_xydata()] == [(0.01, 0.6), (0.1, 0.4), (0.01, 0.9)]
    assert first.lines[0].get_xydata().tolist() == [[0.001, 0.2], [0.01, 0.6], [0.1, 0.1]]
    assert second.lines[0].get_color() == first.lines[2].get_color(), "an arm has one look"
    assert first.get_xscale() == "log" and first.get_title(loc="left") == "SFT (share)"
