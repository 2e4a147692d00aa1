"""pairs through DPOTrainer: your own pairs, in the words that prefer has for its losses; whole models
only.
"""

from ..chapters.c06_preferences.pairs import Pairs
from ..chapters.c06_preferences.prefer import Prefer
from . import dpo, prefer

KIND = Pairs
FIXED = dpo.FIXED


def said(k: Pairs) -> Prefer:
    """The same loss as prefer's knobs have it; only those that a loss reads."""
    return Prefer(method=k.loss, beta=k.beta, nll=k.nll, smoothing=k.smoothing, gamma=k.gamma)


DIALS = {  # knob -> TRL's settings
    "loss": lambda k: prefer.DIALS["method"](said(k)),
    **{name: lambda k, name=name: prefer.DIALS[name](said(k)) for name in ("beta", "nll", "smoothing")},
    "steps": dpo.DIALS["steps"],
    "batch": dpo.DIALS["batch"],
}
PASSED = prefer.PASSED | {
    "method": ("", "only whole models go through TRL"),
    **{name: ("", "read by adapters alone") for name in ("rank", "targets")},
}
EXPERIMENTAL = prefer.EXPERIMENTAL.replace("--method", "--loss")
CANNOT = (
    (lambda k: k.loss == "simpo", EXPERIMENTAL.format("simpo")),
    (lambda k: k.loss == "orpo", EXPERIMENTAL.format("orpo")),
    (
        lambda k: k.method != "full",
        "--engine trl trains pairs whole; use --engine lab for adapters, or --method full",
    ),
)
build = dpo.build


def logged(k: Pairs) -> dict[str, str]:
    """What TRL logs beside the loss -> our name for it."""
    return prefer.logged(said(k))
