"""What the models of this chapter are asked where a run shows their words."""

from ...lab.samples import Asked, few
from ...world.reasoning import Reasoning
from .calibrate import Stated
from .contaminate import Contaminate
from .decompose import Decompose


def problems(experiment) -> list[Asked]:
    """Three problems of the level, and one of the next."""
    here, up = (Reasoning((experiment.family,), (min(experiment.level + n, 4),)) for n in (0, 1))
    return [*few(f"level {experiment.level}", here, 3), *few("one level up", up, 1)]


def as_taught(experiment: Decompose) -> list[Asked]:
    """Problems in the form that is taught."""
    world = experiment.world()
    asked = [experiment.posed(p) for p in world.problems(3, seed=11)]
    return [Asked(f"level {experiment.level}", p, world) for p in asked]


def stated(experiment) -> list[Asked]:
    """Problems behind whose solution stands how sure it is."""
    return few("with how sure", Stated((experiment.family,), (experiment.level,)), 4)


def of_the_test(experiment: Contaminate) -> list[Asked]:
    """Problems that leaked, and problems of the same test that did not."""
    test, cut = experiment.test, experiment.cut
    kinds = {"leaked": test[:cut][:2], "not leaked": test[cut:][:2]}
    return [Asked(kind, p, experiment.world) for kind, ps in kinds.items() for p in ps]


ASKED = {
    "decompose": as_taught,
    "star": problems,
    "process": problems,
    "calibrate": stated,
    "contaminate": of_the_test,
}
