"""Formats: a weight matrix in few bits and back: whole numbers of b bits with one scale a group (round to
nearest), quantiles (NF), the formats of GGUF, and GPTQ, which lets later weights make up for the rounding of
earlier ones. Simulated: the numbers are those of the format, held in the model's own type.
"""

from statistics import NormalDist
from typing import Callable

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..paths import extra
from .quant import NotQuantised, rounded

SCALE_BITS = 16  # what a group's scale takes
DAMP = 0.01  # share of the mean curvature that GPTQ adds to each
Rounding = Callable[[Tensor], Tensor]  # W [out, in] -> what the format gives back, of the same shape


def integer(weight: Tensor, bits: int, group: int) -> Tensor:
    """Whole numbers −2^(b−1)+1 … 2^(b−1)−1 times one scale for each `group` weights of a row: the largest of
    them keeps its size. W [out, in]. Raises NotQuantised where groups do not fill a row.
    """
    rows, scale = _scaled(weight, bits, group)
    return (_nearest(rows / scale, bits) * scale).view_as(weight).to(weight.dtype)


def quantile(weight: Tensor, bits: int, group: int) -> Tensor:
    """NF of b bits: levels at quantiles of the normal distribution, one scale a group. QLoRA, arXiv
    2305.14314. Raises NotQuantised where groups do not fill the matrix.
    """
    return rounded(weight, levels(bits), group)


def levels(bits: int) -> Tensor:
    """2^b levels in [−1, 1], ascending, zero among them: quantiles of the normal distribution."""
    n, inverse = 2 ** (bits - 1), NormalDist().inv_cdf
    edge = 1 - (1 / (2 * 2**bits) + 1 / (2 * (2**bits - 1))) / 2

    def half(m: int) -> list[float]:
        return [inverse(edge + (0.5 - edge) * i / m) for i in range(m)]

    found = torch.tensor(sorted([-x for x in half(n - 1)] + [0.0] + half(n)))
    return found / found.max()


def gguf(weight: Tensor, name: str) -> Tensor:
    """A format of GGUF, by the gguf package's own quantiser. Raises UserError without it, NotQuantised for
    rows that its blocks do not fill.
    """
    quants, kind = _format(name)
    block = quants.GGML_QUANT_SIZES[kind][0]
    if weight.shape[-1] % block:
        raise NotQuantised(f"rows of {weight.shape[-1]} weights do not fill the blocks of {name}, {block}")
    packed = quants.quantize(weight.detach().float().numpy(), kind)
    return torch.from_numpy(quants.dequantize(packed, kind).copy()).to(weight.dtype)


def gguf_bits(name: str) -> float:
    """Bits that a weight takes in a format of GGUF, with its share of the block's scale. Raises UserError."""
    quants, kind = _format(name)
    weights, size = quants.GGML_QUANT_SIZES[kind]
    return 8 * size / weights


def _format(name: str):
    """gguf's module of quantisers, and its name of the format."""
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError:
        raise UserError(f"gguf is not installed; run: {extra('quant')}") from None
    return quants, GGMLQuantizationType[name]


def gptq(weight: Tensor, inputs: Tensor, bits: int, group: int) -> Tensor:
    """As `integer`, column after column: what rounding a column changes in the layer's output is made up for
    by the columns behind it. W [out, in], inputs [n, in] of calibration texts. GPTQ, arXiv 2210.17323

    The error minimised is ‖(W − Ŵ) X‖², with curvature H = XᵀX; a group's scale is taken where it begins.
    """
    left, found = weight.detach().double().clone(), torch.empty_like(weight, dtype=torch.double)
    curvature = inputs.double().T @ inputs.double()
    damp = DAMP * curvature.diagonal().mean().clamp_min(1e-8)
    inverse = torch.linalg.inv(curvature + damp * torch.eye(len(curvature), dtype=torch.double))
    upper = torch.linalg.cholesky(inverse, upper=True)
    scale = torch.ones(len(left), 1, dtype=torch.double)
    for i in range(left.shape[1]):
        if i % group == 0:
            scale = _scaled(left[:, i : i + group], bits, group)[1][:, :, 0]
        found[:, i] = (_nearest(left[:, i : i + 1] / scale, bits) * scale)[:, 0]
        error = (left[:, i] - found[:, i]) / upper[i, i]
        left[:, i:] -= error[:, None] * upper[i, i:]
    return found.to(weight.dtype)


def _scaled(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """(rows of groups [out, in/group, group], scales [out, in/group, 1])."""
    if weight.shape[-1] % group:
        raise NotQuantised(
            f"rows of {weight.shape[-1]} weights do not fill groups of {group}; choose one that divides it"
        )
    rows = weight.detach().view(len(weight), -1, group)
    return rows, (rows.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)).clamp_min(1e-12)


def _nearest(x: Tensor, bits: int) -> Tensor:
    most = 2 ** (bits - 1) - 1
    return x.round().clamp(-most, most)


def bits_a_weight(bits: int, group: int) -> float:
    """What a weight takes with its share of the group's scale."""
    return bits + SCALE_BITS / group


def linears(model) -> dict[str, nn.Linear]:
    """Name -> linear layer, all but the output head."""
    head = model.get_output_embeddings()
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}


def error(before: Tensor, after: Tensor) -> float:
    """Relative root mean square error."""
    return float((after - before).norm() / before.norm())


def integers(bits: int, group: int) -> Callable[[str, Tensor], Tensor]:
    """`integer` as `quantise_with` wants it: every matrix alike."""
    return lambda name, weight: integer(weight, bits, group)


@torch.no_grad()
def quantise_with(model, rounding: Callable[[str, Tensor], Tensor]) -> dict[str, float]:
    """Round every linear layer but the head, in place: (name, W) -> Ŵ. Returns the error of each."""
    errors = {}
    for name, layer in linears(model).items():
        after = rounding(name, layer.weight.data)
        errors[name] = error(layer.weight.data, after)
        layer.weight.data = after
    return errors


@torch.no_grad()
def inputs_of(model, batches) -> dict[str, Tensor]:
    """What each linear layer reads of the tokens of calibration batches. name -> [tokens, in]"""
    seen: dict[str, list[Tensor]] = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, given, name=name: seen.setdefault(name, []).append(given[0].flatten(0, -2))
        )
        for name, layer in linears(model).items()
    ]
    for batch in batches:
        model(input_ids=batch.ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


@torch.no_grad()
def with_outliers(model, size: float, channels: int = 2, seed: int = 0) -> None:
    """Make a few columns of the matrices that every block begins with `size` times as large, and divide the
    norms before them: the same function, in place, with outliers in the weights (the other way round than
    SmoothQuant, arXiv 2211.10438, which moves those of the activations there).
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in model.model.layers:
        reads = {
            layer.input_layernorm: ("q_proj", "k_proj", "v_proj"),
            layer.post_attention_layernorm: ("gate_proj", "up_proj"),
        }
        for norm, names in reads.items():
            chosen = torch.randperm(len(norm.weight), generator=generator)[:channels]
            norm.weight.data[chosen] /= size
            for part in (layer.self_attn, layer.mlp):
                for name in names:
                    if hasattr(part, name):
                        getattr(part, name).weight.data[:, chosen] *= size
