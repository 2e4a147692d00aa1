r"""LaTeX as one line of plain text, for terminals: \frac{\pi_\theta}{\pi_{ref}} is π_θ/π_ref. No torch."""

import re
import unicodedata

SIGNS = dict(
    zip(
        "alpha beta gamma delta varepsilon epsilon eta theta lambda mu pi rho sigma tau".split(),
        "αβγδεεηθλμπρστ",
    )
)
SIGNS |= {
    "nabla": "∇",
    "mid": " | ",
    "sim": " ~ ",
    "cdot": "·",
    "times": "×",
    "le": "≤",
    "ge": "≥",
    "pm": "±",
}
SIGNS |= {"to": "→", "in": " in ", "ldots": "…", "log": "log ", "exp": "exp", "min": "min", "max": "max"}
SIGNS |= {"cos": "cos", "approx": "≈", "quad": "   ", "neq": "≠", "ell": "ℓ"}
LARGE = {"sum": "Σ", "prod": "Π"}
ACCENTS = {"hat": "\u0302", "bar": "\u0304"}
SIZES, SPACES = r"\\(left|right)(?![A-Za-z])", r"\\[,;! ]"
WORDS = r"\\(?:text|mathrm|operatorname|mathbb|mathcal)\{([^{}]*)\}"
OPEN, CLOSE = "\ue000", "\ue001"  # stand for braces that are to be seen


def plain(latex: str) -> str:
    """The formula in one line; what a fraction or an index holds gets brackets where it needs them."""
    out = " ".join(latex.split()).replace(r"\{", OPEN).replace(r"\}", CLOSE).replace(r"\|", "‖")
    out = out.replace(r"\begin{cases}", OPEN).replace(r"\end{cases}", CLOSE)
    out = re.sub(r"\\(begin|end)\{gathered\}", "", out)
    out = re.sub(SIZES, "", out.replace(r"\\", ";").replace("&", " "))
    out = re.sub(r"\\([%_])", r"\1", re.sub(SPACES, " ", out))
    out = re.sub(r"\\([A-Za-z]+)", lambda m: SIGNS.get(m[1], m[0]), out)
    while (simpler := _innermost(out)) != out:
        out = simpler
    out = out.replace("{", "").replace("}", "").replace(OPEN, "{").replace(CLOSE, "}")
    out = re.sub(r"\s+([,;)\]}])", r"\1", re.sub(r"([(\[{])\s+", r"\1", out))
    return unicodedata.normalize("NFC", " ".join(out.split()))


def _innermost(out: str) -> str:
    """Without the commands whose arguments hold no braces any more."""
    out = re.sub(WORDS, r"\1", out)
    for name, mark in ACCENTS.items():
        out = re.sub(rf"\\{name}\{{(.)\}}", rf"\1{mark}", out)
    for name, sign in LARGE.items():
        out = re.sub(rf"\\{name}_\{{([^{{}}]*)\}}\^\{{([^{{}}]*)\}}", rf" {sign}[\1..\2] ", out)
        out = re.sub(rf"\\{name}_\{{([^{{}}]*)\}}", rf" {sign}[\1] ", out)
    out = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", lambda m: f"{_whole(m[1])}/{_whole(m[2])}", out)
    out = re.sub(r"\\binom\{([^{}]*)\}\{([^{}]*)\}", r"choose(\1, \2)", out)
    out = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", out)
    return re.sub(r"([_^])\{([^{}]*)\}", lambda m: m[1] + _whole(m[2]), out)


def _whole(part: str) -> str:
    """The part, in brackets if it would fall apart without them."""
    part, name = part.strip(), r"[\w\u0302,<*√]"
    return part if re.fullmatch(rf"{name}+|\|{name}+\||{name}*\([^()]*\)", part) else f"({part})"
