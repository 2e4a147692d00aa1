"""`llmlab drill`: the whole sitting by typed lines; whenever it ends, what was graded is kept."""

import builtins
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmlab import cli
from llmlab.cli import drill as terminal
from llmlab.learn import drills, practice

FOUR = [
    "it forgets",
    "",
    "replay",
    "more of it",
    "",
    "slower",
    "",
    "curves",
    "",
]  # the four parts of an answer


@pytest.fixture
def drill(home, monkeypatch, capsys):
    """A function: `llmlab drill …` with typed lines, at noon; (exit code, stdout, lines of stderr)."""
    # eleven minutes behind midnight "done today" counts from a new day
    monkeypatch.setattr(practice, "now", lambda: datetime(2026, 3, 1, 12).astimezone(timezone.utc))

    def call(*argv, lines=()):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        code = cli.main(["drill", *argv])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return call


def kept():
    return [(r.drill, len(r.ticked), r.rating.name) for r in practice.reviews()]


def test_a_whole_sitting(drill):
    lines = [*FOUR, "1 2,3", "", "f", "an answer", "", "", *FOUR, "", "e", ":q"]
    code, out, err = drill("--chapter", "02", "--json", lines=lines)
    first, second = [d for d in drills.choose(drills.load(), "02") if d.level == 1][:2]
    assert (code, err) == (0, []) and kept() == [(first.id, 3, "Hard"), (second.id, 0, "Easy")]
    told = json.loads(out.splitlines()[-1])
    assert (
        [r["drill"] for r in told["done"]] == [first.id, second.id]
        and told["done"][0]["ticked"] == [0, 1, 2]
        and told["done_today"] == 2
    )
    for shown in (
        first.title,
        "Diagnosis",
        "points to tick",
        first.link.command,
        "3 of 6 points: hard",
        "Stored: hard; back in 15 min",
    ):
        assert shown in out, shown
    assert first.follow_ups[0].question[:40] in out and out.index("model answer") > out.index("Measurements")


def test_the_model_answer_stays_hidden_until_all_four_parts_are_there(drill):
    _, out, _ = drill("--chapter", "02", lines=FOUR[:-1])
    assert "model answer" not in out and kept() == []


def test_the_spoken_answer_stands_beside_the_own_one_once_it_is_given(drill):
    first = next(d for d in drills.choose(drills.load(), "02") if d.level == 1)
    start = first.answer.spoken[:20]
    _, out, _ = drill("--chapter", "02", lines=FOUR[:-1])
    assert start not in out
    _, out, _ = drill("--chapter", "02", lines=[*FOUR, ":q"])
    beside = out[out.index("your own words") : out.index("model answer")]
    assert start in beside and "it forgets" in beside and "replay more of it" in beside
    _, out, _ = drill("--chapter", "02", lines=["", "", "", "", ":q"])
    assert "You left it empty." in out and "said aloud, in about a minute" in out


def test_a_drill_without_a_spoken_answer_shows_none(drill, monkeypatch):
    silent = [replace(d, answer=replace(d.answer, spoken="")) for d in drills.load()]
    monkeypatch.setattr(drills, "load", lambda: silent)
    _, out, _ = drill("--chapter", "02", lines=[*FOUR, ":q"])
    assert "model answer" in out and "said aloud" not in out and "your own words" not in out


def test_a_narrow_terminal_puts_the_spoken_answer_below():
    console = terminal.Console(width=60, record=True, file=io.StringIO())
    console.print(terminal.beside({"lever": "replay"}, "I'd add replay.", wide=False))
    told = console.export_text()
    assert told.index("Lever  replay") < told.index("said aloud") < told.index("I'd add replay.")


def test_what_was_graded_yesterday_comes_back_when_it_is_due(drill, monkeypatch):
    drill("--chapter", "02", lines=[*FOUR, "", "a", ":q"])
    (again,) = practice.reviews()
    monkeypatch.setattr(practice, "now", lambda: again.time + practice.timedelta(minutes=11))
    _, out, _ = drill("--chapter", "02", lines=[*FOUR, "1 2 3 4 5 6", "", ":q"])
    assert [k[0] for k in kept()] == [again.drill] * 2 and "1 due, 9 new, 1 done today" in out


SCRIPT = [
    *FOUR,
    "1",
    "",
    "",
    ":s",
    *FOUR,
    "9",
    "1 2",
    "x",
    "good",
    "f",
    "an answer",
    "",
    "",
    *FOUR,
    "",
    "h",
    ":q",
]
GRADED = [
    i
    for i, (line, before) in enumerate(zip(SCRIPT, ["", *SCRIPT]))
    if (before, line) in (("1", ""), ("x", "good"), ("", "h"))
]


@pytest.mark.parametrize("cut", range(len(SCRIPT) + 1))
def test_the_end_of_input_keeps_every_graded_drill(cut, drill):
    code, out, err = drill("--chapter", "03", lines=SCRIPT[:cut])
    assert (code, err) == (0, []) and len(kept()) == sum(i < cut for i in GRADED)
    assert out.rstrip().splitlines()[-1].endswith("done today.")


@pytest.mark.parametrize("cut", range(0, len(SCRIPT), 3))
def test_ctrl_c_keeps_every_graded_drill(cut, drill, monkeypatch):
    lines = iter(SCRIPT[:cut])

    def typed(prompt=""):
        try:
            return next(lines)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(builtins, "input", typed)
    code, out, err = drill("--chapter", "03")
    assert (code, err) == (130, []) and len(kept()) == sum(i < cut for i in GRADED) and "done today." in out


LINE = st.text(max_size=8).filter(lambda t: "\n" not in t and "\r" not in t) | st.sampled_from(
    ["", "1", "g", "f", ":s"]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINE, max_size=40))
def test_whatever_is_typed_there_is_no_traceback(lines, drill):
    practice.log().unlink(missing_ok=True)
    code, out, err = drill("--chapter", "01", "--level", "3", lines=lines)
    assert code == 0 and err == []


def test_skipping_every_drill_ends(drill):
    code, out, _ = drill("--chapter", "02", "--level", "3", lines=[":s"] * 3)
    assert code == 0 and "Nothing is left for now." in out and kept() == []


def test_a_graded_deck_says_when_the_next_comes(drill):
    _, out, _ = drill(
        "--chapter", "02", "--level", "3", lines=[*FOUR, "", "e", "", *FOUR, "", "e", "", *FOUR, "", "e", ""]
    )
    assert "Nothing is left for now. Next: " in out and ", in 8 days (" in out and len(kept()) == 3


def test_a_skip_does_not_throw_away_an_answer(drill):
    _, out, _ = drill("--chapter", "02", lines=[*FOUR, ":s", "1", ":s", "g", ":s", ":q"])
    assert len(kept()) == 1 and "This drill is answered; grade it" in out


def test_square_brackets_are_text(drill, monkeypatch):
    first, *others = drills.load()
    loud = replace(first, question="Does [bold]this[/nonsense] stay?")
    monkeypatch.setattr(drills, "load", lambda: [loud, *others])
    assert "Does [bold]this[/nonsense] stay?" in drill("--chapter", "00", lines=[":q"])[1]


def test_a_stored_run_is_shown(drill, monkeypatch):
    class Stored:
        def metrics(self):
            return {"arithmetic": {"start": 0.9, "final": 0.25}}

    monkeypatch.setattr(drills.Link, "run", lambda self: Stored())
    _, out, _ = drill("--chapter", "02", lines=[*FOUR, "", "", "r", ":q"])
    assert "arithmetic" in out and "0.250" in out
    monkeypatch.setattr(drills.Link, "run", lambda self: None)
    assert "make it with: llmlab run cpt" in drill("--chapter", "02", lines=[*FOUR, "", "", "r", ":q"])[1]


# --- the interview
# ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A function: every typed line takes so many seconds."""

    def every(seconds):
        moment, ask = [0.0], terminal.Session.ask
        monkeypatch.setattr(practice, "Clock", partial(practice.Clock, tick=lambda: moment[0]))
        monkeypatch.setattr(
            terminal.Session,
            "ask",
            lambda self, prompt: (moment.__setitem__(0, moment[0] + seconds), ask(self, prompt))[1],
        )

    return every


def test_an_interview_rises_shows_the_clock_and_sums_up(drill, clock):
    clock(10)
    code, out, err = drill("--mock", "15", "--json", lines=[*FOUR, "1", "", ""] * 3)
    told = json.loads(out.splitlines()[-1])
    levels = {d.id: d.level for d in drills.load()}
    assert (code, err, told["asked"]) == (0, [], 3) and [levels[r["drill"]] for r in told["done"]] == [
        1,
        2,
        3,
    ]
    assert "question 1 of 3 · 15:00 left" in out and "question 3 of 3 · " in out and " left]" in out
    assert "Interview: 3 of 3 questions, 3 of " in out and told["seconds_left"] == 900 - 3 * len(FOUR) * 10


def test_an_interview_ends_when_the_time_is_over(drill, clock):
    clock(100)  # the first answer takes the 9 lines that fill 15 minutes
    code, out, _ = drill("--mock", "15", lines=[*FOUR, "1", "g", "", *FOUR])
    assert (
        code == 0
        and "The time is over: grade what you have." in out
        and "Interview: 1 of 3 questions, 1 of " in out
    )
    assert len(kept()) == 1 and "question 2 of 3" not in out


def test_time_runs_out_in_the_middle_of_an_answer(drill, clock):
    clock(400)
    _, out, _ = drill("--mock", "15", lines=[*FOUR[:3], "1", "g", ""])
    assert "Measurements" not in out.split("model answer")[0] and len(kept()) == 1 and "0:00 left." in out


def test_grading_takes_no_time(drill, clock):
    clock(10)
    _, out, _ = drill(
        "--mock", "10", lines=[*FOUR, *["x"] * 30, "1", "", "f", *["word"] * 30, "", "", *FOUR, "1", "", ""]
    )
    assert "question 2 of 2 · 8:30 left" in out and "7:00 left." in out


# --- lists
# ------------------------------------------------------------------------------------------------------------


def test_the_list(drill):
    drill("--chapter", "02", lines=[*FOUR, "1", "e", ":q"])
    code, out, err = drill("--list", "--json")
    told = {d["id"]: d for d in json.loads(out.splitlines()[-1])}
    assert (
        code == 0
        and not err
        and set(told) == {d.id for d in drills.load()}
        and sum(d["due"] is not None for d in told.values()) == 1
    )
    assert "in 8 days" in out and "new" in out


def test_the_statistics(drill):
    drill("--chapter", "02", lines=[*FOUR, "1 2 3", "e", ":q"])
    told = json.loads(drill("--stats", "--json")[1].splitlines()[-1])
    assert (
        told["02"] == {"drills": 10, "practised": 1, "due": 0, "reviews": 1, "points": 0.5}
        and told["00"]["points"] is None
    )


def test_drills_that_are_gone_do_no_harm(drill):
    practice.record(practice.Review("99-gone", practice.Rating.Good, practice.now(), (0,), 1))
    for flag in ("--list", "--stats"):
        assert drill(flag)[0] == 0
    assert drill(lines=[*FOUR, "1", "", ":q"])[0] == 0 and len(kept()) == 2


# --- bad input
# --------------------------------------------------------------------------------------------------------

WRONG = {
    "unknown chapter": (["--chapter", "77"], "there are no drills of chapter '77'; there are 00, 01, 02, 03"),
    "unknown level": (["--level", "4"], "level 4 is out of range; choose 1 to 3, or 0 for all"),
    "level in words": (["--level", "easy"], "--level takes a whole number, not 'easy'"),
    "interview without end": (["--mock", "1000"], "--mock 1000 is out of range; choose 1 to 240 minutes"),
    "interview back in time": (["--mock=-5"], "--mock -5 is out of range"),
    "interview of nan": (["--mock", "nan"], "--mock nan is out of range"),
    "unknown flag": (["--chaptr", "02"], "unknown option '--chaptr'; did you mean --chapter?"),
}


@pytest.mark.parametrize("argv, fix", WRONG.values(), ids=WRONG)
def test_wrong_words_get_one_line(argv, fix, drill):
    code, out, err = drill(*argv)
    assert (code, len(err)) == (2, 1) and not out and err[0].startswith("llmlab: ") and fix in err[0]


def test_a_broken_drill_file_gets_one_line(drill, tmp_path, monkeypatch):
    (tmp_path / "drills").mkdir()
    (tmp_path / "drills" / "07_x.yaml").write_text('chapter: "07"\ndrils: []\n')
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    code, out, err = drill()
    assert code == 2 and len(err) == 1 and "07_x.yaml, line 1, field 'drills' is missing; add it" in err[0]


def test_a_torn_log_is_one_plain_line_and_practice_goes_on(drill):
    practice.log().parent.mkdir(parents=True)
    practice.log().write_bytes(b'{"v": 1, "dri')
    code, out, err = drill("--chapter", "02", lines=[*FOUR, "1", "", ":q"])
    assert (
        code == 0
        and len(err) == 1
        and err[0].startswith("llmlab: 1 line(s) of ")
        and "skipped, not changed" in err[0]
    )
    assert practice.log().read_bytes().startswith(b'{"v": 1, "dri\n{')


def test_a_log_that_cannot_be_written_is_one_line(drill):
    practice.log().mkdir(parents=True)
    code, _, err = drill(lines=FOUR)
    assert code == 2 and len(err) == 1 and "set LLMLAB_HOME to another folder" in err[0]


# --- the real command
# -------------------------------------------------------------------------------------------------


def start(home):
    """The command in a process of its own, with the pipes open."""
    env = os.environ | {"LLMLAB_HOME": str(home), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    heard = lambda: signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a suite that runs in the background hands down a SIGINT that is ignored
    return subprocess.Popen(
        [sys.executable, "-m", "llmlab.cli", "drill", "--chapter", "02"], env=env, preexec_fn=heard, **pipes
    )


@pytest.mark.parametrize(
    "end, code",
    [(signal.SIGINT, 130), (signal.SIGKILL, -9), (None, 0)],
    ids=["ctrl-c", "kill -9", "end of input"],
)
def test_a_real_process_keeps_what_was_graded(end, code, home):
    p = start(home)
    p.stdin.write(
        "\n".join(["Gr\xfc\xdfe", *FOUR, "1 2", "g", "", "half an ans"]).encode("latin1")
    )  # not UTF-8
    p.stdin.flush()
    while b"9 new, 1 done today" not in p.stdout.readline():
        assert p.poll() is None
    if end:
        p.send_signal(end)
    out, err = p.communicate(timeout=60)
    assert (p.returncode, err) == (code, b"") and [(n, r) for _, n, r in kept()] == [(2, "Good")]
    assert end == signal.SIGKILL or b"1 done today." in out
