"""Chapter 05: a change of low rank, its parameters and gradients, 4 bits under it, the memory of training,
and many adapters in one batch.
"""

import random
from statistics import NormalDist

import torch

from ...learn.exercise import Exercise, case

WHOLE = 16_384  # weights that fill whole blocks of 64 and whole groups of 256 blocks


def _draws(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


# ---- the forward pass ----


def lora_forward(x, W, A, B, alpha):
    """x [n, in]; W [out, in] frozen; A [r, in] and B [out, r] trained; r is the rank. Returns [n, out]: for
    each row what the frozen matrix gives, plus alpha / r times what A and then B make of the row.
    """
    return x @ W.T + alpha / len(A) * (x @ A.T) @ B.T


def _lora_forward_merged(x, W, A, B, alpha):
    return x @ (W + alpha / A.shape[0] * B @ A).T


def not_scaled(x, W, A, B, alpha):
    """alpha is not used: the change has to be multiplied by alpha / r."""
    return x @ W.T + x @ A.T @ B.T


def rank_forgotten(x, W, A, B, alpha):
    """You multiply by alpha alone. Divide by the rank, so that the size of the change, and with it a good
    learning rate, hardly depends on r.
    """
    return x @ W.T + alpha * (x @ A.T @ B.T)


def only_the_change(x, W, A, B, alpha):
    """The frozen matrix is missing: an adapter is added to what the base does and does not replace it."""
    return alpha / len(A) * (x @ A.T @ B.T)


def all_scaled(x, W, A, B, alpha):
    """You scale the frozen part as well. Before training B is zero, and then the result must be that of the
    base.
    """
    return alpha / len(A) * (x @ W.T + x @ A.T @ B.T)


def input_for_rank(x, W, A, B, alpha):
    """You divide by the length of the input. The rank is the number of *rows* of A."""
    return x @ W.T + alpha / A.shape[1] * (x @ A.T @ B.T)


def _forward_cases():
    draw = _draws(51)
    W, A, B = (
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        torch.tensor([[1.0, 1.0]]),
        torch.tensor([[2.0], [0.0], [1.0]]),
    )
    shapes = ((1, 4, 3, 2), (3, 6, 5, 4), (2, 5, 7, 3), (4, 3, 3, 1), (5, 8, 2, 2))
    return [
        case("rank 1", torch.tensor([[1.0, 2.0]]), W, A, B, 3.0),
        case("before training B is zero", torch.tensor([[1.0, 2.0]]), W, A, torch.zeros(3, 1), 3.0),
        *(case(f"rank {r}", draw(n, i), draw(o, i), draw(r, i), draw(o, r), 16.0) for n, i, o, r in shapes),
    ]


LORA_FORWARD = Exercise(
    lora_forward,
    "Write the forward pass of a matrix with an adapter beside it.",
    _forward_cases,
    (
        "Two branches read the same x, and their results are added.",
        "x @ A.T has r numbers a row; @ B.T makes out numbers of them.",
        "The second branch is multiplied by alpha / r, and r is len(A).",
    ),
    (_lora_forward_merged,),
    (not_scaled, rank_forgotten, only_the_change, all_scaled, input_for_rank),
)

# ---- what is trained ----


def lora_parameters(shapes, rank):
    """shapes: a list of (out, in), one for each matrix that carries an adapter. Returns how many numbers are
    trained, those of all A [rank, in] and all B [out, rank].
    """
    return rank * sum(out + fan_in for out, fan_in in shapes)


def _lora_parameters_counted(shapes, rank):
    return sum(torch.empty(rank, fan_in).numel() + torch.empty(out, rank).numel() for out, fan_in in shapes)


def whole_matrices(shapes, rank):
    """Those are the weights of the matrices themselves. They are frozen; only A and B are trained."""
    return sum(out * fan_in for out, fan_in in shapes)


def size_of_the_change(shapes, rank):
    """The change B A has out · in numbers, but they are not free: only the rank · (out + in) numbers of A and
    B are trained.
    """
    return rank * sum(out * fan_in for out, fan_in in shapes)


def only_a(shapes, rank):
    """You count A alone. B is trained too, and has out · rank numbers."""
    return rank * sum(fan_in for _, fan_in in shapes)


def taken_as_square(shapes, rank):
    """You take the matrices as square. The MLP's are not, and k and v have fewer rows where heads share them:
    count rank · out and rank · in.
    """
    return 2 * rank * sum(fan_in for _, fan_in in shapes)


def one_matrix(shapes, rank):
    """You count one matrix. Every matrix of the list carries an adapter of its own."""
    out, fan_in = shapes[0]
    return rank * (out + fan_in)


def _parameters_cases():
    r = random.Random(52)
    block = [
        (4096, 4096),
        (1024, 4096),
        (1024, 4096),
        (4096, 4096),
        (12288, 4096),
        (12288, 4096),
        (4096, 12288),
    ]
    return [
        case("one matrix, rank 2", [(3, 5)], 2),
        case("a block of Qwen3-8B, rank 8", block, 8),
        *(
            case(
                "random",
                [(r.randrange(1, 50), r.randrange(1, 50)) for _ in range(r.randrange(2, 6))],
                r.randrange(1, 9),
            )
            for _ in range(6)
        ),
    ]


LORA_PARAMETERS = Exercise(
    lora_parameters,
    "Count the numbers that adapters train.",
    _parameters_cases,
    (
        "How many numbers has A [rank, in], and how many B [out, rank]?",
        "rank · in + out · rank for each matrix.",
        "rank times the sum of out + in over the list.",
    ),
    (_lora_parameters_counted,),
    (whole_matrices, size_of_the_change, only_a, taken_as_square, one_matrix),
)

# ---- the backward pass ----


def lora_gradients(x, dY, A, B, alpha):
    """x [n, in] went in; dY [n, out] is the gradient of the loss with respect to the layer's result; A [r,
    in], B [out, r]; the change is alpha / r · B A. Returns (dA, dB), the gradients of the loss, shaped like A
    and B, summed over the rows of x.
    """
    scale = alpha / len(A)
    return scale * (dY @ B).T @ x, scale * dY.T @ (x @ A.T)


def _lora_gradients_full(x, dY, A, B, alpha):
    dW = dY.T @ x
    return alpha / len(A) * B.T @ dW, alpha / len(A) * dW @ A.T


def _lora_gradients_autograd(x, dY, A, B, alpha):
    A, B = A.clone().requires_grad_(), B.clone().requires_grad_()
    return torch.autograd.grad((alpha / len(A) * (x @ A.T @ B.T) * dY).sum(), (A, B))


def gradient_not_scaled(x, dY, A, B, alpha):
    """The factor alpha / r is part of the forward pass, so it is part of both gradients as well."""
    return (dY @ B).T @ x, dY.T @ (x @ A.T)


def gradient_without_rank(x, dY, A, B, alpha):
    """The factor is alpha / r; you multiply by alpha alone."""
    return alpha * (dY @ B).T @ x, alpha * dY.T @ (x @ A.T)


def gradients_swapped(x, dY, A, B, alpha):
    """The two are in the other order: first dA, then dB."""
    return lora_gradients(x, dY, A, B, alpha)[::-1]


def gradients_averaged(x, dY, A, B, alpha):
    """You average over the rows. If the loss is a mean, dY holds that division already: the rows are
    summed.
    """
    dA, dB = lora_gradients(x, dY, A, B, alpha)
    return dA / len(x), dB / len(x)


def a_never_moves(x, dY, A, B, alpha):
    """You leave A without a gradient. That is so only while B is zero, in the first step: afterwards dA is
    alpha / r · Bᵀ dYᵀ x.
    """
    return torch.zeros_like(A), lora_gradients(x, dY, A, B, alpha)[1]


def _gradient_cases():
    draw = _draws(53)
    x, dY, A, B = (
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([[1.0, 0.0, -1.0]]),
        torch.tensor([[1.0, 1.0]]),
        torch.tensor([[2.0], [0.0], [1.0]]),
    )
    shapes = ((2, 4, 3, 2), (3, 6, 5, 4), (2, 5, 7, 3), (4, 3, 4, 2))
    return [
        case("one row, rank 1", x, dY, A, B, 3.0),
        case("before training B is zero", x, dY, A, torch.zeros(3, 1), 3.0),
        *(
            case(f"{n} rows, rank {r}", draw(n, i), draw(n, o), draw(r, i), draw(o, r), 16.0)
            for n, i, o, r in shapes
        ),
    ]


LORA_GRADIENTS = Exercise(
    lora_gradients,
    "Write the gradients of an adapter's two matrices by hand. What moves in the first step, while B is"
    " zero?",
    _gradient_cases,
    (
        "The full matrix would get dW = dYᵀ x, and the change is alpha / r · B A.",
        "dA = alpha / r · Bᵀ dW and dB = alpha / r · dW Aᵀ.",
        "With B = 0 dA is zero: only B moves. Compare the shapes with those of A and B.",
    ),
    (_lora_gradients_full, _lora_gradients_autograd),
    (gradient_not_scaled, gradient_without_rank, gradients_swapped, gradients_averaged, a_never_moves),
)

# ---- 4 bits ----


def nf4_quantise(block, levels):
    """block [n]: weights that share a scale. levels [k]: ascending numbers from -1 to 1, zero among them.
    Divides the weights by the largest absolute value of the block and takes the nearest level of each.
    Returns (codes, back): codes [n], the numbers of the levels (whole numbers from 0); back [n], the weights
    as the codes and the scale give them back. A block of zeros gets the code of level 0. No weight lies
    exactly between two levels.
    """
    scale = block.abs().max()
    codes = (block[:, None] / scale.clamp_min(1e-12) - levels).abs().argmin(1)
    return codes, levels[codes] * scale


def _nf4_quantise_middles(block, levels):
    scale = max(block.abs().max().item(), 1e-12)
    codes = torch.bucketize(block / scale, (levels[1:] + levels[:-1]) / 2)
    return codes, levels[codes] * scale


def largest_with_sign(block, levels):
    """The scale is the largest weight *without its sign*: where the largest one is negative, your quotient
    leaves the levels' range.
    """
    scale = block.max()
    codes = (block[:, None] / scale.clamp_min(1e-12) - levels).abs().argmin(1)
    return codes, levels[codes] * scale


def equal_steps(block, levels):
    """You round to steps of equal size. The levels of NF4 lie close together near zero, where most weights
    are: take the nearest level.
    """
    scale, last = block.abs().max(), len(levels) - 1
    codes = ((block / scale.clamp_min(1e-12) + 1) / 2 * last).round().long().clamp(0, last)
    return codes, levels[codes] * scale


def not_scaled_back(block, levels):
    """The weights that come back lie between -1 and 1: multiply the levels by the block's scale."""
    codes, _ = nf4_quantise(block, levels)
    return codes, levels[codes]


def level_below(block, levels):
    """You take the level below. The nearest one may be the one above."""
    scale = block.abs().max()
    codes = (torch.bucketize(block / scale.clamp_min(1e-12), levels, right=True) - 1).clamp_min(0)
    return codes, levels[codes] * scale


def divided_by_zero(block, levels):
    """In a block of zeros the scale is zero and you divide by it: 0 / 0 is nan, and its nearest level is
    nonsense.
    """
    scale = block.abs().max()
    codes = (block[:, None] / scale - levels).abs().argmin(1)
    return codes, levels[codes] * scale


def _nf4_levels():
    edge, inverse = 1 - (1 / 32 + 1 / 30) / 2, NormalDist().inv_cdf
    half = lambda n: [inverse(edge + (0.5 - edge) * i / n) / inverse(edge) for i in range(n)]
    return torch.tensor(sorted([-x for x in half(7)] + [0.0] + half(8)))


def _nf4_cases():
    draw, few, nf4 = _draws(54), torch.tensor([-1.0, -0.5, 0.0, 0.25, 1.0]), _nf4_levels()
    return [
        case("five levels", torch.tensor([2.0, 0.6, -0.9, 0.1]), few),
        case("the largest is negative", torch.tensor([-4.0, 1.2, 0.3]), few),
        case("a block of zeros", torch.zeros(3), nf4),
        *(
            case("a block with the 16 levels of NF4", draw(n) * size, nf4)
            for n, size in ((4, 1.0), (8, 0.02), (16, 0.02), (64, 3.0))
        ),
    ]


NF4_QUANTISE = Exercise(
    nf4_quantise,
    "Hold a block of weights in 4 bits: a scale, and for each weight the number of its nearest level.",
    _nf4_cases,
    (
        "Which number makes the block fit exactly into -1 to 1?",
        (
            "The distance of every weight to every level is a table [n, k]; the code is the place of the"
            " smallest in its row."
        ),
        (
            "block[:, None] / scale - levels, then abs and argmin(1); guard the division where the scale is"
            " zero."
        ),
    ),
    (_nf4_quantise_middles,),
    (largest_with_sign, equal_steps, not_scaled_back, level_below, divided_by_zero),
)

# ---- memory ----


def training_bytes(parameters, adapter_parameters, method):
    """Bytes that weights, gradients and AdamW's state take; activations are not counted. A trained number
    takes 16: bf16 weight 2, bf16 gradient 2, fp32 master copy 4, two fp32 moments 8. method "full": all
    `parameters` are trained, and `adapter_parameters` does not count. "lora": `parameters` are frozen in bf16
    (2 bytes each), `adapter_parameters` are trained. "qlora": the same, but `parameters` are frozen in 4
    bits, with a scale of 1 byte for every 64 of them and an fp32 number for every 256 scales (double
    quantisation). `parameters` is a multiple of 16,384. Returns a whole number.
    """
    if method == "full":
        return 16 * parameters
    held = (
        2 * parameters
        if method == "lora"
        else parameters // 2 + parameters // 64 + 4 * parameters // (64 * 256)
    )
    return held + 16 * adapter_parameters


def _training_bytes_parts(parameters, adapter_parameters, method):
    trained = parameters if method == "full" else adapter_parameters
    bits = {"full": 0, "lora": 16, "qlora": 4 + 8 / 64 + 32 / (64 * 256)}[method]  # bits a frozen weight
    return sum(trained * each for each in (2, 2, 4, 8)) + round(parameters * bits / 8)


def gradients_of_the_frozen(parameters, adapter_parameters, method):
    """The frozen weights get no gradient: they are passed through in the backward pass, but nothing is kept
    for them.
    """
    return training_bytes(parameters, adapter_parameters, method) + (
        0 if method == "full" else 2 * parameters
    )


def no_master_copy(parameters, adapter_parameters, method):
    """The fp32 master copy is missing: in bf16 alone most small steps would be rounded away. It takes 4 bytes
    a trained number.
    """
    return training_bytes(parameters, adapter_parameters, method) - 4 * (
        parameters if method == "full" else adapter_parameters
    )


def scales_forgotten(parameters, adapter_parameters, method):
    """4 bits are the codes alone. The scales count too: 1 byte for every 64 weights, and 4 bytes for every
    256 scales.
    """
    scales = parameters // 64 + 4 * parameters // (64 * 256)
    return training_bytes(parameters, adapter_parameters, method) - (scales if method == "qlora" else 0)


def quantised_once(parameters, adapter_parameters, method):
    """You keep the scales in fp32, 4 bytes for every 64 weights. With double quantisation the scales are
    quantised as well, to 1 byte each.
    """
    return (
        parameters // 2 + 4 * parameters // 64 + 16 * adapter_parameters
        if method == "qlora"
        else training_bytes(parameters, adapter_parameters, method)
    )


def adapters_as_weights_only(parameters, adapter_parameters, method):
    """The adapters are trained: they take gradients, master copies and moments like any trained number, 16
    bytes and not 2.
    """
    return training_bytes(parameters, adapter_parameters, method) - (
        0 if method == "full" else 14 * adapter_parameters
    )


def _bytes_cases():
    r, found, methods = random.Random(55), [], ("full", "lora", "qlora")
    for method in methods:
        found.append(case(f"a small model, {method}", WHOLE, 100, method))
    for method in methods:
        found.append(
            case(f"the linear layers of Qwen3-8B, rank 8, {method}", 6_945_767_424, 21_823_488, method)
        )
    return found + [
        case("random", WHOLE * r.randrange(1, 1000), r.randrange(1, 10**6), r.choice(methods))
        for _ in range(6)
    ]


TRAINING_BYTES = Exercise(
    training_bytes,
    "Compute the memory of training: all weights, adapters on a base in bf16, adapters on a base in 4 bits.",
    _bytes_cases,
    (
        "Two questions: which numbers are trained, at 16 bytes each, and how are the others held?",
        "4 bits are half a byte; to it come 1 byte for 64 weights and 4 bytes for 64 · 256 weights.",
        "parameters // 2 + parameters // 64 + 4 * parameters // 16384 + 16 * adapter_parameters for qlora.",
    ),
    (_training_bytes_parts,),
    (gradients_of_the_frozen, no_master_copy, scales_forgotten, quantised_once, adapters_as_weights_only),
)

# ---- many tenants in one batch ----


def mixed_batch(x, A, B, index):
    """x [n, in]: rows of a batch. A [k, r, in] and B [k, out, r]: k adapters, the factor alpha / r already
    inside B. index [n]: the adapter of each row, -1 for a row that asks for the bare base. Returns [n, out]:
    what each row's own adapter adds to the base's result, zero for the bare base.
    """
    low = torch.einsum("ni,nri->nr", x, A[index])
    return torch.einsum("nr,nor->no", low, B[index]) * (index >= 0)[:, None]


def _mixed_batch_rows(x, A, B, index):
    found = torch.zeros(len(x), B.shape[1])
    for row, adapter in enumerate(index.tolist()):
        if adapter >= 0:
            found[row] = B[adapter] @ A[adapter] @ x[row]
    return found


def _mixed_batch_groups(x, A, B, index):
    found = torch.zeros(len(x), B.shape[1])
    for adapter in set(index.tolist()) - {-1}:
        found[index == adapter] = x[index == adapter] @ A[adapter].T @ B[adapter].T
    return found


def last_adapter(x, A, B, index):
    """A row with -1 gets the *last* adapter: A[-1] is no error, so one tenant's style leaks into everybody
    else's answers. Give zero.
    """
    return torch.einsum("nr,nor->no", torch.einsum("ni,nri->nr", x, A[index]), B[index])


def one_for_all(x, A, B, index):
    """The whole batch gets the adapter of its first row. Each row has its own."""
    return mixed_batch(x, A, B, index[:1].expand(len(x)))


def every_adapter(x, A, B, index):
    """You add what all adapters give. Then every tenant hears a little of every other one: take the row's
    own.
    """
    return torch.einsum("knr,kor->no", torch.einsum("ni,kri->knr", x, A), B)


def not_put_back(x, A, B, index):
    """Your results are in the order of the adapters. After grouping, put each row back to its place: else the
    answers go to the wrong users.
    """
    order = index.argsort(stable=True)
    return mixed_batch(x[order], A, B, index[order])


def with_the_input(x, A, B, index):
    """Rows for the bare base are to get zero, for this is what is *added*: the base's own result comes from
    elsewhere. You hand the row itself on.
    """
    found = mixed_batch(x, A, B, index)
    bare = torch.zeros_like(found)
    width = min(x.shape[1], found.shape[1])
    bare[:, :width] = x[:, :width]
    return torch.where((index < 0)[:, None], bare, found)


def _mixed_cases():
    r, draw = random.Random(56), _draws(56)
    A, B = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([[[1.0], [1.0]], [[10.0], [0.0]]])
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    indices = [
        torch.tensor([r.randrange(-1, k) for _ in range(n)]) for k, n in ((3, 5), (4, 8), (2, 6), (5, 9))
    ]
    return [
        case("two adapters of rank 1", rows, A, B, torch.tensor([1, 0, 1])),
        case("a row for the bare base", rows, A, B, torch.tensor([0, -1, 1])),
        *(case("random", draw(len(i), 4), draw(5, 2, 4), draw(5, 3, 2), i) for i in indices),
    ]


MIXED_BATCH = Exercise(
    mixed_batch,
    "Serve a batch whose rows belong to different tenants: each row gets the change of its own adapter, and"
    " of no other.",
    _mixed_cases,
    (
        "A[index] is [n, r, in]: for each row the A of its adapter.",
        "einsum('ni,nri->nr', x, A[index]) first, then the same with B[index].",
        "What does A[index] give where the index is -1? Multiply by (index >= 0)[:, None].",
    ),
    (_mixed_batch_rows, _mixed_batch_groups),
    (last_adapter, one_for_all, every_adapter, not_put_back, with_the_input),
)

EXERCISES = (LORA_FORWARD, LORA_PARAMETERS, LORA_GRADIENTS, NF4_QUANTISE, TRAINING_BYTES, MIXED_BATCH)
