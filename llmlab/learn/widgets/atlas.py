"""The life-cycle map and the decision flow, to be clicked through; as text where there is no kernel."""

import html
import re

import ipywidgets as w

from ...errors import UserError
from ..atlas import FLOW, STAGES, Leaf, Question

CHAPTERS = {
    "01": "01_data_topology.ipynb",
    "02": "02_continued_pretraining.ipynb",
    "03": "03_tokenizer_extension.ipynb",
}
# JupyterLab gives links in widgets no look of their own
LINK = "color: var(--jp-content-link-color, #0072B2); text-decoration: underline"


def chapter(number: str) -> str:
    """A link to the chapter, or its number where it is still to come."""
    if not number:
        return ""
    if number not in CHAPTERS:
        return f"chapter {number} (in preparation)"
    return f'chapter <a href="{CHAPTERS[number]}" target="_blank" style="{LINK}">{number}</a>'


class Map:
    """The stages in order; click one to see what it needs, changes and risks."""

    def __init__(self):
        self.buttons = [w.Button(description=s.name, layout=w.Layout(width="auto")) for s in STAGES]
        self.detail = w.HTML()
        for button, stage in zip(self.buttons, STAGES):
            button.on_click(lambda _, stage=stage: self.show(stage))
        row = [part for b in self.buttons for part in (b, w.Label("→"))][:-1]
        self.widget = w.VBox([w.HBox(row, layout=w.Layout(flex_flow="row wrap")), self.detail])
        self.show(STAGES[2])

    def show(self, stage) -> None:
        """Show one stage."""
        for button in self.buttons:
            button.button_style = "primary" if button.description == stage.name else ""
        rows = {
            "needs": stage.needs,
            "changes": stage.changes,
            "risks": stage.risks,
            "taught in": chapter(stage.chapter),
        }
        cells = "".join(
            f"<tr><th style='text-align:left;padding-right:12px'>{k}</th><td>{v}</td></tr>"
            for k, v in rows.items()
            if v
        )
        self.detail.value = f"<b>{stage.name}</b><table>{cells}</table>"

    def _repr_mimebundle_(self, **options):
        head = "| stage | needs | changes | risks | chapter |\n|---|---|---|---|---|\n"
        text = head + "\n".join(
            f"| {s.name} | {s.needs} | {s.changes} | {s.risks} | {s.chapter} |" for s in STAGES
        )
        return {"text/markdown": text} | self.widget._repr_mimebundle_(**options) | {"text/plain": text}


class Flow:
    """Which knob would you turn? Answer the questions and arrive at a lever, with its risk, its measure and
    our own evidence.
    """

    def __init__(self, start: Question = FLOW):
        self.path: list[tuple[Question, str]] = []
        self.start, self.box = start, w.VBox()
        self.widget = w.VBox([self.box])
        self._show(start)

    def answer(self, text: str) -> None:
        """Take one answer of the present question."""
        self.path.append((self.here, text))
        self._show(self.here.answers[text])

    def back(self) -> None:
        """One question back."""
        if self.path:
            self._show(self.path.pop()[0])

    def _show(self, at: Question | Leaf) -> None:
        self.here = at
        trail = w.HTML("".join(f"<div style='opacity:.7'>{q.text} <b>{a}</b></div>" for q, a in self.path))
        back = w.Button(description="Back", icon="undo", disabled=not self.path)
        back.on_click(lambda _: self.back())
        if isinstance(at, Leaf):
            lever = w.HTML(_leaf(at, "reading them …" if at.evidence else ""))
            self.box.children = (trail, lever, back)
            lever.value = _leaf(at, _evidence(at))  # at once where the runs are stored
            return
        buttons = [w.Button(description=a, layout=w.Layout(width="auto")) for a in at.answers]
        for button in buttons:
            button.on_click(lambda b: self.answer(b.description))
        self.box.children = (trail, w.HTML(f"<b>{at.text}</b>"), w.VBox(buttons), back)

    def _repr_mimebundle_(self, **options):
        text = outline(self.start)
        return {"text/markdown": text} | self.widget._repr_mimebundle_(**options) | {"text/plain": text}


def _evidence(leaf: Leaf) -> str:
    """What our own runs say, a line each; or why they cannot be read."""
    try:
        return "<br>".join(
            re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(str(read()))) for read in leaf.evidence
        )
    except UserError as e:
        return html.escape(str(e))


def _leaf(leaf: Leaf, evidence: str) -> str:
    rows = {
        "why": leaf.why,
        "risk": leaf.risk,
        "how one would know": leaf.measure,
        "taught in": chapter(leaf.chapter),
    }
    rows["our own runs"] = evidence
    cells = "".join(
        f"<tr><th style='text-align:left;vertical-align:top;padding-right:12px'>{k}</th><td>{v}</td></tr>"
        for k, v in rows.items()
        if v
    )
    return f"<b>{leaf.lever}</b><table>{cells}</table>"


def outline(at: Question | Leaf, depth: int = 0) -> str:
    """The whole flow as an indented list."""
    if isinstance(at, Leaf):
        return (
            f"{'  ' * depth}- **{at.lever}**: {at.why} *Risk:* {at.risk} *How one would know:* {at.measure}"
        )
    lines = [f"{'  ' * depth}- {at.text}"]
    for answer, then in at.answers.items():
        lines += [f"{'  ' * (depth + 1)}- *{answer}*", outline(then, depth + 2)]
    return "\n".join(lines)
