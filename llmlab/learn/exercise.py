"""Exercise: a function to be written. Right solutions and misconceptions are functions, too; a
misconception's docstring is its hint.
"""

import inspect
import math
import textwrap
from dataclasses import dataclass
from types import ModuleType
from typing import Callable

import torch
from torch import Tensor

LONGEST = 240  # characters of a value that are shown
SMALL = 40  # numbers of a tensor that are shown


@dataclass(frozen=True)
class Case:
    """Arguments to try, and in a few words what they try."""

    about: str
    args: tuple


def case(about: str, *args) -> Case:
    """A case from its arguments."""
    return Case(about, args)


@dataclass(frozen=True)
class Exercise:
    """reference: a right solution; its name is the exercise's name and its docstring the contract. cases:
    readable ones first, then random ones from a fixed seed. hints: three steps. right: further right
    solutions. wrong: misconceptions; the docstring says what is wrong.
    """

    reference: Callable
    task: str
    cases: Callable[[], list[Case]]
    hints: tuple[str, str, str]
    right: tuple[Callable, ...]
    wrong: tuple[Callable, ...]

    @property
    def name(self) -> str:
        """Name of the function to write."""
        return self.reference.__name__

    @property
    def chapter(self) -> str:
        """Number of the chapter: that of the folder the exercise stands in."""
        return self.reference.__module__.split(".")[-2][1:3]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of its arguments, in order."""
        return tuple(inspect.signature(self.reference).parameters)

    @property
    def stub(self) -> str:
        """The function with its contract and an empty body."""
        contract = textwrap.indent(textwrap.fill(f'"""{inspect.getdoc(self.reference)}"""', 96), "    ")
        return f"def {self.name}{inspect.signature(self.reference)}:\n{contract}\n    ...\n"

    @property
    def sources(self) -> list[str]:
        """Source of every right solution, each with the imports it needs."""
        return [_imports(f) + inspect.getsource(f) for f in (self.reference, *self.right)]


def _imports(function: Callable) -> str:
    """Import lines for the modules that a function's code names."""
    code, known = function.__code__, function.__globals__
    inner = [c.co_names for c in code.co_consts if inspect.iscode(c)]
    modules = {
        n: known[n].__name__
        for names in (code.co_names, *inner)
        for n in names
        if isinstance(known.get(n), ModuleType)
    }
    lines = [
        f"import {full}" + (f" as {short}" if full != short else "")
        for short, full in sorted(modules.items())
    ]
    return "\n".join(lines) + "\n\n\n" if lines else ""


# ---- how a result is compared with the wanted one ----


def difference(got, wanted) -> str | None:
    """What is wrong with `got`, as the end of a sentence that begins with "the result"; None if nothing
    is.
    """
    if isinstance(wanted, Tensor) and wanted.ndim == 0:
        wanted = wanted.item()
    if got is None and wanted is not None:
        return "is None: the function needs a `return`"
    if isinstance(wanted, Tensor):
        return _tensor_difference(got, wanted)
    if isinstance(wanted, (bool, int, float)):
        return _number_difference(got, wanted)
    if isinstance(wanted, dict):
        return _dict_difference(got, wanted)
    if isinstance(wanted, (list, tuple)):
        return _list_difference(got, wanted)
    if type(got) is not type(wanted):
        return f"is {kind(got)}; wanted is {kind(wanted)}"
    return None if got == wanted else f"is {short(got)}; wanted is {short(wanted)}"


def _tensor_difference(got, wanted: Tensor) -> str | None:
    if not isinstance(got, Tensor):
        return f"is {kind(got)}; wanted is {kind(wanted)}"
    if got.shape != wanted.shape:
        return f"has the shape {list(got.shape)}; wanted is {list(wanted.shape)}"
    if _dtype(got) != _dtype(wanted):
        return f"holds {_dtype(got)} ({got.dtype}); wanted are {_dtype(wanted)} ({wanted.dtype})"
    got, wanted = got.detach().cpu().double(), wanted.double()
    off = ~torch.isclose(got, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)
    if not off.any():
        return None
    place = tuple(off.nonzero()[0].tolist())
    return f"at {list(place)} is {got[place]:.5g}; wanted is {wanted[place]:.5g}"


def _dtype(tensor: Tensor) -> str:
    return (
        "truth values"
        if tensor.dtype == torch.bool
        else "floats"
        if tensor.is_floating_point()
        else "whole numbers"
    )


def _number_difference(got, wanted) -> str | None:
    if hasattr(got, "item") and getattr(got, "ndim", 0) == 0:
        got = got.item()
    if not isinstance(got, (bool, int, float)) or (isinstance(wanted, bool) and not isinstance(got, bool)):
        return f"is {kind(got)}; wanted is {kind(wanted)}"
    if isinstance(wanted, int) and isinstance(got, float):
        return f"is the float {got:.5g}; wanted is a whole number (int)"
    same = (
        math.isclose(got, wanted, rel_tol=1e-4, abs_tol=1e-5) if isinstance(wanted, float) else got == wanted
    )
    both_nan = got != got and wanted != wanted
    return None if same or both_nan else f"is {short(got)}; wanted is {short(wanted)}"


def _dict_difference(got, wanted: dict) -> str | None:
    if not isinstance(got, dict):
        return f"is {kind(got)}; wanted is a dict"
    if set(got) != set(wanted):
        return f"has the keys {short(list(got))}; wanted are {short(list(wanted))}"
    return next((f"at {k!r} {d}" for k in wanted if (d := difference(got[k], wanted[k]))), None)


def _list_difference(got, wanted) -> str | None:
    if not isinstance(got, (list, tuple)):
        return f"is {kind(got)}; wanted is {kind(wanted)}"
    if len(got) != len(wanted):
        return f"has the length {len(got)}; wanted is {len(wanted)}"
    return next(
        (f"at [{i}] {d}" for i, (g, w) in enumerate(zip(got, wanted)) if (d := difference(g, w))), None
    )


def kind(value) -> str:
    """What a value is, in words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    known = {
        bool: "True or False",
        int: "a whole number",
        float: "a number",
        str: "a string",
        list: "a list",
        tuple: "a tuple",
        dict: "a dict",
    }
    return known.get(type(value)) or f"of type {type(value).__name__}"


def short(value) -> str:
    """A value as it is shown to the learner: rounded and cut to a line or two."""
    text = _written(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def _written(value) -> str:
    if isinstance(value, Tensor):
        return f"tensor({_written(value.tolist())})" if value.numel() <= SMALL else kind(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    if type(value) in (list, tuple):
        inside = ", ".join(map(_written, value))
        return f"[{inside}]" if type(value) is list else f"({inside})"
    if type(value) is dict:
        return "{" + ", ".join(f"{k!r}: {_written(v)}" for k, v in value.items()) + "}"
    return repr(value)
