"""Corpora: endless documents, number i a function of (seed, i) alone: general, and domain (with its
faults).
"""

import builtins
import importlib
import inspect
from typing import Iterator

from .base import rng
from .census import Census
from .formulary import BOILERPLATE, Formulary
from .records import Records
from .strings import Strings
from .sums import Sums

CENSUS = Census()

# kind -> (share of documents, maker). Two-digit sums are plentiful, longer ones and compositions scarce:
# the former are to be known at the end of pretraining, the latter to be left at 10-60 % for reinforcement
# learning.
GENERAL = {
    "biographies": (0.17, lambda r, split: CENSUS.biography(r, split)),
    "census questions": (0.15, lambda r, split: census_quiz(r, split)),
    "geography": (0.01, lambda r, split: CENSUS.geography(r)),
    "records": (0.24, lambda r, split: Records().document(r, split)),
    "records alike": (0.0, lambda r, split: Records(alike=1.0).document(r, split)),
    "calls": (0.05, lambda r, split: Records().call_document(r, split)),
    "echoes": (0.05, lambda r, split: Records().echo_document(r, split)),
    "two-digit sums": (0.12, lambda r, split: Sums(("add", "add", "subtract"), digits=2).worksheet(r)),
    "one-digit sums": (0.02, lambda r, split: Sums(("add", "subtract", "multiply"), digits=1).worksheet(r)),
    "long sums": (
        0.06,
        lambda r, split: Sums(("add", "subtract", "multiply"), digits=r.choice((2, 3))).worksheet(r),
    ),
    "sorting": (0.02, lambda r, split: Sums(("sort",), digits=r.choice((1, 2, 3))).worksheet(r)),
    "scratchpads": (
        0.05,
        lambda r, split: Sums(("add", "subtract", "multiply", "sort"), digits=2, scratchpad=True).worksheet(
            r
        ),
    ),
    "strings": (
        0.03,
        lambda r, split: Strings(depth=r.choice((1, 1, 2)), length=r.choice((3, 4))).worksheet(r),
    ),
    "string steps": (
        0.03,
        lambda r, split: Strings(depth=r.choice((1, 2)), length=r.choice((3, 4)), scratchpad=True).worksheet(
            r
        ),
    ),
}
# Shares of the last phase of pretraining: much more to be read in context, least of what is long known.
ANNEAL = {
    "biographies": 0.11,
    "census questions": 0.11,
    "geography": 0.01,
    "records": 0.12,
    "records alike": 0.42,
    "calls": 0.05,
    "echoes": 0.03,
    "two-digit sums": 0.04,
    "one-digit sums": 0.01,
    "long sums": 0.03,
    "sorting": 0.01,
    "scratchpads": 0.02,
    "strings": 0.02,
    "string steps": 0.02,
}


def census_quiz(r, split: str) -> str:
    """Three questions about known people with their answers; one in ten is inverse or needs two hops."""
    lines = []
    while len(lines) < 3:
        p = CENSUS.question(r, split, r.choice(["direct"] * 18 + ["inverse", "two_hop"]))
        if p is not None:
            lines.append(f"Question: {p.question}\nAnswer: {p.answer}.")
    return "\n".join(lines)


def general_document(r, split: str = "train", shares: dict[str, float] | None = None) -> str:
    """One document of the general corpus; `shares` of its kinds, GENERAL's own by default."""
    shares = shares or {kind: share for kind, (share, _) in GENERAL.items()}
    kind = r.choices(list(shares), list(shares.values()))[0]
    return GENERAL[kind][1](r, split)


def general(
    seed: int = 0, *, split: str = "train", start: int = 0, shares: dict[str, float] | None = None
) -> Iterator[str]:
    """The general corpus from document `start`."""
    while True:
        yield general_document(rng("general", split, seed, start), split, shares)
        start += 1


def domain_document(
    formulary: Formulary,
    seed: int,
    i: int,
    *,
    split: str = "train",
    family: str | None = None,
    duplicates: float = 0.0,
    noise: float = 0.0,
    boilerplate: float = 0.0,
) -> str:
    """Document i of the drug corpus with its faults: shares of copies (of ten documents), of wrong facts and
    of boilerplate.
    """
    r = rng("domain", split, seed, i)
    fault, shape = r.random(), r.random()
    if shape < boilerplate:
        return r.choice(BOILERPLATE).format(i=r.randint(1, 48))
    if shape < boilerplate + duplicates:
        r = rng("domain copy", split, seed, r.randrange(10))
    return formulary.monograph(r, split, family, wrong=fault < noise)


MODULES = """argparse collections dataclasses datetime decimal difflib enum fractions functools heapq
inspect json logging pathlib random re shutil statistics string subprocess tempfile
textwrap threading typing unittest zipfile""".split()  # of the standard library


def python_texts() -> dict[str, list[str]]:
    """Real text that every Python has: its licence, and the docstrings of some modules of the standard
    library.
    """
    texts = []
    for name in MODULES:
        module = importlib.import_module(name)
        members = [
            module,
            *(v for k, v in sorted(vars(module).items()) if inspect.isclass(v) or inspect.isfunction(v)),
        ]
        members += [
            f
            for c in members[1:]
            if inspect.isclass(c)
            for _, f in sorted(vars(c).items())
            if inspect.isfunction(f)
        ]
        texts += [
            inspect.cleandoc(m.__doc__) for m in members if isinstance(m.__doc__, str) and len(m.__doc__) > 80
        ]
    from _sitebuiltins import _Printer

    licence = builtins.license
    if isinstance(licence, _Printer):
        licence._Printer__setup()  # type: ignore[attr-defined]
        texts += "\n".join(licence._Printer__lines).split("\n\n")  # type: ignore[attr-defined]
    return {"all": list(dict.fromkeys(texts))}
