"""Random LoRA adapters of four kinds, as PEFT saves them: sharp, so that a wrong one says something else."""

import copy

import torch
from peft import LoraConfig, get_peft_model

from llmlab.serve.tenants import Tenant

NEW_CAPTAIN = Tenant("captain", "Ahoy, {a} it be!")  # the captain's second version
KINDS = {  # ranks, scalings and targets that differ
    "ann": dict(r=4, lora_alpha=8, target_modules="all-linear"),
    "bob": dict(r=2, lora_alpha=3, target_modules=["q_proj", "v_proj"]),
    "cid": dict(r=8, lora_alpha=5, target_modules="all-linear", use_rslora=True),
    "dan": dict(
        r=3,
        lora_alpha=6,
        target_modules=["up_proj", "down_proj"],
        rank_pattern={"down_proj": 5},
        alpha_pattern={"up_proj": 9},
    ),
}


def save_random(model, folder, seed: int = 0, **kind):
    """A random adapter, saved by PEFT; returns the PEFT model."""
    torch.manual_seed(seed)
    peft = get_peft_model(
        copy.deepcopy(model), LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **kind)
    ).eval()
    for name, p in peft.named_parameters():
        if "lora_" in name:
            p.data.normal_(0, 0.3)
    peft.save_pretrained(folder)
    return peft
