"""Predict: the answer is nowhere before the commitment, beside it afterwards, and the commitment stands until
Again.
"""

import json
import re
import threading

import ipywidgets as w
import pytest

from llmlab.errors import UserError
from llmlab.learn.widgets import Predict
from llmlab.learn.widgets.predict import SHAPES, shape

METRICS = ["general loss", "sums"]
SETTINGS = {
    "number": dict(unit="%", low=0, high=100),
    "choice": dict(kind="choice", options=["people", "sums", "neither"]),
    "sketch": dict(kind="sketch", metrics=METRICS),
}
ANSWERS = {
    "number": [37.25, 81.5],
    "choice": ["sums", "people"],
    "sketch": [{"general loss": "Λ", "sums": "falls"}, {"general loss": "rises", "sums": "V"}],
}
GUESSES = {"number": 60, "choice": "neither", "sketch": {"general loss": "Λ", "sums": "V"}}
KINDS = pytest.mark.parametrize("kind", SETTINGS)


def make(kind, answer=None, **more):
    return Predict("What falls?", ANSWERS[kind][0] if answer is None else answer, **SETTINGS[kind] | more)


def everything(widget):
    """The state of a widget and of all widgets in it, as it would be saved in a notebook."""
    found = [{k: v for k, v in widget.get_state().items() if k not in ("layout", "style", "children")}]
    for child in getattr(widget, "children", ()):
        found += everything(child)
    return found


def seen(predict):
    return (
        json.dumps(everything(predict.widget), default=str, ensure_ascii=False)
        + repr(predict)
        + predict._repr_mimebundle_()["text/plain"]
    )


@KINDS
def test_before_the_commitment_nothing_depends_on_the_answer(kind):
    first, second = (make(kind, answer) for answer in ANSWERS[kind])
    assert seen(first) == seen(second)
    assert str(ANSWERS["number"][0]) not in seen(make("number"))


@KINDS
def test_a_function_is_asked_only_after_the_commitment(kind):
    asked = []
    predict = make(kind, lambda: asked.append(1) or ANSWERS[kind][0])
    predict._repr_mimebundle_(), repr(predict)
    assert not asked
    predict.commit(GUESSES[kind]).wait(10)
    assert asked == [1] and predict.measured == ANSWERS[kind][0]


@KINDS
def test_afterwards_the_two_stand_side_by_side(kind):
    predict = make(kind).commit(GUESSES[kind]).wait(10)
    assert (
        predict.mine == GUESSES[kind]
        and "yours" in predict.result.value
        and "measured" in predict.result.value
    )
    assert "yours: " in repr(predict) and "measured: " in repr(predict)
    wanted = {"number": "+22.75 percentage points", "choice": "✗ another", "sketch": "✓ as predicted"}[kind]
    assert wanted in predict.result.value and wanted in repr(predict)
    if kind == "sketch":
        assert "✗ another" in predict.result.value


@KINDS
def test_the_commitment_stands_until_again(kind):
    predict = make(kind).commit(GUESSES[kind]).wait(10)
    assert (
        predict.commit_button.disabled
        and all(i.disabled for i in predict.inputs)
        and not predict.again_button.disabled
    )
    predict.commit(ANSWERS[kind][0])
    assert predict.mine == GUESSES[kind] and "Already committed" in predict.status.value
    predict.again_button.click()
    assert (
        predict.mine is None
        and predict.measured is None
        and predict.result.value == ""
        and not predict.commit_button.disabled
    )
    assert repr(predict) == repr(make(kind))
    assert predict.commit(ANSWERS[kind][0]).wait(10).mine == ANSWERS[kind][0]


@KINDS
def test_the_buttons_do_what_the_calls_do(kind):
    predict = make(kind)
    if kind == "sketch":
        for row, guess in zip(predict.inputs, GUESSES[kind].values()):
            row.value = guess
    else:
        predict.inputs[0].value = GUESSES[kind]
    predict.commit_button.click()
    predict.wait(10)
    assert predict.mine == GUESSES[kind] and predict.measured == ANSWERS[kind][0]


def test_nothing_is_chosen_beforehand():
    assert make("choice").inputs[0].value is None and [r.value for r in make("sketch").inputs] == [None, None]
    assert make("number").inputs[0].value == 50
    for kind, said in {
        "choice": "choose one of people, sums, neither",
        "sketch": "say for each of general loss, sums",
    }.items():
        predict = make(kind)
        predict.commit_button.click()
        assert predict.mine is None and said in predict.status.value and not predict.commit_button.disabled


@pytest.mark.parametrize("typed, read", [("3.5", 3.5), (" 3,5 ", 3.5), ("1e-3", 0.001), (4, 4.0)])
def test_a_typed_number(typed, read):
    predict = Predict("How many?", 3)
    assert isinstance(predict.inputs[0], w.Text)
    assert predict.commit(typed).wait(10).mine == read and predict.measured == 3


@pytest.mark.parametrize("typed", ["", "many", None, "nan"])
def test_what_is_no_number_is_said_and_not_committed(typed):
    predict = Predict("How many?", 3).commit(typed)
    assert "not a number" in predict.status.value and predict.mine is None


def test_a_sketch_reads_curves():
    answer = {"general loss": {0: 1.17, 20: 1.42, 150: 1.2}, "sums": [0.7, 0.5, 0.3]}
    assert make("sketch", answer).commit(GUESSES["sketch"]).wait(10).measured == {
        "general loss": "Λ",
        "sums": "falls",
    }


@pytest.mark.parametrize("curve, name", [
    ([1, 2, 3], "rises"), ([3, 2, 1], "falls"), ([1.0, 1.01, 0.99], "flat"), ([1, 0.2, 0.9], "V"),
    ([0.2, 1, 0.3], "Λ"),
    ({0: 1, 10: 3, 20: 2.9}, "rises"), ([1], "flat"), ([1.17, 1.42, 1.34], "Λ"),
])  # fmt: skip
def test_shapes(curve, name):
    assert shape(curve) == name and name in SHAPES


def test_an_answer_that_cannot_be_measured_is_a_sentence_and_the_commitment_stands():
    def broken():
        raise RuntimeError("no run stored")

    predict = make("number", broken).commit(5).wait(10)
    assert "could not be measured: RuntimeError (no run stored)" in predict.status.value and predict.mine == 5
    assert "not measured yet" in repr(predict) and not predict.again_button.disabled
    assert "choose one of" in make("choice", lambda: "cats").commit("sums").wait(10).status.value


def test_a_long_measurement_does_not_hold_the_cell():
    go = threading.Event()
    predict = make("number", lambda: go.wait(10) and 7)
    predict.commit(5)
    assert (
        predict.status.value == "Committed. Measuring …"
        and predict.measured is None
        and predict.again_button.disabled
    )
    go.set()
    assert predict.wait(10).measured == 7


@pytest.mark.parametrize("settings, said", [
    (dict(kind="guess"), "kind is one of number, choice, sketch, not 'guess'"),
    (dict(kind="choice"), "a choice needs options"), (dict(kind="sketch"), "a sketch needs metrics"),
])  # fmt: skip
def test_a_question_that_lacks_something_is_named(settings, said):
    with pytest.raises(UserError, match=said):
        Predict("?", 1, **settings)


def test_where_there_is_no_front_end_the_text_says_how_to_go_on():
    text = make("choice")._repr_mimebundle_()["text/plain"]
    assert text == "What falls?\nCommit to one of people, sums, neither before you go on: .commit(…)"
    assert "rises, falls, V, Λ, flat for each of general loss, sums" in repr(make("sketch"))


def test_markup_in_the_question_and_the_answer_is_text():
    nasty = "<script>alert(1)</script>"
    predict = Predict(nasty, nasty, "choice", options=[nasty, "b"]).commit(nasty).wait(10)
    shown = [
        c["value"]
        for c in everything(predict.widget)
        if isinstance(c.get("value"), str) and c["_model_name"] == "HTMLModel"
    ]
    assert shown and not any("<script>" in value for value in shown)


# ---- what holds the answer stands inside ----


def drawing():
    from llmlab.learn import figures

    return figures.line([1, 2, 3], "step", "share")


def test_the_figure_appears_with_the_commitment_and_goes_with_again():
    made = []
    p = Predict(
        "How much?", 0.5, low=0, high=1, unit="share", shows=lambda: made.append(1) or drawing(), why="So."
    )
    assert p.inside.children == () and not made
    p.commit(0.3).wait()
    assert len(p.inside.children) == 1 and bytes(p.inside.children[0].value).startswith(b"\x89PNG")
    assert "So." in p.result.value and "(of 1)" in p.result.value
    p.again()
    assert p.inside.children == ()


def test_a_panel_and_a_table_stand_inside_too():
    import pandas as pd

    from llmlab.learn.widgets import Panel

    p = Predict("How much?", 1, shows=lambda: (pd.DataFrame({"a": [1]}), Panel("topology", show=["lr"])))
    p.commit(1).wait()
    table, panel = p.inside.children
    assert "<table" in table.value and panel.children


def test_the_guess_is_drawn_over_its_curve():
    from llmlab.learn import figures
    from llmlab.learn.widgets.panel import Live

    figure = figures.curves(
        {"x": [Live(0, [{"step": s, "a": s / 3} for s in range(4)])]}, {"a": "right (share)"}
    )
    before = len(figure.axes[0].lines)
    p = Predict("How much?", 1.0, low=0, high=1, shows=lambda: figure, mark="right")
    p.commit(0.4).wait()
    assert len(figure.axes[0].lines) == before + 1 and figure.axes[0].lines[-1].get_ydata()[0] == 0.4


def test_print_has_the_question_then_the_answer_and_a_kernel_has_neither_before(monkeypatch):
    p = Predict("How <much>?", 42, shows=drawing, why="Because.")
    assert "text/html" not in p._repr_mimebundle_() and "42" not in str(p)
    monkeypatch.setenv("LLMLAB_PRINTED", "1")
    printed = p._repr_mimebundle_()["text/html"]
    assert printed.index("How &lt;much&gt;?") < printed.index("<details>") < printed.index("42")
    assert "data:image/png;base64," in printed and "Because." in printed and p.measured is None


def test_print_has_the_picture_of_a_panel_too(monkeypatch):
    """Without a kernel a panel is its curves: they stand in the answer, after the question."""
    import base64

    from llmlab.learn.widgets import Panel

    panel = Panel("topology", show=["loss", "lr"])
    monkeypatch.setenv("LLMLAB_PRINTED", "1")
    printed = Predict("How many?", 42, shows=lambda: panel)._repr_mimebundle_()["text/html"]
    (picture,) = re.findall(r"<img src='data:image/png;base64,([^']+)'", printed)
    assert base64.b64decode(picture) == panel.picture.value
    assert printed.index("How many?") < printed.index("<details>") < printed.index("<img")
    assert printed.index("<img") < printed.index("</details>")


def test_no_chapter_prints_an_answer_in_a_cell_after_its_question():
    """What a Predict shows is in no later cell up to the next heading: the code of `shows` stands nowhere
    else.
    """
    from pathlib import Path

    asked = 0
    for script in sorted((Path(__file__).parent.parent / "notebooks" / "py").glob("*.py")):
        cells = re.split(r"^# %%", script.read_text(encoding="utf-8"), flags=re.M)
        for i, cell in enumerate(cells):
            if (
                "Predict(" not in cell
                or cell.startswith(" [markdown]")
                or "import" in cell.split("Predict(")[0][:40]
            ):
                continue
            asked += 1
            assert "why=" in cell, f"{script.name}: a prediction without its sentence of why"
            for later in cells[i + 1 :]:
                if later.startswith(" [markdown]"):
                    break
                assert "Predict(" in later, f"{script.name}: {later.strip()[:80]} follows a prediction"
    assert asked >= 10
