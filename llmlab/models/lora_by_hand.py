"""LoRA by hand: a frozen matrix, and beside it a change of low rank (Hu et al. 2021, arXiv 2106.09685)."""

import math

import torch
from torch import Tensor, nn


def scaling(alpha: float, rank: int, stabilised: bool = False) -> float:
    """Factor of the change: α/r, or α/√r with `stabilised` (rsLoRA, Kalajdzievski 2023, arXiv 2312.03732,
    theorem 3.2).
    """
    return alpha / math.sqrt(rank) if stabilised else alpha / rank


def init(rank: int, fan_in: int, fan_out: int) -> tuple[Tensor, Tensor]:
    """A [r, in] uniform within ±1/√in (Kaiming with a = √5, as PEFT has it) and B [out, r] zero: the first
    step changes nothing.
    """
    a = nn.init.kaiming_uniform_(torch.empty(rank, fan_in), a=math.sqrt(5))
    return a, torch.zeros(fan_out, rank)


def lora_forward(
    x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: float, stabilised: bool = False
) -> Tensor:
    """x Wᵀ + s · (x Aᵀ) Bᵀ (eq. 3). x [..., in], W [out, in], A [r, in], B [out, r] -> [..., out]."""
    return x @ W.T + scaling(alpha, len(A), stabilised) * (x @ A.T) @ B.T


def lora_gradients(
    dW: Tensor, A: Tensor, B: Tensor, alpha: float, stabilised: bool = False
) -> tuple[Tensor, Tensor]:
    """dA = s · Bᵀ dW and dB = s · dW Aᵀ, from the gradient dW [out, in] that the full matrix would get.

    While B is zero, dA is zero: in the first step only B moves.
    """
    s = scaling(alpha, len(A), stabilised)
    return s * B.T @ dW, s * dW @ A.T


def merge(W: Tensor, A: Tensor, B: Tensor, alpha: float, stabilised: bool = False) -> Tensor:
    """W + s · B A [out, in]: one matrix that does what the two branches did."""
    return W + scaling(alpha, len(A), stabilised) * B @ A


class LoRALinear(nn.Module):
    """A linear layer [in -> out] whose own weight is frozen and whose A and B are trained."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, stabilised: bool = False):
        super().__init__()
        self.linear, self.alpha, self.stabilised = linear.requires_grad_(False), alpha, stabilised
        self.A, self.B = map(nn.Parameter, init(rank, linear.in_features, linear.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """lora_forward, and the layer's bias where it has one."""
        y = lora_forward(x, self.linear.weight, self.A, self.B, self.alpha, self.stabilised)
        return y if self.linear.bias is None else y + self.linear.bias
