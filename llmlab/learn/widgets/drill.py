"""Drills in the notebook: question, four text areas, model answer, rubric, rating; or an interview. What is
kept lives in practice.
"""

import html
import re
import threading

import ipywidgets as w
from fsrs import Rating

from ...errors import UserError
from .. import drills, figures, practice
from ..drills import Drill

FRAME = "llmlab-drill"
# A checkbox's text is one clipped line by default; a point of the rubric needs two or three.
STYLE = f"""<style>
.{FRAME} .widget-checkbox, .{FRAME} .widget-checkbox label {{ height: auto; overflow: visible; }}
.{FRAME} .widget-checkbox label {{ white-space: normal; line-height: 1.4; }}
.{FRAME} .widget-checkbox label {{ display: flex; align-items: flex-start; gap: 6px; }}
.{FRAME} .llmlab-text {{ line-height: 1.5; max-width: 80ch; }}
.{FRAME} .llmlab-text h4 {{ margin: 0.7em 0 0.1em; }}
.{FRAME} .llmlab-beside {{ display: grid; gap: 0 2em; }}
.{FRAME} .llmlab-beside {{ grid-template-columns: repeat(auto-fit, minmax(min(100%, 30ch), 1fr)); }}
</style>"""


def text(*parts: str) -> str:
    """Paragraphs in the frame's type."""
    return f'<div class="llmlab-text">{"".join(parts)}</div>'


def shown(words: str) -> str:
    """Words as they are; names in backticks as code, no line break before a percent sign."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(words)).replace(" %", "&nbsp;%")


def paragraph(words: str, title: str = "") -> str:
    """Words under an optional heading."""
    return (f"<h4>{html.escape(title)}</h4>" if title else "") + f"<div>{shown(words)}</div>"


def beside(own: dict[str, str], spoken: str) -> str:
    """The learner's parts and the answer as one would say it, in two columns."""
    parts = "".join(paragraph(words, part.capitalize()) for part, words in own.items() if words.strip())
    yours = f"<div><h4>Your answer</h4>{parts or paragraph('You left it empty.')}</div>"
    aloud = f"<div>{paragraph(spoken, 'Said aloud, in about a minute')}</div>"
    return f'<div class="llmlab-beside">{yours}{aloud}</div>'


class Drills:
    """Practice of a chapter's drills ("" for all). What is due comes first; a rating is on the disk before
    the next question shows.

    The state is practice's log, read again for every question: two notebooks and the terminal may be open at
    once.
    """

    def __init__(self, chapter: str = "", level: int = 0, folder=None):
        self.drills = drills.choose(drills.load(folder), chapter, level)
        self.drill: Drill | None = None
        self.interview: list[Drill] | None = None  # questions still to come
        self.done: list[practice.Review] = []
        self.skipped: set[str] = set()
        self.clock: practice.Clock | None = None
        self._lock, self._over, self._thread = threading.RLock(), threading.Event(), None
        self._build()
        self.next()

    def _build(self) -> None:
        """The widgets, once."""
        self.progress, self.question, self.status = w.HTML(), w.HTML(), w.HTML()
        self.asking, self.grading = self._asking(), self._grading()
        self.go_button = w.Button(
            description="Go on",
            button_style="primary",
            icon="play",
            tooltip="the next question of the practice",
        )
        self.go_button.on_click(lambda _: self.next())
        told = [self._head(), self.progress, self.status, self.question]
        self.widget = w.VBox([w.HTML(STYLE), *told, self.asking, self.grading, self.go_button])
        self.widget.add_class(FRAME)

    def _head(self) -> w.Widget:
        """The mock interview, its minutes and its clock."""
        self.mock = w.ToggleButton(
            description="Mock interview",
            icon="clock-o",
            tooltip="questions of rising level against the clock",
        )
        self.minutes = w.BoundedIntText(
            value=20, min=1, max=240, description="minutes", layout=w.Layout(width="170px")
        )
        self.time = w.HTML()
        self.mock.observe(lambda change: self.start() if change["new"] else self.stop(), "value")
        return w.HBox([self.mock, self.minutes, self.time], layout=w.Layout(flex_flow="row wrap"))

    def _asking(self) -> w.Widget:
        """Where the four parts of an answer are written."""
        self.answers = {
            part: w.Textarea(
                description=part.capitalize(),
                placeholder=hint,
                tooltip=f"{part}: {hint}",
                rows=3,
                style={"description_width": "110px"},
                layout=w.Layout(width="100%", max_width="900px"),
            )
            for part, hint in drills.PARTS.items()
        }
        self.show_button = w.Button(
            description="Show the answer",
            button_style="primary",
            icon="eye",
            tooltip="the model answer and the rubric",
            layout=w.Layout(width="170px"),
        )
        self.skip_button = w.Button(description="Skip", icon="forward", tooltip="not this drill now")
        self.show_button.on_click(lambda _: self.show())
        self.skip_button.on_click(lambda _: self.skip())
        return w.VBox([*self.answers.values(), w.HBox([self.show_button, self.skip_button])])

    def _grading(self) -> w.Widget:
        """The model answer, the rubric, the ratings, and the stored run."""
        self.model, self.rubric = w.HTML(), w.VBox()
        self.ratings = {
            r: w.Button(tooltip=f"rate this answer: {r.name.lower()}", layout=w.Layout(width="170px"))
            for r in Rating
        }
        for r, button in self.ratings.items():
            button.on_click(lambda _, r=r: self.rate(r))
        self.run_button = w.Button(
            description="Show the run", icon="line-chart", tooltip="the stored run that shows the answer"
        )
        self.run_button.on_click(lambda _: self.show_run())
        self.picture = w.Image(format="png", layout=w.Layout(max_width="100%", display="none"))
        rate = w.HBox(list(self.ratings.values()), layout=w.Layout(flex_flow="row wrap"))
        return w.VBox([self.model, self.rubric, rate, self.run_button, self.picture])

    def _repr_mimebundle_(self, **options):
        asked = "\n".join(
            f"- *{d.title}* (level {d.level}): {d.question}" for d in self.drills
        )  # for readers without a kernel
        return {"text/markdown": asked} | self.widget._repr_mimebundle_(**options)

    # --- one drill

    def next(self) -> None:
        """The next question: of the interview, or what is due, or something new."""
        with self._lock:
            deck = self.deck()
            if self.interview is None:
                self.drill = practice.deck(
                    [d for d in self.drills if d.id not in self.skipped], self.reviews, practice.now()
                ).next
            else:
                self.drill = self.interview.pop(0) if self.interview and self.clock.left else None
            self._ask(deck, self._question(deck))
            if self.interview is not None and self.drill:
                self.clock.start()
            elif self.interview is not None:
                self._finish(deck)

    def _ask(self, deck: practice.Deck, question: str) -> None:
        """An empty page with this question."""
        self.progress.value, self.question.value = f"<b>{deck}</b>", question
        for area in self.answers.values():
            area.value, area.disabled = "", False
        self._shown(False)

    def deck(self) -> practice.Deck:
        """All of this widget's drills, from a fresh reading of the log."""
        self.reviews = practice.reviews()
        return practice.deck(self.drills, self.reviews, practice.now())

    def _question(self, deck: practice.Deck) -> str:
        if self.drill:
            place = f"chapter {self.drill.chapter} · level {self.drill.level}"
            return text(
                f"<h4>{html.escape(self.drill.title)} <small>({place})</small></h4>",
                paragraph(self.drill.question),
            )
        if deck.later and not self.skipped:
            back = practice.in_words(practice.cards(self.reviews)[deck.later[0].id].due - practice.now())
            return text(paragraph(f"Nothing is left for now. “{deck.later[0].title}” comes back in {back}."))
        return text(paragraph("Nothing is left for now."))

    def show(self) -> None:
        """The model answer beside the learner's own, the rubric, and what each rating would mean."""
        with self._lock:
            if not self.drill or self.grading.layout.display != "none":
                return
            if self.clock:
                self.clock.stop()
            for area in self.answers.values():
                area.disabled = True
            d = self.drill
            contested = [paragraph(d.contested, "Contested")] if d.contested else []
            follow_ups = [
                f"<details><summary>{html.escape(f.question)}</summary>{paragraph(f.answer)}</details>"
                for f in d.follow_ups
            ]
            see = (
                "<h4>See"
                f" it</h4><div><code>{html.escape(d.link.command)}</code><br>{shown(d.link.look)}</div>"
            )
            own = {part: area.value for part, area in self.answers.items()}
            spoken = [beside(own, d.answer.spoken)] if d.answer.spoken else []
            parts = [paragraph(words, part.capitalize()) for part, words in d.answer.parts().items()]
            self.model.value = text(
                *spoken,
                *parts,
                *contested,
                see,
                "<h4>Follow-ups</h4>",
                *follow_ups,
                "<h4>Which points did you have?</h4>",
            )
            self.rubric.children = [
                w.Checkbox(description=p, indent=False, layout=w.Layout(width="100%", height="auto"))
                for p in d.rubric
            ]
            for box in self.rubric.children:
                box.observe(lambda _: self._suggest(), "value")
            for rating, span in practice.previews(d.id, self.reviews, practice.now()).items():
                self.ratings[rating].description = f"{rating.name} · {practice.in_words(span)}"
            self._suggest()
            self._shown(True)

    def _suggest(self) -> None:
        """Marks the rating that the ticks amount to, by a sign and not by colour alone."""
        suggested = practice.rate(len(self.ticked), len(self.rubric.children))
        for rating, button in self.ratings.items():
            button.icon, button.button_style = ("check", "success") if rating == suggested else ("", "")

    @property
    def ticked(self) -> tuple[int, ...]:
        """Numbers of the points that are ticked."""
        return tuple(i for i, box in enumerate(self.rubric.children) if box.value)

    def rate(self, rating: Rating) -> None:
        """Store the review, then go on. A second click finds nothing to rate."""
        with self._lock:
            if not self.drill or self.grading.layout.display == "none":
                return
            review = practice.Review(
                self.drill.id, rating, practice.now(), self.ticked, len(self.rubric.children)
            )
            try:
                practice.record(review)
            except UserError as e:
                self.status.value = f'<b role="alert">{html.escape(str(e))}</b>'
                return
            self.done.append(review)
            self.status.value = (
                f"stored: {html.escape(self.drill.title)}, {rating.name.lower()}, {len(review.ticked)} of"
                f" {review.points} points"
            )
            self.next()

    def skip(self) -> None:
        """Not this drill in this sitting."""
        with self._lock:
            if self.drill:
                self.skipped.add(self.drill.id)
                self.next()

    def show_run(self) -> None:
        """The curves of the stored run, or how to make it."""
        if not self.drill:
            return
        try:
            found = self.drill.link.run()
        except UserError as e:
            self.status.value = html.escape(str(e))
            return
        if found is None:
            self.status.value = (
                "No run is stored for today's code; make it with"
                f" <code>{html.escape(self.drill.link.command)}</code>"
            )
            return
        label = self.drill.link.command.removeprefix("llmlab run ")
        self.picture.value = figures.png(
            figures.curves({label: [found]}, self.drill.link.experiment().curves)
        )
        self.picture.layout.display = ""

    def _shown(self, answer: bool) -> None:
        """Which half is to be seen."""
        self.grading.layout.display = "" if answer else "none"
        self.asking.layout.display = "" if self.drill else "none"
        self.go_button.layout.display = "none" if self.drill else ""
        self.show_button.disabled = self.skip_button.disabled = answer
        self.picture.layout.display = "none"

    # --- the interview

    def start(self) -> None:
        """Draw the questions and start the clock."""
        with self._lock:
            self.interview = practice.mock(
                self.drills, practice.questions(self.minutes.value), seed=int(practice.now().timestamp())
            )
            self.clock, self.asked, self.done = practice.Clock(self.minutes.value), len(self.interview), []
            self.minutes.disabled = True
            self.status.value = f"{self.asked} questions; the clock stands while you grade"
            self.next()
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._count, args=(self._over, self.clock), daemon=True)
            self._thread.start()  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Leave the interview; what was graded is stored."""
        with self._lock:
            if self.interview is not None:
                self._finish(self.deck())

    def _finish(self, deck: practice.Deck) -> None:
        """The summary; the next click goes back to practice."""
        self._over.set()
        self.clock.stop()
        ticked, points = sum(len(r.ticked) for r in self.done), sum(r.points for r in self.done)
        self.status.value = (
            f"<b>Interview: {len(self.done)} of {self.asked} questions, {ticked} of {points} points,"
            f" {self.clock} left.</b>"
        )
        self.interview, self.clock, self.drill, self.time.value, self.minutes.disabled = (
            None,
            None,
            None,
            "",
            False,
        )
        self.mock.value = False
        self._ask(deck, text(paragraph("The interview is over.")))

    def _count(self, over: threading.Event, clock: practice.Clock) -> None:
        """The clock's thread: one reading a second, until the interview ends; at zero it shows the answer so
        that it can be graded.
        """
        while True:
            self.time.value = f'<b role="timer" aria-live="off">{clock} left</b>'
            if over.wait(1.0):
                self.time.value = ""
                return
            if not clock.left:
                with self._lock:
                    if not over.is_set():
                        self.status.value = '<b role="alert">The time is over: grade what you have.</b>'
                        self.show()
                over.wait()
                self.time.value = ""
                return
