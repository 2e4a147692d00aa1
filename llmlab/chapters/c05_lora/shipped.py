"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook draws over
the seeds.
"""

from ...lab.grid import Grid

SWEEPS = (
    Grid("codes", {"people": (100, 200, 400), "rank": (1, 8, 64)}),
    Grid("lora", alone={"method": ("lora", "qlora", "full")}),
)
RUNS = [("codes", dict(people=400) | k) for k in ({}, dict(rank=1), dict(method="full", lr=2e-3))]
