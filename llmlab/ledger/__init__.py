"""The ledger: every claim of the sources, fixed before its runs, with per-seed values, an interval and a
verdict.
"""

from ..chapters.c02_continued_pretraining import claims
from ..chapters.c00_start_here import claims
from ..chapters.c05_lora import claims, claims_serving
from ..chapters.c07_reinforcement_learning import claims
from ..chapters.c06_preferences import claims
from ..chapters.c04_sft import claims
from ..chapters.c03_tokenizer_extension import claims
from .claims import Claim
from .rates import Trials

PARTS = (framing, cpt, tokenizer, sft, lora, serve, prefer, policy)
CLAIMS: dict[str, Claim] = {
    c.id: c for c in sorted((claim for part in PARTS for claim in part.CLAIMS), key=lambda c: c.id)
}
TRIALS: dict[str, tuple[Trials, ...]] = {
    "lora": claims.TRIALS,
    "prefer": claims.TRIALS,
    "policy": claims.TRIALS,
}
