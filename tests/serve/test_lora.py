"""Mixed batches against PEFT with one adapter alone; what is no plain LoRA is refused with one sentence."""

import json
import shutil

import pytest
import torch
from helpers_serve import KINDS, save_random
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from llmlab.serve.adapters import BadAdapter, read_adapter
from llmlab.serve.lora import MixedLoRA, gather, product

NAMES = [None, *KINDS]  # None: the base


@pytest.fixture(scope="module")
def mixed(little, saved):
    """All adapters in slots 1 to 4, slot 0 the base."""
    found = MixedLoRA(little.model, 5)
    for slot, (name, (folder, _)) in enumerate(saved.items(), 1):
        found.put(slot, read_adapter(folder, name, 1))
    yield found
    found.close()


def ids(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(10, 300, (rows, 9), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def alone(little, saved, slot: int, row: torch.Tensor) -> torch.Tensor:
    """PEFT's logits of one row with one adapter (0: without any)."""
    model = saved[NAMES[slot]][1] if slot else little.model
    return model(input_ids=row[None]).logits[0]


@pytest.fixture(scope="module")
def by_peft(little, saved):
    """[row][slot]: PEFT's logits of nine rows with every adapter."""
    return [[alone(little, saved, slot, row) for slot in range(5)] for row in ids(9)]


@settings(max_examples=25, deadline=None)
@given(slots=st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_every_row_of_a_mixed_batch_is_what_peft_says_with_its_adapter_alone(little, by_peft, mixed, slots):
    with torch.no_grad(), mixed.rows(torch.tensor(slots)):
        got = little.model(input_ids=ids(9)[: len(slots)]).logits
    want = torch.stack([by_peft[row][slot] for row, slot in enumerate(slots)])
    torch.testing.assert_close(got, want, atol=1e-5 * float(want.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("slot", range(5))
def test_one_adapter_for_all_rows_needs_no_gather(little, saved, mixed, slot):
    rows = ids(3)
    with torch.no_grad(), mixed.rows(slot):
        got = little.model(input_ids=rows).logits
    want = torch.stack([alone(little, saved, slot, r) for r in rows])
    torch.testing.assert_close(got, want, atol=1e-5 * float(want.abs().max()), rtol=1e-4)


def test_the_adapters_differ_so_that_the_parity_test_could_fail(little, saved):
    row = ids(1)[0]
    said = torch.stack([alone(little, saved, s, row) for s in range(5)])
    assert torch.pdist(said.flatten(1), float("inf")).min() > 0.1


def test_outside_the_block_the_model_is_the_base(little, mixed):
    rows = ids(2)
    with torch.no_grad():
        before = little.model(input_ids=rows).logits
        with mixed.rows(1):
            inside = little.model(input_ids=rows).logits
        assert torch.equal(little.model(input_ids=rows).logits, before) and not torch.equal(inside, before)


def test_a_slot_can_be_taken_over_by_a_smaller_adapter(little, saved):
    one = MixedLoRA(little.model, 2)
    try:
        for name in ("cid", "bob"):
            one.put(1, read_adapter(saved[name][0], name, 1))
        rows = ids(1)
        with torch.no_grad(), one.rows(1):
            got = little.model(input_ids=rows).logits[0]
        torch.testing.assert_close(got, alone(little, saved, 2, rows[0]), atol=1e-4, rtol=1e-4)
    finally:
        one.close()


def test_product_by_hand():
    x, down, up = (
        torch.tensor([[[1.0, 2.0]], [[1.0, 2.0]]]),
        torch.tensor([[[1.0], [0.0]], [[0.0], [1.0]]]),
        torch.tensor([[[10.0]], [[100.0]]]),
    )
    assert product(x, *gather(down, up, torch.tensor([0, 1]))).flatten().tolist() == [
        10.0,
        200.0,
    ]  # row 0: 1·1·10; row 1: 2·1·100


REFUSED = {
    "DoRA": (dict(use_dora=True), "use_dora, which rescales the base's weights"),
    "modules to save": (dict(modules_to_save=["norm"]), "modules_to_save, which replaces whole layers"),
    "biases": (dict(bias="lora_only"), "bias, which changes the base's biases"),
    "trained tokens": (
        dict(trainable_token_indices=[1, 2]),
        "trainable_token_indices, which changes the base's embeddings",
    ),
    "PiSSA": (dict(init_lora_weights="pissa"), "init_lora_weights='pissa', which changes the base's weights"),
    "IA3": (
        dict(peft_type="IA3", feedforward_modules=["up_proj"]),
        "is a IA3Config, and only LoRA is served",
    ),
}


@pytest.mark.parametrize("change, fix", REFUSED.values(), ids=REFUSED)
def test_what_is_no_plain_lora_is_refused_with_one_sentence(saved, tmp_path, change, fix):
    folder = shutil.copytree(saved["ann"][0], tmp_path / "x")
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text()) | change
    if "peft_type" in change:
        config = {"task_type": "CAUSAL_LM", "target_modules": ["up_proj"]} | change
    file.write_text(json.dumps(config))
    with pytest.raises(BadAdapter) as e:
        read_adapter(folder, "x", 1)
    assert fix in str(e.value) and "\n" not in str(e.value)


def broken_tensors(change):
    """A function that rewrites the weights of a folder."""

    def do(folder):
        file = folder / "adapter_model.safetensors"
        save_file(change(load_file(file)), file)

    return do


def infinite(tensors):
    name = next(iter(tensors))
    return tensors | {name: tensors[name] * float("inf")}


BROKEN = {
    "truncated": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(
            (f / "adapter_model.safetensors").read_bytes()[:-100]
        ),
        "truncated or not a safetensors",
    ),
    "not safetensors": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"PK pickle"),
        "truncated or not a safetensors",
    ),
    "empty": (lambda f: (f / "adapter_model.safetensors").write_bytes(b""), "truncated or not a safetensors"),
    "pickle only": (
        lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
        "they can run code",
    ),
    "no config": (lambda f: (f / "adapter_config.json").unlink(), "has no adapter_config.json"),
    "broken config": (lambda f: (f / "adapter_config.json").write_text("{"), "is not a PEFT configuration"),
    "config of nothing": (lambda f: (f / "adapter_config.json").write_text("{}"), "only LoRA is served"),
    "a B is missing": (
        broken_tensors(lambda t: {k: v for i, (k, v) in enumerate(sorted(t.items())) if i != 1}),
        "is missing or unknown",
    ),
    "a layer too many": (
        broken_tensors(lambda t: t | {"base_model.model.odd.weight": torch.zeros(2)}),
        "base_model.model.odd.weight is missing or unknown",
    ),
    "infinite": (broken_tensors(infinite), "not finite"),
}


@pytest.mark.parametrize("damage, fix", BROKEN.values(), ids=BROKEN)
def test_a_broken_adapter_is_one_sentence(saved, tmp_path, damage, fix):
    folder = shutil.copytree(saved["ann"][0], tmp_path / "x")
    damage(folder)
    with pytest.raises(BadAdapter) as e:
        read_adapter(folder, "x", 1)
    assert fix in str(e.value) and "\n" not in str(e.value)


def test_an_adapter_of_another_base_is_refused(shipped, tmp_path, mixed):
    save_random(shipped.model, tmp_path, **KINDS["ann"])
    with pytest.raises(BadAdapter, match="serve it on the base it was trained on"):
        mixed.put(1, read_adapter(tmp_path, "ann", 1))
