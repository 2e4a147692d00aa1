"""FirstMinute: ask the lab model something, watch it train for a quarter of a minute, read its words before
and after.
"""

import html
import os
import threading
import time
from functools import partial
from typing import Callable

import ipywidgets as w

from ...errors import UserError
from ...lab import registry, samples
from ...models.load import load
from ...tokens import chat
from ...train.sample import sample
from ...world import Talk, census
from ...world.base import same
from .. import said

QUESTION = "What is the hobby of Ivana Reuter?"
LOOKS = 3  # on the way
REFRESH = 0.2  # seconds between two readings of the progress


def on_record(words: str) -> str:
    """The right answer to a question in one of the census' own forms; to others it is not known."""
    for name, person in census.Census().people.items():
        if name in words:
            keys = [
                k
                for k, forms in census.QUESTIONS.items()
                if words.strip() in (f.format(n=name) for f in forms)
            ]
            return getattr(person, keys[0]) if keys else ""
    return ""


class FirstMinute:
    """`ask(words)` is the field, `train()` the button: SFT of the base model on conversations, after which it
    answers and stops. What it says of the learner's own question and of three held-out ones stands in a
    table.
    """

    def __init__(self, experiment: str = "topology"):
        self.experiment = registry.get(experiment)()
        self._loaded = load(self.experiment.default_model)
        self.experiment.address(self._loaded)
        asked = [a for a in samples.asked(self.experiment) if isinstance(a.world, Talk)]
        self.fixed = list({a.wanted: a for a in asked}.values())[:3]  # no two of one answer
        self.seen: list[
            tuple[int, list[str]]
        ] = []  # (step, answers: to the own question, then to the fixed ones)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._build()

    def _build(self) -> None:
        self.field = w.Text(value=QUESTION, layout=w.Layout(width="420px"), continuous_update=False)
        self.ask_button = w.Button(description="Ask", icon="comment", tooltip="what does it say now?")
        self.train_button = w.Button(
            description="Train it", button_style="primary", icon="play", tooltip="fine-tune it, here and now"
        )
        self.reset_button = w.Button(
            description="Begin anew", icon="undo", tooltip="the untrained model again"
        )
        self.bar = w.IntProgress(value=0, min=0, max=self.experiment.steps, layout=w.Layout(width="200px"))
        self.status, self.table = w.HTML(), w.HTML()
        self.ask_button.on_click(lambda _: self.ask())
        self.train_button.on_click(lambda _: self.train())
        self.reset_button.on_click(lambda _: self.reset())
        row = w.HBox([self.field, self.ask_button, self.train_button, self.reset_button])
        self.widget = w.VBox([row, w.HBox([self.bar, self.status]), self.table])

    def _repr_mimebundle_(self, **options):
        printed = {}
        if os.environ.get("LLMLAB_PRINTED"):
            self.ask()
            self.train().wait()
            printed = {"text/html": self.table.value + "<p><i>Run this cell to ask it yourself.</i></p>"}
            self.reset()
        return printed | self.widget._repr_mimebundle_(**options) | {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return "\n".join(f"step {step}: {answers[0]}" for step, answers in self.seen) or (
            "Ask the lab model something: .ask('…'), then .train() it and read its words again"
        )

    @property
    def trained(self) -> int:
        """Steps that it has been trained."""
        return self.bar.value

    def ask(self, words: str | None = None) -> str:
        """What the model says now to the question in the field (or to `words`)."""
        if words is not None:
            self.field.value = words
        if not self.field.value.strip():
            self.status.value = "Type a question first."
            return ""
        answers = self._answers()
        self.seen = [(s, a) for s, a in self.seen if s != self.trained] + [(self.trained, answers)]
        self._show()
        return answers[0]

    def _answers(self) -> list[str]:
        tok, model = self._loaded.tok, self._loaded.model
        own = chat.prompt(tok, ({"role": "user", "content": self.field.value},))
        stop = chat.stop_ids(tok)
        ids = sample(
            model, [own, *(a.ids(tok) for a in self.fixed)], temperature=0.0, max_new=40, stop=stop
        ).ids
        return [tok.decode([i for i in new if i not in stop]).strip() for new in ids]

    def train(self) -> "FirstMinute":
        """Train in the background; the table grows on the way."""
        if self._thread and self._thread.is_alive():
            return self
        if not self.field.value.strip():
            self.field.value = QUESTION
        if self.trained:
            self.reset()
        if not self.seen:
            self.ask()
        self.train_button.disabled = self.ask_button.disabled = True
        self._stop.clear()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def wait(self, timeout: float | None = None) -> "FirstMinute":
        """Block until the training has ended (for scripts and tests)."""
        if self._thread:
            self._thread.join(timeout)
        return self

    def reset(self) -> None:
        """The untrained model again."""
        self._stop.set()
        self.wait(10)
        self._loaded = load(self.experiment.default_model)
        self.experiment.address(self._loaded)
        self.seen, self.bar.value, self.status.value, self.table.value = [], 0, "", ""

    def _work(self) -> None:
        began, shown, steps = time.monotonic(), 0.0, self.experiment.steps
        every = steps // (LOOKS + 1)
        try:
            for row in self.experiment.rows(self._loaded, 0):
                step = row["step"]
                if self._stop.is_set():
                    return
                if time.monotonic() - shown > REFRESH or step == steps:
                    shown, self.bar.value = time.monotonic(), step
                    loss = f", loss {row['loss']:.2f}" if "loss" in row else ""
                    self.status.value = f"step {step} of {steps}{loss}"
                if step and step % every == 0:
                    self.bar.value = step
                    self.ask()
            self.status.value = (
                f"trained on {steps} batches of conversations in {time.monotonic() - began:.0f} s"
            )
        except UserError as e:
            self.status.value = f"<b>{html.escape(str(e))}</b>"
        finally:
            self.train_button.disabled = self.ask_button.disabled = False

    def _show(self) -> None:
        heads = ["question", "right", *("untrained" if s == 0 else f"step {s}" for s, _ in self.seen)]
        own = self.field.value
        known = on_record(own)
        judge = partial(same, answer=known) if known else None
        prompts = [(own, known, judge), *((a.words, a.wanted, a.is_right) for a in self.fixed)]
        rows = ""
        for i, (words, wanted, is_right) in enumerate(prompts):
            cells = "".join(f"<td>{self._marked(is_right, answers[i])}</td>" for _, answers in self.seen)
            right = html.escape(said.short(wanted or "?"))
            rows += f"<tr><td>{html.escape(words)}</td><td>{right}</td>{cells}</tr>"
        head = "".join(f"<th style='white-space:nowrap'>{h}</th>" for h in heads)
        self.table.value = f"{said.STYLE}<table class='llmlab-said'><tr>{head}</tr>{rows}</table>"

    @staticmethod
    def _marked(is_right: Callable[[str], bool] | None, text: str) -> str:
        if is_right is None:
            return html.escape(said.short(text))
        mark, colour = said.MARKS[bool(is_right(text))]
        return f"<span style='color:{colour}'>{mark}</span>&nbsp;{html.escape(said.short(text))}"
