"""The ledger: every claim of the sources, fixed before its runs, with per-seed values, an interval and a verdict."""

from . import cpt, framing, lora, tokenizer
from .claims import Claim
from .rates import Trials

CLAIMS: dict[str, Claim] = {c.id: c for c in sorted((*framing.CLAIMS, *cpt.CLAIMS, *tokenizer.CLAIMS, *lora.CLAIMS), key=lambda c: c.id)}
TRIALS: tuple[Trials, ...] = lora.TRIALS
