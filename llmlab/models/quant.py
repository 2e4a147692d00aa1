"""4-bit weights: NF4 by hand, NF4 by bitsandbytes in place of a model's linear layers, and plain int4 to
compare with.

QLoRA: Dettmers et al. 2023, arXiv 2305.14314.
"""

from dataclasses import replace
from statistics import NormalDist

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from ..errors import UserError
from .load import BadCheckpoint, Loaded, load

BLOCK = 64  # weights that share a scale
EDGE = (
    1 - (1 / 32 + 1 / 30) / 2
)  # the outermost quantile: 0.9677, halfway between those of 15 and of 16 levels
INT4 = torch.arange(-7, 8) / 7  # fifteen levels at equal distances
SCHEMES = ("nf4", "int4")


class NotQuantised(UserError):
    """A model cannot be held in 4 bits here; the message names the fix."""


def nf4_levels() -> Tensor:
    """The 16 levels of NF4 in [−1, 1], ascending: quantiles of the normal distribution, 7 below zero, zero
    itself, 8 above (section 3, eq. 4).
    """
    inverse = NormalDist().inv_cdf

    def half(n: int) -> list[float]:  # n levels from the edge towards zero, without zero
        return [inverse(EDGE + (0.5 - EDGE) * i / n) for i in range(n)]

    levels = torch.tensor(sorted([-x for x in half(7)] + [0.0] + half(8)))
    return levels / levels.max()


def to_codes(weight: Tensor, levels: Tensor, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """Every `block` weights divided by their largest size, each to its nearest level. W [any shape] -> codes
    [n], absmax [n / block].

    Raises NotQuantised where the weights do not fill their blocks.
    """
    if weight.numel() % block:
        raise NotQuantised(
            f"{weight.numel()} weights do not fill blocks of {block}; choose a block that divides their"
            " number"
        )
    rows = weight.detach().float().reshape(-1, block)
    absmax = rows.abs().amax(1)
    middles = (levels[1:] + levels[:-1]) / 2
    return (
        torch.bucketize(rows / absmax.clamp_min(1e-12).unsqueeze(1), middles.to(rows.device)).flatten(),
        absmax,
    )


def from_codes(codes: Tensor, absmax: Tensor, levels: Tensor, shape) -> Tensor:
    """level[code] · absmax of its block: the weights that a 4-bit layer computes with."""
    return (levels.to(absmax.device)[codes].view(len(absmax), -1) * absmax.unsqueeze(1)).view(shape)


def rounded(weight: Tensor, levels: Tensor, block: int = BLOCK) -> Tensor:
    """The weight as its 4-bit codes give it back."""
    return from_codes(*to_codes(weight, levels, block), levels, weight.shape).to(weight.dtype)


def quantise(model, scheme: str = "nf4", double: bool = True):
    """The model with every linear layer but the output head in 4 bits, in place; embeddings and norms stay as
    they are.

    nf4: bitsandbytes' Linear4bit, 4.13 bits a weight with `double` quantisation (the scales in 8 bits), 4.5
    without.
    int4: weights rounded to 15 equal steps and kept in their own type: the error of plain 4 bits, without its
    saving.
    """
    if scheme not in SCHEMES:
        raise NotQuantised(f"a scheme is {' or '.join(SCHEMES)}, not '{scheme}'")
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child is not head:
                if scheme == "nf4":
                    setattr(parent, name, _linear4bit(child, double))
                else:
                    child.weight.data = rounded(child.weight.data, INT4)
    if scheme == "nf4":
        model.is_loaded_in_4bit = (
            True  # where PEFT looks to choose its 4-bit layers, which dequantise before they merge
        )
    return guard(model)


def guard(model):
    """Switch off bitsandbytes' repacking for CPUs with AVX512-BF16, in place: its packed layers pass no
    gradient back.

    The first evaluation would repack them, and training after it would silently go wrong (bitsandbytes
    0.50.2; cosine of the gradient about 0.4).
    """
    for layer in layers4bit(model):
        layer.support_avx512bf16_for_cpu = False
    return model


def layers4bit(model) -> list[nn.Module]:
    """The model's 4-bit layers."""
    from bitsandbytes.nn import Linear4bit

    return [m for m in model.modules() if isinstance(m, Linear4bit)]


def dequantise(layer) -> Tensor:
    """The weights [out, in] that a 4-bit layer computes with."""
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state)


def load_4bit(name: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Loaded:
    """A folder or hub id in NF4 with double quantisation, read layer by layer, so that the whole model never
    lies in memory unquantised.

    dtype: of the computation, and of what is not quantised. Raises BadCheckpoint with one sentence.
    """
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    loaded = load(name, device, dtype, quantization_config=config, device_map={"": device})
    for layer in layers4bit(loaded.model):  # transformers does not look at the sizes of what it quantises
        if layer.weight.quant_state.shape != (layer.out_features, layer.in_features):
            raise BadCheckpoint(
                f"the weights of '{name}' are not those of its config.json (a layer is"
                f" {list(layer.weight.quant_state.shape)} in the file and"
                f" {[layer.out_features, layer.in_features]} by the config); copy the folder again"
            )
    return replace(loaded, model=guard(loaded.model))


def _linear4bit(linear: nn.Linear, double: bool) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit

    weight, bias = linear.weight, linear.bias is not None
    layer = Linear4bit(
        linear.in_features, linear.out_features, bias, weight.dtype, double, "nf4", device="meta"
    )
    layer.weight = Params4bit(
        weight.data, requires_grad=False, compress_statistics=double, quant_type="nf4", module=layer
    )
    layer.bias = linear.bias
    return layer.to(weight.device)
