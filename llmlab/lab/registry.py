"""The experiments by name. Importing this package imports no torch; an experiment's module is imported when
it is asked for.
"""

import difflib
from importlib import import_module
from pathlib import Path

from ..errors import UserError

NAMES = {
    "topology": "Topology",
    "cpt": "CPT",
    "burst": "Burst",
    "facts": "Facts",
    "longdoc": "LongDoc",
    "extend": "Extend",
    "midtrain": "Midtrain",
    "sft": "SFT",
    "chats": "Chats",
    "template": "Template",
    "traces": "Traces",
    "unknown": "Unknown",
    "curate": "Curate",
    "stages": "Stages",
    "dpo": "DPO",
    "prefer": "Prefer",
    "pairs": "Pairs",
    "online": "Online",
    "reward": "Reward",
    "overopt": "Overopt",
    "grpo": "GRPO",
    "policy": "Policy",
    "variance": "Variance",
    "retain": "Retain",
    "order": "Order",
    "agent": "Agent",
    "sampling": "Sampling",
    "codes": "CodeBook",
    "lora": "LoRA",
    "serving": "Serving",
}


class UnknownExperiment(UserError):
    """There is no such experiment; the message names the nearest."""


def get(name: str):
    """The experiment class of a name."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        raise UnknownExperiment(
            f"there is no experiment '{name}'"
            + (f"; did you mean {near[0]}?" if near else f"; choose one of {', '.join(NAMES)}")
        )
    return getattr(import_module(f".{name}", __package__), NAMES[name])


def file(name: str) -> str:
    """The file of an experiment's class, found without importing it."""
    return str(Path(__file__).parent / f"{name}.py")
