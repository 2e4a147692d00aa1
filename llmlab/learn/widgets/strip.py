"""TokenStrip: the coloured view of any batch. It draws what learn.strips measured, in the browser, as text,
or as a picture.
"""

import base64
import math
from itertools import groupby

import anywidget
import matplotlib
import traitlets
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import Rectangle

from ...errors import UserError
from .. import figures
from ..strips import PADDING, SPECIAL, Layer, Strip, measure
from .scripts import script

HUES = {"blue": "#0072B2", "orange": "#D55E00", "green": "#009E73"}
STRONGEST = 0.72  # as in strip.js
LINES = 80  # of the text that stands for the widget where there is none


class TokenStrip(anywidget.AnyWidget):
    """Every token of the first `rows` rows of a batch, coloured by a layer: mask, weights, gradient, loss,
    advantages, positions.

    Without a model there is no loss, without an objective neither weights nor gradient. Everything is
    measured on the whole batch.
    `measured` holds the numbers, `picture()` is the same for print, str() the same as a table.
    """

    _esm = script("strip")
    data = traitlets.Dict().tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)

    def __init__(self, tok, batch, model=None, objective=None, rows: int = 8, layer: str | None = None):
        self.measured = measure(tok, batch, model, objective)
        self.rows = min(rows, len(batch))
        super().__init__(data=front_end(self.measured, self.rows), layer=layer or _first(self.measured))

    @traitlets.validate("layer")
    def _known(self, proposal):
        return chosen(self.measured, proposal["value"]).name

    def __str__(self) -> str:
        lines = self.text().splitlines()
        left = len(lines) - LINES
        return "\n".join(lines[:LINES] + ([f"… {left} more lines: print(strip.text())"] if left > 0 else []))

    def _repr_mimebundle_(self, **options):
        data, metadata = super()._repr_mimebundle_(**options)
        picture = base64.b64encode(figures.png(self.picture())).decode()
        return data | {"text/plain": str(self), "image/png": picture}, metadata

    def text(self, width: int = 110) -> str:
        """All layers as an aligned table, wrapped at `width` characters."""
        return "\n\n".join(table(self.measured, row, width) for row in range(self.rows))

    def picture(self, layer: str | None = None, columns: int = 100) -> figures.Drawing:
        """One layer (the one that is shown, if none is named) as a figure, `columns` characters wide."""
        return drawing(self.measured, chosen(self.measured, layer or self.layer), self.rows, columns)


def chosen(strip: Strip, name: str) -> Layer:
    """A layer by name, or one sentence with the names there are."""
    if name not in strip.layers:
        raise UserError(f"this strip has no layer '{name}'; it has {', '.join(strip.layers)}")
    return strip.layers[name]


def _first(strip: Strip) -> str:
    """The layer that is shown first: the gradient where it was measured."""
    return "gradient" if "gradient" in strip.layers else "mask"


def number(value: float) -> str:
    """A value in three digits; 0 is exactly 0."""
    return "–" if math.isnan(value) else f"{value + 0.0:.3g}"  # + 0.0: no negative zero


def _ends(layer: Layer) -> list[str]:
    """What stands at the two ends of the legend's bar: orange left and blue right, or 0 and the largest."""
    top = number(layer.largest)
    return ["0", top] if layer.scale != "sign" else ["−" + top, "+" + top][:: layer.blue]


def _length(strip: Strip, row: int) -> int:
    """Tokens of a row before its padding."""
    return sum(kind != PADDING for kind in strip.kinds[row])


def front_end(strip: Strip, rows: int) -> dict:
    """What strip.js draws, as plain lists and strings."""
    ends = [_length(strip, r) for r in range(rows)]
    cut = lambda columns: [list(c[:end]) for c, end in zip(columns, ends)]
    parts = zip(cut(strip.pieces), cut(strip.kinds), strip.labels, strip.pieces, ends)
    layers = [
        {
            "name": layer.name,
            "legend": layer.legend,
            "scale": layer.scale,
            "ends": _ends(layer),
            "values": [[number(v) for v in row] for row in cut(layer.values.tolist())],
            "shades": [[round(s, 3) for s in row] for row in cut(layer.shades.tolist())],
        }
        for layer in strip.layers.values()
    ]
    hidden = len(strip.labels) - rows
    return {
        "rows": [
            {"label": label, "pieces": p, "kinds": k, "padding": len(whole) - end}
            for p, k, label, whole, end in parts
        ],
        "layers": layers,
        "note": "Point at a token, or move with the arrow keys, to read its numbers.",
        "rest": f"{hidden} more rows were measured and are not shown." if hidden else "",
    }


# ---- as text ----


def table(strip: Strip, row: int, width: int) -> str:
    """One row of the batch: its pieces, and under each its numbers."""
    end, head = _length(strip, row), ["", *strip.layers]
    first, fill = max(map(len, head)), len(strip.pieces[row]) - end
    columns = [
        [strip.pieces[row][t], *(number(float(layer.values[row, t])) for layer in strip.layers.values())]
        for t in range(end)
    ]
    columns = [[cell.rjust(max(map(len, column)) + 1) for cell in column] for column in columns]
    lines = [strip.labels[row] + (f" (+ {fill} padding)" if fill else "")]
    for _, part in groupby(
        zip(places([c[0] for c in columns], width - first), columns), key=lambda pair: pair[0][0]
    ):
        lines += [
            " ".join([name.ljust(first), *cells])
            for name, *cells in zip(head, *(column for _, column in part))
        ]
    return "\n".join(lines)


# ---- as a picture ----

TYPE, FONT = "DejaVu Sans Mono", 8  # points; comes with matplotlib
LINE, CHARACTER = 0.19, 0.067  # inches


def places(pieces: list[str], columns: int) -> list[tuple[int, int]]:
    """(line, column) of each piece, wrapped at `columns` characters with one free between two pieces."""
    line = column = 0
    found = []
    for text in pieces:
        if column and column + len(text) > columns:
            line, column = line + 1, 0
        found.append((line, column))
        column += len(text) + 1
    return found


def drawing(strip: Strip, layer: Layer, rows: int, columns: int) -> figures.Drawing:
    """Pieces as boxes of a fixed-width type, coloured by the layer, with its legend on top."""
    shown = [strip.pieces[r][: _length(strip, r)] for r in range(rows)]
    laid, indent = [places(pieces, columns) for pieces in shown], max(map(len, strip.labels[:rows])) + 2
    tops, below = [], 1.6
    for row in laid:
        tops.append(below)
        below += max((line for line, _ in row), default=0) + 1.5
    with matplotlib.rc_context(figures.STYLE | {"font.family": TYPE, "font.size": FONT}):
        figure = figures.Drawing(figsize=((columns + indent + 2) * CHARACTER, below * LINE))
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(0, columns + indent + 2), ylim=(below, 0))
        axis.set_axis_off()
        low, high = _ends(layer)
        axis.text(0.5, 0.6, f"{layer.name}  {low} … {high}   {layer.legend}", va="center", parse_math=False)
        for r, top in enumerate(tops):
            axis.text(
                indent - 1,
                top + 0.5,
                strip.labels[r],
                ha="right",
                va="center",
                color="#555555",
                parse_math=False,
            )
            for t, (line, column) in enumerate(laid[r]):
                _box(
                    axis,
                    shown[r][t],
                    strip.kinds[r][t],
                    indent + column,
                    top + line,
                    float(layer.shades[r, t]),
                    layer,
                )
    return figure


def _box(axis, text: str, kind: str, x: float, y: float, shade: float, layer: Layer) -> None:
    hue = HUES["green" if layer.scale != "sign" else "blue" if shade > 0 else "orange"]
    axis.add_patch(
        Rectangle(
            (x - 0.2, y + 0.06),
            len(text) + 0.4,
            0.88,
            facecolor=(hue, STRONGEST * abs(shade)),
            edgecolor="#cccccc",
            linewidth=0.5,
        )
    )
    axis.text(
        x,
        y + 0.52,
        _drawable(text),
        va="center",
        weight="bold" if kind == SPECIAL else "normal",
        parse_math=False,
    )


def _drawable(text: str) -> str:
    """Characters that the figure's font lacks as boxes."""
    font = get_font(findfont(TYPE))
    return "".join(c if font.get_char_index(ord(c)) else "□" for c in text)
