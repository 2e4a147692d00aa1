"""Random batches as training meets them: rows that begin alike, whole copies, masks in the middle and none,
documents packed into rows.
"""

import torch
from hypothesis import strategies as st

from llmlab.tokens.batch import Batch, pad


@st.composite
def batches(draw, most: int = 8) -> Batch:
    """A batch of at least one row of two tokens; few different tokens, so that many rows begin alike."""
    token = st.integers(1, 3)
    prompts = draw(st.lists(st.lists(token, max_size=4), min_size=1, max_size=3))
    count = draw(st.integers(1, most))
    rows = [[*draw(st.sampled_from(prompts)), *draw(st.lists(token, max_size=5))] for _ in range(count)]
    rows = [row if len(row) > 1 else [1, 2] for row in rows]
    if draw(st.booleans()):
        rows.append(list(rows[0]))
    masks = [draw(st.lists(st.integers(0, 1), min_size=len(r), max_size=len(r))) for r in rows]
    if draw(st.booleans()):
        masks[-1] = [0] * len(rows[-1])
    if not draw(st.booleans()):
        return Batch(pad(rows, 0), pad(masks, 0).float())
    places = [list(range(len(row))) for row in rows]
    ids, mask, positions = (torch.tensor([sum(x, [])]) for x in (rows, masks, places))
    return Batch(ids, mask.float() * (positions > 0), {"positions": positions})
