"""Frozen copies: the reference of DPO and KL, the teacher of a distillation."""

import copy


def frozen_copy(model):
    """A copy that will not move, whatever happens to the model (never reloaded from disk: edits in memory
    count).
    """
    twin = copy.deepcopy(model).eval()
    for p in twin.parameters():
        p.requires_grad_(False)
    return twin
