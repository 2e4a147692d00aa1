"""What of this chapter is shipped: the sweeps behind its sliders and its lesson, and the runs that its
notebook and the flow of chapter 00 show.
"""

from ...lab.grid import Grid

SWEEPS = (
    Grid(
        "tools",
        alone={
            "examples": (50, 1000),
            "no_calls": (0.0, 0.2),
            "shown": ("full", "calls"),
            "plan": ("off", "on"),
        },
    ),
    Grid("decide", alone={"price": (0.0, 0.2, 0.8)}),
    Grid(
        "repair",
        alone={"shown": ("errors", "gold"), "says": ("text", "masked", "absent")},
    ),
    Grid("raft", alone={"gold": (0.8, 1.0), "without": ("answer", "refuse")}),
    Grid("knowledge", alone={"way": ("cpt", "retrieval", "both")}),
    Grid("rag", alone={"length": (8, 32), "retriever": ("bm25", "states", "encoder", "hybrid")}),
)
RUNS = [
    *(("knowledge", dict(way=w)) for w in ("cpt", "retrieval")),
    *(("raft", dict(gold=g)) for g in (0.8, 1.0)),
    ("raft", dict(without="refuse")),
]
