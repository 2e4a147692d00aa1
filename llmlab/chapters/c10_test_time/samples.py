"""What the models of this chapter are asked where a run shows their words."""

from dataclasses import replace

from ...lab.samples import Asked
from ...world.base import Problem
from ...world.reasoning import revise
from ..c09_reasoning.samples import problems
from .revise import Revise


def revised(experiment: Revise) -> list[Asked]:
    """Problems that are asked once more after the answer, as the experiment does. A critique is a question of
    its own, so nothing is shown of it.
    """
    if experiment.feedback == "critique":
        return []
    return [replace(a, then=remark(a, experiment.feedback)) for a in problems(experiment)]


def remark(a: Asked, feedback: str):
    """A function from an answer to the remark on it; None where the answer stays."""

    def to(text: str) -> Problem | None:
        assert a.problem
        if feedback == "intrinsic":
            return revise(a.problem, text, "none")
        if a.is_right(text):
            return None
        return a.problem if feedback == "resample" else revise(a.problem, text, feedback)

    return to


ASKED = {"scale": problems, "budget": problems, "revise": revised}
