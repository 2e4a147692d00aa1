"""Memory of training, computed: weights, gradients, optimiser, activations in bytes, for full fine-tuning,
LoRA and QLoRA.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property

from torch import Tensor

from .adapters import TARGETS, is_adapter
from .quant import BLOCK, layers4bit

METHODS = ("full", "lora", "qlora")
GROUP = 256  # scales that share a scale of their own in double quantisation


@dataclass(frozen=True)
class Shape:
    """What decides the memory of a Qwen3 model."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocab: int
    tied: bool

    @classmethod
    def of(cls, config) -> "Shape":
        """The shape in a transformers config."""
        c = config
        sizes = (
            c.hidden_size,
            c.num_hidden_layers,
            c.num_attention_heads,
            c.num_key_value_heads,
            c.head_dim,
            c.intermediate_size,
            c.vocab_size,
        )
        return cls(c.name_or_path or c.model_type, *sizes, c.tie_word_embeddings)

    @cached_property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(out, in) of a block's linear layers."""
        h, q, kv, m = self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim, self.mlp
        matrices = (q, h), (kv, h), (kv, h), (h, q), (m, h), (m, h), (h, m)
        return dict(zip(TARGETS["both"], matrices))

    @property
    def in_linears(self) -> int:
        """Weights in the linear layers of all blocks: what is held in 4 bits."""
        return self.layers * sum(o * i for o, i in self.linears.values())

    @property
    def elsewhere(self) -> int:
        """Parameters in embeddings, output head and norms."""
        norms = self.layers * 2 * (self.hidden + self.head_dim) + self.hidden
        return self.vocab * self.hidden * (1 if self.tied else 2) + norms

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.in_linears + self.elsewhere

    def adapters(self, rank: int, targets: str = "both") -> int:
        """r · (in + out) for every matrix that carries an adapter."""
        return self.layers * rank * sum(sum(self.linears[name]) for name in TARGETS[targets])


# The configs that are published with the models (Qwen3 technical report, arXiv 2505.09388, table 1;
# config.json of each).
QWEN3 = {
    s.name: s
    for s in (
        Shape("Qwen3-0.6B", 1024, 28, 16, 8, 128, 3072, 151_936, True),
        Shape("Qwen3-1.7B", 2048, 28, 16, 8, 128, 6144, 151_936, True),
        Shape("Qwen3-4B", 2560, 36, 32, 8, 128, 9728, 151_936, True),
        Shape("Qwen3-8B", 4096, 36, 32, 8, 128, 12_288, 151_936, False),
    )
}


@dataclass(frozen=True)
class Precision:
    """Bytes of a frozen weight, a trained weight, its gradient, its fp32 master copy, and its two moments in
    AdamW.
    """

    frozen: int
    weight: int
    gradient: int
    master: int
    moments: int = 8


FP32 = Precision(4, 4, 4, 0)  # the lab's own loop
MIXED = Precision(
    2, 2, 2, 4
)  # bf16 with an fp32 master copy: 16 bytes a trained parameter (ZeRO, arXiv 1910.02054, section 3.1)


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they hold. weights: the base's · adapters: their weights · optimizer: moments and master
    copies.
    """

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    activations: int = 0

    @property
    def total(self) -> int:
        """All together."""
        return sum(getattr(self, f.name) for f in fields(self))


def nf4_bytes(shape: Shape, double: bool = True) -> int:
    """The linear layers in NF4: half a byte a weight, a scale for 64 of them (fp32, or 8 bits with a scale
    for 256), and each layer's tables.

    With double quantisation 0.5 + 1/64 + 4/(64 · 256) bytes = 4.127 bits a weight (QLoRA, section 3), beside
    tables of 1,092 bytes a matrix.
    """
    found = 0
    for out, fan_in in shape.linears.values():
        blocks = -(-out * fan_in // BLOCK)
        scales = blocks + 4 * -(-blocks // GROUP) + 4 * 256 + 4 if double else 4 * blocks
        found += out * fan_in // 2 + scales + 4 * 16
    return shape.layers * found


def training(
    shape: Shape,
    method: str,
    rank: int = 8,
    targets: str = "both",
    precision: Precision = MIXED,
    tokens: int = 0,
    checkpointing: bool = True,
) -> Memory:
    """What training holds in memory, with activations for `tokens` tokens a step (none: 0).

    full: every parameter has a gradient and two moments · lora: only the adapters have · qlora: as lora, the
    linear layers in NF4
    """
    if method not in METHODS:
        raise ValueError(f"a method is {', '.join(METHODS)}, not '{method}'")
    p, adapters = precision, 0 if method == "full" else shape.adapters(rank, targets)
    if method == "full":
        weights = shape.parameters * p.weight
    else:
        weights = shape.elsewhere * p.frozen + (
            nf4_bytes(shape) if method == "qlora" else shape.in_linears * p.frozen
        )
    moved = shape.parameters if method == "full" else adapters
    acts = activations(shape, tokens, p.weight, checkpointing)
    return Memory(weights, adapters * p.weight, moved * p.gradient, moved * (p.master + p.moments), acts)


def activations(shape: Shape, tokens: int, width: int = 2, checkpointing: bool = True) -> int:
    """An estimate of what the backward pass needs of the forward pass, in bytes, with an attention that keeps
    no score matrix.

    block = tokens · width · (4 hidden + 4 q + 4 kv + 4 mlp): inputs of norms, projections, rotations and
    products
    without checkpointing: layers · block; with it: layers · tokens · width · hidden, and one block at a time
    beside both, the logits and their log-softmax in fp32: tokens · vocab · 8
    """
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    block = tokens * width * 4 * (shape.hidden + q + kv + shape.mlp)
    body = shape.layers * tokens * width * shape.hidden + block if checkpointing else shape.layers * block
    return body + tokens * shape.vocab * 8


def planned(model) -> Memory:
    """What a model's training with AdamW will hold: its weights as they lie there, a gradient and two fp32
    moments for those that are trained.
    """
    named = list({id(p): (n, p) for n, p in model.named_parameters()}.values())
    adapters = sum(_bytes(p) for n, p in named if is_adapter(n))
    weights = sum(_bytes(p) for n, p in named if not is_adapter(n)) + sum(
        _tables(layer.weight.quant_state) for layer in layers4bit(model)
    )
    moved = [p for _, p in named if p.requires_grad]
    return Memory(weights, adapters, sum(map(_bytes, moved)), 8 * sum(p.numel() for p in moved))


def measured(model, opts) -> Memory:
    """The bytes of the tensors that are there after a step: as planned, with the gradients and moments that
    were made (step counters left out).
    """
    gradients = {id(p): p.grad for p in model.parameters() if p.grad is not None}
    moments = [
        s
        for o in opts
        for state in o.state.values()
        for s in state.values()
        if isinstance(s, Tensor) and s.ndim
    ]
    return replace(
        planned(model), gradients=sum(map(_bytes, gradients.values())), optimizer=sum(map(_bytes, moments))
    )


def _bytes(t: Tensor) -> int:
    return t.numel() * t.element_size()


def _tables(state) -> int:
    """Scales and tables of a 4-bit matrix."""
    inner = [state.offset, state.state2.absmax, state.state2.code] if state.nested else []
    return sum(map(_bytes, [state.absmax, state.code, *inner]))
