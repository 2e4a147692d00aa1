"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook draws over
the seeds.
"""

from ...lab.grid import Grid

SWEEPS = (Grid("extend", {"init": ("pieces", "mean", "random", "small"), "warmup": (0, 20)}),)
KNOBS = (
    {},
    dict(tokens=0),
    dict(init="mean"),
    dict(init="random"),
    dict(init="small"),
    dict(warmup=0),
    dict(oversample=1.0),
)
RUNS = [("extend", knobs) for knobs in KNOBS]
