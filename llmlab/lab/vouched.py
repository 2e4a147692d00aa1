"""Vouched: changes of code that changed no behaviour, as data: rehearsed before and after, bit for bit the
same.
"""

import json
from functools import lru_cache
from pathlib import Path

from .. import paths
from ..errors import UserError


class BadList(UserError):
    """The list of what is vouched for cannot be read."""


def file() -> Path:
    """Where the list lies: entries with name, old and new hash, date, and how many rehearsals agreed."""
    return paths.data() / "vouched.json"


def alike(name: str, one: str, other: str) -> bool:
    """Do two codes of an experiment do the same: are they one, or vouched for, step by step? Which of them is
    the newer one makes no difference. Raises BadList.
    """
    return one == other or other in _reached(name, one)


def entries() -> list[dict]:
    """All entries, oldest first. Raises BadList."""
    return [dict(entry) for entry in _entries(file(), _changed(file()))]


def add(new: list[dict]) -> None:
    """Write entries behind those that are there."""
    lines = ",\n ".join(json.dumps(entry) for entry in [*entries(), *new])
    paths.write_atomic(file(), f"[{lines}]\n".encode())
    _entries.cache_clear()  # a clock may be too coarse to tell two writes apart


def _reached(name: str, start: str) -> set[str]:
    """All hashes that a chain of entries leads to from `start`, forwards or backwards."""
    pairs = [(e["old"], e["new"]) for e in _entries(file(), _changed(file())) if e["name"] == name]
    found, todo = set(), {start}
    while todo:
        here = todo.pop()
        found.add(here)
        todo |= {hash for pair in pairs if here in pair for hash in pair} - found
    return found


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=4)
def _entries(path: Path, changed: int) -> tuple[dict, ...]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if changed else []
        if any(not isinstance(e[key], str) for e in found for key in ("name", "old", "new")):
            raise TypeError
        return tuple(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadList(
            f"'{path}' is damaged, so nothing is vouched for; restore it (git checkout), or remove it and"
            " compute again what is stale then"
        ) from None
