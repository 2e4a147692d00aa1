"""Many adapters on one frozen base, in one batch: y_i = W x_i + B_s(i) A_s(i) x_i, where s(i) is the slot of
row i's adapter.

The adapters of a layer stand in two stacks; a batch picks each row's pair (gather) and multiplies all rows at
once (bmm), where PEFT loops over the adapters present. Punica (Chen et al., 2023) and S-LoRA (Sheng et al.,
2023) do the same in one kernel that needs no gathered copy.
"""

import threading
from contextlib import contextmanager

import torch
from torch import Tensor

from .adapters import Adapter, check_fits

MAX_RANK = 128


class MixedLoRA:
    """Stacks of adapters beside a model's linear layers, added by forward hooks: outside `rows` the model is
    the untouched base.

    A layer's stacks: A [slots, in, r] and B [slots, r, out], where r is the largest rank so far and smaller
    ranks are padded with zeros (a zero
    row of A and column of B adds nothing). Slot 0 stays zero: the base itself. The output head is no target,
    as in PEFT's "all-linear".
    """

    def __init__(self, model, slots: int, max_rank: int = MAX_RANK):
        head = model.get_output_embeddings()
        self.linears = {
            n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head
        }
        self.max_rank = max_rank
        self.slots, self.stacks, self._now = (
            slots,
            {},
            threading.local(),
        )  # a second batcher on the same model decodes in its own thread
        # layer -> (slots of the rows, their A, their B): the same rows come again at every token
        self._picked = {}
        self._hooks = [m.register_forward_hook(self._hook(name)) for name, m in self.linears.items()]

    def close(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def rows(self, slot: Tensor | int):
        """Within this block row i of every batch belongs to slot[i]; a whole number: all rows belong to that
        slot.
        """
        self._now.slot = slot
        try:
            yield
        finally:
            self._now.slot = 0

    @torch.no_grad()
    def put(self, slot: int, adapter: Adapter) -> None:
        """Load an adapter into a slot, in place of what was there. Raises BadAdapter if it does not fit this
        base.
        """
        check_fits(adapter, self.linears, self.max_rank)
        self._picked.clear()
        for stack in self.stacks.values():
            for side in stack:
                side[slot] = 0
        for layer, (a, b) in adapter.factors.items():
            down, up = self._room(layer, len(a))
            down[slot, :, : len(a)], up[slot, : len(a)] = a.T, b.T

    def _room(self, layer: str, rank: int) -> tuple[Tensor, Tensor]:
        """The layer's stacks, made or widened if the rank needs it."""
        weight = self.linears[layer].weight
        down, up = self.stacks.get(
            layer,
            (
                weight.new_zeros(self.slots, weight.shape[1], 0),
                weight.new_zeros(self.slots, 0, weight.shape[0]),
            ),
        )
        if missing := max(0, rank - up.shape[1]):
            down = torch.cat([down, down.new_zeros(*down.shape[:2], missing)], 2)
            up = torch.cat([up, up.new_zeros(len(up), missing, up.shape[2])], 1)
            self.stacks[layer] = (down, up)
        return down, up

    def bytes(self) -> int:
        """Memory of all stacks, empty slots included."""
        return sum(side.numel() * side.element_size() for stack in self.stacks.values() for side in stack)

    def _hook(self, layer: str):
        def add(module, inputs, output):
            slot = getattr(self._now, "slot", 0)
            if layer not in self.stacks or (isinstance(slot, int) and slot == 0):
                return output
            return output + product(inputs[0], *self._pick(layer, slot))

        return add

    def _pick(self, layer: str, slot: Tensor | int) -> tuple[Tensor, Tensor]:
        """A and B of the rows' slots; gathered once for the same `slot` tensor, unless they are being
        trained.
        """
        if isinstance(slot, int) or torch.is_grad_enabled():
            return gather(*self.stacks[layer], slot)  # type: ignore[call-arg]
        if layer not in self._picked or self._picked[layer][0] is not slot:
            self._picked[layer] = (slot, *gather(*self.stacks[layer], slot))  # type: ignore[call-arg]
        return self._picked[layer][1:]


def gather(down: Tensor, up: Tensor, slot: Tensor | int) -> tuple[Tensor, Tensor]:
    """down [slots, in, r], up [slots, r, out], slot [n] -> each row's A [n, in, r] and B [n, r, out]; one
    slot for all: A [in, r], B [r, out].
    """
    return (
        (down[slot], up[slot])
        if isinstance(slot, int)
        else (down.index_select(0, slot), up.index_select(0, slot))
    )


def product(x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """(x_i A_i) B_i for every row at once: a batched product where each row has its own pair. x [n, q, in] ->
    [n, q, out].
    """
    return x @ down @ up
