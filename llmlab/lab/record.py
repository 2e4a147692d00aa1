"""Record: the one kind of sealed file (runs, sweeps, rates, the ledger, its curves, rehearsals), and the one
question that is asked of all of them: is it current?

A file is a line of JSON, the seal, and then the content. The seal says what was asked for (identity), which
code answered, and the checksum of the content: what is truncated or was changed by hand is never taken for
true.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Iterable

from .. import paths
from . import vouched


class Damaged(ValueError):
    """A file that is truncated, was changed after it was written, or is no record at all."""


@dataclass(frozen=True)
class Seal:
    """identity: hash of what was asked for. code: name of an experiment -> hash of the code that answered."""

    identity: str
    code: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, found: object) -> "Seal | None":
        """A seal that was stored as JSON; None for what is none."""
        match found:
            case {"identity": str(identity), "code": dict(code)}:
                return cls(identity, code)
        return None


def is_current(found: Seal | None, wanted: Seal) -> bool:
    """Was the record made for what is asked today, by today's code or by code that is vouched to do the
    same?
    """
    if found is None or found.identity != wanted.identity:
        return False
    return all(vouched.alike(name, found.code.get(name, ""), today) for name, today in wanted.code.items())


def stale(shipped: Iterable[tuple[str, Seal | None, Seal]]) -> list[str]:
    """The names of those of (name, seal that is there, seal that is wanted) that are missing or not
    current.
    """
    return [name for name, found, wanted in shipped if not is_current(found, wanted)]


def write(path: Path, seal: Seal, content: bytes) -> None:
    """The record, in one atomic write."""
    head = json.dumps({"sha256": paths.hash_bytes(content)} | asdict(seal))
    paths.write_atomic(path, head.encode() + b"\n" + content)


def read(path: Path) -> tuple[Seal, bytes]:
    """(seal, content). Raises Damaged, or OSError where there is no such file."""
    return opened(path.read_bytes(), path)


def opened(raw: bytes, path: Path) -> tuple[Seal, bytes]:
    """(seal, content) of a file's bytes. Raises Damaged, which names the file."""
    head, _, content = raw.partition(b"\n")
    try:
        found = json.loads(head)
        seal, whole = Seal.read(found), found["sha256"] == paths.hash_bytes(content)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Damaged(f"'{path}' is truncated") from None
    if seal is None:
        raise Damaged(f"'{path}' has no seal")
    if not whole:
        raise Damaged(f"'{path}' was changed after it was written")
    return seal, content


def seal_of(path: Path) -> Seal | None:
    """The seal of a whole record; None where the file is missing or damaged."""
    try:
        return read(path)[0]
    except (OSError, Damaged):
        return None


def content_of(path: Path) -> bytes:
    """The content of a whole record; nothing where the file is missing or damaged."""
    try:
        return read(path)[1]
    except (OSError, Damaged):
        return b""
