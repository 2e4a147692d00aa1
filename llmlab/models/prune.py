"""Prune: a model cut down to fewer layers, attention heads and MLP neurons, the plainest way to a student of
a given size. Structured pruning; Minitron, arXiv 2407.14679; DistilBERT, arXiv 1910.01108.
"""

import copy

import torch
from torch import Tensor, nn

from ..errors import UserError


def pruned(model, layers: int, heads: int, neurons: int):
    """A copy with the first `layers` decoder layers, and in each of them the `heads` heads and the `neurons`
    neurons of the MLP with the largest weights. It answers little that is right until it is trained again.

    A head's size is ‖V‖·‖O‖, a neuron's ‖gate‖·‖up‖·‖down‖. Raises UserError where the model has fewer, or
    where its heads share keys and values.
    """
    c = model.config
    if c.num_attention_heads != c.num_key_value_heads:
        raise UserError("heads that share keys and values are not cut here; choose a model without them")
    for asked, have, what in (
        (layers, c.num_hidden_layers, "layers"),
        (heads, c.num_attention_heads, "heads"),
        (neurons, c.intermediate_size, "neurons"),
    ):
        if not 1 <= asked <= have:
            raise UserError(f"this model has {have} {what}; choose 1 to {have}, not {asked}")
    student = copy.deepcopy(model)
    student.model.layers = nn.ModuleList(student.model.layers[:layers])
    for layer in student.model.layers:
        keep_heads(layer.self_attn, heads, c.head_dim)
        keep_neurons(layer.mlp, neurons)
    student.config.update(
        dict(
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            intermediate_size=neurons,
            layer_types=student.config.layer_types[:layers],
        )
    )
    return student


@torch.no_grad()
def keep_heads(attention, heads: int, width: int) -> None:
    """Leave the largest heads of an attention layer, in place."""
    v = attention.v_proj.weight.view(-1, width, attention.v_proj.in_features).flatten(1).norm(dim=1)
    o = attention.o_proj.weight.view(attention.o_proj.out_features, -1, width).norm(dim=(0, 2))
    rows = (largest(v * o, heads)[:, None] * width + torch.arange(width)).flatten()
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        _outputs(projection, rows)
    _inputs(attention.o_proj, rows)


@torch.no_grad()
def keep_neurons(mlp, neurons: int) -> None:
    """Leave the largest neurons of an MLP, in place."""
    size = mlp.gate_proj.weight.norm(dim=1) * mlp.up_proj.weight.norm(dim=1)
    rows = largest(size * mlp.down_proj.weight.norm(dim=0), neurons)
    _outputs(mlp.gate_proj, rows)
    _outputs(mlp.up_proj, rows)
    _inputs(mlp.down_proj, rows)


def largest(size: Tensor, n: int) -> Tensor:
    """Numbers of the n largest, ascending."""
    return size.topk(n).indices.sort().values


def _outputs(linear: nn.Linear, rows: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight[rows].clone())
    linear.out_features = len(rows)


def _inputs(linear: nn.Linear, columns: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight[:, columns].clone())
    linear.in_features = len(columns)
