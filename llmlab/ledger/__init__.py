"""The ledger: every claim of the sources, fixed before its runs, with per-seed values, an interval and a
verdict.
"""

from ..lab import registry
from .claims import Claim

CLAIMS: dict[str, Claim] = {
    c.id: c for c in sorted((c for part in registry.every("claims") for c in part.CLAIMS), key=lambda c: c.id)
}
TRIALS: dict[str, tuple] = {  # part of the ledger -> rates.Trials
    name: trials for part in registry.every("claims") for name, trials in getattr(part, "TRIALS", {}).items()
}
