"""Figures: median and band of the seeds, units on every axis."""

import pytest

from llmlab import figures
from llmlab.experiments import NAMES, get
from llmlab.widgets.panel import Live


def run(values):
    return Live(0, [{"step": s, "accuracy": v} for s, v in enumerate(values)])


def test_line_is_the_median_and_band_the_range():
    figure = figures.curves({"a": [run([0.0, 0.1]), run([0.2, 0.3]), run([0.4, 0.9])]}, {"accuracy": "accuracy (share)"})
    axis = figure.axes[0]
    assert list(axis.lines[0].get_ydata()) == [0.2, 0.3]
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == 0.0 and band.max() == 0.9
    assert axis.get_xlabel() == "step" and axis.get_ylim() == (-0.03, 1.03)


def test_one_seed_has_no_band_and_unread_metrics_are_no_error():
    figure = figures.curves({"a": [run([0.0, 0.1])]}, {"accuracy": "accuracy (share)", "other": "other (nats)"})
    assert not figure.axes[0].collections and not figure.axes[1].lines


def test_png():
    assert figures.png(figures.curves({}, {"accuracy": "accuracy (share)"})).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_that_is_drawn_has_a_unit(name):
    assert len(get(name).curves) <= 6
    assert all("(share" in label or "(nats" in label for label in get(name).curves.values())
