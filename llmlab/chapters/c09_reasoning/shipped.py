"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook shows."""

from ...lab.grid import Grid

SWEEPS = (
    Grid(
        "star",
        alone={
            "check": ("outcome", "majority", "none", "last_character"),
            "fpr": (0.0, 0.5),
            "writer": ("fresh", "first"),
        },
    ),
    Grid("calibrate", alone={"reward_func": ("brier", "outcome")}),
    Grid("decompose", alone={"shown": ("steps", "answer", "filler"), "family": ("products", "columns")}),
    Grid(
        "verify",
        together={"labels": ("outcome", "process", "rollouts"), "aggregation": ("last", "min", "sum")},
    ),
)
COLUMNS = dict(family="columns", level=3)  # where twenty steps of GRPO teach something
EASY = dict(family="reach", level=1, lr=3e-4, held=128)  # short searches, which self-training makes easier
RUNS = [
    *((name, {}) for name in ("decompose", "verify", "calibrate", "contaminate")),
    ("decompose", dict(shown="answer")),
    *(("process", dict(reward_func=r, **COLUMNS)) for r in ("outcome", "dense", "hard", "learned")),
    ("process", dict(reward_func="learned", aggregation="sum", **COLUMNS)),
    ("calibrate", dict(reward_func="outcome")),
    ("star", EASY),
]
