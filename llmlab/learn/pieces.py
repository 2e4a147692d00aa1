"""Pieces: a row of ids and mask as text again, in runs that are trained and runs that are not."""

import os
from itertools import groupby


def pieces(tok, ids: list[int], mask: list[int]) -> list[dict]:
    """[{"text", "trained"}, …] of a row, in order; together the text that the model sees. A token is trained
    if its mask is 1: then it is what the model is to say at the place before it.

    A letter of which the tokens lie on both sides of a border stands behind it.
    """
    found, whole, end, at = [], decoded(tok, ids), 0, 0
    for trained, run in groupby(mask):
        end += len(list(run))
        upto = len(whole) if end == len(ids) else len(os.path.commonprefix([whole, decoded(tok, ids[:end])]))
        found.append({"text": whole[at:upto], "trained": bool(trained)})
        at = upto
    return found


def decoded(tok, ids: list[int]) -> str:
    """The text of ids, control tokens included, as it is."""
    return tok.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
