"""Declarations: the log of what was fixed and when. A claim's hash changes with everything that decides its
verdict; the log says of each change whether results were known by then, and what changed.
"""

import json
from datetime import date
from functools import lru_cache
from pathlib import Path

from .. import paths
from ..errors import UserError
from .claims import Claim


UNCHANGED = "unchanged"  # begins the entry that fixes the hash of what is as it was


class BadLog(UserError):
    """The log of declarations cannot be read, or a claim is not in it as it is declared today."""


def file() -> Path:
    """Where the log lies: a line of JSON an entry, oldest first."""
    return paths.data() / "ledger" / "declarations.jsonl"


def entries(id: str = "") -> list[dict]:
    """All entries, or those of a claim: date, claim, hash, after_results, what. Raises BadLog."""
    return [e for e in _read(file(), _changed(file())) if id in ("", e["claim"])]


def missing(claims: dict[str, Claim]) -> list[str]:
    """Claims that are declared otherwise than the log's last entry says."""
    last = {e["claim"]: e["hash"] for e in entries()}
    return [id for id, claim in claims.items() if last.get(id) != claim.declared]


def note(claims: list[Claim], what: str, after_results: bool, day: str = "") -> None:
    """Add an entry for each claim as it is declared now."""
    new = [
        {
            "date": day or date.today().isoformat(),
            "claim": c.id,
            "hash": c.declared,
            "after_results": after_results,
            "what": what,
        }
        for c in claims
    ]
    lines = [json.dumps(e, ensure_ascii=False) for e in [*entries(), *new]]
    paths.write_atomic(file(), ("\n".join(lines) + "\n").encode())


def told(claim: Claim) -> str:
    """'2026-07-30; changed after results on 2026-08-02: …'."""
    mine = entries(claim.id)
    if not mine:
        return ""
    later = [
        f"changed{' after results' * e['after_results']} on {e['date']}: {e['what']}"
        for e in mine[1:]
        if not e["what"].startswith(UNCHANGED)
    ]
    return "; ".join([f"{mine[0]['date']} ({mine[0]['what']})", *later])


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> tuple[dict, ...]:
    if not changed:
        return ()
    try:
        found = tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
        if any(not isinstance(e[k], str) for e in found for k in ("date", "claim", "hash", "what")):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadLog(f"'{path}' is damaged; restore it (git checkout)") from None
    return found
