"""Sharing: the fourth kind of packing. What rows have in common at their beginning is computed once, and each
token reads its own prefix alone.
"""

import torch
from torch import Tensor

from ...learn import figures
from ...tokens.batch import Batch
from ...tokens.layout import Layout, layout


def paths(lay: Layout) -> list[Tensor]:
    """The distinct tokens that each document reads, in order, without what a row is filled up with."""
    every = [row for group in lay.rows for row in group]
    first = [int(lay.positions[row[0]]) for row in every]
    return [row[lay.positions[row] == start + torch.arange(len(row))] for row, start in zip(every, first)]


def sees(lay: Layout) -> Tensor:
    """[N,N], true where the token of the line may read the token of the column."""
    seen = torch.zeros(len(lay.ids), len(lay.ids), dtype=torch.bool)
    for path in paths(lay):
        seen[path[:, None], path[None]] |= torch.ones(len(path), len(path), dtype=torch.bool).tril()
    return seen


def computed(batch: Batch) -> dict[str, int]:
    """Tokens of which a step computes something: with padding, without it, with shared prefixes; and those
    that are predicted.
    """
    lay = layout(batch)
    assert lay is not None, "a batch in which something is trained"
    return {
        "padded": batch.mask[:, 1:].numel(),
        "packed": sum(len(path) for path in paths(lay)),
        "shared": len(lay.ids),
        "trained": len(lay.before),
    }


def picture(tok, batch: Batch) -> figures.Drawing:
    """The attention mask of a batch's distinct tokens: a line for each token, dark where it may read."""
    lay = layout(batch)
    assert lay is not None, "a batch in which something is trained"
    words = [tok.decode(int(i)).strip() or "␣" for i in lay.ids]
    figure, (axis,) = figures.panels(1, width=5.2, height=5.4, head=0.9, foot=0.3)
    axis.imshow(sees(lay), cmap="Blues", vmax=1.4)
    axis.grid(False)
    axis.set_title("each line reads the dark columns", pad=42)
    axis.xaxis.tick_top()
    for ticks, turn in ((axis.set_xticks, 90), (axis.set_yticks, 0)):
        ticks(range(len(words)), words, rotation=turn, fontsize=6)
    figure.subplots_adjust(left=0.16)
    return figure
