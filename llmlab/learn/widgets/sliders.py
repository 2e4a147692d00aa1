"""Sliders: a slider or menu for a knob. What was swept can be stopped at only where a slider has a stop, so
that stored points are easy to hit.
"""

from math import ceil, floor, log10

import ipywidgets as w

WIDE = {"description_width": "170px"}


def slider_of(knob, stored: tuple = (), called: str = "") -> w.Widget:
    """A menu, or a slider: stops on round and stored values if the knob was swept, else whole-number,
    logarithmic or plain. ● is: stored. called: its label.
    """
    common = dict(
        description=called or knob.name,
        tooltip=f"{knob.help} [{knob.range}]",
        style=WIDE,
        layout=w.Layout(width="430px"),
    )
    if knob.choices:
        return w.Dropdown(
            options=[(label(v, v in stored), v) for v in knob.choices], value=knob.default, **common
        )
    if stored:
        values = sorted({*stops(knob), *stored, knob.default})
        return w.SelectionSlider(
            options=[(label(v, v in stored), v) for v in values], value=knob.default, **common
        )
    quiet = common | {"continuous_update": False}
    if knob.scale == "log":
        return w.FloatLogSlider(
            value=knob.default,
            base=10,
            min=log10(knob.low),
            max=log10(knob.high),
            step=0.05,
            readout_format=".3g",
            **quiet,
        )
    if knob.kind is int:
        return w.IntSlider(value=knob.default, min=knob.low, max=knob.high, **quiet)
    return w.FloatSlider(
        value=knob.default, min=knob.low, max=knob.high, step=step(knob), readout_format=".3g", **quiet
    )


def stops(knob) -> list:
    """Round values over the knob's range: 1, 2, 5 in each decade on a logarithmic scale, else about twenty
    equal steps.
    """
    if knob.scale == "log":
        decades = range(floor(log10(knob.low)), floor(log10(knob.high)) + 1)
        return [v for d in decades for m in (1, 2, 5) if knob.low <= (v := float(f"{m}e{d}")) <= knob.high]
    size = step(knob)
    return [
        knob.kind(round(i * size, 10))
        for i in range(ceil(knob.low / size - 1e-9), floor(knob.high / size + 1e-9) + 1)
    ]


def step(knob) -> float:
    """A round twentieth of a linear knob's range."""
    rough = (knob.high - knob.low) / 20
    return next(s for m in (1, 2, 5, 10) if (s := m * 10 ** floor(log10(rough))) >= rough * 0.999)


def label(value, stored: bool) -> str:
    """A stop's text; ● says that runs are stored for it."""
    return (value if isinstance(value, str) else f"{value:.4g}") + " ●" * stored
