"""Vouched: changes of code that changed no behaviour, as data: rehearsed before and after, bit for bit the
same.
"""

import json
from functools import lru_cache
from pathlib import Path

from .. import paths


def file() -> Path:
    """Where the list lies: entries with name, old and new hash, date, and how many rehearsals agreed."""
    return paths.data() / "vouched.json"


def alike(name: str, old: str, new: str) -> bool:
    """Does code `new` of an experiment do what code `old` does: is it the same, or vouched for, step by step,
    in either direction?
    """
    return old == new or new in _reached(name, old, _entries(file(), _changed(file())))


def entries() -> list[dict]:
    """All entries, oldest first."""
    return [dict(entry) for entry in _entries(file(), _changed(file()))]


def add(new: list[dict]) -> None:
    """Write entries behind those that are there."""
    lines = ",\n ".join(json.dumps(entry) for entry in [*entries(), *new])
    paths.write_atomic(file(), f"[{lines}]\n".encode())


def _reached(name: str, start: str, known: tuple) -> set[str]:
    """All hashes that a chain of entries connects with `start`."""
    found: set[str] = set()
    todo = [start]
    while todo:
        here = todo.pop()
        edges = [(dict(e)["old"], dict(e)["new"]) for e in known if dict(e)["name"] == name]
        fresh = {other for edge in edges if here in edge for other in edge} - found
        found |= fresh
        todo += fresh
    return found


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=4)
def _entries(path: Path, changed: int) -> tuple:
    return tuple(tuple(e.items()) for e in json.loads(path.read_text())) if changed else ()
