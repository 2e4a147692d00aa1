"""What the models of this chapter are asked where a run shows their words."""

from ...lab.samples import Asked
from ...world.base import Problem
from ...world.reasoning import Reasoning
from .calibrate import SURE, Stated
from .contaminate import Contaminate
from .decompose import Decompose


def worked(about: str, world: Reasoning, asked: list[Problem], behind: str = "") -> list[Asked]:
    """Problems with their steps as a right answer; behind: what follows them."""
    return [Asked(about, p, world, right=f"{world.solution(p)[0]['content']}{behind}") for p in asked]


def problems(experiment) -> list[Asked]:
    """Three problems of the level, and one of the next."""
    here, up = (Reasoning((experiment.family,), (min(experiment.level + n, 4),)) for n in (0, 1))
    return [
        *worked(f"level {experiment.level}", here, here.problems(3, seed=11)),
        *worked("one level up", up, up.problems(1, seed=11)),
    ]


def as_taught(experiment: Decompose) -> list[Asked]:
    """Problems in the form that is taught; empty tokens are left out of the right answer."""
    world, about = experiment.world(), f"level {experiment.level}"
    asked = world.problems(3, seed=11)
    if experiment.shown == "steps":
        return worked(about, world, asked)
    return [Asked(about, experiment.posed(p), world, right=f"so {p.answer}.") for p in asked]


def stated(experiment) -> list[Asked]:
    """Problems behind whose solution stands how sure it is."""
    world = Stated((experiment.family,), (experiment.level,))
    return worked("with how sure", world, world.problems(4, seed=11), f"{SURE}9.")


def of_the_test(experiment: Contaminate) -> list[Asked]:
    """Problems that leaked, and problems of the same test that did not."""
    test, cut = experiment.test, experiment.cut
    kinds = {"leaked": test[:cut][:2], "not leaked": test[cut:][:2]}
    return [a for kind, ps in kinds.items() for a in worked(kind, experiment.world, ps)]


ASKED = {
    "decompose": as_taught,
    "star": problems,
    "process": problems,
    "calibrate": stated,
    "contaminate": of_the_test,
}
