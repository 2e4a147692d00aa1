"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook draws over
the seeds.
"""

from ...lab.grid import Grid

SWEEPS = (
    Grid("sft", {"examples": (10, 30, 100, 300, 0)}),
    Grid("template", {"trained": ("control", "literal"), "served": ("control", "literal")}),
    Grid("traces", {"retry": (0.0, 0.1, 0.3, 0.6)}),
)
RUNS = [
    ("sft", {}),
    *(("template", k) for k in ({}, dict(served="literal"), dict(served="no_prompt"), dict(pad="turn end"))),
    *(("unknown", k) for k in ({}, dict(share=0.0))),
    *(("curate", k) for k in ({}, dict(keep="any"))),
]
