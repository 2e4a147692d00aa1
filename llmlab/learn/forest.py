"""Forest plot of the ledger: every counted contrast with its interval, in units of its smallest effect of
interest; to the right is as claimed.
"""

import math
from textwrap import shorten, wrap

import matplotlib
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import blended_transform_factory

from ..ledger.table import SIGNS, Row, told
from . import figures

AXIS = "effect ÷ smallest effect of interest"
TICKS = (-30, -10, -3, -1, 0, 1, 3, 10, 30)
FURTHER = (100, 300, 1000, 3000, 10000)  # where an effect goes beyond the ticks
MARKS = {
    "as claimed": ("#0072B2", "o"),
    "reversed": ("#D55E00", "s"),
    "too small": ("#E69F00", "s"),
    "differs": ("#D55E00", "s"),
    "open": ("#CC79A7", "D"),
}  # what a part is -> colour, marker
WIDTH, LEFT, LINE, HEAD, FOOT = (
    9.4,
    4.5,
    0.21,
    0.86,
    0.5,
)  # inches: figure, labels, a line, above and below the lines
GAP = 0.45  # lines between two claims
LABEL, SIGN = 70, 0.065  # characters a line of a label; inches a character of a heading's words, at most
LEGEND = "right: as claimed; dashed: the smallest effect of interest; blue band: no difference was claimed"


def entries(rows: list[Row]) -> list[dict]:
    """One dict a counted contrast of the measured, current rows, in the order of the ids. x, low, high:
    effect and interval in units of the smallest effect of interest, mirrored where the claim says `less`.
    """
    measured = sorted((r for r in rows if r.record and r.current), key=lambda r: r.claim.id)
    return [_entry(r, c) for r in measured for c in r.record["contrasts"] if c["counts"]]


def _entry(row: Row, c: dict) -> dict:
    sign = -1 if c["direction"] == "less" else 1
    low, high = sorted(sign * c[end] / c["least"] for end in ("low", "high"))
    return {
        "id": row.claim.id,
        "label": c["label"],
        "x": sign * c["mean"] / c["least"],
        "low": low,
        "high": high,
        "direction": c["direction"],
        "verdict": c["verdict"],
        "claim_verdict": row.verdict,
        "text": told(c),
        "seeds": c["n"],
    }


def reach(found: list[dict]) -> float:
    """The end of the axis on both sides: a little beyond the last tick, or beyond the furthest interval."""
    return max([1.4 * TICKS[-1], *(1.1 * abs(e[end]) for e in found for end in ("low", "high"))])


def ticks(end: float) -> list[int]:
    """The ticks of an axis that ends there."""
    more = [v for v in FURTHER if v <= end]
    return [*(-v for v in reversed(more)), *TICKS, *more]


def place(value: float, end: float) -> float:
    """Where a value stands between the left end of the axis (0) and the right one (1)."""
    return (math.asinh(value) / math.asinh(end) + 1) / 2


def figure(rows: list[Row]) -> figures.Drawing:
    """The forest plot as a picture: a line a contrast, under the words of its claim."""
    found, claims = entries(rows), {r.claim.id: r for r in rows}
    seeds = sorted({e["seeds"] for e in found})
    lines, bottom = _lines(found)
    tall = HEAD + LINE * max(1.0, bottom) + FOOT
    with matplotlib.rc_context(figures.STYLE | {"axes.grid": False}):
        drawing = figures.Drawing(figsize=(WIDTH, tall))
        axis = drawing.add_axes(
            (LEFT / WIDTH, FOOT / tall, 1 - (LEFT + 0.15) / WIDTH, 1 - (HEAD + FOOT) / tall)
        )
        _scale(axis, reach(found), max(1.0, bottom))
        for y, entry in lines:
            if "label" in entry:
                _interval(axis, y, entry)
            else:
                _heading(axis, y, claims[entry["id"]])
        drawing.text(0.1 / WIDTH, 1 - 0.1 / tall, _title(seeds), va="top", fontsize=10)
        drawing.text(0.1 / WIDTH, 1 - 0.33 / tall, LEGEND, va="top", fontsize=8, color="#555555")
        handles = [Line2D([], [], **_look(v), label=f"{SIGNS[v]} {v}") for v in MARKS]
        drawing.legend(
            handles=handles,
            loc="upper right",
            ncols=3,
            bbox_to_anchor=(1 - 0.1 / WIDTH, 1 - 0.04 / tall),
            borderaxespad=0,
            fontsize=9,
        )
    return drawing


def _title(seeds: list[int]) -> str:
    if not seeds:
        return "nothing is measured yet; run: llmlab claims run"
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"98 % intervals over {span} seeds"


def _lines(found: list[dict]) -> tuple[list[tuple[float, dict]], float]:
    """(y, entry) of every line from the top; before the first of each claim a line with its id alone. And
    where the last one ends.
    """
    laid, y, last = [], 0.0, None
    for entry in found:
        if entry["id"] != last:
            y += GAP if last else 0.0
            laid.append((y + 0.5, {"id": entry["id"]}))
            y, last = y + 1, entry["id"]
        tall = 1 + 0.75 * (len(wrap(entry["label"], LABEL)) - 1)
        laid.append((y + tall / 2, entry))
        y += tall
    return laid, y


def _scale(axis, end: float, bottom: float) -> None:
    """The asinh scale with its ticks on both sides, and the lines of no effect and of the smallest of
    interest.
    """
    axis.set_xscale("asinh", linear_width=1.0)
    axis.set(xlim=(-end, end), ylim=(bottom, 0), yticks=[], xlabel=AXIS)
    axis.set_xticks(ticks(end), [f"{t:,}".replace("-", "−") for t in ticks(end)], fontsize=8)
    axis.set_xticks([], minor=True)
    axis.tick_params(top=True, labeltop=True, length=3)
    axis.spines[["left", "right"]].set_visible(False)
    axis.spines["top"].set_visible(True)
    for tick in ticks(end):
        axis.axvline(tick, color="#e4e4e4", linewidth=0.7, zorder=0)
    axis.axvline(0, color="#000000", linewidth=1.0, zorder=1)
    axis.axvline(1, color="#000000", linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)


def _heading(axis, y: float, row: Row) -> None:
    """Id and words of a claim over the whole width, with its verdict."""
    across = blended_transform_factory(axis.figure.transFigure, axis.transData)
    band = Rectangle(
        (0.05 / WIDTH, y - 0.48),
        1 - 0.1 / WIDTH,
        0.96,
        transform=across,
        facecolor="#efefef",
        edgecolor="none",
        clip_on=False,
        zorder=2,
    )
    axis.add_patch(band)
    left, right = dict(transform=across, va="center", zorder=3), 1 - 0.12 / WIDTH
    verdict = f"{row.verdict} {SIGNS[row.verdict]}"
    room = int((WIDTH - 0.62 - 0.12) / SIGN) - round(1.25 * len(verdict))  # bold is wider
    axis.text(0.12 / WIDTH, y, row.claim.id, weight="bold", **left)
    axis.text(
        0.62 / WIDTH,
        y,
        shorten(row.claim.words, room, placeholder=" …"),
        parse_math=False,
        fontsize=8,
        **left,
    )
    axis.text(right, y, verdict, ha="right", weight="bold", fontsize=8.5, **left)


def _interval(axis, y: float, entry: dict) -> None:
    """A contrast: its label, its interval, and its mark; behind `same` the band in which the effect was
    expected.
    """
    across = blended_transform_factory(axis.figure.transFigure, axis.transData)
    if entry["direction"] == "same":
        axis.add_patch(
            Rectangle((-1, y - 0.5), 2, 1, facecolor="#56B4E9", alpha=0.25, edgecolor="none", zorder=0.5)
        )
    axis.plot(
        [entry["low"], entry["high"]],
        [y, y],
        color=MARKS[entry["verdict"]][0],
        linewidth=1.8,
        solid_capstyle="butt",
        zorder=4,
    )
    axis.plot([entry["x"]], [y], **_look(entry["verdict"]), zorder=5)
    axis.text(
        (LEFT - 0.08) / WIDTH,
        y,
        "\n".join(wrap(entry["label"], LABEL)),
        transform=across,
        ha="right",
        va="center",
        fontsize=8,
        linespacing=1.05,
        parse_math=False,
    )


def _look(verdict: str) -> dict:
    """Colour and marker of what a part is; what is open is hollow."""
    colour, marker = MARKS[verdict]
    inside = "white" if verdict == "open" else colour
    return dict(
        color=colour,
        marker=marker,
        markersize=5.5,
        markerfacecolor=inside,
        markeredgewidth=1.4,
        linestyle="none",
    )
