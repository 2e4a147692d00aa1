"""The exercises of the chapters, by name."""

from difflib import get_close_matches

from ..errors import UserError
from ..lab import registry
from .exercise import Exercise

EXERCISES: dict[str, Exercise] = {e.name: e for part in registry.every("exercises") for e in part.EXERCISES}


class NoExercise(UserError):
    """There is no exercise of that name."""

    def _render_traceback_(self) -> list[str]:  # IPython shows this in place of a traceback
        return [str(self)]


def get(name: str) -> Exercise:
    """The exercise, or one sentence with the names that come close."""
    if name in EXERCISES:
        return EXERCISES[name]
    close = get_close_matches(str(name), EXERCISES, n=2, cutoff=0.4)
    raise NoExercise(
        f"there is no exercise '{name}'; "
        + (f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(EXERCISES)}")
    )
