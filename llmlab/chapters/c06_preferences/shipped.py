"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook draws over
the seeds.
"""

from ...lab.grid import Grid

SWEEPS = (
    Grid(
        "prefer",
        together={"nll": (0.0, 0.5), "coverage": (0.0, 1.0)},
        alone={
            "task": ("style", "identity", "german", "decide", "failed", "sums"),
            "method": ("sft", "dpo", "ipo", "simpo", "orpo"),
            "smoothing": (0.0, 0.2),
            "noise": (0.0, 0.3),
            "examples": (0, 20),
            "topics": (1, 5),
        },
    ),
    Grid("explore", together={"method": ("offline", "online", "grpo"), "mass": (0.0, 0.01, 0.1)}),
)
HALF = dict(nll=0.5)
RUNS = [
    ("dpo", {}),
    *(("prefer", k) for k in ({}, HALF, dict(method="sft"))),
    *(("prefer", HALF | k) for k in (dict(coverage=0.0), dict(topics=1), dict(noise=0.3))),
    *(("prefer", HALF | dict(noise=0.3) | k) for k in (dict(smoothing=0.3), dict(beta=0.01))),
    *(("online", k) for k in ({}, dict(refresh=10), dict(refresh=0), dict(pairing="correction"))),
    *(("explore", k) for k in ({}, dict(method="grpo"))),
    *(("explore", dict(method=m, mass=c)) for m, c in (("offline", 0.1), ("grpo", 0.0))),
    *(("reward", k) for k in ({}, dict(planted="length"), dict(planted="format"), dict(labels=100))),
    *(("overopt", k) for k in (dict(probe=2), dict(method="best_of_n"), dict(beta=0.1, probe=2))),
]
