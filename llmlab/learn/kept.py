"""kept: a learner's function may put anything in the place of torch.softmax, math.exp or print; after the
block, the modules that everything here computes with are as they were, and what would have ended the process
has raised SystemExit instead.
"""

import builtins
import math
import os
import random
import sys
from contextlib import contextmanager
from typing import Iterator

import numpy as np
import torch

OWNERS = (builtins, math, random, np, torch, torch.nn, torch.nn.functional, torch.Tensor, torch.optim)
ENDS = ("_exit", "abort", "kill", "killpg", "execv", "execve")  # of os: they leave no kernel behind
REAL = {name: getattr(os, name) for name in ENDS if hasattr(os, name)}


def _ended(*given, **named):
    raise SystemExit("it tried to end the process")


@contextmanager
def kept() -> Iterator[None]:
    """Modules, torch's defaults, the recursion limit, the working folder: as before at the end."""
    before = [(owner, dict(vars(owner))) for owner in OWNERS]
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    recursion, folder = sys.getrecursionlimit(), os.getcwd()
    try:
        with _stays_alive():
            yield
    finally:
        for owner, names in before:
            _put_back(owner, names)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        sys.setrecursionlimit(recursion)
        os.chdir(folder)


def _put_back(owner, names: dict) -> None:
    """Names that were changed, removed, or (in a class, where they would hide an inherited one) added. What a
    module got by itself, an import of a part, stays.
    """
    now = vars(owner)
    for name in [n for n, value in names.items() if n not in now or now[n] is not value]:
        setattr(owner, name, names[name])
    if isinstance(owner, type):
        for name in now.keys() - names.keys():
            delattr(owner, name)


@contextmanager
def _stays_alive() -> Iterator[None]:
    """os._exit() and the like, and IPython's exit() and quit(), raise SystemExit."""
    shell = getattr(builtins, "get_ipython", lambda: None)()
    for name in REAL:
        setattr(os, name, _ended)
    if shell is not None:
        shell.ask_exit = _ended
    try:
        yield
    finally:
        for name, real in REAL.items():  # not what was found: a thread left behind ends after the others
            setattr(os, name, real)
        if shell is not None:
            vars(shell).pop("ask_exit", None)
