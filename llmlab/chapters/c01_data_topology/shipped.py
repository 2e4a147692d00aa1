"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook draws over
the seeds.
"""

from ...lab.grid import Grid

SWEEPS = (Grid("topology", {"loss": ("assistant", "all", "dpo"), "lr": (5e-4, 2e-3)}),)
RUNS = [("topology", dict(loss=loss)) for loss in ("assistant", "all", "dpo")]
