"""What the models of this chapter are asked where a run shows their words."""

from ...lab.samples import Asked
from ...world import Desk
from ...world.base import Problem, Score, same
from ...world.desk import call_text
from ...world.errands import DIRECT, Errands
from ...world.leaflets import Reading
from ...world.mishaps import Mishaps
from .tools import SMALL_TALK


class Turn:
    """One turn of an assistant: right if it is the one that is wanted."""

    name = "turn"

    def score(self, problem: Problem, text: str) -> Score:
        """answer: the same text up to a full stop."""
        return Score({"answer": float(same(text, problem.answer))})


def first_calls(experiment) -> list[Asked]:
    """Two questions that need a tool, and one that needs none."""
    need = [Asked("a tool is needed", p, Turn()) for p in Desk(1, expect="call").problems(3, seed=11)]
    return [*need, Asked("no tool helps", SMALL_TALK[0], Turn())]


def decisions(experiment) -> list[Asked]:
    """One question of each kind: right is the call where one is needed, else the answer."""
    found = []
    for kind in ("known", "easy", "unknown", "hard", "talk"):
        p = Errands((kind,)).problems(1, seed=11)[0]
        wanted = p.answer if kind in DIRECT else call_text(p.meta["call"])
        found.append(Asked(kind, Problem(p.messages, wanted, p.meta), Turn()))
    return found


def after_an_error(experiment) -> list[Asked]:
    """The turn after a tool failed, and after a result that gives orders."""
    found = []
    for kind in ("transient", "renamed", "missing", "placed", "injected"):
        world = Mishaps((kind,), experiment.says)
        p = world.problems(1, seed=11)[0]
        done, result, after, *_ = world.solution(p)
        wanted = call_text(after) if after.get("tool_calls") else after["content"]
        found.append(Asked(kind, Problem((*p.messages, done, result), wanted, p.meta), Turn()))
    return found


def passages(experiment) -> list[Asked]:
    """Passages that tell it, and passages that do not."""
    worlds = {"one passage": Reading(1), "four passages": Reading(4), "not in four": Reading(4, absent=1.0)}
    return [Asked(about, w.problems(1, seed=11)[0], w) for about, w in worlds.items()]


ASKED = {"tools": first_calls, "decide": decisions, "repair": after_an_error, "rag": passages}
