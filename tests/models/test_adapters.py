"""Adapters over PEFT: what is trained, that nothing changes at first, merging, and its drift."""

import copy

import pytest
import torch
from helpers_models import tiny
from torch import nn

from llmlab.train import loop
from llmlab.models import adapters, memory, quant
from llmlab.models.frozen import frozen_copy

IDS = torch.randint(0, 1024, (2, 12), generator=torch.Generator().manual_seed(0))
ALL = [(i, v) for i in adapters.INITS for v in adapters.VARIANTS]


@torch.no_grad()
def logits(model, ids=IDS):
    """What the model says, dropout and repacking apart."""
    return model.eval()(input_ids=ids).logits


def moved(model, std=0.02):
    """The model with adapters that do something."""
    g = torch.Generator().manual_seed(1)
    for n, p in model.named_parameters():
        if "lora_B" in n:
            p.data += torch.randn(p.shape, generator=g) * std
    return model


@pytest.mark.parametrize("init, variant", ALL)
def test_nothing_changes_before_the_first_step(base, init, variant):
    before = logits(base.model)
    wrapped = adapters.adapt(base.model, rank=4, init=init, variant=variant)
    assert torch.allclose(logits(wrapped), before, atol=2e-4)
    b = [p for n, p in wrapped.named_parameters() if "lora_B" in n]
    assert all(not p.any() for p in b) == (init in adapters.KEEPS)
    assert not torch.allclose(logits(moved(wrapped)), before, atol=1e-2)


@pytest.mark.parametrize("targets", adapters.TARGETS)
def test_what_is_trained_is_rank_times_in_plus_out_of_the_targets(base, targets):
    shape, wrapped = memory.Shape.of(base.model.config), adapters.adapt(base.model, rank=3, targets=targets)
    assert adapters.trained(wrapped) == shape.adapters(3, targets)
    names = {
        n.split(".lora_")[0].rsplit(".", 1)[-1] for n, p in wrapped.named_parameters() if p.requires_grad
    }
    assert names == set(adapters.TARGETS[targets])


def test_at_ranks_15_10_and_6_the_three_targets_have_equally_many_parameters(base):
    from llmlab.chapters.c05_lora.claims import ALIKE

    shape = memory.Shape.of(base.model.config)
    assert {shape.adapters(r, where) for where, r in ALIKE.items()} == {61_440}


def test_the_adapters_are_a_function_of_the_seed_and_leave_the_global_generator_alone(base):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two, other = (adapters.adapt(copy.deepcopy(base.model), seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    a = [next(p for n, p in m.named_parameters() if "lora_A" in n) for m in (one, two, other)]
    assert torch.equal(a[0], a[1]) and not torch.equal(a[0], a[2])


def test_the_given_model_is_the_wrapped_one(base):
    wrapped = moved(adapters.adapt(base.model))
    assert torch.equal(
        logits(base.model), logits(wrapped)
    )  # whoever holds the model, an exam say, sees the adapters


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_frozen_copy_is_the_model_with_its_adapters_off(base, method):
    if method == "qlora":
        quant.quantise(base.model)
    wrapped = adapters.adapt(base.model)
    reference = frozen_copy(wrapped)
    moved(wrapped)
    with wrapped.disable_adapter():
        off = logits(wrapped)
    assert torch.equal(logits(reference), off) and not torch.allclose(logits(wrapped), off, atol=1e-2)
    assert adapters.trained(reference) == 0


@pytest.mark.parametrize("variant", adapters.VARIANTS)
def test_merged_says_the_same_and_carries_no_adapters(base, variant):
    wrapped = moved(adapters.adapt(base.model, variant=variant))
    before = logits(wrapped)
    plain = adapters.merged(wrapped)
    assert torch.allclose(logits(plain), before, atol=1e-3) and not any(
        "lora" in n for n, _ in plain.named_parameters()
    )
    assert torch.equal(logits(wrapped), before)  # the given one stays


@pytest.mark.parametrize("init", ["kaiming", "pissa"])
def test_merging_drifts_least_in_fp32_and_most_in_4_bits(base, init):
    wrapped = moved(adapters.adapt(base.model, init=init))
    drift = {store: adapters.merge_drift(wrapped, IDS, store) for store in adapters.STORES}
    assert drift["fp32"].max < 1e-3 < drift["bf16"].max < drift["nf4"].max
    assert all(0 < d.mean <= d.max for d in drift.values())


def test_a_copy_in_another_store_has_the_same_adapters(base):
    wrapped = moved(adapters.adapt(base.model))
    assert torch.equal(logits(adapters.stored_as(wrapped, "fp32")), logits(wrapped))
    half = adapters.stored_as(wrapped, "bf16")
    assert {p.dtype for n, p in half.named_parameters() if "lora_" not in n} == {torch.bfloat16}
    assert len(quant.layers4bit(adapters.stored_as(wrapped, "nf4"))) == 4 * 7 and not quant.layers4bit(
        wrapped
    )


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3"])
def test_other_families_take_adapters_too(family):
    wrapped = adapters.adapt(tiny(family), rank=2)
    assert adapters.trained(wrapped) > 0 and all(
        "lora_" in n for n, p in wrapped.named_parameters() if p.requires_grad
    )


@pytest.mark.parametrize(
    "settings, fix",
    [
        (dict(rank=3, init="orthogonal"), "choose 4"),
        (dict(init="pissa"), "--init kaiming"),
        (dict(init="olora"), "--init kaiming"),
    ],
)
def test_settings_that_do_not_go_together_are_one_sentence(base, settings, fix):
    with pytest.raises(adapters.BadAdapter, match=fix):
        adapters.adapt(quant.quantise(base.model), **settings)


def test_a_model_without_such_layers_and_an_unknown_store_are_one_sentence(base):
    with pytest.raises(adapters.BadAdapter, match="no layers named q_proj"):
        adapters.adapt(nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(adapters.BadAdapter, match="not 'int3'"):
        adapters.merge_drift(adapters.adapt(base.model), IDS, "int3")


def test_rows_of_tokens_are_trained_beside_and_merged(base):
    before, shape = (
        base.model.get_input_embeddings().weight.detach().clone(),
        memory.Shape.of(base.model.config),
    )
    wrapped = adapters.adapt(base.model, rank=2, tokens=[3, 5])
    assert adapters.trained(wrapped) == shape.adapters(2) + 2 * shape.hidden
    loss = torch.nn.functional.cross_entropy(
        wrapped(input_ids=IDS[:, :-1]).logits.flatten(0, 1), IDS[:, 1:].flatten()
    )
    loss.backward()
    loop.optimizers(wrapped, "adamw", 1e-2)[0].step()
    said, plain = logits(wrapped), adapters.merged(wrapped)
    after = plain.get_input_embeddings().weight
    assert (
        torch.allclose(logits(plain), said, atol=1e-3) and plain.lm_head.weight.data_ptr() == after.data_ptr()
    )
    assert {i for i in range(len(before)) if not torch.equal(before[i], after[i])} == {3, 5}
