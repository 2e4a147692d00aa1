"""An adapter as PEFT saves it: adapter_config.json and adapter_model.safetensors, checked before it may touch
a batch.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .. import paths
from ..errors import UserError

if TYPE_CHECKING:  # PEFT takes a second and a half to import, and most runs serve no adapter
    from peft import LoraConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
PLAIN_STARTS = (
    True,
    False,
    "gaussian",
    "eva",
    "orthogonal",
    "mica",
)  # the others (PiSSA, OLoRA, CorDA, LoftQ …) change the base's weights
# fields of peft.LoraConfig with which an adapter is more than x A^T B^T on the inputs of linear layers
BEYOND_LORA = {
    "use_dora": "rescales the base's weights",
    "modules_to_save": "replaces whole layers of the base",
    "bias": "changes the base's biases",
    "lora_bias": "adds biases",
    "fan_in_fan_out": "is for transposed layers (Conv1D)",
    "trainable_token_indices": "changes the base's embeddings",
    "target_parameters": "targets expert tensors, not linear layers",
    "layer_replication": "copies layers of the base",
    "alora_invocation_tokens": "acts on a part of the prompt only",
    "use_qalora": "pools its inputs",
    "use_bdlora": "has block-diagonal matrices",
    "kasa_config": "changes the base's weights",
    "monteclora_config": "samples its weights",
    "arrow_config": "routes between several adapters",
}


class BadAdapter(UserError):
    """An adapter that is missing, broken or not plain LoRA; the message names the fix."""


@dataclass(frozen=True)
class Adapter:
    """W x becomes W x + B A x in every target. factors: layer -> (A [r, in], B [out, r] with the scaling
    folded in).

    Scaling is alpha / r, and alpha / sqrt(r) for rsLoRA. version 0 = the base itself, without any factors.
    bytes: of A and B as they are stored.
    """

    tenant: str
    version: int
    factors: dict[str, tuple[Tensor, Tensor]]
    fingerprint: str
    bytes: int

    @property
    def name(self) -> str:
        """tenant@version: what an answer says it was made by."""
        return f"{self.tenant}@{self.version}"

    @property
    def rank(self) -> int:
        """The largest rank among the targets."""
        return max((len(a) for a, _ in self.factors.values()), default=0)


BASE = Adapter("base", 0, {}, "base", 0)


def read_config(folder: Path) -> "LoraConfig":
    """The adapter's configuration, by PEFT's own class. Raises BadAdapter if it is missing, unreadable or not
    plain LoRA.
    """
    from peft import LoraConfig, PeftConfig

    if not (folder / CONFIG).is_file():  # PEFT would look for a hub repository of this name
        raise BadAdapter(f"'{folder}' has no {CONFIG}; save the adapter with PEFT's save_pretrained")
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except Exception as e:  # whatever a foreign file leads PEFT into
        said = " ".join(str(e).split())[:80]
        raise BadAdapter(
            f"'{folder / CONFIG}' is not a PEFT configuration ({said}); save the adapter again"
        ) from None
    if not isinstance(config, LoraConfig):
        raise BadAdapter(
            f"'{folder}' is a {type(config).__name__}, and only LoRA is served; train it with peft.LoraConfig"
        )
    for field, effect in BEYOND_LORA.items():
        if getattr(config, field, None) not in (None, False, "none", [], {}):
            raise BadAdapter(
                f"'{folder}' was trained with {field}, which {effect}: it cannot share a batch; train it as"
                f" plain LoRA without {field}"
            )
    if config.init_lora_weights not in PLAIN_STARTS:
        raise BadAdapter(
            f"'{folder}' began with init_lora_weights='{config.init_lora_weights}', which changes the base's"
            " weights; convert it with save_pretrained(path_initial_model_for_weight_conversion=...)"
        )
    return config


def read_adapter(folder: Path, tenant: str, version: int) -> Adapter:
    """Read and check a folder that PEFT's save_pretrained wrote. Safetensors only: a pickle can run code.
    Raises BadAdapter.
    """
    config, file = read_config(folder), folder / WEIGHTS
    if not file.is_file():
        raise BadAdapter(
            f"'{folder}' has no {WEIGHTS}; other weight files are not read (they can run code): save it with"
            " safe_serialization"
        )
    try:
        with safe_open(file, "pt") as f:
            tensors = {name: f.get_tensor(name) for name in f.keys()}
    except (SafetensorError, OSError) as e:
        raise BadAdapter(
            f"'{file}' is truncated or not a safetensors file ({str(e)[:60]}); copy it again"
        ) from None
    if broken := [name for name, t in tensors.items() if not t.float().isfinite().all()]:
        raise BadAdapter(
            f"'{file}' holds numbers that are not finite in {broken[0]}: its training diverged, train it"
            " again with a lower rate"
        )
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    return Adapter(
        tenant, version, _factors(tensors, config, file), paths.hash_files([folder / CONFIG, file]), size
    )


def _factors(
    tensors: dict[str, Tensor], config: "LoraConfig", file: Path
) -> dict[str, tuple[Tensor, Tensor]]:
    """layer -> (A, B · scaling); every A has its B, and nothing else is in the file."""
    ends = {side: f".lora_{side}.weight" for side in "AB"}
    layers = {
        name.removeprefix(PREFIX).removesuffix(ends["A"]) for name in tensors if name.endswith(ends["A"])
    }
    expected = {f"{PREFIX}{layer}{end}" for layer in layers for end in ends.values()}
    if not layers or expected != set(tensors):
        odd = sorted(expected ^ set(tensors))[:1] or ["nothing at all"]
        raise BadAdapter(
            f"'{file}' is not a whole LoRA adapter ({odd[0]} is missing or unknown); save it with PEFT's"
            " save_pretrained"
        )
    factors = {}
    for layer in sorted(layers):
        a, b = (tensors[f"{PREFIX}{layer}{end}"].float() for end in ends.values())
        if a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1]:
            raise BadAdapter(
                f"'{file}' has A {list(a.shape)} and B {list(b.shape)} in {layer}: their ranks differ; save"
                " the adapter again"
            )
        b = b * _scaling(config, layer, len(a), file)
        if not b.isfinite().all():
            raise BadAdapter(f"'{file}' is no longer finite in {layer} when B is scaled; train it again")
        factors[layer] = (a, b)
    return factors


def _scaling(config: "LoraConfig", layer: str, rank: int, file: Path) -> float:
    """alpha / r, or alpha / sqrt(r) for rsLoRA (Kalajdzievski, 2023); a layer may have its own alpha
    (alpha_pattern). Raises BadAdapter for an alpha that is no finite number.
    """
    from peft.utils.other import get_pattern_key

    try:
        own = config.alpha_pattern or {}
        alpha = own.get(get_pattern_key(list(own), layer), config.lora_alpha)
        sound = rank > 0 and math.isfinite(alpha)
    except (TypeError, AttributeError, re.error):
        sound = False
    if not sound:
        raise BadAdapter(
            f"'{file}' is scaled by an alpha that is no finite number in {layer}; mend its {CONFIG}"
        )
    return alpha / (math.sqrt(rank) if config.use_rslora else rank)


def check_fits(adapter: Adapter, linears: dict[str, torch.nn.Linear], max_rank: int) -> None:
    """Every target is a linear layer of the base, of the same size, and no rank is larger than what all
    tenants make room for. Raises BadAdapter.
    """
    if adapter.rank > max_rank:
        raise BadAdapter(
            f"the adapter {adapter.name} has rank {adapter.rank}, and every tenant would pay for more than"
            f" {max_rank}; train it with a lower rank, or serve with --max_rank {adapter.rank}"
        )
    for layer, (a, b) in adapter.factors.items():
        if layer not in linears:
            raise BadAdapter(
                f"the adapter {adapter.name} targets '{layer}', which is no linear layer of this base; serve"
                " it on the base it was trained on"
            )
        w = linears[layer].weight
        if (a.shape[1], len(b)) != (w.shape[1], w.shape[0]):
            raise BadAdapter(
                f"the adapter {adapter.name} expects {a.shape[1]} inputs and {len(b)} outputs in {layer},"
                f" this base has {w.shape[1]} and {w.shape[0]}; serve it on the base it was trained on"
            )
