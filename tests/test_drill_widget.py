"""The drills in the notebook, without a browser: the same flow as in the terminal, one log for all, and a
clock that ends by itself.
"""

import html
import threading
import time
from dataclasses import replace
from functools import partial

import ipywidgets as w
import pytest
from fsrs import Rating

from llmlab.errors import UserError
from llmlab.learn import drills, practice
from llmlab.learn.widgets import Drills


@pytest.fixture
def deck(home):
    """The widget of chapter 02 with an empty log."""
    widget = Drills(chapter="02")
    yield widget
    widget.stop()


def tree(widget):
    """A widget and everything in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from tree(child)


def visible(widget) -> bool:
    return widget.layout.display != "none"


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def everything(deck) -> str:
    """All HTML that the widget shows or hides."""
    return "".join(part.value for part in tree(deck.widget) if isinstance(part, w.HTML))


def test_the_spoken_answer_is_there_only_after_the_own_one_is_committed(deck):
    spoken = html.escape(deck.drill.answer.spoken[:40])
    deck.answers["lever"].value = "<b>replay</b>\nmore of it"
    assert spoken and spoken not in everything(deck) + repr(deck._repr_mimebundle_())
    deck.show_button.click()
    beside = deck.model.value.split('class="llmlab-beside"')[1].split("</div></div></div>")[0]
    assert "Your answer" in beside and "&lt;b&gt;replay&lt;/b&gt;" in beside and spoken in beside
    deck.ratings[Rating.Good].click()
    assert not visible(deck.grading) and html.escape(deck.drill.answer.spoken[:40]) not in everything(deck)


def test_an_empty_answer_and_a_drill_without_a_spoken_one(home):
    deck = Drills(chapter="02")
    deck.show()
    assert "You left it empty." in deck.model.value
    silent = Drills(chapter="02")
    silent.drill = replace(silent.drill, answer=replace(silent.drill.answer, spoken=""))
    silent.show()
    assert "llmlab-beside" not in silent.model.value and "Diagnosis" in silent.model.value


def test_question_answer_rating(deck):
    first = deck.drill
    assert (
        html.escape(first.question) in deck.question.value
        and not visible(deck.grading)
        and "0 due, 10 new, 0 done today" in deck.progress.value
    )
    deck.answers["diagnosis"].value = "it forgets"
    deck.show_button.click()
    assert (
        visible(deck.grading)
        and html.escape(first.answer.lever) in deck.model.value
        and deck.answers["diagnosis"].value == "it forgets"
    )
    assert [b.description for b in deck.rubric.children] == list(
        first.rubric
    ) and first.link.command in deck.model.value
    assert all(
        html.escape(f.answer) in deck.model.value
        and f"<summary>{html.escape(f.question)}" in deck.model.value
        for f in first.follow_ups
    )
    for box in deck.rubric.children[:3]:
        box.value = True
    assert [r for r, b in deck.ratings.items() if b.icon == "check"] == [
        Rating.Hard
    ] and "Good · 2 days" in deck.ratings[Rating.Good].description
    deck.ratings[Rating.Good].click()
    (review,) = practice.reviews()
    assert (review.drill, review.rating, review.ticked, review.points) == (
        first.id,
        Rating.Good,
        (0, 1, 2),
        6,
    )
    assert (
        deck.drill != first
        and not visible(deck.grading)
        and "0 due, 9 new, 1 done today" in deck.progress.value
    )
    assert all(a.value == "" and not a.disabled for a in deck.answers.values())


def test_the_parts_are_those_of_the_model_answer(deck):
    assert list(deck.answers) == list(drills.PARTS) and [a.description for a in deck.answers.values()] == [
        p.capitalize() for p in drills.PARTS
    ]


def test_a_second_click_stores_nothing(deck):
    deck.show()
    deck.rate(Rating.Easy)
    deck.rate(Rating.Easy)
    deck.ratings[Rating.Easy].click()
    assert len(practice.reviews()) == 1


def test_nothing_is_rated_before_the_answer_is_shown(deck):
    deck.rate(Rating.Good)
    assert practice.reviews() == []


def test_two_notebooks_at_once_see_each_other(deck):
    other = Drills(chapter="02")
    assert other.drill == deck.drill
    deck.show()
    deck.rate(Rating.Easy)
    other.show()
    other.rate(Rating.Easy)
    assert len(practice.reviews()) == 2 and "2 done today" in other.progress.value
    assert other.drill.id not in {r.drill for r in practice.reviews()}


def test_it_goes_on_after_a_restart(deck):
    for _ in range(3):
        deck.show()
        deck.rate(Rating.Easy)
    later = Drills(chapter="02")
    assert "0 due, 7 new, 3 done today" in later.progress.value and later.drill == deck.drill


def test_until_nothing_is_left_and_go_on_looks_again(home, monkeypatch):
    deck = Drills(chapter="02", level=3)
    for _ in range(3):
        deck.show()
        deck.rate(Rating.Easy)
    assert (
        deck.drill is None
        and "comes back in 8 days" in deck.question.value
        and visible(deck.go_button)
        and not visible(deck.asking)
    )
    for act in (deck.show, deck.skip, deck.show_run, lambda: deck.rate(Rating.Good)):
        act()
    last = practice.now()
    monkeypatch.setattr(practice, "now", lambda: last + practice.timedelta(days=30))
    deck.go_button.click()
    assert deck.drill is not None and not visible(deck.go_button) and "3 due" in deck.progress.value


def test_skipping_every_drill(home):
    deck = Drills(chapter="02", level=3)
    for _ in range(3):
        deck.skip_button.click()
    assert deck.drill is None and practice.reviews() == [] and "Nothing is left" in deck.question.value


def test_a_full_disk_is_a_sentence_and_the_answer_stays(deck, monkeypatch):
    from llmlab import paths

    def full(review):
        raise paths.NoRoom("no room; free some space")

    monkeypatch.setattr(practice, "record", full)
    deck.show()
    before = deck.drill
    deck.rate(Rating.Good)
    assert "no room; free some space" in deck.status.value and deck.drill == before and visible(deck.grading)


def test_texts_are_escaped(home, monkeypatch):
    one = drills.choose(drills.load(), "02", 1)[0]
    loud = replace(one, question="<script>alert(1)</script>", rubric=("<b>bold</b> point", "two", "three"))
    monkeypatch.setattr(drills, "load", lambda folder=None: [loud])
    deck = Drills()
    deck.show()
    assert "<script>" not in deck.question.value and "&lt;script&gt;" in deck.question.value


def test_it_can_be_used_without_a_mouse_and_without_colours(deck):
    """Everything that takes input says what it is; the suggestion is a sign as well as a colour; nothing
    prints into an Output.
    """
    deck.show()
    for part in tree(deck.widget):
        assert not isinstance(part, w.Output)
        if isinstance(part, w.Button | w.ToggleButton | w.Textarea | w.Checkbox | w.BoundedIntText):
            assert part.description, part
    assert sum(b.icon == "check" and b.button_style == "success" for b in deck.ratings.values()) == 1


def test_it_is_the_value_of_a_cell(deck):
    assert "application/vnd.jupyter.widget-view+json" in deck._repr_mimebundle_()


def test_the_run(deck, monkeypatch):
    monkeypatch.setattr(drills.Link, "run", lambda self: None)
    deck.show()
    deck.run_button.click()
    assert "make it with" in deck.status.value and not visible(deck.picture)

    class Stored:
        def curve(self, metric):
            return {0: 0.1, 10: 0.9}

    monkeypatch.setattr(drills.Link, "run", lambda self: Stored())
    deck.run_button.click()
    assert visible(deck.picture) and deck.picture.value[:4] == b"\x89PNG"


@pytest.mark.parametrize("wrong", [dict(chapter="77"), dict(level=4)])
def test_a_chapter_that_is_not_there_is_a_sentence(wrong, home):
    with pytest.raises(UserError, match="there are no drills of chapter|out of range"):
        Drills(**wrong)


# --- the interview
# ----------------------------------------------------------------------------------------------------


def faster(monkeypatch, factor):
    """Clocks that run so many times as fast."""
    monkeypatch.setattr(practice, "Clock", partial(practice.Clock, tick=lambda: time.monotonic() * factor))


def test_an_interview_from_end_to_end(home):
    deck = Drills()
    deck.minutes.value = 15
    deck.mock.value = True
    thread, levels = deck._thread, []
    wait_for(lambda: "left" in deck.time.value)
    assert thread.daemon and deck.minutes.disabled
    while deck.interview is not None:
        levels.append(deck.drill.level)
        deck.show()
        deck.rubric.children[0].value = True
        deck.rate(Rating.Good)
    assert (
        levels == [1, 2, 3]
        and "Interview: 3 of 3 questions, 3 of " in deck.status.value
        and not deck.mock.value
    )
    thread.join(10)
    assert not thread.is_alive() and deck.time.value == "" and not deck.minutes.disabled
    assert (
        "interview is over" in deck.question.value
        and visible(deck.go_button)
        and len(practice.reviews()) == 3
    )
    deck.go_button.click()
    assert deck.drill is not None and deck.interview is None


def test_the_clock_counts_down_and_at_zero_shows_the_answer(home, monkeypatch):
    faster(monkeypatch, 40)  # a minute in a second and a half
    deck = Drills()
    deck.minutes.value = 1
    deck.mock.value = True
    readings = []
    deck.time.observe(lambda change: readings.append(change["new"]), "value")
    wait_for(lambda: visible(deck.grading))
    assert "The time is over" in deck.status.value and deck.interview is not None
    deck.rate(Rating.Hard)
    assert (
        deck.interview is None
        and "1 of 1 questions" in deck.status.value
        and "0:00 left" in deck.status.value
    )
    deck._thread.join(10)
    assert not deck._thread.is_alive() and len(practice.reviews()) == 1


def test_the_clock_stands_while_grading(home, monkeypatch):
    faster(monkeypatch, 40)
    deck = Drills()
    deck.minutes.value = 10
    deck.mock.value = True
    deck.show()
    left = deck.clock.left
    time.sleep(0.3)
    assert deck.clock.left == left
    deck.rate(Rating.Good)
    time.sleep(0.1)
    assert deck.clock.left < left
    deck.mock.value = False


def test_leaving_an_interview_keeps_what_was_graded(home):
    deck = Drills()
    deck.mock.value = True
    deck.show()
    deck.rate(Rating.Good)
    thread = deck._thread
    deck.mock.value = False
    assert "Interview: 1 of 4 questions" in deck.status.value and len(practice.reviews()) == 1
    thread.join(10)
    assert not thread.is_alive() and deck.time.value == ""


def test_interviews_leave_no_threads(home):
    before = threading.active_count()
    deck = Drills()
    for _ in range(5):
        deck.mock.value = True
        deck.mock.value = False
    wait_for(lambda: threading.active_count() <= before)
