"""Arms that chapters 00 to 02 compare: pages read, questions asked, demonstrations shown."""

from ...ledger.claims import Arm

EXAM = (
    "people",
    "sums",
    "statements",
    "drug_facts",
    "rare_facts",
    "drug_questions",
    "general_nats",
    "domain_nats",
    "opening_nats",
    "drift",
)


def cpt(label: str, every: int = 0, **knobs) -> Arm:
    """An arm of continued pretraining; `every`: the exam is sat along the way too."""
    return Arm(label, "cpt", {"probe": 50} | knobs, EXAM, every)


DEFAULT = cpt("20 % replay", 10)
PADDED, RESET = cpt("a document a row", packing="none"), cpt("attention inside the document", packing="reset")


def facts(label: str, **knobs) -> Arm:
    """An arm of learning about newcomers."""
    return Arm(label, "facts", {"probe": 150} | knobs)


READ, READ_ONE = facts("documents, 5 a person"), facts("documents, 1 a person", forms=1)
ASKED, ASKED_ONE = (
    facts("questions, 5 wordings", texts="questions"),
    facts("questions, 1 wording", texts="questions", forms=1),
)
READ_QUIET = facts("documents, 5 a person, no questions mixed in", mixed="no questions")
READ_ONE_QUIET = facts("documents, 1 a person, no questions mixed in", forms=1, mixed="no questions")
FORMATS = Arm("documents only", "cpt", {"probe": 150}, ("json", "refusals"))
SFT = Arm("demonstrations", "sft", {"probe": 200}, ("statements", "people", "json", "refusals"))
LONG_LISTS = Arm("long lists", "longdoc")
