"""Claims of chapter 05 about many tenants on one base: how to batch them, and what keeps them apart."""

from ...ledger.claims import Arm, Claim, contrast
from . import checks_serving

RATE = "tokens/s"
TENANTS = {n: Arm(f"{n} tenants", "serving", {"adapters": n}) for n in (1, 8, 32)}

CLAIMS = (
    Claim(
        "C064",
        "Requests are best batched by adapter, to avoid the overhead of mixing.",
        "A 3.1.4",
        "systems",
        "05",
        "Punica and S-LoRA mix adapters in one batch by a kernel made for it; sorting leaves each batch"
        " small.",
        contrasts=(
            *(
                contrast(
                    f"{n} tenants: one adapter after the other against mixed",
                    "more",
                    TENANTS[n]("sorted_rate", "mean"),
                    TENANTS[n]("mixed_rate", "mean"),
                    100,
                    RATE,
                )
                for n in (8, 32)
            ),
            contrast(
                "what mixing costs: 8 tenants against 1, mixed",
                "less",
                TENANTS[8]("mixed_rate", "mean"),
                TENANTS[1]("mixed_rate", "mean"),
                100,
                RATE,
                counts=False,
            ),
            contrast(
                "passes through the model for 100 tokens, 8 tenants: sorted against mixed",
                "more",
                TENANTS[8]("sorted_passes", "mean"),
                TENANTS[8]("mixed_passes", "mean"),
                1,
                "passes",
                counts=False,
            ),
        ),
        matched="64 requests at once, answers of 16 tokens, rank 4, the same run",
    ),
    Claim(
        "C066",
        "Adapters bleed into other tenants' answers if the routing is not handled.",
        "A 3.1",
        "exact",
        "05",
        "Certain by construction: a row is changed by the adapter of its slot and by no other.",
        check=checks_serving.bleed,
    ),
)
