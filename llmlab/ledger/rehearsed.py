"""Rehearsals of what stands around an experiment: the exam of a study."""

from ..chapters.c02_continued_pretraining.cpt import CPT
from ..chapters.c06_preferences.dpo import DPO
from ..lab.rehearsal import Rehearsal
from . import exams
from .study import DRIFT, Study

DOMAIN = Study(CPT(**CPT.rehearsal["short"]), (*exams.SUBJECTS, DRIFT), 5)
CHAT = Study(
    DPO(**DPO.rehearsal["short"]), ("people", "solved", "json", "refusals", "general_nats", DRIFT), 5
)
STUDIES = [
    Rehearsal("base", DOMAIN),
    Rehearsal("chat", CHAT),
    Rehearsal("end only", Study(CHAT.of, ("people",))),
]
OTHERS = [("study", STUDIES)]
