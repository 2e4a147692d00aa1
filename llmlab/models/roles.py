"""Roles: which models a method of reinforcement learning keeps in memory, and the bytes they take, computed
and measured.
"""

from .memory import MIXED, Precision
from .memory import measured as measured_training

ROLES = {"policy": True, "reference": False, "critic": True, "reward model": False}  # role -> is it trained?
METHODS = {  # method -> the roles that it holds, each a model of the policy's size
    "PPO": ("policy", "reference", "critic", "reward model"),
    "GRPO with a reference": ("policy", "reference"),
    "GRPO": ("policy",),
}


def role_bytes(role: str, parameters: int, precision: Precision = MIXED) -> int:
    """Bytes of a model in a role: 16 a parameter where it is trained with AdamW in mixed precision, 2 where
    it is frozen in bf16.
    """
    p = precision
    return parameters * (p.weight + p.gradient + p.master + p.moments if ROLES[role] else p.frozen)


def method_bytes(method: str, parameters: int, precision: Precision = MIXED) -> int:
    """Bytes of all models of a method, without activations and caches; the verifier of GRPO is a program and
    takes none.
    """
    return sum(role_bytes(role, parameters, precision) for role in METHODS[method])


def held(trained: dict, frozen: list) -> int:
    """Bytes of the tensors that are really there: `trained` models with the optimisers of each, and frozen
    ones.
    """
    moving = sum(measured_training(model, opts).total for model, opts in trained.items())
    return moving + sum(p.numel() * p.element_size() for model in frozen for p in model.parameters())
