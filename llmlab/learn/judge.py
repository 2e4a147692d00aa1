"""The judge: check("shift", my_function) says whether it is right, or what is wrong; hint, solution, reset
and task go with it.

A learner's function runs in a thread of its own, on copies of the inputs, for at most LIMIT seconds; what it
returned is compared and written out in that time too, as an object of the learner's own may do anything when
it is looked at. Its result is compared with the reference's, and, where it differs, with that of each known
misconception: the one that errs as the learner does gives the hint. Whatever it changed in torch and the like
is changed back (kept).
"""

import copy
import ctypes
import html
import inspect
import io
import linecache
import random
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch

from . import exercises, kept
from .exercise import Case, Exercise, difference, short

LIMIT = 10.0  # seconds for all cases together
GRACE = 1.0  # seconds in which an interrupted function must end; after that it is left behind
PRINTED = 2000  # characters kept of what a function prints

_steps: dict[str, int] = {}  # exercise -> hints shown so far
_one_at_a_time = threading.RLock()  # standard output and the random generators belong to the whole process


# ---- what the learner calls ----


def task(name: str) -> "Note":
    """The task and an empty function to copy."""
    exercise = exercises.get(name)
    return Note(f"**{exercise.name}** · {exercise.task}", exercise.stub)


def hint(name: str) -> "Note":
    """The next hint, one step further each time."""
    exercise = exercises.get(name)
    step = _steps.get(name, 0)
    if step == len(exercise.hints):
        return Note(
            f'That was the last hint. `solution("{name}")` shows how it can be done; `reset("{name}")` starts'
            " over."
        )
    _steps[name] = step + 1
    return Note(f"Hint {step + 1} of {len(exercise.hints)}: {exercise.hints[step]}")


def solution(name: str) -> "Note":
    """Right solutions, each with the imports it needs."""
    return Note(f"Right ways to do **{name}**:", *exercises.get(name).sources)


def reset(name: str | None = None) -> "Note":
    """Begin again with the first hint, of one exercise or of all."""
    for known in [exercises.get(name).name] if name else list(_steps):
        _steps.pop(known, None)
    return Note(f"Hints of {name or 'all exercises'} begin again at the first.")


def check(name: str, function: Callable, limit: float = LIMIT) -> "Result":
    """Does the function do what the exercise asks? True as a condition if it does, else the first case in
    which it does not, and why.
    """
    exercise = exercises.get(name)
    if complaint := _unfit(exercise, function):
        return Result(name, False, complaint)
    with _one_at_a_time, _untouched_generators(), _Prints() as prints:
        trials, printed = _try_all(exercise, function, limit, prints), prints.text
    failed = next((t for t in trials if t.wrong), None)
    if failed is None:
        return Result(
            name, True, f"right in all {len(trials)} cases.", notes=_about_prints(printed, returned=True)
        )
    message = _misconception(exercise, trials) or failed.wrong
    return Result(
        name, False, message, _shown(exercise, failed), _about_prints(printed, not failed.outcome.empty)
    )


# ---- values that a cell shows ----


class Note:
    """A sentence, and code under it, as the value of a cell."""

    def __init__(self, text: str, *code: str):
        self.text, self.code = text, code

    def _repr_markdown_(self) -> str:
        return self.text + "".join(f"\n\n```python\n{c.rstrip()}\n```" for c in self.code)

    def __repr__(self) -> str:
        return self.text + "".join(f"\n\n{c.rstrip()}" for c in self.code)


@dataclass(frozen=True)
class Result:
    """What check() found. shown: the failing case, name and value; notes: what else was noticed."""

    exercise: str
    passed: bool
    message: str
    shown: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.passed

    @property
    def _next(self) -> tuple[str, ...]:
        return () if self.passed else (f'hint("{self.exercise}") helps step by step.',)

    def __repr__(self) -> str:
        width = max((len(name) for name, _ in self.shown), default=0)
        lines = [f"{'✓' if self.passed else '✗'} {self.exercise}: {self.message}"]
        return "\n".join(
            lines
            + [f"    {name:{width}}  {value}" for name, value in self.shown]
            + [*self.notes, *self._next]
        )

    def _repr_html_(self) -> str:
        colour, mark = ("#009E73", "✓") if self.passed else ("#D55E00", "✗")
        cells = "".join(
            f"<tr><td style='text-align:left;vertical-align:top'>{html.escape(name)}</td>"
            f"<td style='text-align:left'><code>{html.escape(value)}</code></td></tr>"
            for name, value in self.shown
        )
        rest = "".join(f"<div>{html.escape(line)}</div>" for line in (*self.notes, *self._next))
        head = f"<b>{mark} {html.escape(self.exercise)}</b>: {html.escape(self.message)}"
        return (
            "<div style='border-left:4px solid"
            f" {colour};padding-left:10px'><div>{head}</div><table>{cells}</table>{rest}</div>"
        )


# ---- trying the cases ----


@dataclass
class Outcome:
    """What one call did: it returned a value, raised an error, or was stopped (and left behind, if even that
    failed). shown: the value as text.
    """

    value: object = None
    error: BaseException | None = None
    returned: bool = False
    stopped: bool = False
    left_behind: bool = False
    shown: str = ""

    @property
    def empty(self) -> bool:
        """It ended, and returned nothing."""
        return self.returned and self.value is None


@dataclass(frozen=True)
class Trial:
    """A case, what was wanted, what came out, what is wrong with it (None: nothing), and the misconceptions
    that give the same.
    """

    case: Case
    wanted: object
    outcome: Outcome
    wrong: str | None
    alike: frozenset = frozenset()


def _try_all(exercise: Exercise, function: Callable, limit: float, prints: "_Prints") -> list[Trial]:
    trials, end = [], time.monotonic() + limit
    for case in exercise.cases():
        trials.append(_try(exercise, function, case, end, prints, limit))
        if trials[-1].outcome.stopped:
            break
    return trials


def _try(
    exercise: Exercise, function: Callable, case: Case, end: float, prints: "_Prints", limit: float
) -> Trial:
    """One case. The wanted result is computed before the learner's function can change anything."""
    wanted, given = exercise.reference(*copy.deepcopy(case.args)), copy.deepcopy(case.args)
    outcome, found = Outcome(), []

    def work():
        """The call and its comparison with what is wanted, in a thread that may be left behind."""
        with kept.kept():
            try:
                outcome.value = function(*given)
                outcome.returned = True
            # sys.exit() and KeyboardInterrupt of the learner's code included: nothing may end the kernel
            except BaseException as error:
                outcome.error = error
        found.extend(
            (_wrong(exercise, function, case, given, outcome, wanted), _alike(exercise, case, outcome))
        )
        outcome.shown = _safe(outcome.value)

    with kept.kept():  # a thread that is left behind puts nothing back
        outcome.stopped, outcome.left_behind = _within(work, end, prints)
    if outcome.stopped or not outcome.shown:
        outcome.stopped = True
        return Trial(case, wanted, outcome, _late(outcome, limit))
    return Trial(case, wanted, outcome, *found)


def _late(outcome: Outcome, limit: float) -> str:
    """What took too long."""
    if outcome.left_behind:
        return (
            f"it did not end within {limit:g} s and cannot be interrupted; it goes on in the background, so"
            " restart the kernel."
        )
    if outcome.returned:
        return (
            f"its result, of type {type(outcome.value).__name__}, could not be compared within {limit:g} s:"
            " return a plain value."
        )
    return f"it did not end within {limit:g} s: does every loop come to an end?"


def _wrong(
    exercise: Exercise, function: Callable, case: Case, given: tuple, outcome: Outcome, wanted: object
) -> str | None:
    """One sentence, or None."""
    if outcome.error is not None:
        return f"it raised {_told(function, outcome.error)}."
    changed = [name for name, a, b in zip(exercise.parameters, given, case.args) if _edited(a, b)]
    if changed:
        return f"it changes its input {changed[0]}: the caller still needs it. Work on a copy."
    found = _compare(outcome.value, wanted)
    return found and f"the result {found}."


def _edited(after, before) -> bool:
    """Did a call change this input? (Tokenizers and the like are left alone.)"""
    if isinstance(before, torch.Tensor):
        return not torch.equal(after, before)
    return isinstance(before, (list, dict, set)) and after != before


def _compare(got, wanted) -> str | None:
    """difference(), also for a learner's object that does not bear looking at."""
    try:
        return difference(got, wanted)
    except Exception as error:
        return f"cannot be compared with {short(wanted)} ({type(error).__name__})"


def _alike(exercise: Exercise, case: Case, outcome: Outcome) -> frozenset:
    """The misconceptions that do with this case what the learner's function did."""
    return frozenset(
        wrong for wrong in exercise.wrong if _same(outcome, _attempt(wrong, copy.deepcopy(case.args)))
    )


def _attempt(function: Callable, args: tuple) -> Outcome:
    try:
        return Outcome(function(*args))
    except Exception as error:  # a misconception may be one that raises
        return Outcome(error=error)


def _same(a: Outcome, b: Outcome) -> bool:
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error)
    return _compare(a.value, b.value) is None


def _misconception(exercise: Exercise, trials: list[Trial]) -> str | None:
    """The hint of the misconception that errs as the learner does in every case in which the learner errs,
    and agrees most often in the others.
    """
    failed = [t for t in trials if t.wrong]
    candidates = [w for w in exercise.wrong if all(w in t.alike for t in failed)]
    best = max(candidates, key=lambda w: sum(w in t.alike for t in trials), default=None)
    return best and " ".join(inspect.getdoc(best).split())


# ---- work in a thread that can be stopped ----


class _Stop(SystemExit):
    """Thrown into the thread of a function that takes too long. A SystemExit: `except Exception` lets it
    pass, and threads end on it silently.
    """


def _within(work: Callable[[], None], end: float, prints: "_Prints") -> tuple[bool, bool]:
    """(it had to be stopped, even that failed): work in a daemon thread until the time `end`, with the same
    random numbers each time.
    """
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)

    def quiet():
        prints.threads.add(threading.get_ident())
        with suppress(SystemExit):  # of the one who waits, or of a result that exits when it is looked at
            work()

    thread = threading.Thread(target=quiet, daemon=True)
    thread.start()
    try:
        thread.join(max(0.0, end - time.monotonic()))
    except KeyboardInterrupt:  # the kernel's stop button
        _interrupt(thread)
        raise
    if not thread.is_alive():
        prints.threads.discard(thread.ident)
        return False, False
    stopped = _interrupt(thread)
    if stopped:
        prints.threads.discard(thread.ident)
    return True, not stopped


def _interrupt(thread: threading.Thread) -> bool:
    """Throw _Stop into the thread until it ends (a bare `except:` may catch it once); False if it sits in
    code that is not Python.
    """
    end = time.monotonic() + GRACE
    while thread.is_alive() and time.monotonic() < end:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop))
        thread.join(0.02)
    return not thread.is_alive()


class _Prints(io.TextIOBase):
    """Takes what the learner's threads print, to the error stream too, and passes on what the others print.
    It stays in place for a thread that had to be left behind.
    """

    def __init__(self):
        self.text, self.threads, self.out, self.err = "", set(), sys.stdout, sys.stderr

    def __enter__(self):
        sys.stdout, sys.stderr = self, _Aside(self)
        return self

    def __exit__(self, *_):
        if not self.threads:
            sys.stdout, sys.stderr = self.out, self.err

    def write(self, text: str) -> int:
        return self.take(text, self.out)

    def take(self, text: str, stream) -> int:
        """Keep the text if it comes from one of the threads, else pass it on."""
        if threading.get_ident() not in self.threads:
            return stream.write(text)
        self.text += text[: PRINTED - len(self.text)]
        return len(text)

    def flush(self) -> None:
        self.out.flush()


class _Aside(io.TextIOBase):
    """The error stream beside _Prints."""

    def __init__(self, prints: _Prints):
        self.prints = prints

    def write(self, text: str) -> int:
        return self.prints.take(text, self.prints.err)

    def flush(self) -> None:
        self.prints.err.flush()


@contextmanager
def _untouched_generators():
    """Give the random generators of Python, numpy and torch back as they were."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


# ---- sentences ----


def _unfit(exercise: Exercise, function) -> str | None:
    """Why this cannot be called with the exercise's arguments."""
    call = f"{exercise.name}({', '.join(exercise.parameters)})"
    if not callable(function):
        return f'check wants the function itself, not its result: check("{exercise.name}", my_function).'
    try:
        inspect.signature(function).bind(*exercise.parameters)
    except TypeError:
        return f"it is called as {call}, but takes {inspect.signature(function)}."
    except ValueError:  # a builtin without a signature: the call will show
        return None
    return None


def _told(function: Callable, error: BaseException) -> str:
    """The error, and the last line of the learner's own code that it came through."""
    code, at = getattr(inspect.unwrap(function), "__code__", None), error.__traceback__
    line = None
    while at:
        if code and at.tb_frame.f_code.co_filename == code.co_filename:
            line = at.tb_lineno
        at = at.tb_next
    text = linecache.getline(code.co_filename, line).strip() if line else ""
    told = " ".join(str(error).split())[:160]
    return (
        type(error).__name__ + (f" ({told})" if told else "") + (f" in line {line}: {text}" if line else "")
    )


def _shown(exercise: Exercise, trial: Trial) -> tuple[tuple[str, str], ...]:
    """The failing case for the eye: arguments, what was wanted, what came."""
    case, outcome = trial.case, trial.outcome
    rows = [
        ("case", case.about),
        *((name, short(value)) for name, value in zip(exercise.parameters, case.args)),
    ]
    rows.append(("wanted", short(trial.wanted)))
    return tuple(rows) if outcome.stopped or outcome.error is not None else (*rows, ("yours", outcome.shown))


def _safe(value) -> str:
    try:
        return short(value)
    except Exception:  # a learner's object whose repr fails
        return f"something of type {type(value).__name__}"


def _about_prints(printed: str, returned: bool) -> tuple[str, ...]:
    if not printed.strip():
        return ()
    what = printed.strip().splitlines()[0][:80]
    return (
        f"It prints ({what!r}). Only what it returns counts"
        + ("." if returned else ", and it returned nothing: use `return`."),
    )
