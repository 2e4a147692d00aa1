"""Adapters: a model wrapped with PEFT's LoRA from a few knobs, merged again, and how far the merged model is
from the unmerged one.
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import torch
from torch import Tensor, nn

from ..errors import UserError
from . import quant

if TYPE_CHECKING:  # PEFT takes a second and a half to import, and most runs train no adapter
    from peft import PeftModel

ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
TARGETS = {
    "attention": ATTENTION,
    "mlp": MLP,
    "both": ATTENTION + MLP,
}  # the names that Qwen, Llama, Mistral and Gemma give them
INITS = {
    "kaiming": True,
    "gaussian": "gaussian",
    "orthogonal": "orthogonal",
    "pissa": "pissa",
    "olora": "olora",
}  # our name -> PEFT's
KEEPS = ("kaiming", "gaussian")  # those that leave the base's weights as they are
VARIANTS = ("lora", "rslora", "dora")
STORES = ("fp32", "bf16", "nf4")


class BadAdapter(UserError):
    """Adapters that this model cannot carry; the message names the fix."""


def check(rank: int, init: str, in_4_bits: bool = False) -> None:
    """Raises BadAdapter for settings that do not go together."""
    if init == "orthogonal" and rank % 2:
        raise BadAdapter(
            f"orthogonal adapters need an even rank, not {rank}; choose {rank + 1}, or another --init"
        )
    if in_4_bits and init not in KEEPS:
        raise BadAdapter(
            f"{init} takes its start out of the weights, which 4 bits cannot hold; choose --init kaiming, or"
            " --method lora"
        )


def adapt(
    model,
    rank: int = 8,
    alpha: float = 32.0,
    targets: str = "both",
    init: str = "kaiming",
    variant: str = "lora",
    seed: int = 0,
    tokens: Sequence[int] = (),
) -> "PeftModel":
    """The model with adapters, in place: only they are trained. A function of the settings and the seed.

    rank      r: numbers per row and column of a matrix that its change has
    alpha     the change is α/r · B A (rslora: α/√r)
    targets   attention, mlp or both
    init      kaiming, gaussian: B is zero · orthogonal: B A is zero, A and B are not · pissa, olora: B A is
    taken out of the weights. Nothing
              changes at first in any of them
    variant   lora · rslora (arXiv 2312.03732) · dora: direction and length apart (arXiv 2402.09353)
    tokens    ids whose rows in the embedding (and a tied head) are trained too: adapters on the blocks alone
    cannot give a new token a meaning

    Raises BadAdapter.
    """
    from peft import LoraConfig, get_peft_model

    check(rank, init, bool(quant.layers4bit(model)))
    if not {n.rsplit(".", 1)[-1] for n, _ in model.named_modules()} >= set(TARGETS[targets]):
        raise BadAdapter(
            f"this model has no layers named {', '.join(TARGETS[targets])}; wrap it with peft.LoraConfig and"
            " its own names"
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(TARGETS[targets]),
        init_lora_weights=INITS[init],
        use_rslora=variant == "rslora",
        use_dora=variant == "dora",
        trainable_token_indices=list(tokens) or None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def has_adapters(model) -> bool:
    """Is this a model that PEFT has wrapped?"""
    from peft import PeftModel

    return isinstance(model, PeftModel)


def is_adapter(name: str) -> bool:
    """Does a parameter of this name belong to the adapters?"""
    return "lora_" in name or "trainable_tokens" in name


def trained(model) -> int:
    """Parameters that are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def merged(model: "PeftModel") -> nn.Module:
    """A plain model with the adapters' change inside its weights; the given one stays as it is."""
    return quant.guard(copy.deepcopy(model).merge_and_unload())


def stored_as(model: "PeftModel", store: str) -> "PeftModel":
    """A copy of the model (fp32 base) whose base weights are held in fp32, bf16 or nf4, with the same
    adapters on them.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config = copy.deepcopy(model.peft_config["default"])
    # the adapters are there, and the weights have given up their part
    config.init_lora_weights = False  # type: ignore[attr-defined]
    base = copy.deepcopy(model).unload()
    base = base.to(torch.bfloat16) if store == "bf16" else quant.quantise(base) if store == "nf4" else base
    twin = get_peft_model(base, config)
    set_peft_model_state_dict(twin, get_peft_model_state_dict(model))
    return quant.guard(twin).eval()


@dataclass(frozen=True)
class Drift:
    """Error of the merged model's logits against the unmerged one's: largest and mean size."""

    max: float
    mean: float


@torch.no_grad()
def merge_drift(model: "PeftModel", ids: Tensor, store: str = "fp32") -> Drift:
    """|logits(merged) − logits(unmerged)| on ids [B, T], both with the base in `store`: fp32 and bf16 round,
    nf4 has to quantise again.
    """
    if store not in STORES:
        raise BadAdapter(f"weights are stored as {', '.join(STORES)}, not '{store}'")
    apart = stored_as(model, store)
    together = merged(apart).eval()
    error = (together(input_ids=ids).logits.float() - apart(input_ids=ids).logits.float()).abs()
    return Drift(float(error.max()), float(error.mean()))
