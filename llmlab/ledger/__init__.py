"""The ledger: every claim of the sources, fixed before its runs, with per-seed values, an interval and a
verdict.
"""

from typing import Any

from ..lab import registry
from .claims import Claim

CLAIMS: dict[str, Claim]  # collected when asked for: a chapter's claims begin by importing this package
TRIALS: dict[str, tuple]  # part of the ledger -> rates.Trials


def _claims() -> dict[str, Claim]:
    found = [c for part in registry.every("claims") for c in part.CLAIMS]
    return {c.id: c for c in sorted(found, key=lambda c: c.id)}


def _trials() -> dict[str, tuple]:
    parts = registry.every("claims")
    return {name: trials for part in parts for name, trials in getattr(part, "TRIALS", {}).items()}


def declared_in(id: str) -> str:
    """The module in which a claim is declared; empty for none of the chapters'."""
    found = (p.__name__ for p in registry.every("claims") if any(c.id == id for c in p.CLAIMS))
    return next(found, "")


def __getattr__(name: str) -> Any:
    made = {"CLAIMS": _claims, "TRIALS": _trials}.get(name)
    if made is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return globals().setdefault(name, made())
