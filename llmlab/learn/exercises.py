"""The exercises of the chapters, by name."""

from difflib import get_close_matches

from ..errors import UserError
from ..chapters.c00_start_here import exercises
from ..chapters.c01_data_topology import exercises
from ..chapters.c02_continued_pretraining import exercises
from ..chapters.c03_tokenizer_extension import exercises
from ..chapters.c04_sft import exercises
from ..chapters.c05_lora import exercises
from ..chapters.c06_preferences import exercises
from ..chapters.c07_reinforcement_learning import exercises
from .exercise import Exercise

CHAPTERS = (ch00, ch01, ch02, ch03, ch04, ch05, ch06, ch07)
EXERCISES: dict[str, Exercise] = {e.name: e for chapter in CHAPTERS for e in chapter.EXERCISES}


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
