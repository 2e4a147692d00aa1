"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook shows."""

from ...lab.grid import Grid

STUDENTS = ("large", "medium", "small")
SUMS = dict(train="grpo", batch=128, lr=1e-4)  # as in qat's presets
ALONE = dict(writer="data", loss="labels")  # right solutions, and no teacher
SWEEPS = (
    Grid(
        "distill",
        together={"writer": ("data", "teacher", "student"), "beta": (0.0, 1.0)},
        alone={"size": STUDENTS, "loss": ("kl", "token", "labels")},
    ),
    Grid(
        "selfdistill",
        alone={
            "method": ("self", "grpo", "sft"),
            "hint": ("passage", "cited", "other", "none"),
            "beta": (0.0, 1.0),
            "teacher": ("first", "present"),
        },
    ),
    Grid("quantise", alone={"scheme": ("int", "nf", "gptq"), "group": (32, 128), "outliers": (1.0, 30.0)}),
    Grid("qat", together={"when": ("qat", "ptq"), "train": ("kd", "sft")}),
    Grid("merging", together={"base": ("rounded", "full"), "bits": (3, 4)}),
    Grid("specialists", alone={"how": ("opd", "average", "ties", "mix"), "beta": (0.0, 1.0)}),
)
RUNS: list[tuple[str, dict]] = [
    *(("distill", dict(size=size, **how)) for size in STUDENTS for how in (ALONE, {})),
    *(("distill", dict(form=form, **ALONE)) for form in ("answer", "long")),
    *(("qat", dict(when=when, bits=4, **SUMS)) for when in ("ptq", "qat")),
    ("qat", dict(when="ptq", bits=4) | SUMS | dict(lr=3e-4)),
    *(("qat", dict(when="ptq", sampler="rounded", importance=i, **SUMS)) for i in ("truncated", "none")),
    ("quantise", dict(scheme="gguf")),
    ("quantise", dict(scheme="mxfp4")),
    ("quantise", dict(scheme="gptq", calibration="random")),
    ("quantise", dict(outliers=30.0, group=128)),
]
