"""The ledger: every claim of the sources, fixed before its runs, with per-seed values, an interval and a verdict."""

from . import cpt, framing, tokenizer
from .claims import Claim

CLAIMS: dict[str, Claim] = {c.id: c for c in sorted((*framing.CLAIMS, *cpt.CLAIMS, *tokenizer.CLAIMS), key=lambda c: c.id)}
