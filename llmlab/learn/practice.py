"""Practice: reviews of drills, kept in an append-only log; when a drill is due follows from replaying the log
through FSRS.
"""

import contextlib
import json
import os
import random
import time
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable, Iterable, Iterator, Sequence

from fsrs import Card, Rating, Scheduler

from .. import paths
from ..lab import renamed

try:
    import fcntl
except ImportError:  # Windows: a single O_APPEND write has to do
    fcntl = None

VERSION = 1  # of a line in the log
# One step of ten minutes instead of FSRS's one and ten: a drill takes minutes. No fuzz: the same log gives
# the same days on every machine.
SCHEDULER = Scheduler(
    learning_steps=(timedelta(minutes=10),), relearning_steps=(timedelta(minutes=10),), enable_fuzzing=False
)
MINUTES_A_QUESTION = 5  # in a mock interview


@dataclass(frozen=True)
class Review:
    """One drill, answered and graded."""

    drill: str
    rating: Rating
    time: datetime  # UTC
    ticked: tuple[int, ...]  # numbers of the rubric's points, from 0
    points: int  # of how many

    def line(self) -> bytes:
        """As a line of the log."""
        shape = {"v": VERSION, "drill": self.drill, "rating": int(self.rating), "time": self.time.isoformat()}
        return json.dumps(shape | {"ticked": list(self.ticked), "points": self.points}).encode() + b"\n"


def now() -> datetime:
    """The time, in UTC as FSRS wants it."""
    return datetime.now(timezone.utc)


def log() -> Path:
    """The user's log of reviews."""
    return paths.state() / "drills" / "reviews.jsonl"


# --- the log
# ----------------------------------------------------------------------------------------------------------


def record(review: Review) -> None:
    """Append the review; it is on the disk when this returns. Nothing that stands in the log is ever changed.
    Raises paths.NoRoom.
    """
    paths.writable(log().parent, need_mb=1)
    with open_locked(log()) as f:
        line = b"\n" * torn(f) + review.line()
        try:
            written = os.write(f, line)
            os.fsync(f)
        except OSError as e:
            raise paths.NoRoom(
                f"cannot write '{log()}' ({e.strerror}); free some space and grade this drill again"
            ) from None
    if written < len(line):
        raise paths.NoRoom(f"'{log()}' has no room for a line; free some space and grade this drill again")


def torn(f: int) -> bool:
    """Does the last line lack its end, because the process that wrote it died?"""
    if not os.fstat(f).st_size:
        return False
    os.lseek(f, -1, os.SEEK_END)
    return os.read(f, 1) != b"\n"


@contextlib.contextmanager
def open_locked(file: Path) -> Iterator[int]:
    """A descriptor for appending, ours alone until it is closed; a killed process lets go of it too."""
    try:
        f = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
    except OSError as e:
        raise paths.NoRoom(
            f"cannot write '{file}' ({e.strerror}); make it writable, or set LLMLAB_HOME to another folder"
        ) from None
    try:
        if fcntl:
            fcntl.flock(f, fcntl.LOCK_EX)
        yield f
    finally:
        os.close(f)


def reviews() -> list[Review]:
    """All reviews in the log. Lines that are torn, foreign or of a newer version are left out, with a
    warning, and stay where they are.
    """
    try:
        lines = log().read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as e:
        raise paths.NoRoom(
            f"cannot read '{log()}' ({e.strerror}); make it readable, or set LLMLAB_HOME to another folder"
        ) from None
    read = [(i, understand(line)) for i, line in enumerate(lines, 1) if line.strip()]
    strange = [i for i, review in read if review is None]
    if strange:
        warnings.warn(
            f"{len(strange)} line(s) of '{log()}' are not whole or not ours (the first: {strange[0]});"
            " skipped, not changed",
            stacklevel=2,
        )
    return [review for _, review in read if review]


def understand(line: bytes) -> Review | None:
    """The review in a line, or None."""
    try:
        shape = json.loads(line)
        drill, rating, ticked, points = (shape[name] for name in ("drill", "rating", "ticked", "points"))
        when = datetime.fromisoformat(shape["time"])
        ours = shape["v"] == VERSION and [type(x) for x in (drill, rating, ticked, points)] == [
            str,
            int,
            list,
            int,
        ]
        sound = (
            ours
            and all(type(n) is int and 0 <= n < points for n in ticked)
            and when.tzinfo
            and 2000 <= when.year <= 2200
        )
        return (
            Review(
                renamed.DRILLS.get(drill, drill),
                Rating(rating),
                when.astimezone(timezone.utc),
                tuple(ticked),
                points,
            )
            if sound and points > 0
            else None
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


# --- what follows from it
# ---------------------------------------------------------------------------------------------


def cards(reviews: Iterable[Review]) -> dict[str, Card]:
    """Drill id -> FSRS card: the reviews replayed in order of time."""
    found: dict[str, Card] = {}
    for r in sorted(reviews, key=lambda r: r.time):
        card = found.get(r.drill) or Card(
            card_id=1, due=r.time
        )  # an id is given because FSRS waits a millisecond to make one
        found[r.drill], _ = SCHEDULER.review_card(card, r.rating, r.time)
    return found


@dataclass(frozen=True)
class Deck:
    """Drills to practise: due (longest overdue first), new (by chapter, easy levels first), later (soonest
    first).
    """

    due: list
    new: list
    later: list
    done_today: int

    @property
    def next(self):
        """What to practise now, or None."""
        return next(iter([*self.due, *self.new]), None)

    def __str__(self):
        return f"{len(self.due)} due, {len(self.new)} new, {self.done_today} done today"


def deck(drills: Sequence, reviews: Sequence[Review], now: datetime) -> Deck:
    """The drills sorted by what the log says of them."""
    known = cards(reviews)
    seen = sorted((d for d in drills if d.id in known), key=lambda d: known[d.id].due)
    today, ours = now.astimezone().date(), {d.id for d in drills}
    return Deck(
        due=[d for d in seen if known[d.id].due <= now],
        new=sorted((d for d in drills if d.id not in known), key=lambda d: (d.chapter, d.level)),
        later=[d for d in seen if known[d.id].due > now],
        done_today=sum(r.time.astimezone().date() == today for r in reviews if r.drill in ours),
    )


def mock(drills: Sequence, n: int, seed: int) -> list:
    """An interview: n drills (fewer if there are fewer) drawn evenly from the levels, levels rising."""
    r = random.Random(seed)
    piles = [
        r.sample(pile, len(pile))
        for level in sorted({d.level for d in drills})
        if (pile := [d for d in drills if d.level == level])
    ]
    drawn = []
    while any(piles) and len(drawn) < n:
        for pile in piles:
            if pile and len(drawn) < n:
                drawn.append(pile.pop())
    return sorted(drawn, key=lambda d: d.level)


def questions(minutes: float) -> int:
    """How many drills an interview of so many minutes holds."""
    return max(1, round(minutes / MINUTES_A_QUESTION))


def rate(ticked: int, points: int) -> Rating:
    """The rating that the share of points suggests: all Easy, from 70 % Good, from 40 % Hard, below Again."""
    share = ticked / points
    return (
        Rating.Easy
        if share == 1
        else Rating.Good
        if share >= 0.7
        else Rating.Hard
        if share >= 0.4
        else Rating.Again
    )


def previews(drill: str, reviews: Iterable[Review], now: datetime) -> dict[Rating, timedelta]:
    """Rating -> how long until the drill comes back."""
    card = cards(r for r in reviews if r.drill == drill).get(drill) or Card(card_id=1, due=now)
    return {rating: SCHEDULER.review_card(card, rating, now)[0].due - now for rating in Rating}


def in_words(span: timedelta) -> str:
    """10 min, 3 h, 2 days, 5 months."""
    minutes = max(0, span.total_seconds()) / 60
    for size, unit in ((365 * 24 * 60, "year"), (30 * 24 * 60, "month"), (24 * 60, "day")):
        if minutes >= size:
            count = round(minutes / size)
            return f"{count} {unit}" + "s" * (count != 1)
    return f"{minutes / 60:.0f} h" if minutes >= 60 else f"{minutes:.0f} min"


class Clock:
    """Counts an interview's time down; it stands while the learner grades."""

    def __init__(self, minutes: float, tick: Callable[[], float] = time.monotonic):
        self.seconds, self.tick, self.since = minutes * 60, tick, None

    def start(self) -> None:
        """Go on."""
        if self.since is None:
            self.since = self.tick()

    def stop(self) -> None:
        """Stand."""
        self.seconds, self.since = self.left, None

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.seconds - (self.tick() - self.since if self.since is not None else 0.0))

    def __str__(self):
        whole = int(self.left + 0.5)
        return f"{whole // 60}:{whole % 60:02}"
