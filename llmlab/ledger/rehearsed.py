"""Rehearsals of what stands around an experiment: the exam of a study."""

from ..lab import registry
from ..lab.rehearsal import Rehearsal
from . import CLAIMS, exams
from .study import DRIFT, Study


def others() -> list[tuple[str, list[Rehearsal]]]:
    """("study", its rehearsals): every subject, along the way and at the end only."""
    cpt, dpo = (registry.get(name)(**registry.get(name).rehearsal["short"]) for name in ("cpt", "dpo"))
    chat = ("people", "solved", "json", "refusals", "general_nats", DRIFT)
    plain = (s for s in exams.SUBJECTS if s != "tasks_done")  # a base model calls no tools
    studies = {
        "base": Study(cpt, (*plain, DRIFT), 5),
        "chat": Study(dpo, chat, 5),
        "end only": Study(dpo, ("people",)),
        "tasks": Study(dpo, ("tasks_done",)),
    }
    return [("study", [Rehearsal(label, study) for label, study in studies.items()])]


def relying(name: str, knob: str) -> list[str]:
    """The claims that have an arm of this experiment which leaves this knob at its default."""
    return [
        c.id for c in CLAIMS.values() if any(a.experiment == name and knob not in a.knobs for a in c.arms)
    ]
