"""Practice: no finished review is ever lost (kill −9, two writers, torn and foreign lines), and what is due
is what FSRS says.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from fsrs import Card, Rating, ReviewLog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmlab import paths
from llmlab.lab import renamed
from llmlab.learn import drills, practice
from llmlab.learn.practice import Review

FOLDER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Toy:
    """What practice needs to know of a drill."""

    id: str
    level: int = 1
    chapter: str = "00"


def review(drill="a", rating=Rating.Good, minutes=0.0, ticked=(0,), points=3) -> Review:
    return Review(drill, rating, NOW + timedelta(minutes=minutes), tuple(ticked), points)


@st.composite
def some_reviews(draw, ids="abc", most=12):
    """Reviews in order of time."""
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(ids), st.sampled_from(list(Rating)), st.floats(0, 60 * 24 * 40)),
            max_size=most,
        )
    )
    minutes, found = 0.0, []
    for drill, rating, later in steps:
        minutes += later
        points = draw(st.integers(1, 8))
        found.append(review(drill, rating, minutes, draw(st.sets(st.integers(0, points - 1))), points))
    return [Review(r.drill, r.rating, r.time, tuple(sorted(r.ticked)), r.points) for r in found]


def fresh():
    """An empty log."""
    practice.log().unlink(missing_ok=True)


def quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return practice.reviews()


# --- the log
# ----------------------------------------------------------------------------------------------------------


def test_without_a_log_there_are_no_reviews(home):
    assert practice.reviews() == [] and not home.exists()


def test_the_log_is_no_cache(monkeypatch):
    monkeypatch.delenv("LLMLAB_HOME")
    assert (
        paths.state() not in (paths.cache(), *paths.cache().parents)
        and paths.cache() not in paths.state().parents
    )
    monkeypatch.setenv("LLMLAB_HOME", "/somewhere")
    assert practice.log().as_posix() == "/somewhere/drills/reviews.jsonl"


@FOLDER
@given(found=some_reviews())
def test_what_is_recorded_is_read(found, home):
    fresh()
    for r in found:
        practice.record(r)
    assert practice.reviews() == found


@pytest.mark.parametrize("old, new", renamed.DRILLS.items())
def test_reviews_of_a_renamed_drill_count_for_it(old, new, home):
    practice.record(review(old))
    assert [r.drill for r in practice.reviews()] == [new] and new in {d.id for d in drills.load()}


def test_one_line_a_review_and_an_append_changes_nothing_before_it(home):
    bodies = []
    for i in range(4):
        practice.record(review(minutes=i))
        bodies.append(practice.log().read_bytes())
    assert all(b.startswith(a) for a, b in zip(bodies, bodies[1:])) and bodies[-1].count(b"\n") == 4
    assert json.loads(bodies[0]) == {
        "v": 1,
        "drill": "a",
        "rating": 3,
        "time": "2026-03-01T12:00:00+00:00",
        "ticked": [0],
        "points": 3,
    }


@FOLDER
@given(found=some_reviews(most=5), data=st.data())
def test_a_log_cut_anywhere_keeps_every_whole_line_and_goes_on(found, data, home):
    body = b"".join(r.line() for r in found)
    cut = data.draw(st.integers(0, len(body)))
    practice.log().parent.mkdir(parents=True, exist_ok=True)
    practice.log().write_bytes(body[:cut])
    whole = [
        r for i, r in enumerate(found) if len(b"".join(x.line() for x in found[: i + 1])) - 1 <= cut
    ]  # the end of the line may be missing
    assert quietly() == whole
    practice.record(review("new"))
    assert quietly() == [*whole, review("new")] and practice.log().read_bytes().startswith(body[:cut])


def test_an_append_that_does_not_mend_the_torn_line_would_lose_a_review(home, monkeypatch):
    monkeypatch.setattr(practice, "torn", lambda f: False)
    practice.record(review("a"))
    practice.log().write_bytes(practice.log().read_bytes() + b'{"v": 1, "dr')
    practice.record(review("b"))
    assert [r.drill for r in quietly()] == ["a"]


GOOD = json.loads(review().line())
STRANGE = {
    "not JSON": b"hello",
    "half a line": review().line()[:40],
    "not UTF-8": b"\xff\xfe\x00",
    "a list": b"[1, 2]",
    "a number": b"7",
    "null": b"null",
    "nested without end": b"[" * 100_000,
    "newer version": GOOD | {"v": 2, "mood": "good"},
    "no version": {k: v for k, v in GOOD.items() if k != "v"},
    "no time": {k: v for k, v in GOOD.items() if k != "time"},
    "time of nowhere": GOOD | {"time": "2026-03-01T12:00:00"},
    "time in words": GOOD | {"time": "yesterday"},
    "time a number": GOOD | {"time": 12},
    "a time beyond time": GOOD | {"time": "9999-12-31T23:59:59-23:00"},
    "rating 5": GOOD | {"rating": 5},
    "rating true": GOOD | {"rating": True},
    "rating in words": GOOD | {"rating": "good"},
    "ticked a word": GOOD | {"ticked": "0"},
    "ticked beyond the rubric": GOOD | {"ticked": [3]},
    "ticked below zero": GOOD | {"ticked": [-1]},
    "no points": GOOD | {"points": 0, "ticked": []},
    "drill a number": GOOD | {"drill": 3},
}


@pytest.mark.parametrize("line", STRANGE.values(), ids=STRANGE)
def test_a_strange_line_is_skipped_with_a_warning_and_stays(line, home):
    line = line if isinstance(line, bytes) else json.dumps(line).encode()
    practice.record(review("before"))
    with open(practice.log(), "ab") as f:
        f.write(line)
    practice.record(review("after"))
    with pytest.warns(UserWarning, match=r"1 line\(s\) of .* \(the first: 2\); skipped, not changed"):
        assert [r.drill for r in practice.reviews()] == ["before", "after"]
    assert practice.log().read_bytes().split(b"\n")[1] == line


@FOLDER
@given(garbage=st.lists(st.binary(max_size=60), max_size=6), found=some_reviews(most=4))
def test_garbage_never_stops_the_learner(garbage, found, home):
    fresh()
    for i in range(max(len(garbage), len(found))):
        if i < len(garbage):
            practice.log().parent.mkdir(parents=True, exist_ok=True)
            with open(practice.log(), "ab") as f:
                f.write(garbage[i])
        if i < len(found):
            practice.record(found[i])
    assert quietly() == found


def test_no_room_is_a_sentence(home, monkeypatch):
    monkeypatch.setattr(os, "write", lambda f, line: len(line) - 1)
    with pytest.raises(
        paths.NoRoom, match="has no room for a line; free some space and grade this drill again"
    ):
        practice.record(review())


def test_a_full_disk_is_a_sentence(home, monkeypatch):
    def full(f):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(paths.NoRoom, match="No space left on device.*; free some space"):
        practice.record(review())


def test_a_folder_in_the_way_is_a_sentence(home):
    practice.log().mkdir(parents=True)
    for act in (practice.reviews, lambda: practice.record(review())):
        with pytest.raises(paths.NoRoom, match="set LLMLAB_HOME to another folder"):
            act()


def test_a_home_that_is_no_folder_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "file"))
    with pytest.raises(paths.NoRoom, match="make it writable"):
        practice.record(review())


# --- kill −9 and two writers
# ------------------------------------------------------------------------------------------

WRITER = """
import sys
from llmlab.lab import renamed
from llmlab.learn import drills, practice
from llmlab.learn.practice import Rating, Review
name, count = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
for i in range(count):
    practice.record(Review(f"{name}-{i}", Rating.Good, practice.now(), (0,), 1))
    print(i, flush=True)
"""


def writer(name: str, count: int):
    """A process that waits for a line, then writes reviews and says which ones are finished."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, name, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_no_finished_review_is_lost_by_kill_9(home):
    """Each process is killed at a random moment; what it called finished must be in the log, whole."""
    finished, killed, r = set(), 0, random.Random(7)
    for n in range(24):
        p = writer(f"p{n}", 10_000)
        p.stdin.write("go\n")
        p.stdin.flush()
        p.stdout.readline()
        time.sleep(r.random() * 0.05)
        p.send_signal(signal.SIGKILL)
        said = ["0", *p.communicate()[0].splitlines()]
        killed += p.returncode == -signal.SIGKILL
        finished |= {f"p{n}-{i}" for i in said}
    found = [x.drill for x in quietly()]
    assert killed >= 20 and len(finished) > 100
    assert finished <= set(found) and len(found) == len(set(found))
    assert len(found) - len(finished) <= 24  # at most the one that each process was writing


def test_two_processes_at_once_lose_nothing(home):
    writers = [writer(name, 150) for name in "ab"]
    for p in writers:
        p.stdin.write("go\n")
        p.stdin.flush()
    for p in writers:
        p.communicate(timeout=120)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [x.drill for x in practice.reviews()]
    assert sorted(found) == sorted(f"{name}-{i}" for name in "ab" for i in range(150))
    assert [f for f in found if f[0] == "a"] == [f"a-{i}" for i in range(150)]


def test_a_writer_waits_for_the_lock(home):
    """Without the lock, mending a torn line could tear another process's line."""
    practice.record(review())
    with practice.open_locked(practice.log()):
        p = writer("x", 1)
        p.stdin.write("go\n")
        p.stdin.flush()
        time.sleep(2.0)
        assert p.poll() is None and len(practice.reviews()) == 1
    p.communicate(timeout=30)
    assert len(practice.reviews()) == 2


# --- what follows from it
# ---------------------------------------------------------------------------------------------


@FOLDER
@given(found=some_reviews(most=20), seed=st.integers(0, 9))
def test_cards_are_what_fsrs_makes_of_the_log(found, seed):
    cards = practice.cards(random.Random(seed).sample(found, len(found)))
    for drill in {r.drill for r in found}:
        logs = [ReviewLog(1, r.rating, r.time, None) for r in found if r.drill == drill]
        if len({log.review_datetime for log in logs}) == len(
            logs
        ):  # at one and the same moment the order is the log's
            assert cards[drill] == practice.SCHEDULER.reschedule_card(
                Card(card_id=1, due=logs[0].review_datetime), logs
            )
    assert set(cards) == {r.drill for r in found}


def test_the_same_log_gives_the_same_days():
    found = [review(rating=Rating.Easy, minutes=60 * 24 * 30 * i) for i in range(6)]
    assert len({practice.cards(found)["a"].due for _ in range(20)}) == 1


def test_many_reviews_in_a_row_do_not_break_the_arithmetic():
    for rating in Rating:
        assert practice.cards(review(rating=rating, minutes=i) for i in range(400))["a"].due > NOW


@FOLDER
@given(found=some_reviews("abcdef"), minutes=st.floats(0, 60 * 24 * 60))
def test_the_deck_holds_every_drill_once_in_order(found, minutes):
    toys, now = (
        [Toy(i, level) for i, level in zip("abcdefgh", (3, 2, 1, 3, 2, 1, 2, 1))],
        NOW + timedelta(minutes=minutes),
    )
    deck, cards = practice.deck(toys, found, now), practice.cards(found)
    assert sorted(d.id for d in [*deck.due, *deck.new, *deck.later]) == list("abcdefgh")
    assert [d.id for d in deck.new] == sorted(
        (t.id for t in toys if t.id not in cards), key=lambda i: next(t.level for t in toys if t.id == i)
    )
    dues, laters = [cards[d.id].due for d in deck.due], [cards[d.id].due for d in deck.later]
    assert (
        dues == sorted(dues)
        and laters == sorted(laters)
        and all(t <= now for t in dues)
        and all(t > now for t in laters)
    )
    assert deck.next == next(iter([*deck.due, *deck.new]), None)


def test_a_drill_is_due_from_the_very_moment_on():
    due = practice.cards([review("a")])["a"].due
    for now, names in (
        (due - timedelta(seconds=1), ("", "a")),
        (due, ("a", "")),
        (due + timedelta(days=9), ("a", "")),
    ):
        deck = practice.deck([Toy("a")], [review("a")], now)
        assert ("".join(d.id for d in deck.due), "".join(d.id for d in deck.later)) == names


def test_the_deck_counts_today_and_only_its_own_drills():
    found = [review("a", minutes=-60 * 24 * 3), review("a"), review("gone"), review("b", Rating.Again)]
    deck = practice.deck([Toy("a"), Toy("b"), Toy("c")], found, NOW + timedelta(minutes=11))
    assert str(deck) == "1 due, 1 new, 2 done today" and deck.next.id == "b"


def test_chapters_come_in_order():
    toys = [Toy("x", 1, "02"), Toy("y", 3, "01"), Toy("z", 1, "01")]
    assert [t.id for t in practice.deck(toys, [], NOW).new] == ["z", "y", "x"]


@given(levels=st.lists(st.integers(1, 3), max_size=20), n=st.integers(1, 12), seed=st.integers(0, 99))
def test_an_interview_rises_and_draws_evenly(levels, n, seed):
    toys = [Toy(str(i), level) for i, level in enumerate(levels)]
    drawn = practice.mock(toys, n, seed)
    assert drawn == practice.mock(toys, n, seed) and len(drawn) == min(n, len(toys)) == len(
        {d.id for d in drawn}
    )
    assert [d.level for d in drawn] == sorted(d.level for d in drawn)
    for a in set(levels):
        for b in set(levels):
            mine, other = sum(d.level == a for d in drawn), sum(d.level == b for d in drawn)
            assert other - mine <= 1 or mine == levels.count(
                a
            )  # fewer of a level only where there are no more


def test_interviews_differ():
    toys = [Toy(str(i), i % 3 + 1) for i in range(30)]
    assert len({tuple(d.id for d in practice.mock(toys, 4, seed)) for seed in range(20)}) > 15
    assert [practice.questions(m) for m in (1, 5, 20, 60)] == [1, 1, 4, 12]


def test_ratings_follow_the_share():
    assert [practice.rate(n, 5).name for n in range(6)] == ["Again", "Again", "Hard", "Hard", "Good", "Easy"]
    assert all(practice.rate(n, p) <= practice.rate(n + 1, p) for p in range(1, 9) for n in range(p))


@FOLDER
@given(found=some_reviews("a"), minutes=st.floats(0, 60 * 24 * 60))
def test_the_preview_is_what_happens(found, minutes):
    now = (found[-1].time if found else NOW) + timedelta(minutes=minutes)
    spans = practice.previews("a", found, now)
    for rating, span in spans.items():
        assert practice.cards([*found, Review("a", rating, now, (), 1)])["a"].due == now + span
    assert list(spans) == list(Rating) and list(spans.values()) == sorted(spans.values())


@pytest.mark.parametrize("span, words", [
    (timedelta(seconds=-5), "0 min"), (timedelta(minutes=10), "10 min"), (timedelta(hours=3), "3 h"),
    (timedelta(days=1), "1 day"), (timedelta(days=8), "8 days"),
    (timedelta(days=65), "2 months"), (timedelta(days=800), "2 years"),
])  # fmt: skip
def test_spans_in_words(span, words):
    assert practice.in_words(span) == words


def test_the_clock_stands_while_it_is_stopped():
    moment = [0.0]
    clock = practice.Clock(1, tick=lambda: moment[0])
    moment[0] = 50
    assert clock.left == 60
    clock.start()
    clock.start()
    moment[0] = 70
    assert clock.left == 40 and str(clock) == "0:40"
    clock.stop()
    moment[0] = 500
    assert clock.left == 40
    clock.start()
    moment[0] = 1000
    assert clock.left == 0 and str(clock) == "0:00"
