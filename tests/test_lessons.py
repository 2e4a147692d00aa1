"""Lessons: the files, what is wrong with a bad one, and the widget without a browser."""

import re

import nbformat
import pytest
import yaml

from llmlab import cli
from llmlab.errors import UserError
from llmlab.lab import registry, sweeps, texts
from llmlab.learn import demo, lessons
from llmlab.learn.widgets import lesson as widget
from llmlab.learn.widgets.lesson import Lesson

CHAPTERS = ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11"]
MEASURED = re.compile(r"\d+(\.\d+)? ?(%|points|nats)")  # a number that only a run can know


def step(**other) -> dict:
    """A sound step of a file."""
    ask = {"question": "What?", "options": ["this", "that"], "answer": 1, "why": "So."}
    return {"headline": "A sentence.", "notes": "Say it.", "ask": ask} | other


def shown(**other) -> dict:
    """A sound `show`."""
    return {"experiment": "cpt", "preset": "gentle", "curves": ["domain_recall"]} | other


def written(tmp_path, *steps, **other):
    """A lesson file of these steps, filled up to five."""
    document = {"title": "A lesson"} | other
    document["steps"] = other.get("steps", [*steps, *[step() for _ in range(5 - len(steps))]])
    file = tmp_path / "00.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


# ---- the files ----


def test_every_chapter_has_a_lesson():
    assert lessons.chapters() == CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_lesson_loads_and_shows_only_what_is_stored(chapter):
    lesson = lessons.load(chapter)
    assert 5 <= len(lesson.steps) <= 7 and sum(s.show is not None for s in lesson.steps) >= 4
    for s in lesson.steps:
        if s.show:
            cls = registry.get(s.show.experiment)
            assert set(s.show.curves) <= set(cls.curves)
            assert not s.show.compare or s.show.compare in cls.presets
            points = [cls(**p).settings() for p in sweeps.GRIDS[cls.name].points()]
            assert all(cls(**knobs).settings() in points for knobs in s.show.settings.values())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_measured_number_is_typed_by_hand(chapter):
    for s in lessons.load(chapter).steps:
        told = [s.headline, s.notes, s.ask.question, *s.ask.options, s.ask.why]
        assert not [t for t in told if MEASURED.search(t)]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_notes_are_two_to_six_sentences_with_a_question(chapter):
    for s in lessons.load(chapter).steps:
        assert 2 <= len(re.findall(r"[.?!](?: |$)", s.notes)) <= 8 and "Ask: " in s.notes


def test_an_answer_by_reading_is_the_option_between_the_cuts():
    reading = lessons.Reading("general_recall", "end", (0.25, 0.75))
    assert [reading.option(v) for v in (0.1, 0.25, 0.5, 0.9)] == [0, 1, 1, 2]


class Made:
    """A run of two readings."""

    def __init__(self, start, end):
        self.values = {0: start, 10: end}

    def curve(self, metric):
        """The same for every metric."""
        return self.values


def test_end_change_and_difference_are_medians_over_the_seeds():
    show = lessons.Show("cpt", "here", {}, ("domain_recall",), "gentle")
    groups = {"gentle": [Made(0.1, 0.2)] * 3, "here": [Made(0.1, 0.3), Made(0.2, 0.5), Made(0.9, 1.0)]}
    value = lambda of: show.value(lessons.Reading("domain_recall", of, (0.0,)), groups)
    assert value("end") == 0.5 and value("change") == pytest.approx(0.3)
    assert (
        value("difference") == pytest.approx(0.3) and show.value(lessons.Reading("x", "end", ()), {}) is None
    )


# ---- mistakes ----

BY_METRIC = {"reading": {"metric": "domain_recall", "of": "end", "cuts": [0.5]}}


def asked(**other) -> dict:
    """A step whose question differs in a field."""
    return step(ask=step()["ask"] | other)


@pytest.mark.parametrize(
    "bad, told",
    [
        (step(extra=1), "unknown field 'extra'"),
        ({k: v for k, v in step().items() if k != "notes"}, "has no 'notes'"),
        ("a text", "not a mapping"),
        (step(headline=3), "'headline' of the step is not a text"),
        (step(headline="x" * 200), "keep it within"),
        (asked(options=["one"]), "1 options; give 2 to 4"),
        (asked(options=["one", 2]), "put it in quotes"),
        (asked(answer=3), "from 1 to 2"),
        (asked(answer=0), "from 1 to 2"),
        (asked(answer=True), "'answer' of ask is not"),
        (asked(answer=BY_METRIC), "needs a 'show'"),
        (step(show=shown(experiment="cpr")), "no experiment 'cpr'; choose one of"),
        (step(show=shown(experiment="grpo")), "no experiment 'grpo'"),  # it has no sweep
        (step(show=shown(preset="mild")), "no preset 'mild'; choose one of"),
        (step(show=shown(compare="mild")), "no compare 'mild'"),
        (step(show=shown(curves=["recall"])), "no metric 'recall'; choose one of"),
        (step(show=shown(curves=["domain_recall"] * 3)), "names 3 metrics"),
        (step(show=shown(knobs={"lr": 0.1})), "either 'preset' or 'knobs'"),
        (step(show={k: v for k, v in shown().items() if k != "preset"}), "either 'preset' or 'knobs'"),
        (step(show={**shown(), "preset": "with a gate"}), "not in the sweep of cpt"),
        (
            step(show={"experiment": "cpt", "knobs": {"rate": 1}, "curves": ["domain_recall"]}),
            "no knob 'rate'",
        ),
        (
            step(show={"experiment": "cpt", "knobs": {"replay": 7.0}, "curves": ["domain_recall"]}),
            "is refused",
        ),
        (
            asked(answer={"reading": {"metric": "x", "of": "end", "cuts": [1]}}) | {"show": shown()},
            "no metric 'x'",
        ),
        (
            asked(answer={"reading": {"metric": "domain_recall", "of": "top", "cuts": [1]}})
            | {"show": shown()},
            "no reading of 'top'",
        ),
        (
            asked(answer={"reading": {"metric": "domain_recall", "of": "difference", "cuts": [1]}})
            | {"show": shown()},
            "needs 'compare'",
        ),
        (
            asked(answer={"reading": {"metric": "domain_recall", "of": "end", "cuts": [1, 0]}})
            | {"show": shown()},
            "'cuts' must be 1 rising numbers",
        ),
    ],
)
def test_a_mistake_is_a_sentence_with_file_step_and_fix(bad, told, tmp_path):
    file = written(tmp_path, step(), bad)
    with pytest.raises(lessons.BadLesson) as error:
        lessons.read(file)
    assert told in str(error.value) and str(error.value).startswith(f"{file}, step 2: ")
    assert "\n" not in str(error.value) and isinstance(error.value, UserError)


@pytest.mark.parametrize("count", [0, 4, 8])
def test_a_lesson_has_five_to_seven_steps(count, tmp_path):
    with pytest.raises(lessons.BadLesson, match="5 to 7|not a list"):
        lessons.read(written(tmp_path, steps=[step() for _ in range(count)]))


@pytest.mark.parametrize("text", ["title: [", "- a\n- b", "", "title: \xff", "title: *x"])
def test_what_is_no_lesson_is_a_sentence(text, tmp_path):
    file = tmp_path / "00.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(lessons.BadLesson, match="the file: "):
        lessons.read(file)


# ---- the command ----


@pytest.mark.parametrize("argv", [["demo", "12"], ["demo", "99"], ["demo", "13"]])
def test_a_chapter_without_a_lesson_names_those_with_one(argv, capsys, monkeypatch):
    monkeypatch.setattr(demo, "serve", lambda *_: pytest.fail("nothing is to be served"))
    assert cli.main(argv) == 2
    told = capsys.readouterr().err
    assert "00, 01, 02" in told and len(told.strip().splitlines()) == 1


@pytest.mark.parametrize("name, chapter", [("02", "02"), ("7", "07"), ("cpt", "cpt")])
def test_a_chapter_or_an_experiment_is_served(name, chapter, monkeypatch):
    served = []
    monkeypatch.setattr(demo, "serve", lambda *given: served.append(given))
    assert cli.main(["demo", name, "--no-browser"]) == 0 and served == [(chapter, 8866, False, False)]


def test_the_notebook_of_a_chapter_holds_its_lesson(home):
    book = nbformat.read(demo.notebook("00"), as_version=4)
    nbformat.validate(book)
    (cell,) = book.cells
    assert "Lesson('00', full=True)" in cell.source


@pytest.mark.parametrize("network, whom", [(False, "this machine only"), (True, "every machine")])
def test_one_sentence_says_what_is_opened_to_whom(network, whom, home, monkeypatch, capsys):
    monkeypatch.setenv("JUPYTER_PATH", "")
    monkeypatch.setattr(demo, "command", lambda *_: ["python", "--Voila.token=secret"])
    monkeypatch.setattr(demo.os, "execv", lambda *_: None)
    demo.serve("02", 8866, browser=False, network=network)
    told = capsys.readouterr().err
    assert "the lesson of chapter 02" in told and whom in told and len(told.splitlines()) == 1


# ---- the widget ----


def test_forward_and_back_stop_at_the_ends():
    lesson = Lesson("00")
    lesson.back()
    assert lesson.view["at"] == 0
    for _ in range(9):
        lesson.next()
    assert lesson.view["at"] == lesson.view["of"] - 1 == len(lesson.lesson.steps) - 1
    assert lesson.view["headline"] == lesson.lesson.steps[-1].headline
    lesson.back()
    assert lesson.view["at"] == lesson.view["of"] - 2


def test_hands_are_counted_a_step_and_reset_starts_it_over():
    lesson = Lesson("00")
    lesson.hand(0)
    lesson.hand(0)
    lesson.hand(1, -1)
    lesson.hand(9)
    lesson.next()
    lesson.hand(2)
    lesson.reveal()
    lesson.back()
    assert [o["hands"] for o in lesson.view["options"]] == [2, 0, 0] and lesson.view["answer"] is None
    lesson.next()
    assert lesson.view["answer"] and lesson.view["options"][2]["hands"] == 1
    lesson.reset()
    assert lesson.view["answer"] is None and not any(o["hands"] for o in lesson.view["options"])
    lesson.back()
    assert lesson.view["options"][0]["hands"] == 2


def test_notes_are_hidden_until_asked_for():
    lesson = Lesson("00")
    assert lesson.view["notes"] == ""
    lesson.notes()
    assert lesson.view["notes"] == lesson.step.notes
    lesson.next()
    assert lesson.view["notes"] == lesson.step.notes
    lesson.notes()
    assert lesson.view["notes"] == ""


def test_messages_of_the_page_do_the_same_and_others_nothing():
    lesson = Lesson("00")
    for content in ({"do": "next"}, {"do": "hand", "option": 1, "more": 1}, {"do": "close"}, {}):
        lesson._asked(lesson, content, [])
    assert lesson.view["at"] == 1 and lesson.view["options"][1]["hands"] == 1 and not lesson.revealed[1]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_answer_has_a_right_option_and_its_plots(chapter):
    lesson = Lesson(chapter)
    for s in lesson.lesson.steps:
        lesson.reveal()
        answer = lesson.view["answer"]
        assert answer["right"] in range(len(s.ask.options)) and answer["why"] == s.ask.why
        assert answer["picture"].startswith("data:image/png") == bool(s.show)
        seeds = sweeps.GRIDS[s.show.experiment].seeds if s.show else 0
        assert (f"median of {seeds} seeds" in answer["measured"]) == bool(s.show)
        assert s.ask.why in repr(lesson)
        lesson.next()


def test_what_the_model_says_stands_below_for_two_kinds_of_prompts(monkeypatch):
    says = lambda about, prompt, step: {
        "about": about,
        "prompt": prompt,
        "wanted": "pottery",
        "step": step,
        "greedy": {"right": step > 0, "text": f"<b>{prompt} at {step}"},
        "sampled": [],
    }
    asked = [("a fact", "one"), ("a fact", "two"), ("a tool call", "three"), ("a format", "four")]
    every = [says(*a, step) for step in (0, 60, 120) for a in asked]
    grid = sweeps.GRIDS["topology"]
    monkeypatch.setattr(widget.texts, "load", lambda name: {texts.key(p, grid): every for p in grid.points()})
    lesson = Lesson("00")
    lesson.next()
    lesson.reveal()
    said = lesson.view["answer"]["said"]
    assert said.count("<tr>") == 1 + widget.PROMPTS and "one at 120" in said and "three at 0" in said
    assert not any(word in said for word in ("two", "four", "at 60", "<b>one"))
    lesson.next()
    lesson.reveal()
    said = lesson.view["answer"]["said"]
    assert "after: loss on every token" in said and said.count("<tr>") == 1 + widget.PROMPTS


def test_without_a_sweep_the_lesson_says_so_and_still_tells_why(monkeypatch):
    monkeypatch.setattr(sweeps, "load", lambda name: None)
    lesson = Lesson("02")
    lesson.reveal()
    answer = lesson.view["answer"]
    assert answer["right"] is None and answer["picture"] == "" and answer["measured"] == widget.MISSING
    assert answer["why"]


def test_without_texts_the_curves_stand_alone(monkeypatch):
    monkeypatch.setattr(widget.texts, "load", lambda name: {})
    lesson = Lesson("02")
    lesson.reveal()
    assert lesson.view["answer"]["said"] == "" and lesson.view["answer"]["picture"]
