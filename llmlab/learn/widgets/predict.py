"""Predict: commit to an answer before the result shows; afterwards the two stand side by side, with the
figure, table or panel that holds the answer, and one sentence of why.
"""

import base64
import html
import os
import threading
from typing import Any, Callable

import ipywidgets as w

from ...errors import UserError

KINDS = ("number", "choice", "sketch")
SHAPES = {"rises": "↗", "falls": "↘", "V": "V", "Λ": "Λ", "flat": "→"}
TURN = 0.25  # a curve is a V or Λ if it comes back by this share of its whole span


def shape(curve, flat: float = 0.03) -> str:
    """What a curve does, as one of SHAPES. curve: values in order, or {step: value}; flat: the span up to
    which it does not move.
    """
    values = list(curve.values() if isinstance(curve, dict) else curve)
    first, last, low, high = values[0], values[-1], min(values), max(values)
    if high - low <= flat:
        return "flat"
    dip, bump = min(first, last) - low, high - max(first, last)
    if max(dip, bump) >= TURN * (high - low):
        return "V" if dip > bump else "Λ"
    return "rises" if last > first else "falls"


class Predict:
    """A question with a covered answer.

    kind    number: with unit, on a slider if low and high are given, else typed · choice: one of `options` ·
    sketch: what each of `metrics` will do
            (rises, falls, V, Λ, flat)
    answer  the value, or a function that returns it and is called only after the commitment: `lambda:
    runs.run(CPT(), 0).metrics()[…]`.
            number: a number · choice: one of the options · sketch: {metric: a shape, or the curve itself};
            `flat` as in shape()

    shows   what holds the answer: a function that returns a figure, a table or a panel, or several; it is
            called only after the commitment, and what it returns stands inside. A prediction in the unit of
            a curve (mark: its metric's label) is drawn over that curve as a dashed line.
    why     one sentence, shown with the answer

    Without a front end: `p.commit(40)`, then look at `p` again. `p.again()` begins anew. The answer is in no
    widget before; on GitHub and in print the question stands first, then the answer.
    """

    def __init__(
        self,
        question: str,
        answer,
        kind: str = "number",
        *,
        unit="",
        low=None,
        high=None,
        options=(),
        metrics=(),
        flat=0.03,
        shows: Callable[[], Any] | None = None,
        mark: str = "",
        why: str = "",
    ):
        self._shows, self.mark, self.why = shows, mark, why
        self.question, self.kind, self.unit, self.flat = question, _known(kind, options, metrics), unit, flat
        self.low, self.high, self.options, self.metrics = low, high, [str(o) for o in options], list(metrics)
        self._answer: Callable = answer if callable(answer) else lambda: answer
        self.mine = self.measured = None
        self._thread: threading.Thread | None = None
        self._build()

    def _repr_mimebundle_(self, **options):
        printed = {"text/html": self._printed()} if os.environ.get("LLMLAB_PRINTED") else {}
        return printed | self.widget._repr_mimebundle_(**options) | {"text/plain": str(self)}

    def _printed(self) -> str:
        """Question and answer for a reader without a kernel, the answer folded away."""
        measured = self._read(self._answer())
        said = self._said(measured) if self.kind == "number" else measured
        if self.kind == "sketch":
            said = "; ".join(f"{m}: {s}" for m, s in measured.items())
        inside = f"<p><b>{html.escape(str(said))}</b> {html.escape(self.why)}</p>{self._pictures()}"
        return (
            f"<p><b>{html.escape(self.question)}</b></p><details><summary>answer</summary>{inside}</details>"
            "<p><i>Run this cell to commit to a prediction first.</i></p>"
        )

    def _pictures(self) -> str:
        """What holds the answer, as HTML; a panel leaves the picture that it shows."""
        parts = []
        for thing in self._shown():
            if hasattr(thing, "_repr_png_"):
                picture = base64.b64encode(thing._repr_png_()).decode()
                parts.append(
                    f"<img src='data:image/png;base64,{picture}' alt='the curves that hold the answer'>"
                )
            elif hasattr(thing, "_repr_html_"):
                parts.append(thing._repr_html_())
        return "".join(parts)

    def _shown(self) -> list:
        """What `shows` gives, as a list."""
        found = self._shows() if self._shows else []
        return list(found) if isinstance(found, (list, tuple)) else [found]

    def __repr__(self) -> str:
        return "\n".join([self.question, *self._told()])

    # ---- the commitment ----

    def commit(self, value) -> "Predict":
        """Fix the prediction, then uncover the answer. A second call changes nothing until again()."""
        if self.mine is not None:
            self.status.value = "Already committed. Press Again to begin anew."
            return self
        try:
            self.mine = self._read(value)
        except UserError as e:
            self.status.value = f"<b>{html.escape(str(e))}</b>"
            return self
        self._lock()
        self.status.value = "Committed. Measuring …"
        self._thread = threading.Thread(
            target=self._uncover, daemon=True
        )  # the answer may be a run that takes its time
        self._thread.start()
        return self

    def wait(self, timeout: float | None = None) -> "Predict":
        """Block until the answer is there (for scripts and tests)."""
        if self._thread:
            self._thread.join(timeout)
        return self

    def again(self) -> "Predict":
        """Cover the answer and begin anew."""
        self.wait()
        self.mine = self.measured = None
        self.result.value = self.status.value = ""
        self.inside.children = ()
        self._lock(False)
        self.again_button.disabled = True
        return self

    def _uncover(self) -> None:
        try:
            self.measured = self._read(self._answer())
            self.status.value, self.result.value = "", self._beside()
            self.inside.children = tuple(self._widget_of(thing) for thing in self._shown())
        # whatever an experiment may raise: one sentence here, in place of a traceback that a thread would
        # lose
        except Exception as e:
            self.status.value = f"<b>The answer could not be measured: {html.escape(_sentence(e))}</b>"
        self.again_button.disabled = False

    def _widget_of(self, thing) -> w.Widget:
        """A figure, table or panel as a widget; the guess is drawn over its curve."""
        if hasattr(thing, "widget"):
            return thing.widget
        for axis in getattr(thing, "axes", ()) if self.kind == "number" and self.mark else ():
            if self.mark in axis.get_title(loc="left"):
                axis.axhline(self.mine, color="#000000", linestyle=(0, (2, 2)), linewidth=1.2)
                axis.annotate(
                    "your guess",
                    (0.02, self.mine),
                    xycoords=("axes fraction", "data"),
                    fontsize=7,
                    va="bottom",
                )
        if hasattr(thing, "_repr_png_"):
            return w.Image(value=thing._repr_png_(), format="png", layout=w.Layout(max_width="100%"))
        return w.HTML(thing._repr_html_() if hasattr(thing, "_repr_html_") else html.escape(str(thing)))

    # ---- the three kinds ----

    def _read(self, value):
        """A prediction or an answer in its final form, or a UserError that says what is wanted."""
        if self.kind == "number":
            return _number(value)
        if self.kind == "choice":
            if str(value) not in self.options:
                raise UserError(f"choose one of {', '.join(self.options)}")
            return str(value)
        if not isinstance(value, dict) or any(value.get(m) is None for m in self.metrics):
            raise UserError(f"say for each of {', '.join(self.metrics)} what it will do: {', '.join(SHAPES)}")
        read = {
            m: value[m] if isinstance(value[m], str) else shape(value[m], self.flat) for m in self.metrics
        }
        if wrong := [s for s in read.values() if s not in SHAPES]:
            raise UserError(f"'{wrong[0]}' is none of {', '.join(SHAPES)}")
        return read

    def _pairs(self) -> list[tuple[str, str, str, str]]:
        """Rows of the comparison: name, yours, measured, difference."""
        if self.kind == "number":
            off = self.mine - self.measured
            return [
                (
                    "",
                    self._said(self.mine),
                    self._said(self.measured),
                    "exactly" if off == 0 else f"{off:+.4g} {self._distance}".rstrip(),
                )
            ]
        if self.kind == "choice":
            return [("", self.mine, self.measured, _mark(self.mine == self.measured))]
        sign = lambda s: f"{SHAPES[s]} {s}" if SHAPES[s] != s else s
        return [
            (m, sign(self.mine[m]), sign(self.measured[m]), _mark(self.mine[m] == self.measured[m]))
            for m in self.metrics
        ]

    @property
    def _distance(self) -> str:
        """The unit of a difference: of percentages and shares it is points."""
        return {"%": "percentage points", "share": "(of 1)"}.get(self.unit, self.unit)

    def _said(self, value: float) -> str:
        return f"{value:.4g} {self.unit}".rstrip()

    # ---- what is seen ----

    def _build(self) -> None:
        self.inputs = {
            "number": self._number_inputs,
            "choice": self._choice_inputs,
            "sketch": self._sketch_inputs,
        }[self.kind]()
        self.commit_button = w.Button(
            description="Commit",
            button_style="primary",
            icon="lock",
            tooltip="After this your prediction stands",
        )
        self.again_button = w.Button(description="Again", icon="refresh", disabled=True)
        self.commit_button.on_click(lambda _: self.commit(self._entered()))
        self.again_button.on_click(lambda _: self.again())
        self.status, self.result, self.inside = w.HTML(), w.HTML(), w.VBox()
        question = w.HTML(f"<b>{html.escape(self.question)}</b>")
        buttons = w.HBox([self.commit_button, self.again_button, self.status])
        self.widget = w.VBox([question, *self._input_boxes, buttons, self.result, self.inside])

    def _number_inputs(self) -> list[w.Widget]:
        if self.low is None or self.high is None:
            field = w.Text(placeholder="a number", layout=w.Layout(width="140px"))
        else:
            middle, step = (self.low + self.high) / 2, (self.high - self.low) / 100
            field = w.FloatSlider(
                value=middle,
                min=self.low,
                max=self.high,
                step=step,
                readout_format=".3g",
                layout=w.Layout(width="420px"),
            )
        self._input_boxes = [w.HBox([field, w.Label(self.unit)])]
        return [field]

    def _choice_inputs(self) -> list[w.Widget]:
        self._input_boxes = [_toggles(self.options, width="auto")]
        return list(self._input_boxes)

    def _sketch_inputs(self) -> list[w.Widget]:
        rows = [
            _toggles(
                [(f"{sign} {name}" if sign != name else name, name) for name, sign in SHAPES.items()],
                width="76px",
            )
            for _ in self.metrics
        ]
        self._input_boxes = [
            w.HBox([w.Label(m, layout=w.Layout(width="290px")), row]) for m, row in zip(self.metrics, rows)
        ]
        return rows

    def _entered(self):
        """What the inputs hold."""
        return (
            {m: row.value for m, row in zip(self.metrics, self.inputs)}
            if self.kind == "sketch"
            else self.inputs[0].value
        )

    def _lock(self, locked: bool = True) -> None:
        for widget in (*self.inputs, self.commit_button):
            widget.disabled = locked

    def _beside(self) -> str:
        """Yours and measured as a table."""
        cell = lambda text: f"<td style='padding:2px 16px 2px 0;text-align:left'>{html.escape(text)}</td>"
        rows = [
            ("", "yours", "measured", "yours − measured" if self.kind == "number" else ""),
            *self._pairs(),
        ]
        rows = rows if self.kind == "sketch" else [row[1:] for row in rows]
        return (
            "<table style='font-size:14px'>"
            + "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
            + "</table>"
            + (f"<div>{html.escape(self.why)}</div>" if self.why else "")
        )

    def _told(self) -> list[str]:
        """The state in words, for where no widget can be shown."""
        if self.measured is not None:
            return [
                "  ".join(filter(None, (name, f"yours: {mine} | measured: {theirs}", f"({off})")))
                for name, mine, theirs, off in self._pairs()
            ]
        if self.mine is not None:
            return [
                f"yours: {self._said(self.mine) if self.kind == 'number' else self.mine} | not measured yet"
            ]
        wanted = {
            "number": f"a number{f' ({self.unit})' if self.unit else ''}",
            "choice": f"one of {', '.join(self.options)}",
        }
        asked = wanted.get(self.kind) or f"{', '.join(SHAPES)} for each of {', '.join(self.metrics)}"
        return [f"Commit to {asked} before you go on: .commit(…)"]


def _known(kind: str, options, metrics) -> str:
    """The kind, if everything it needs is there."""
    if kind not in KINDS:
        raise UserError(f"kind is one of {', '.join(KINDS)}, not '{kind}'")
    if kind == "choice" and len(options) < 2:
        raise UserError("a choice needs options=[…] with at least two")
    if kind == "sketch" and not metrics:
        raise UserError("a sketch needs metrics=[…], the names of the curves")
    return kind


def _toggles(options, width: str) -> w.ToggleButtons:
    """Buttons of which none is pressed at first."""
    return w.ToggleButtons(options=options, value=None, style={"button_width": width})


def _number(value) -> float:
    """A number, typed with a point or a comma."""
    try:
        found = float(value.strip().replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        raise UserError(f"'{value}' is not a number") from None
    if found != found:
        raise UserError("nan is not a number")
    return found


def _mark(right: bool) -> str:
    return "✓ as predicted" if right else "✗ another"


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__} ({error})"
