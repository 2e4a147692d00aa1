"""Trees: how a search over steps stands after a round, as a figure, as text, and as SVG that tells a node's
step where one points at it.
"""

import html
import io
import re
from itertools import count
from typing import Iterator

import matplotlib
from matplotlib.colors import to_rgb

from ..train.search import Node
from . import figures

BLUE, ORANGE, GREY = *figures.COLOURS[:2], "#808080"
ROW, COLUMN, HEAD = 0.27, 1.75, 0.6  # inches: a leaf, a step, the lines above the tree
LETTERS = 22  # of a step that are drawn
KEY = "number: visits · darker: higher value · square: finished · orange: the most visited path"

Seen = dict[Node, tuple[int, float]]  # node -> its visits and its value, parents before children


def seen_now(root: Node) -> Seen:
    """The tree as it is now."""
    return {n: (n.visits, n.value) for n in below(root)}


def below(node: Node) -> Iterator[Node]:
    """The node and all that grew from it, each before its children."""
    yield node
    for child in node.children:
        yield from below(child)


def written(node: Node) -> str:
    """The step that made the node; for the root, what is asked."""
    return node.text[len(node.parent.text) :].strip() if node.parent else node.problem.question


def most_visited(seen: Seen) -> list[Node]:
    """From the root, always to the child with most visits, then with the highest value."""
    path = [next(iter(seen))]
    while tried := [c for c in path[-1].children if c in seen and seen[c][0]]:
        path.append(max(tried, key=lambda c: seen[c]))
    return path


def found(seen: Seen) -> list[str]:
    """In words: the most visited path, and the finished solution of highest value."""
    lines = [f"Most visited: {most_visited(seen)[-1].text.strip() or 'nothing yet'}"]
    ended = [(value, n) for n, (visits, value) in seen.items() if n.done and visits]
    if ended:
        value, best = max(ended, key=lambda pair: pair[0])
        lines.append(f"Best finished solution, value {value:.2f}: {best.text.strip()}")
    return lines


def text(seen: Seen) -> str:
    """A line for each node, its depth as an indent."""
    told = [f"{v:>6} {x:>6.2f}  {'  ' * n.depth}{written(n)}" for n, (v, x) in seen.items()]
    return "\n".join(["visits  value", *told, *found(seen)])


def places(root: Node) -> dict[Node, tuple[int, float]]:
    """(column, row) of every node: leaves one below the other, a parent in the middle of its children."""
    at: dict[Node, tuple[int, float]] = {}
    free = count()

    def put(node: Node) -> float:
        """Its row, once all below it have theirs."""
        rows = [put(child) for child in node.children] or [float(next(free))]
        at[node] = (node.depth, (rows[0] + rows[-1]) / 2)
        return at[node][1]

    put(root)
    return at


def drawing(root: Node, seen: Seen, head: str) -> figures.Drawing:
    """What was seen, from left to right. A node's place is that in the tree as it is now."""
    at, path = places(root), most_visited(seen)
    right, down = (1 + max(place[i] for place in at.values()) for i in (0, 1))
    wide, high = COLUMN * max(right, 3), HEAD + ROW * (down + 0.4)
    with matplotlib.rc_context(figures.STYLE):
        figure = figures.Drawing(figsize=(wide, high))
        axis = figure.add_axes((0, 0, 1, 1 - HEAD / high))
        axis.set(xlim=(-0.15, wide / COLUMN - 0.15), ylim=(down - 0.3, -0.7))
        axis.set_axis_off()
        figure.text(0.01, 1 - 0.18 / high, head, va="center")
        figure.text(0.01, 1 - 0.42 / high, KEY, va="center", fontsize=7.5, color=GREY)
        for i, node in enumerate(seen):
            _branch(axis, at, node, node in path)
            _mark(axis, at[node], node, seen, i)
    return figure


def _branch(axis, at: dict, node: Node, emphasised: bool) -> None:
    """The line from the parent, and the step on it."""
    if node.parent is None:
        return
    (x0, y0), (x, y), step = at[node.parent], at[node], written(node)
    colour, width = (ORANGE, 2.4) if emphasised else (GREY, 0.8)
    bend = x0 + 0.16
    axis.plot([x0, bend, bend, x], [y0, y0, y, y], color=colour, linewidth=width, zorder=1 + emphasised)
    step = step if len(step) <= LETTERS else step[: LETTERS - 1] + "…"
    look = dict(fontsize=7.5, bbox=dict(facecolor="white", edgecolor="none", pad=0.6), parse_math=False)
    axis.text(x - 0.12, y, step, ha="right", va="center", zorder=3, **look)


def _mark(axis, place: tuple[int, float], node: Node, seen: Seen, i: int) -> None:
    """A circle, or a square where the solution is finished, with its visits."""
    (visits, value), values = seen[node], [x for _, x in seen.values()]
    low, high = min(0.0, *values), max(1.0, *values)
    shade = (value - low) / (high - low) if visits else 0.0
    look = dict(marker="s" if node.done else "o", markersize=12, markeredgecolor=BLUE, zorder=4)
    face = [1 - shade * (1 - part) for part in to_rgb(BLUE)]
    axis.plot(*place, markerfacecolor=face, gid=f"node{i}", **look)
    ink = dict(color="white" if shade > 0.8 else "black", fontsize=7.5, gid=f"visits{i}")
    axis.text(*place, str(visits or ""), ha="center", va="center_baseline", zorder=5, **ink)


def svg(figure: figures.Drawing, seen: Seen) -> str:
    """The figure for a page, with the titles of its nodes."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # letters, not their outlines
        figure.savefig(out, format="svg")
    # without the head of a file, and without its style, which would be the whole page's
    drawn = re.sub(r"^.*?(?=<svg )|<(style|metadata).*?</\1>", "", out.getvalue(), flags=re.DOTALL)
    for i, (node, (visits, value)) in enumerate(seen.items()):
        told = html.escape(f"{written(node)} visits {visits}, value {value:.2f}")
        for part in (f'<g id="node{i}">', f'<g id="visits{i}">'):
            drawn = drawn.replace(part, f"{part}<title>{told}</title>")
    return drawn.replace("<svg ", '<svg role="img" aria-label="the tree of the search" ', 1)
