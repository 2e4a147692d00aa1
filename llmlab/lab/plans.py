"""Plans: how each shipped checkpoint is made, what its conversations are, and what is measured of it."""

from dataclasses import dataclass, field
from typing import Any

from ..world import Census, Desk, Formulary, Records, Strings, Sums, Talk
from ..world.leaflets import Interview, Reading
from ..world.reasoning import HINTS, NAMES, Critique, Reasoning, Revision

# layers, heads, MLP neurons that are left of four, four and 384
SHAPES = {"student_l": (4, 3, 256), "student_m": (4, 2, 128), "student_s": (4, 1, 64)}
# what it starts from
BEFORE = {"base": "pre", "chat": "base", "reader": "chat", "reasoner": "chat"} | dict.fromkeys(
    SHAPES, "reasoner"
)


@dataclass(frozen=True)
class Plan:
    """How a checkpoint is made. lr is the peak rate of Muon and of AdamW (embeddings, norms).

    A step takes rows × length tokens of text; chat: `rows` conversations and `replay` documents of general
    text, packed into rows of `length`.
    """

    steps: int
    rows: int
    length: int
    lr: float
    warmup: int = 50
    final: float = 0.02
    seed: int = 0
    replay: int = field(default=0, repr=False)


PLANS = {
    "pre": Plan(steps=8500, rows=6, length=257, lr=3e-3),
    "base": Plan(steps=3600, rows=6, length=257, lr=2.5e-3, seed=1),
    "chat": Plan(steps=1200, rows=16, lr=1e-3, length=400, replay=8),
    "reader": Plan(steps=4000, rows=16, lr=1.5e-3, length=520, replay=1, seed=3),
    "reasoner": Plan(steps=2400, rows=16, lr=1.5e-3, length=400, replay=1, seed=5),
    "student_l": Plan(steps=900, rows=16, lr=1.5e-3, length=400, replay=1, seed=9),
    "student_m": Plan(steps=900, rows=16, lr=1.5e-3, length=400, replay=1, seed=9),
    "student_s": Plan(steps=900, rows=16, lr=1.5e-3, length=400, replay=1, seed=9),
}
SEEN = Formulary(size=1500, seed=1, names="train")  # drugs of the chats; the domain's own drugs stay unseen
# share of conversations -> the part they come from; SFT shows every later behaviour at least once
CHATS = {
    Talk(kinds=("fact",), formulary=SEEN): 0.22,
    Desk(calls=1, formulary=SEEN): 0.10,
    Desk(calls=1, formulary=SEEN, tools=("calculator", "convert")): 0.12,
    Desk(calls=2, formulary=SEEN): 0.10,
    Desk(calls=3, formulary=SEEN): 0.03,
    Desk(calls=2, faults=0.5, formulary=SEEN): 0.02,
    Talk(kinds=("format", "persona"), formulary=SEEN): 0.14,
    Talk(kinds=("identity",), formulary=SEEN): 0.02,
    Talk(kinds=("unsafe", "safe"), formulary=SEEN): 0.08,
    Talk(kinds=("many", "filler"), formulary=SEEN): 0.05,
    Records(): 0.03,
    Sums(("add", "subtract", "multiply", "sort")): 0.04,
    Sums(("add", "subtract"), digits=3): 0.02,
    Sums(("add", "multiply"), scratchpad=True): 0.02,
    Strings(2, scratchpad=True): 0.01,
}
TAUGHT = ("thing", "drug", "drug", "person", "person")  # what names nothing is read most easily
UNSURE: dict[str, Any] = dict(absent=0.15, stale=0.15, longest=2, listed=0.4, cited=0.6, subjects=TAUGHT)
READINGS = {  # a call has ten times the tokens of an answer, so calls are few
    Interview(1, **UNSURE): 0.03,
    Interview(2, **UNSURE): 0.10,
    Interview(3, **UNSURE): 0.12,
    Interview(4, **UNSURE): 0.18,
    Interview(6, **UNSURE): 0.12,
    Interview(8, **UNSURE): 0.14,
    Reading(2, by_tool=True, **UNSURE): 0.06,
    Reading(4, by_tool=True, **UNSURE): 0.08,
    Reading(8, by_tool=True, **UNSURE): 0.04,
    Desk(calls=1, formulary=SEEN): 0.02,
    Desk(calls=2, formulary=SEEN): 0.02,
    Talk(kinds=("fact",), formulary=SEEN): 0.05,
    Talk(kinds=("format", "persona"), formulary=SEEN): 0.02,
    Talk(kinds=("unsafe", "safe"), formulary=SEEN): 0.02,
}
LEVELS = (1, 2, 3)  # of the problems that are taught; the fourth stays unseen
SOLUTIONS = {  # numbers are learned more slowly than letters, so they are more
    Reasoning(("columns",), LEVELS): 0.19,
    Reasoning(("products",), LEVELS): 0.22,
    Reasoning(("strings",), LEVELS): 0.07,
    Reasoning(("links",), LEVELS): 0.04,
    Reasoning(("reach",), LEVELS): 0.16,
    Critique(levels=LEVELS): 0.08,
    Revision(levels=LEVELS): 0.14,
    Talk(kinds=("fact",), formulary=SEEN): 0.05,
    Desk(calls=2, formulary=SEEN): 0.02,
    Talk(kinds=("format", "persona"), formulary=SEEN): 0.02,
    Talk(kinds=("unsafe", "safe"), formulary=SEEN): 0.01,
}
GOALS = {1: None, 2: None, 4: 0.95, 8: 0.90}  # passages -> least share right, citation included
CONVERSATIONS = {"chat": CHATS, "reader": READINGS, "reasoner": SOLUTIONS} | dict.fromkeys(SHAPES, SOLUTIONS)

PRETRAINED: dict[str, tuple] = {
    "census questions": (Census(), {}, 0.99),
    "two-digit sums": (Sums(("add",)), {}, 0.90),
    "in-context look-up": (Records(), {}, 0.90),
    "inverse questions": (Census(), {"kind": "inverse"}, None),
    "two-hop questions": (Census(), {"kind": "two_hop"}, None),
    "two-digit differences": (Sums(("subtract",)), {}, None),
    "three-digit sums": (Sums(("add",), digits=3), {}, None),
    "two-digit products": (Sums(("multiply",)), {}, None),
    "sums with steps": (Sums(("add", "subtract"), scratchpad=True), {}, None),
    "products with steps": (Sums(("multiply",), scratchpad=True), {}, None),
    "sorting three": (Sums(("sort",)), {}, None),
    "strings depth 1": (Strings(1), {}, None),
    "strings depth 2": (Strings(2), {}, None),
    "strings depth 2 with steps": (Strings(2, scratchpad=True), {}, None),
}
ONE_WAY = tuple(f for f in NAMES if f != "reach")  # of several right answers an exact match would see one
# checkpoint -> skill -> (part of the world, settings of its problems, least share right or None)
SKILLS: dict[str, dict[str, tuple]] = {
    "pre": PRETRAINED,
    "base": PRETRAINED,
    "chat": {
        "census questions": (Talk(("fact",)), {}, 0.95),
        "calls, unseen drugs": (Desk(1, expect="call", tools=("formulary",)), {}, 0.95),
        "calls, unseen numbers": (Desk(1, expect="call", tools=("calculator", "convert")), {}, 0.95),
        "two-call chains": (Desk(2), {}, 0.90),
        "unsafe refused": (Talk(("unsafe",)), {}, 0.98),
        "safe answered": (Talk(("safe",)), {}, 0.98),
        "three-call chains": (Desk(3), {}, None),
        "chains with a fault": (Desk(2, faults=1.0), {}, None),
        "formats": (Talk(("format",)), {}, None),
        "personas": (Talk(("persona",)), {}, None),
        "identity": (Talk(("identity",)), {}, None),
        "in-context look-up": (Records(), {}, None),
        "two-digit sums": (Sums(("add",)), {}, None),
        "three-digit sums": (Sums(("add",), digits=3), {}, None),
        "two-digit products": (Sums(("multiply",)), {}, None),
        "two-digit differences": (Sums(("subtract",)), {}, None),
    },
    "reader": {
        **{f"{n} passages": (Reading(n, longest=2), {}, least) for n, least in GOALS.items()},
        "not in four passages": (Reading(4, absent=1.0, longest=2), {}, None),
        "four passages, no citation": (Reading(4, cited=0.0, longest=2), {}, None),
        "newer of two versions": (Reading(4, stale=1.0, longest=2), {}, None),
        "four passages from a search": (Reading(4, by_tool=True, longest=2), {}, None),
        "census questions": (Talk(("fact",)), {}, None),
        "two-call chains": (Desk(2), {}, None),
        "unsafe refused": (Talk(("unsafe",)), {}, None),
    },
    "reasoner": {
        **{f"{f}, level {n}": (Reasoning((f,), (n,)), {}, None) for f in ONE_WAY for n in (*LEVELS, 4)},
        "wrong step found": (Critique(levels=LEVELS), {}, None),
        **{f"revised, hint {h}": (Revision(ONE_WAY, LEVELS, (h,)), {}, None) for h in HINTS},
        "census questions": (Talk(("fact",)), {}, None),
        "two-call chains": (Desk(2), {}, None),
        "unsafe refused": (Talk(("unsafe",)), {}, None),
    },
}
SKILLS |= dict.fromkeys(SHAPES, SKILLS["reasoner"])
