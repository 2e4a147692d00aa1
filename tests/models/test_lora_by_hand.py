"""LoRA by hand: the closed forms against autograd, against PEFT's layer, and what they imply."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn

from llmlab.models.lora_by_hand import LoRALinear, init, lora_forward, lora_gradients, merge, scaling

SHAPES = st.tuples(
    st.integers(1, 6), st.integers(2, 9), st.integers(2, 9), st.sampled_from([0.5, 8.0, 32.0]), st.booleans()
)
CASES = [(1, 16.0, False), (4, 16.0, False), (4, 16.0, True), (8, 1.0, True)]


def drawn(rank, fan_in, fan_out, seed=0):
    """x [5, in], W [out, in], A [r, in], B [out, r] in double precision, B not zero."""
    g = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*shape, generator=g, dtype=torch.float64)
        for shape in ((5, fan_in), (fan_out, fan_in), (rank, fan_in), (fan_out, rank))
    ]


def pefts(rank, alpha, stabilised, bias=True):
    """(a linear layer wrapped by PEFT with B not zero, the same layer before, PEFT's own layer object)."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(12, 7, bias=bias))
    before = nn.Linear(12, 7, bias=bias)
    before.load_state_dict(plain[0].state_dict())
    wrapped = get_peft_model(
        plain, LoraConfig(r=rank, lora_alpha=alpha, target_modules=["0"], use_rslora=stabilised)
    )
    layer = wrapped.base_model.model[0]
    nn.init.normal_(layer.lora_B["default"].weight)
    return wrapped, before, layer


@settings(max_examples=60, deadline=None)
@given(SHAPES)
def test_merged_and_unmerged_are_one_function(shape):
    rank, fan_in, fan_out, alpha, stabilised = shape
    x, W, A, B = drawn(rank, fan_in, fan_out)
    assert torch.allclose(
        lora_forward(x, W, A, B, alpha, stabilised), x @ merge(W, A, B, alpha, stabilised).T, atol=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(SHAPES)
def test_the_gradients_are_those_of_autograd(shape):
    rank, fan_in, fan_out, alpha, stabilised = shape
    x, W, A, B = drawn(rank, fan_in, fan_out)
    A.requires_grad_(), B.requires_grad_(), W.requires_grad_()
    lora_forward(x, W, A, B, alpha, stabilised).pow(2).sum().backward()
    dA, dB = lora_gradients(W.grad, A, B, alpha, stabilised)
    assert torch.allclose(dA, A.grad, atol=1e-8) and torch.allclose(dB, B.grad, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_the_change_has_no_higher_rank_than_asked_for(shape):
    rank, fan_in, fan_out, alpha, stabilised = shape
    _, W, A, B = drawn(rank, fan_in, fan_out)
    assert torch.linalg.matrix_rank(merge(W, A, B, alpha, stabilised) - W, tol=1e-9) <= rank


@pytest.mark.parametrize("rank, alpha, stabilised", CASES)
def test_forward_gradients_and_merge_are_pefts(rank, alpha, stabilised):
    wrapped, before, layer = pefts(rank, alpha, stabilised)
    ours = LoRALinear(before, rank, alpha, stabilised)
    ours.A.data, ours.B.data = (
        layer.lora_A["default"].weight.data.clone(),
        layer.lora_B["default"].weight.data.clone(),
    )
    x = torch.randn(5, 12)
    mine, theirs = ours(x), wrapped(x)
    assert torch.allclose(mine, theirs, atol=1e-5)
    mine.pow(2).sum().backward(), theirs.pow(2).sum().backward()
    for a, b in ((ours.A, layer.lora_A["default"].weight), (ours.B, layer.lora_B["default"].weight)):
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-4)
    together = merge(before.weight, ours.A, ours.B, alpha, stabilised)
    assert torch.allclose(together, wrapped.merge_and_unload()[0].weight, atol=1e-5)


def test_only_the_adapters_are_trained_and_the_first_step_moves_b_alone():
    torch.manual_seed(0)
    linear = nn.Linear(12, 7)
    layer, x = LoRALinear(linear, 4, 8.0), torch.randn(5, 12)
    assert torch.equal(layer(x), linear(x)) or torch.allclose(
        layer(x), linear(x), atol=1e-6
    )  # a no-op at the start
    opt, before = (
        torch.optim.SGD(layer.parameters(), lr=0.1),
        (layer.A.detach().clone(), layer.B.detach().clone()),
    )
    layer(x).pow(2).sum().backward()
    assert layer.A.grad.abs().max() == 0 and layer.B.grad.abs().max() > 0 and linear.weight.grad is None
    opt.step(), opt.zero_grad()
    assert torch.equal(layer.A, before[0]) and not torch.equal(layer.B, before[1])
    layer(x).pow(2).sum().backward()
    assert layer.A.grad.abs().max() > 0  # from the second step on A moves too


def test_a_starts_within_the_bounds_that_peft_draws_from():
    torch.manual_seed(0)
    A, B = init(8, 64, 32)
    assert A.shape == (8, 64) and B.shape == (32, 8) and not B.any()
    assert A.abs().max() <= 1 / math.sqrt(64) and A.std() == pytest.approx(1 / math.sqrt(3 * 64), rel=0.1)
    torch.manual_seed(0)
    layer = get_peft_model(
        nn.Sequential(nn.Linear(64, 32)), LoraConfig(r=8, target_modules=["0"])
    ).base_model.model[0]
    theirs = layer.lora_A["default"].weight
    assert theirs.abs().max() <= 1 / math.sqrt(64) and not layer.lora_B["default"].weight.any()


def test_the_scaling_of_a_high_rank_falls_slower_when_stabilised():
    assert scaling(16, 4) == 4 and scaling(16, 4, True) == 8 and scaling(16, 1) == scaling(16, 1, True)
