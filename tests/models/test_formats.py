"""Formats: errors within what the step allows, GPTQ against rounding and against its closed form, GGUF's own
quantiser, outliers that change no function.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmlab.models import formats, quant
from llmlab.models.load import load
from llmlab.models.quant import NotQuantised


def matrix(seed: int = 0, rows: int = 16, columns: int = 64) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 50), bits=st.integers(2, 8), group=st.sampled_from([8, 16, 32, 64]))
def test_whole_numbers_are_off_by_half_a_step_at_most_and_stay_when_rounded_again(seed, bits, group):
    w = matrix(seed)
    low = formats.integer(w, bits, group)
    step = w.view(16, -1, group).abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
    assert ((low - w).view(16, -1, group).abs() <= step / 2 + 1e-6).all()
    assert torch.allclose(formats.integer(low, bits, group), low, atol=1e-5)
    for row in (low.view(16, -1, group) / step).round().flatten(0, 1):
        assert len(row.unique()) <= 2**bits - 1


def test_more_bits_and_smaller_groups_err_less():
    w = matrix()
    by_bits = [formats.error(w, formats.integer(w, b, 32)) for b in (2, 3, 4, 5, 6, 8)]
    by_group = [formats.error(w, formats.integer(w, 4, g)) for g in (8, 16, 32, 64)]
    assert by_bits == sorted(by_bits, reverse=True) and by_group == sorted(by_group)


def test_four_bits_of_quantiles_are_nf4():
    assert torch.allclose(formats.levels(4), quant.nf4_levels(), atol=1e-6)
    assert torch.equal(formats.quantile(matrix(), 4, 64), quant.rounded(matrix(), quant.nf4_levels(), 64))
    for bits in (2, 3, 5, 8):
        levels = formats.levels(bits)
        assert len(levels) == 2**bits and 0.0 in levels.tolist() and (levels.diff() > 0).all()


def correlated(seed: int, n: int = 512) -> torch.Tensor:
    """Inputs whose columns hang together, as hidden states do."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 16, generator=g) @ torch.randn(16, 64, generator=g) + 0.1 * torch.randn(
        n, 64, generator=g
    )


def lost(w, low, x) -> float:
    """Error of the layer's output."""
    return float(((low - w) @ x.T).norm() / (w @ x.T).norm())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gptq_errs_less_on_its_inputs_and_more_in_its_weights(seed, bits):
    w, x = matrix(seed), correlated(seed)
    plain, made_up = formats.integer(w, bits, 32), formats.gptq(w, x, bits, 32)
    assert lost(w, made_up, x) < 0.8 * lost(w, plain, x)
    assert formats.error(w, made_up) > formats.error(w, plain)


def test_gptq_is_plain_rounding_where_the_inputs_have_nothing_in_common():
    """Orthogonal inputs of one length: the curvature is a multiple of the unit matrix."""
    w = matrix()
    assert torch.allclose(formats.gptq(w, torch.eye(64) * 3, 4, 16), formats.integer(w, 4, 16), atol=1e-5)


def test_gptq_of_two_columns_is_the_closed_form():
    """The second column takes up −e · H₀₁ / H₁₁ of the first one's error, then is rounded."""
    w, x = matrix(3, rows=5, columns=2), correlated(3)[:, :2]
    low = formats.gptq(w, x, 4, 1)  # groups of one: the scale is the weight, so nothing is lost
    assert torch.allclose(low, w, atol=1e-5)
    low = formats.gptq(w, x, 2, 2)
    scale = w.abs().amax(1)
    first = (w[:, 0] / scale).round().clamp(-1, 1) * scale
    h = x.double().T @ x.double()
    h += formats.DAMP * h.diagonal().mean() * torch.eye(2, dtype=torch.double)
    moved = w[:, 1] + (w[:, 0] - first) * (h[0, 1] / h[1, 1])
    second = (moved / scale).round().clamp(-1, 1) * scale
    assert torch.allclose(low.double(), torch.stack([first.double(), second.double()], 1), atol=1e-5)


@pytest.mark.parametrize(
    "name, most", [("Q8_0", 0.01), ("Q5_0", 0.05), ("Q4_1", 0.1), ("Q4_0", 0.11), ("MXFP4", 0.15)]
)
def test_the_formats_of_gguf(name, most):
    w = matrix(1, 64, 128)
    low = formats.gguf(w, name)
    assert low.shape == w.shape and 0 < formats.error(w, low) < most


def test_q8_0_is_eight_bits_in_groups_of_32():
    w = matrix(2, 8, 64)
    assert torch.allclose(formats.gguf(w, "Q8_0"), formats.integer(w, 8, 32), atol=0.02)


@pytest.mark.parametrize("rounding, told", [
    (lambda w: formats.integer(w, 4, 48), "groups of 48"),
    (lambda w: formats.gguf(w[:, :60], "Q4_0"), "blocks of Q4_0"),
    (lambda w: formats.quantile(w[:3, :5], 4, 64), "do not fill"),
])  # fmt: skip
def test_what_does_not_fill_a_group_is_said(rounding, told):
    with pytest.raises(NotQuantised, match=told):
        rounding(matrix())


def test_outliers_change_no_answer_and_make_rounding_worse():
    model = load("chat").model.eval()
    ids = torch.arange(5, 40)[None]
    say = lambda: model(input_ids=ids, use_cache=False).logits
    with torch.no_grad():
        before = say()
        plain = formats.error(before, rounded(model, 128, ids))
        formats.with_outliers(model, 30.0)
        assert torch.allclose(say(), before, atol=1e-3)
        assert formats.error(before, rounded(model, 128, ids)) > 1.5 * plain


def rounded(model, group: int, ids) -> torch.Tensor:
    import copy

    twin = copy.deepcopy(model)
    formats.quantise_with(twin, lambda _, w: formats.integer(w, 4, group))
    return twin(input_ids=ids, use_cache=False).logits


def test_head_embedding_and_norms_stay():
    model = load("chat").model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    errors = formats.quantise_with(model, lambda _, w: formats.integer(w, 3, 32))
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {f"{name}.weight" for name in errors} and all("_proj" in k for k in changed)


def test_what_a_layer_reads_is_seen_token_by_token():
    from llmlab.tokens.batch import Batch

    model = load("chat").model.eval()
    ids = torch.arange(5, 25).view(2, 10)
    with torch.no_grad():
        seen = formats.inputs_of(model, [Batch(ids, torch.ones(2, 10))])
        first = model.model.layers[0].input_layernorm(model.model.embed_tokens(ids))
    assert torch.allclose(seen["model.layers.0.self_attn.q_proj"], first.flatten(0, 1), atol=1e-6)
    assert not any(m._forward_pre_hooks for m in model.modules()), "no hook stays"


def test_bits_a_weight_counts_the_scales():
    assert formats.bits_a_weight(4, 32) == 4.5
