"""Mechanisms: small pictures of one formula each, whose inputs are dragged. The browser computes everything
(mechanisms.js); Python only passes the numbers of real matrices, and draws one still picture of each for
readers without a kernel.
"""

import base64
from functools import cache
from typing import Callable

import anywidget
import matplotlib
import numpy as np
import traitlets

from ...errors import UserError
from .. import figures
from .scripts import script

BINS = 200
BLOCKS = (64, 128, 256)  # weights that share a scale
WEIGHTS = "model.layers.1.mlp.up_proj.weight"
UPDATED = "model.layers.1.self_attn.q_proj.weight"
BLUE, ORANGE, GREEN, GREY = *figures.COLOURS[:3], "#808080"


class Mechanism(anywidget.AnyWidget):
    """One formula as a picture whose inputs are dragged: `Mechanism("clip")`.

    clip: min(r·A, clip(r, 1-low, 1+high)·A) and its gradient. PPO eq. 7, arXiv 1707.06347; higher high: DAPO
    section 3.1, arXiv 2503.14476
    group: A_i = (r_i - mean) / (std + eps) and its relatives. GRPO arXiv 2402.03300, Dr. GRPO 2503.20783,
    RLOO 2402.14740
    dpo: -log sigmoid(margin), margin = beta·(log pi/ref (chosen) - log pi/ref (rejected)). DPO eq. 7, arXiv
    2305.18290
    kl: KL(p || q) = sum p log(p/q) against KL(q || p), for q one Gaussian. Minka 2005; distillation: arXiv
    2306.08543
    nf4: quantiles of the normal distribution as levels, against equal steps. QLoRA eq. 4, arXiv 2305.14314
    lora: a rank-r update, r·(in + out) parameters for in·out. LoRA eq. 3, arXiv 2106.09685
    schedule: linear warm-up and decay (train.loop.rate), and the tokens of a run by its replay share. arXiv
    2403.08763 (which decays along a cosine)
    """

    _esm = script("mechanisms")
    kind = traitlets.Unicode().tag(sync=True)
    data = traitlets.Dict().tag(sync=True)

    def __init__(self, kind: str):
        if kind not in PICTURES:
            raise UserError(f"there is no mechanism '{kind}'; there are {', '.join(PICTURES)}")
        super().__init__(kind=kind, data=DATA.get(kind, dict)())

    def __str__(self) -> str:
        return f"Mechanism('{self.kind}'): run this cell in Jupyter to drag its points"

    def _repr_mimebundle_(self, **options):
        data, metadata = super()._repr_mimebundle_(**options)
        still = base64.b64encode(figures.png(self.picture())).decode()
        return data | {"text/plain": str(self), "image/png": still}, metadata

    def picture(self) -> figures.Drawing:
        """The mechanism at its first setting, as a still figure."""
        with matplotlib.rc_context(figures.STYLE):
            figure, (axis,) = figures.panels(1, width=5.6, height=2.8)
            figure.subplots_adjust(left=0.12)
            PICTURES[self.kind](axis, self.data)
            if axis.get_legend_handles_labels()[1]:
                axis.legend(fontsize=8)
        return figure


# ---- numbers of real matrices ----


@cache
def weights_in_blocks() -> dict:
    """A matrix of `base`: histogram of its weights over the largest of their block, error of NF4 and int4."""
    from ...models.load import load
    from ...models.quant import INT4, nf4_levels

    weight = load("base").model.get_parameter(WEIGHTS).detach().float()
    levels = {"nf4": nf4_levels(), "int4": INT4}
    return {
        "name": _short(WEIGHTS),
        "levels": {scheme: found.tolist() for scheme, found in levels.items()},
        "square": float(weight.square().mean()),
        "blocks": [_block(weight, levels, size) for size in BLOCKS],
    }


def _block(weight, levels: dict, size: int) -> dict:
    from ...models.quant import rounded

    rows = weight.reshape(-1, size)
    scaled = (rows / rows.abs().amax(1, keepdim=True)).flatten().numpy()
    counts, _ = np.histogram(scaled, bins=BINS, range=(-1, 1))
    errors = {
        scheme: float((rounded(weight, found, size) - weight).square().mean())
        for scheme, found in levels.items()
    }
    return {"size": size, "shares": (counts / counts.sum()).tolist(), "mse": errors}


@cache
def update_spectrum() -> dict:
    """Singular values of what full fine-tuning changed in one matrix, from `base` to `chat`."""
    import torch

    from ...models.load import load

    before, after = (load(name).model.get_parameter(UPDATED).detach().float() for name in ("base", "chat"))
    values = torch.linalg.svdvals(after - before)
    return {"name": _short(UPDATED), "shape": list(before.shape), "values": values.tolist()}


def _short(name: str) -> str:
    """layers.1.self_attn.q_proj of a parameter's full name."""
    return name.removeprefix("model.").removesuffix(".weight")


DATA: dict[str, Callable[[], dict]] = {"nf4": weights_in_blocks, "lora": update_spectrum}


# ---- still pictures ----


def _clip(axis, data: dict) -> None:
    r = np.linspace(0, 2, 201)
    for A, colour in ((1, BLUE), (-1, ORANGE)):
        axis.plot(r, np.minimum(r * A, r.clip(0.8, 1.2) * A), color=colour, label=f"advantage {A:+d}")
    axis.axvspan(0.8, 1.2, color=GREY, alpha=0.2, linewidth=0)
    axis.set(title="The PPO clip, ε = 0.2", xlabel="ratio r", ylabel="objective (units of A)")


def _group(axis, data: dict) -> None:
    import torch

    from ...methods.advantages import ADVANTAGES

    rewards, group = torch.tensor([1, 0, 0, 1, 0, 0.5, 0, 0]), torch.zeros(8, dtype=torch.long)
    for k, (name, rule) in enumerate(ADVANTAGES.items()):
        colour = (GREY, BLUE, ORANGE, GREEN)[k]
        places = np.arange(1, 9) + 0.2 * (k - 1.5)
        axis.bar(places, rule(rewards, group)[:, 0].numpy(), 0.18, color=colour, label=name)
    axis.set(title="Advantages of eight answers, rewards 1 0 0 1 0 0.5 0 0", xlabel="answer")
    axis.set_ylabel("advantage")


def _dpo(axis, data: dict) -> None:
    z = np.linspace(-6, 6, 121)
    axis.plot(z, np.logaddexp(0, -z), color=BLUE, label="loss −log σ(margin)")
    axis.plot(z, 1 / (1 + np.exp(z)), color=ORANGE, linestyle="--", label="weight ÷ β, σ(−margin)")
    axis.set(title="The loss of DPO", xlabel="margin (log-ratios, times β)", ylabel="loss (nats), weight")


def _kl(axis, data: dict) -> None:
    normal = lambda x, mean, width: np.exp(-(((x - mean) / width) ** 2) / 2) / width / np.sqrt(2 * np.pi)
    x = np.linspace(-6, 6, 241)
    axis.fill_between(x, 0.6 * normal(x, -2, 0.6) + 0.4 * normal(x, 2, 0.6), alpha=0.3, color=BLUE, label="p")
    axis.plot(x, normal(x, -0.4, 2.05), color=ORANGE, label="q of least KL(p‖q)")
    axis.plot(x, normal(x, -2, 0.6), color=GREEN, linestyle="--", label="q of least KL(q‖p)")
    axis.set(title="Mode covering and mode seeking", xlabel="x", ylabel="density (per unit of x)")


def _nf4(axis, data: dict) -> None:
    edges = np.linspace(-1, 1, BINS + 1)
    axis.stairs(100 * np.array(data["blocks"][0]["shares"]), edges, fill=True, color=BLUE, alpha=0.4)
    for level in data["levels"]["nf4"]:
        axis.axvline(level, color=ORANGE, linewidth=0.9)
    axis.set(title=f"The 16 levels of NF4 and the weights of {data['name']}", ylabel="% of the weights a bin")
    axis.set_xlabel("weight / largest weight of its block of 64")


def _lora(axis, data: dict) -> None:
    squares, (rows, columns) = np.square(data["values"]), data["shape"]
    ranks = np.arange(1, len(squares) + 1)
    axis.plot(ranks, squares.cumsum() / squares.sum(), color=BLUE, label="squared norm kept")
    axis.plot(ranks, ranks * (rows + columns) / rows / columns, "--", color=GREEN, label="parameters")
    axis.set(title=f"From base to chat: the update of {data['name']}", xlabel="rank r", ylabel="share")


def _schedule(axis, data: dict) -> None:
    from ...train.loop import rate

    axis.plot([2e-3 * rate(step, 150, 20, 0.1) for step in range(150)], color=BLUE)
    axis.set(title="Warm-up over 20 of 150 steps, then linear decay", xlabel="step", ylabel="learning rate")
    axis.ticklabel_format(axis="y", scilimits=(-3, -3))


PICTURES = dict(clip=_clip, group=_group, dpo=_dpo, kl=_kl, nf4=_nf4, lora=_lora, schedule=_schedule)
