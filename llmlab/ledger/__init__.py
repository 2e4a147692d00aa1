"""The ledger: every claim of the sources, fixed before its runs, with per-seed values, an interval and a
verdict.
"""

from . import cpt, framing, lora, policy, prefer, serve, sft, tokenizer
from .claims import Claim
from .rates import Trials

PARTS = (framing, cpt, tokenizer, sft, lora, serve, prefer, policy)
CLAIMS: dict[str, Claim] = {
    c.id: c for c in sorted((claim for part in PARTS for claim in part.CLAIMS), key=lambda c: c.id)
}
TRIALS: dict[str, tuple[Trials, ...]] = {
    "lora": lora.TRIALS,
    "prefer": prefer.TRIALS,
    "policy": policy.TRIALS,
}
