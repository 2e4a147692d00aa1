"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook shows."""

from ...lab.grid import Grid

SWEEPS = (
    Grid(
        "scale",
        alone={
            "family": ("products", "strings", "reach"),
            "temperature": (0.5, 1.0, 1.5),
            "check": ("outcome", "last_character", "ending"),
            "fpr": (0.0, 0.1, 0.3),
        },
    ),
    Grid("search", alone={"score": ("exact", "outcome", "likelihood", "learned")}),
    Grid("budget", alone={"method": ("star", "dpo", "grpo")}),
    Grid("revise", alone={"feedback": ("intrinsic", "critique", "flag", "step", "resample")}),
)
RUNS = [
    *((name, {}) for name in ("scale", "revise", "search", "budget")),
    ("scale", dict(fpr=0.3)),
    ("scale", dict(check="ending")),
]
