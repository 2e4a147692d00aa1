"""What the models of this chapter are asked where a run shows their words."""

from ...lab.samples import Asked
from ...world.base import World
from ...world.talk import Talk
from ..c09_reasoning.samples import problems, worked
from .distill import Distill
from .merging import Merging
from .parts import PARTS
from .quantise import SKILLS
from .selfdistill import SelfDistill
from .specialists import KEPT, Specialists

SHOWN = ("facts", "formats", "refusals", "calls", "long_sums")


def few(about: str, world: World, n: int) -> list[Asked]:
    """n held-out problems of a part of the world."""
    return [Asked(about, p, world) for p in world.problems(n, split="test", seed=11)]


def taught(experiment: Distill) -> list[Asked]:
    """Problems of the kind that is taught, and a fact."""
    known = few("a known person", Talk(("fact",)), 1)
    if experiment.family in ("facts", "calls"):
        return few(f"a {experiment.family.removesuffix('s')}", experiment.world(), 3) + known
    return problems(experiment) + known


def about_drugs(experiment: SelfDistill) -> list[Asked]:
    """Questions about the new drugs, without the leaflet and with it, and what was known before."""
    world = experiment.world()
    asked = world.problems(2, split="test", seed=11)
    with_it = Asked("with the leaflet", world.hinted(asked[0], "passage"), world)
    return [
        *(Asked("without the leaflet", p, world) for p in asked),
        with_it,
        *few("a known person", Talk(("fact",)), 1),
        *few("to be refused", Talk(("unsafe",)), 1),
    ]


def skills(experiment) -> list[Asked]:
    """One question a skill."""
    return [a for name in SHOWN for a in few(name.replace("_", " "), SKILLS[name], 1)]


def of_all_parts(experiment: Specialists) -> list[Asked]:
    """One problem of every part, and of what is not to be lost."""
    new = [a for n, w in PARTS.items() for a in worked(n, w, w.problems(1, split="test", seed=11))]
    return new + [a for name, world in KEPT.items() for a in few(name, world, 1)]


def of_the_new_skill(experiment: Merging) -> list[Asked]:
    """Problems of what the adapter learns, and a call."""
    world = PARTS[experiment.part]
    new = worked(experiment.part, world, world.problems(2, split="test", seed=11))
    return new + few("calls", SKILLS["calls"], 1)


ASKED = {
    "distill": taught,
    "selfdistill": about_drugs,
    "quantise": skills,
    "qat": skills,
    "specialists": of_all_parts,
    "merging": of_the_new_skill,
}
