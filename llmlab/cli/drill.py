"""`llmlab drill`: question, the learner's four parts, model answer beside the rubric, rating, follow-ups; or
an interview against the clock.
"""

import contextlib
import json
import sys
import warnings
from dataclasses import dataclass, field

from fsrs import Rating
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..errors import UserError
from ..learn import drills, practice
from ..learn.drills import Drill
from .options import parse

OPTIONS = [
    ("chapter", str, "", "only this chapter, by its number"),
    ("level", int, 0, "only this level, 1 to 3; 0: all"),
    ("mock", float, 0.0, "minutes of a mock interview; 0: practice"),
    ("list", bool, False, "list the drills and when each comes back"),
    ("stats", bool, False, "progress by chapter"),
    ("json", bool, False, "print one JSON object as the last line"),
]
LONGEST = 240  # minutes of an interview
LETTERS = {"a": Rating.Again, "h": Rating.Hard, "g": Rating.Good, "e": Rating.Easy}
WIDE = 100  # characters: from here on the rubric stands beside the model answer


class Quit(Exception):
    """The learner has had enough."""


class Skip(Exception):
    """Not this drill now."""


def practise(options) -> int:
    """The whole command; returns the exit code."""
    if not 0 <= options.mock <= LONGEST:
        raise UserError(f"--mock {options.mock:g} is out of range; choose 1 to {LONGEST} minutes")
    chosen = drills.choose(drills.load(), options.chapter, options.level)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    if options.list or options.stats:
        told = (listed if options.list else progress)(chosen, console)
        if options.json:
            print(json.dumps(told))
        return 0
    prepare_input()
    session, code = Session(chosen, console), 0
    try:
        session.interview(options.mock) if options.mock else session.practice()
    except (EOFError, Quit):
        pass
    except KeyboardInterrupt:
        code = 130
    session.farewell()
    if options.json:
        print(json.dumps(session.told()))
    return code


def prepare_input() -> None:
    """Line editing at a terminal; strange bytes become question marks instead of an end."""
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (importing it is what makes input() editable)
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")


def read_log() -> list[practice.Review]:
    """The reviews; what is wrong with the log is said in a plain line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = practice.reviews()
    for warning in caught:
        print(f"llmlab: {warning.message}", file=sys.stderr)
    return found


@dataclass
class Session:
    """One sitting."""

    drills: list[Drill]
    console: Console
    done: list[practice.Review] = field(default_factory=list)
    skipped: set[str] = field(default_factory=set)
    asked: int = 0  # questions of an interview
    clock: practice.Clock | None = None

    def __post_init__(self):
        self.reviews = read_log()

    def say(self, text: str = "", style: str = "") -> None:
        """A line, as it is: no markup."""
        self.console.print(Text(text, style))

    # --- the two ways to practise

    def practice(self) -> None:
        """Due drills, then new ones, until nothing is left for now."""
        self.say("An empty line ends each part of your answer; :s skips the drill, :q ends.", "dim")
        while True:
            deck = practice.deck(
                [d for d in self.drills if d.id not in self.skipped], self.reviews, practice.now()
            )
            if deck.next is None:
                break
            self.one(deck.next, str(deck))
        self.say(
            "Nothing is left for now."
            + (f" Next: {deck.later[0].title}, {self.back(deck.later[0])}." if deck.later else ""),
            "bold",
        )

    def interview(self, minutes: float) -> None:
        """Questions of rising level against the clock, which stands while the learner grades."""
        questions = practice.mock(
            self.drills, practice.questions(minutes), seed=int(practice.now().timestamp())
        )
        self.clock, self.asked = practice.Clock(minutes), len(questions)
        self.say(
            f"Mock interview: {len(questions)} questions, {self.clock} on the clock. It stands while you"
            " grade.",
            "bold",
        )
        for i, drill in enumerate(questions, 1):
            self.one(drill, f"question {i} of {len(questions)} · {self.clock} left")
            if not self.clock.left:
                self.say("The time is over.", "bold")
                break

    def one(self, drill: Drill, where: str) -> None:
        """Question, answer, model answer, grade, what comes after."""
        self.console.rule(Text(f"chapter {drill.chapter} · level {drill.level} · {where}"), align="left")
        self.console.print(Panel(Text(drill.question), title=Text(drill.title, "bold"), title_align="left"))
        try:
            own = self.answer()
        except Skip:
            self.skipped.add(drill.id)
            return
        if drill.answer.spoken:
            self.console.print(beside(own, drill.answer.spoken, wide=self.console.width >= WIDE))
        self.console.print(model_answer(drill, wide=self.console.width >= WIDE))
        self.grade(drill)
        with contextlib.suppress(Skip):
            self.after(drill)

    # --- the steps

    def ask(self, prompt: str) -> str:
        """A line from the learner. Raises EOFError at the end of input, Quit and Skip on request."""
        line = input(prompt).strip()
        if not sys.stdin.isatty():
            print()  # nobody's Enter moved the cursor
        if line == ":q":
            raise Quit
        if line == ":s":
            raise Skip
        return line

    def answer(self) -> dict[str, str]:
        """The four parts as they were typed, each up to an empty line; shown again, never stored."""
        own: dict[str, str] = {}
        if self.clock:
            self.clock.start()
        try:
            for part, hint in drills.PARTS.items():
                left = f"  [{self.clock} left]" if self.clock else ""
                self.say(f"{part.capitalize()}: {hint}{left}", "bold cyan")
                while line := self.ask("> "):
                    own[part] = f"{own.get(part, '')} {line}".strip()
                    if self.time_over():
                        break
                if self.time_over():
                    self.say("The time is over: grade what you have.", "bold")
                    break
        finally:
            if self.clock:
                self.clock.stop()
        return own

    def time_over(self) -> bool:
        """Has the interview used up its minutes?"""
        return self.clock is not None and not self.clock.left

    def grade(self, drill: Drill) -> None:
        """Ticks, rating, and the review on the disk."""
        ticked = self.until(
            "Which points did you have? Numbers such as 1 3, or an empty line for none: ",
            lambda line: points(line, len(drill.rubric)),
        )
        spans = practice.previews(drill.id, self.reviews, practice.now())
        suggested = practice.rate(len(ticked), len(drill.rubric))
        choices = " · ".join(f"{r.name.lower()} {practice.in_words(span)}" for r, span in spans.items())
        self.say(f"{len(ticked)} of {len(drill.rubric)} points: {suggested.name.lower()}. Back in: {choices}")
        rating = self.until("Empty line to accept, or a, h, g, e: ", lambda line: letter(line, suggested))
        review = practice.Review(drill.id, rating, practice.now(), ticked, len(drill.rubric))
        practice.record(review)
        self.reviews.append(review)
        self.done.append(review)
        self.say(f"Stored: {rating.name.lower()}; back {self.back(drill)}.", "green")

    def until(self, prompt: str, understand):
        """Ask again until the line is understood; a skip here would lose an answer that was given."""
        while True:
            try:
                return understand(self.ask(prompt))
            except Skip:
                self.say("This drill is answered; grade it, or end with :q.")
            except UserError as e:
                self.say(str(e))

    def after(self, drill: Drill) -> None:
        """Follow-ups and the run, on request."""
        left = list(drill.follow_ups)
        while True:
            wanted = self.ask(
                f"Empty line: next{' · f: follow-up question' if left else ''} · r: the run · :q: end: "
            )
            if wanted == "f" and left:
                follow_up = left.pop(0)
                self.say(follow_up.question, "bold cyan")
                while self.ask("> "):
                    pass
                self.say(follow_up.answer)
            elif wanted == "r":
                self.console.print(run(drill))
            else:
                return

    # --- what was done

    def back(self, drill: Drill) -> str:
        """When a drill comes back, in words."""
        due = practice.cards(r for r in self.reviews if r.drill == drill.id)[drill.id].due
        return f"in {practice.in_words(due - practice.now())} ({due.astimezone():%Y-%m-%d %H:%M})"

    def farewell(self) -> None:
        """A summary of the sitting."""
        self.console.print()
        if self.done:
            grid = Table("drill", "points", "rating", "back", title="This sitting", title_justify="left")
            by_id = {d.id: d for d in self.drills}
            for r in self.done:
                grid.add_row(
                    Text(by_id[r.drill].title),
                    f"{len(r.ticked)} of {r.points}",
                    r.rating.name.lower(),
                    self.back(by_id[r.drill]),
                )
            self.console.print(grid)
        if self.asked:
            ticked, points = sum(len(r.ticked) for r in self.done), sum(r.points for r in self.done)
            self.say(
                f"Interview: {len(self.done)} of {self.asked} questions, {ticked} of {points} points,"
                f" {self.clock} left."
            )
        self.say(f"{practice.deck(self.drills, self.reviews, practice.now())}.")

    def told(self) -> dict:
        """The sitting as one JSON object."""
        deck = practice.deck(self.drills, self.reviews, practice.now())
        done = [json.loads(r.line()) for r in self.done]
        counts = {
            "due": len(deck.due),
            "new": len(deck.new),
            "later": len(deck.later),
            "done_today": deck.done_today,
        }
        return {"done": done, **counts} | (
            {"asked": self.asked, "seconds_left": round(self.clock.left)} if self.clock else {}
        )


def points(line: str, count: int) -> tuple[int, ...]:
    """'1 3' or '1,3' as numbers from 0. Raises UserError."""
    words = line.replace(",", " ").split()
    wrong = [word for word in words if not (word.isdecimal() and 1 <= int(word) <= count)]
    if wrong:
        raise UserError(f"'{wrong[0]}' is no point of the rubric; give numbers from 1 to {count}")
    return tuple(sorted({int(word) - 1 for word in words}))


def letter(line: str, suggested: Rating) -> Rating:
    """A rating by its first letter or its name. Raises UserError."""
    if not line:
        return suggested
    if line.lower() not in LETTERS and line.capitalize() not in Rating.__members__:
        raise UserError(f"'{line}' is no rating; give a (again), h (hard), g (good) or e (easy)")
    return LETTERS[line[0].lower()]


def beside(own: dict[str, str], spoken: str, wide: bool):
    """The learner's own words and the answer said aloud, side by side where the terminal is wide."""
    parts = [Text.assemble((f"{part.capitalize()}  ", "bold cyan"), words) for part, words in own.items()]
    yours = Panel(Group(*(parts or [Text("You left it empty.")])), title="your own words", title_align="left")
    aloud = Panel(Text(spoken), title="said aloud, in about a minute", title_align="left")
    if not wide:
        return Group(yours, aloud)
    both = Table.grid(padding=(0, 1), expand=True)
    both.add_column(ratio=1)
    both.add_column(ratio=1)
    both.add_row(yours, aloud)
    return both


def model_answer(drill: Drill, wide: bool):
    """The model answer beside the rubric, or above it where the terminal is narrow."""
    parts = [
        Text.assemble((f"{part.capitalize()}\n", "bold cyan"), text, "\n")
        for part, text in drill.answer.parts().items()
    ]
    if drill.contested:
        parts.append(Text.assemble(("Contested\n", "bold yellow"), drill.contested, "\n"))
    parts.append(Text.assemble(("See it\n", "bold cyan"), f"{drill.link.command}\n{drill.link.look}"))
    rubric = Table("", "points to tick", box=None, padding=(0, 1, 0, 0))
    for i, point in enumerate(drill.rubric, 1):
        rubric.add_row(str(i), Text(point))
    if not wide:
        return Group(Panel(Group(*parts), title="model answer", title_align="left"), rubric)
    both = Table.grid(padding=(0, 2), expand=True)
    both.add_column(ratio=3)
    both.add_column(ratio=2)
    both.add_row(Panel(Group(*parts), title="model answer", title_align="left"), rubric)
    return both


def run(drill: Drill):
    """Start and final numbers of the run that shows the answer; where none is stored: how to make it."""
    try:
        found = drill.link.run()
    except UserError as e:
        return Text(f"The run cannot be read: {e}")
    if found is None:
        return Text(f"No run is stored for today's code; make it with: {drill.link.command}")
    grid = Table(
        "metric",
        "start",
        "final",
        title=drill.link.command,
        title_justify="left",
        caption=drill.link.look,
        caption_justify="left",
    )
    for metric, v in found.metrics().items():
        grid.add_row(metric, f"{v['start']:.3f}", f"{v['final']:.3f}")
    return grid


def listed(chosen: list[Drill], console: Console) -> list[dict]:
    """`--list`: every drill and when it comes back."""
    cards, now = practice.cards(read_log()), practice.now()
    grid, told = Table("id", "level", "title", "next"), []
    for d in chosen:
        due = cards[d.id].due if d.id in cards else None
        grid.add_row(
            d.id,
            str(d.level),
            Text(d.title),
            "new" if due is None else "now" if due <= now else f"in {practice.in_words(due - now)}",
        )
        told.append(
            {
                "id": d.id,
                "chapter": d.chapter,
                "level": d.level,
                "title": d.title,
                "due": due and due.isoformat(),
            }
        )
    console.print(grid)
    return told


def progress(chosen: list[Drill], console: Console) -> dict:
    """`--stats`: by chapter, how much was practised, is due, and how many points the last tries had."""
    reviews, now = read_log(), practice.now()
    grid, told = Table("chapter", "drills", "practised", "due", "reviews", "points in the last tries"), {}
    for chapter in sorted({d.chapter for d in chosen}):
        here = [d for d in chosen if d.chapter == chapter]
        deck, ids = practice.deck(here, reviews, now), {d.id for d in here}
        last = {r.drill: r for r in sorted(reviews, key=lambda r: r.time) if r.drill in ids}.values()
        share = sum(len(r.ticked) for r in last) / sum(r.points for r in last) if last else None
        told[chapter] = {
            "drills": len(here),
            "practised": len(last),
            "due": len(deck.due),
            "reviews": sum(r.drill in ids for r in reviews),
            "points": share,
        }
        grid.add_row(
            chapter,
            *(str(v) for v in list(told[chapter].values())[:4]),
            "" if share is None else f"{share:.0%}",
        )
    console.print(grid)
    console.print(Text(str(practice.deck(chosen, reviews, now))))
    return told


def command(argv: list[str]) -> int:
    """`llmlab drill`: practice with spaced repetition, or an interview against the clock."""
    return practise(parse("drill", OPTIONS, argv))
