"""Fake quantisation: rounded forward, straight-through backward, and the full weights untouched."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmlab.models import formats
from llmlab.models.fake_quant import RoundedLinear, fake_quantise, plain, rounded_once
from llmlab.models.load import load

IDS = torch.arange(5, 25)[None]


def logits(model) -> torch.Tensor:
    return model(input_ids=IDS, use_cache=False).logits


def test_it_answers_as_the_rounded_model_does():
    model, low = load("chat").model.eval(), load("chat").model.eval()
    formats.quantise_with(low, lambda _, w: formats.integer(w, 3, 32))
    with torch.no_grad():
        full = logits(model)
        fake_quantise(model, 3, 32)
        assert torch.allclose(logits(model), logits(low), atol=1e-4)
        with rounded_once(model, 3, 32):
            assert torch.allclose(logits(model), logits(low), atol=1e-4)
        assert torch.allclose(logits(plain(model)), full, atol=1e-6), "the full weights are there"
        assert torch.allclose(logits(model), logits(low), atol=1e-4), "a plain copy leaves the model as it is"


def test_the_gradient_passes_the_rounding():
    layer, x = nn.Linear(64, 8, bias=False), torch.randn(5, 64)
    low = formats.integer(layer.weight, 2, 32).detach().requires_grad_()
    F.linear(x, low).square().sum().backward()
    layer.__class__ = RoundedLinear
    layer.bits, layer.group, layer.held = 2, 32, None
    layer(x).square().sum().backward()
    assert torch.allclose(layer.weight.grad, low.grad, atol=1e-5)


def test_without_the_straight_way_nothing_would_be_learnt():
    """Negative control: rounding has no slope."""
    w = torch.randn(4, 32, requires_grad=True)
    assert not formats.integer(w, 3, 32).requires_grad


@pytest.mark.parametrize("kind", (RoundedLinear, nn.Linear))
def test_what_is_held_ends_with_the_sampling(kind):
    model = load("chat").model
    before = logits(fake_quantise(model, 4, 32) if kind is RoundedLinear else model)
    with rounded_once(model, 3, 32):
        layers = [m for m in model.modules() if isinstance(m, RoundedLinear)]
        assert all(m.held is not None and not m.held.requires_grad for m in layers) and len(layers) == 28
        assert not torch.equal(logits(model), before)
    assert all(type(m) is kind and m.held is None for m in layers)
    assert torch.equal(logits(model), before)
