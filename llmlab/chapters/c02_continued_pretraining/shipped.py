"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook draws over
the seeds.
"""

from ...lab.grid import Grid

SWEEPS = (Grid("cpt", {"replay": (0.0, 0.1, 0.2, 0.5), "lr": (5e-4, 2e-3, 5e-3), "warmup": (0, 20)}),)
HASTY = dict(lr=5e-3, replay=0.0, steps=100)
KNOBS = (
    {},
    dict(replay=0.0),
    HASTY,
    HASTY | dict(gate=20, tolerance=0.2),
    dict(warmup=0),
    dict(warmup=60),
    dict(packing="none"),
    dict(duplicates=0.8),
    dict(boilerplate=0.5),
    dict(noise=0.5),
    dict(anneal=1.0),
    dict(mixing="adaptive"),
    dict(kl_coef=0.5),
)
RUNS = [("cpt", knobs) for knobs in KNOBS]
