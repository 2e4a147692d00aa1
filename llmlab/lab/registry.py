"""Registry: what the chapters bring. A chapter registers itself by being there: a folder of llmlab/chapters
with EXPERIMENTS in its __init__, and perhaps claims.py, exercises.py and shipped.py. Nothing here imports
torch.
"""

import difflib
import pkgutil
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from ..errors import UserError

CHAPTERS = f"{__package__.rpartition('.')[0]}.chapters"


class UnknownExperiment(UserError):
    """There is no such experiment; the message names the nearest."""


@lru_cache
def chapters() -> list[str]:
    """The chapters' packages, in order."""
    return sorted(
        f"{CHAPTERS}.{m.name}" for m in pkgutil.iter_modules(import_module(CHAPTERS).__path__) if m.ispkg
    )


def every(part: str) -> list[ModuleType]:
    """A part (claims, exercises, shipped) of each chapter that has one."""
    return [import_module(f"{c}.{part}") for c in chapters() if find_spec(f"{c}.{part}")]


@lru_cache
def _homes() -> dict[str, tuple[str, str]]:
    """experiment -> (module, class), by chapter."""
    return {
        name: (f"{chapter}.{name}", cls)
        for chapter in chapters()
        for name, cls in getattr(import_module(chapter), "EXPERIMENTS", {}).items()
    }


NAMES = tuple(_homes())


def uses(name: str) -> tuple[str, ...]:
    """Other experiments, by name, that an experiment asks for at run time: their code decides its numbers
    too.
    """
    return next(
        (found[name] for c in chapters() if name in (found := getattr(import_module(c), "USES", {}))), ()
    )


def get(name: str):
    """The experiment class of a name; its module is imported now."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        raise UnknownExperiment(
            f"there is no experiment '{name}'"
            + (f"; did you mean {near[0]}?" if near else f"; choose one of {', '.join(NAMES)}")
        )
    module, cls = _homes()[name]
    return getattr(import_module(module), cls)


def file(name: str) -> str:
    """The file of an experiment's class, found without importing it."""
    spec = find_spec(_homes()[name][0])
    assert spec and spec.origin, name
    return spec.origin
