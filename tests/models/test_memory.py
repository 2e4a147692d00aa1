"""Memory of training: what is computed is what the tensors take, to the byte, and the shapes are those of the
real models.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3Config, Qwen3ForCausalLM

from llmlab.train import loop
from llmlab.models import adapters, flops, memory, quant

IDS = torch.randint(0, 1024, (4, 33), generator=torch.Generator().manual_seed(0))


def config_of(s: memory.Shape) -> Qwen3Config:
    """The shape as a config of transformers."""
    sizes = dict(
        hidden_size=s.hidden,
        num_hidden_layers=s.layers,
        num_attention_heads=s.heads,
        num_key_value_heads=s.kv_heads,
        head_dim=s.head_dim,
    )
    return Qwen3Config(**sizes, intermediate_size=s.mlp, vocab_size=s.vocab, tie_word_embeddings=s.tied)


def stepped(model, method, rank, targets):
    """The model after one step, with its optimisers."""
    if method == "qlora":
        quant.quantise(model)
    if method != "full":
        model = adapters.adapt(model, rank=rank, targets=targets)
    opts = loop.optimizers(model, "adamw", 1e-3)
    F.cross_entropy(
        model(input_ids=IDS[:, :-1], use_cache=False).logits.flatten(0, 1), IDS[:, 1:].flatten()
    ).backward()
    [o.step() for o in opts]
    return model, opts


@pytest.mark.parametrize(
    "name, millions",
    [
        ("Qwen3-0.6B", 596_049_920),
        ("Qwen3-1.7B", 1_720_574_976),
        ("Qwen3-4B", 4_022_468_096),
        ("Qwen3-8B", 8_190_735_360),
    ],
)
def test_the_parameters_are_those_of_the_architecture(name, millions):
    shape = memory.QWEN3[name]
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config_of(shape))
    assert shape.parameters == sum(p.numel() for p in model.parameters()) == millions
    assert memory.Shape.of(model.config).parameters == millions


@pytest.mark.parametrize(
    "method, rank, targets",
    [
        ("full", 8, "both"),
        ("lora", 8, "both"),
        ("lora", 3, "attention"),
        ("qlora", 1, "mlp"),
        ("qlora", 8, "both"),
    ],
)
def test_computed_is_measured_to_the_byte(base, method, rank, targets):
    shape = memory.Shape.of(base.model.config)
    model, opts = stepped(base.model, method, rank, targets)
    found = memory.measured(model, opts)
    assert found == memory.training(shape, method, rank, targets, memory.FP32) == memory.planned(model)
    assert found.total == found.weights + found.adapters + found.gradients + found.optimizer


def test_activations_are_near_what_the_backward_pass_keeps(base):
    kept, own = {}, {p.untyped_storage().data_ptr() for p in base.model.parameters()}

    def keep(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = F.cross_entropy(
            base.model(input_ids=IDS[:, :-1], use_cache=False).logits.flatten(0, 1), IDS[:, 1:].flatten()
        )
    measured = sum(v for k, v in kept.items() if k not in own)
    computed = memory.activations(
        memory.Shape.of(base.model.config), IDS[:, :-1].numel(), 4, checkpointing=False
    )
    assert loss > 0 and computed == pytest.approx(measured, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(memory.QWEN3)),
    st.integers(1, 64),
    st.sampled_from(list(adapters.TARGETS)),
    st.integers(0, 10**5),
)
def test_qlora_takes_less_than_lora_less_than_full_and_all_grow_with_what_they_hold(
    name, rank, targets, tokens
):
    shape = memory.QWEN3[name]
    full, lora, qlora = (memory.training(shape, m, rank, targets, tokens=tokens) for m in memory.METHODS)
    assert qlora.total < lora.total < full.total and full.activations == lora.activations
    assert (
        memory.training(shape, "lora", rank + 1, targets).total
        > memory.training(shape, "lora", rank, targets).total
    )
    assert memory.activations(shape, tokens) <= memory.activations(shape, tokens, checkpointing=False)


def test_full_fine_tuning_in_mixed_precision_takes_16_bytes_a_parameter_and_nf4_about_4_bits():
    shape = memory.QWEN3["Qwen3-8B"]
    assert memory.training(shape, "full").total == 16 * shape.parameters
    assert 8 * memory.nf4_bytes(shape) / shape.in_linears == pytest.approx(4.127, abs=2e-3)
    assert 8 * memory.nf4_bytes(shape, double=False) / shape.in_linears == pytest.approx(4.5, abs=2e-3)


def test_an_unknown_method_is_said():
    with pytest.raises(ValueError, match="full, lora, qlora, not 'half'"):
        memory.training(memory.QWEN3["Qwen3-4B"], "half")


def test_frozen_matrices_save_nearly_a_third_of_a_step(base):
    full = flops.step_gflop(base.model)
    lora = flops.step_gflop(adapters.adapt(base.model, rank=1))
    assert (
        0.62 < lora / full < 0.7
    )  # the tied head saves its third too, and the first block needs no gradient of its input
    assert all(p.grad is None for p in base.model.parameters())
