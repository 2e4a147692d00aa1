"""4 bits: NF4 by hand is bitsandbytes', the guard keeps gradients right, and without it they are wrong."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers_models import byte_tokenizer, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llmlab.models import adapters, quant
from llmlab.models.load import BadCheckpoint

IDS = torch.randint(0, 1024, (2, 16), generator=torch.Generator().manual_seed(0))
CPUINFO = Path("/proc/cpuinfo")
HAS_BUG = CPUINFO.exists() and "avx512_bf16" in CPUINFO.read_text()


def linears(model) -> dict[str, nn.Module]:
    """Name -> linear layer that is to be held in 4 bits."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and "lm_head" not in n}


def twin(model):
    """The model with its weights rounded as its 4-bit self has them, in ordinary layers."""
    small, exact = quant.quantise(copy.deepcopy(model)), copy.deepcopy(model)
    for layer, plain in zip(quant.layers4bit(small), linears(exact).values(), strict=True):
        plain.weight.data = quant.dequantise(layer)
    return small, exact


def gradient(model) -> torch.Tensor:
    """The adapters' gradient after an evaluation, as one vector."""
    wrapped = adapters.adapt(model, init="gaussian", seed=3).eval()
    for n, p in wrapped.named_parameters():
        if "lora_B" in n:
            nn.init.normal_(p, std=0.02, generator=torch.Generator().manual_seed(len(n)))
    with torch.no_grad():
        wrapped(input_ids=IDS)
    wrapped.train()
    F.cross_entropy(wrapped(input_ids=IDS).logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
    return torch.cat([p.grad.flatten() for p in wrapped.parameters() if p.requires_grad])


def test_the_levels_are_those_of_bitsandbytes():
    from bitsandbytes.functional import get_4bit_type

    levels = quant.nf4_levels()
    assert torch.allclose(levels, get_4bit_type("nf4", device="cpu"), atol=1e-6)
    assert (
        len(levels) == 16
        and levels[7] == 0
        and levels[0] == -1
        and levels[-1] == 1
        and torch.all(levels.diff() > 0)
    )


def test_by_hand_the_weights_are_those_that_bitsandbytes_computes_with(base):
    plain = copy.deepcopy(base.model)
    small = quant.quantise(base.model, double=False)
    for layer, original in zip(quant.layers4bit(small), linears(plain).values(), strict=True):
        assert torch.allclose(
            quant.dequantise(layer), quant.rounded(original.weight, quant.nf4_levels()), atol=1e-6
        )


def test_double_quantisation_rounds_the_scales_too_and_little(base):
    plain = copy.deepcopy(base.model)
    errors = []
    for layer, original in zip(
        quant.layers4bit(quant.quantise(base.model)), linears(plain).values(), strict=True
    ):
        once = quant.rounded(original.weight, quant.nf4_levels())
        errors.append(((quant.dequantise(layer) - once).norm() / (once - original.weight).norm()).item())
    assert 0 < max(errors) < 0.2  # beside the error of 4 bits itself


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([16, 64]), st.floats(1e-3, 1e3))
def test_codes_are_the_nearest_levels_and_rounding_twice_changes_nothing(seed, block, size):
    weight = torch.randn(8, 2 * block, generator=torch.Generator().manual_seed(seed)) * size
    for levels in (quant.nf4_levels(), quant.INT4):
        codes, absmax = quant.to_codes(weight, levels, block)
        once = quant.from_codes(codes, absmax, levels, weight.shape)
        gap = levels.diff().max() / 2
        assert (once - weight).abs().max() <= absmax.max() * gap * (1 + 1e-5)
        assert torch.equal(
            once.flatten().view(-1, block).abs().amax(1), absmax
        )  # the largest of a block is kept
        assert torch.allclose(quant.rounded(once, levels, block), once, rtol=1e-5)


def test_for_normal_weights_nf4_rounds_less_than_equal_steps():
    weight = torch.randn(64, 1024, generator=torch.Generator().manual_seed(0))
    nf4, int4 = (
        (quant.rounded(weight, levels) - weight).pow(2).mean() for levels in (quant.nf4_levels(), quant.INT4)
    )
    assert nf4 < 0.9 * int4


def test_weights_that_do_not_fill_their_blocks_and_unknown_schemes_are_one_sentence(base):
    with pytest.raises(quant.NotQuantised, match="choose a block"):
        quant.to_codes(torch.zeros(3, 7), quant.INT4)
    with pytest.raises(quant.NotQuantised, match="nf4 or int4, not 'fp4'"):
        quant.quantise(base.model, "fp4")


def test_embeddings_head_and_norms_stay_as_they_are(base):
    before = {n: p.clone() for n, p in base.model.named_parameters()}
    small = quant.quantise(base.model)
    assert len(quant.layers4bit(small)) == 4 * 7 and type(small.lm_head) is nn.Linear
    assert all(torch.equal(p, before[n]) for n, p in small.named_parameters() if "proj" not in n)


def test_after_an_evaluation_the_gradient_is_that_of_the_exactly_dequantised_twin(base):
    small, exact = twin(base.model)
    assert F.cosine_similarity(gradient(small), gradient(exact), 0) > 0.999


@pytest.mark.skipif(not HAS_BUG, reason="this processor has no AVX512-BF16")
@pytest.mark.filterwarnings("ignore")
def test_without_the_guard_the_gradient_is_wrong(base):
    small, exact = twin(base.model)
    for layer in quant.layers4bit(small):
        layer.support_avx512bf16_for_cpu = True
    assert F.cosine_similarity(gradient(small), gradient(exact), 0) < 0.8


def test_a_folder_is_loaded_in_4_bits_as_if_quantised_in_memory(tmp_path):
    model = tiny("qwen3")
    model.save_pretrained(tmp_path), byte_tokenizer().save_pretrained(tmp_path)
    loaded = quant.load_4bit(str(tmp_path))
    assert len(quant.layers4bit(loaded.model)) == 2 * 7 and not any(
        m.support_avx512bf16_for_cpu for m in quant.layers4bit(loaded.model)
    )
    ids = torch.randint(0, 300, (2, 9))
    with torch.no_grad():
        ours, theirs = (
            quant.quantise(model).eval()(input_ids=ids).logits,
            loaded.model.eval()(input_ids=ids).logits,
        )
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert adapters.trained(adapters.adapt(loaded.model, rank=2)) > 0
    with pytest.raises(BadCheckpoint, match="no config.json"):
        quant.load_4bit(str(tmp_path.parent))
