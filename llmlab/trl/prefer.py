"""prefer through DPOTrainer: dpo (smoothed as cDPO), ipo, and imitation of the chosen answers; the pairs are
tokens, so a turn may be a tool call.

TRL's `ipo` divides each log-ratio by the tokens of its answer, as ours does. TRL's `sigmoid` does not read
label_smoothing; its `robust` does, with the other sign. With m the margin, L(m) = -log sigmoid(m) and eps the
smoothing, `robust` is ((1 - eps) L(m) - eps L(-m)) / (1 - 2 eps), and cDPO is

    (1 - eps) L(m) + eps L(-m) = 2 (1 - eps) · sigmoid - (1 - 2 eps) · robust
"""

from ..chapters.c06_preferences.prefer import Prefer
from . import dpo

KIND = Prefer
FIXED = dpo.FIXED
# method -> TRL's losses and their weights; nll adds to the weight of `sft`, the likelihood of the chosen
# answers
LOSSES = {
    "dpo": lambda k: (
        {"sigmoid": 2 * (1 - k.smoothing), "robust": 2 * k.smoothing - 1} if k.smoothing else {"sigmoid": 1.0}
    ),
    "ipo": lambda k: {"ipo": 1.0},
    "sft": lambda k: {"sft": 1.0},
}
DIALS = {  # knob -> TRL's settings
    "method": lambda k: {"loss_type": losses(k)["loss_type"]},
    "beta": lambda k: {"beta": k.beta},
    "nll": lambda k: {"loss_weights": losses(k)["loss_weights"]},
    "smoothing": lambda k: {"label_smoothing": k.smoothing if k.method == "dpo" else 0.0},
    "steps": dpo.DIALS["steps"],
    "batch": dpo.DIALS["batch"],
}
PASSED = {"gamma": ("", "read by simpo alone")}
EXPERIMENTAL = (
    "--method {} is only among TRL's experimental trainers, which may go at any release; use --engine lab, or"
    " --method dpo, ipo or sft"
)
CANNOT = (
    (lambda k: k.method == "simpo", EXPERIMENTAL.format("simpo")),
    (lambda k: k.method == "orpo", EXPERIMENTAL.format("orpo")),
)
build = dpo.build


def losses(k: Prefer) -> dict:
    """TRL's sum of losses: the method's, and `nll` times that of the chosen answers."""
    weights = LOSSES[k.method](k)
    return dpo.weighted(weights | {"sft": weights.get("sft", 0.0) + k.nll})


def logged(k: Prefer) -> dict[str, str]:
    """What TRL logs beside the loss -> our name for it. Its margins and rewards are beta times sums, which
    ipo compares as means.
    """
    return (
        dpo.LOGGED
        if k.method == "dpo"
        else {
            name: ours for name, ours in dpo.LOGGED.items() if k.method == "ipo" and name.startswith("logps/")
        }
    )
