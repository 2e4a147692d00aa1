"""Exact claims about adapters: each function proves its claim on the lab model, or raises AssertionError; it
returns what it found in words.
"""

TENANTS = 32


def merged_is_unmerged() -> str:
    """C061: adapters trained for 40 steps, merged in fp32, in bf16, and into 4 bits: the logits against those
    of the unmerged model.
    """
    from itertools import count

    from ...methods import imitation
    from ...models import adapters
    from ...models.load import load
    from ...train import loop
    from .codes import CodeBook

    loaded, book = load("base"), CodeBook(people=100)
    model = adapters.adapt(loaded.model)
    for _ in loop.steps(
        model, (book.batch_at(loaded.tok, 0, i) for i in count()), imitation.nll, n=40, lr=2e-3
    ):
        pass
    ids = book.batch_at(loaded.tok, 1, 0).ids
    drift = {store: adapters.merge_drift(model, ids, store) for store in adapters.STORES}
    assert drift["fp32"].max < 1e-3, f"merging in fp32 moves a logit by {drift['fp32'].max}"
    assert drift["nf4"].mean > 10 * drift["bf16"].mean > 1000 * drift["fp32"].mean, (
        f"not in this order: {drift}"
    )
    said = ", ".join(f"{store} {d.max:.1g} (mean {d.mean:.1g})" for store, d in drift.items())
    return f"largest error of a logit after merging: {said}"


def one_base_many_adapters() -> str:
    """C063: the bytes of a base with 32 adapters, summed over its tensors, against those of 32 models; the
    same computed for Qwen3-8B.
    """
    from ...models import adapters, memory
    from ...models.load import load

    model = load("chat").model
    whole = sum(p.numel() * p.element_size() for p in model.parameters())
    tenants = adapters.adapt(model, rank=8)
    for i in range(1, TENANTS):
        tenants.add_adapter(f"tenant {i}", tenants.peft_config["default"])
    held, shape = (
        sum(p.numel() * p.element_size() for p in tenants.parameters()),
        memory.Shape.of(model.config),
    )
    assert held == whole + TENANTS * 4 * shape.adapters(8) < TENANTS * whole, (
        f"{held} bytes are not those of one base and {TENANTS} adapters"
    )
    large = memory.QWEN3["Qwen3-8B"]
    copies, shared = 2 * TENANTS * large.parameters, 2 * (large.parameters + TENANTS * large.adapters(8))
    return (
        f"{TENANTS} tenants of rank 8: {held / 1e6:.1f} MB on one base, {TENANTS * whole / 1e6:.0f} MB as"
        f" models of their own; of {large.name} in bf16 {shared / 1e9:.0f} GB, {copies / 1e9:.0f} GB"
    )
