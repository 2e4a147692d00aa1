"""Code hash: one hash of all code that decides what an experiment gives, found by following its imports; the
same on every supported Python.
"""

import ast
import sys
from functools import lru_cache
from pathlib import Path
from typing import Iterator

from .. import paths
from . import registry

ROOT = Path(__file__).parent.parent
IRRELEVANT = {"errors.py", "paths.py"}  # messages and places: no number depends on them
LABELS = {
    "summary",
    "curves",
    "along",
    "later",
    "takes_texts",
    "takes_problems",
    "rehearsal",
    "presets",
    "front",
}  # class attributes that decide no number


def of(experiment) -> dict[str, str]:
    """name -> code hash of an experiment, of those that it uses, and of the one that it stands around."""
    here = {experiment.name: version(str(sys.modules[type(experiment).__module__].__file__))}
    used = {name: version(registry.file(name)) for name in registry.uses(experiment.name)}
    return here | used | (of(experiment.of) if experiment.of else {})


def named(name: str) -> dict[str, str]:
    """The same for the name of an experiment, which is not imported."""
    return {n: version(registry.file(n)) for n in (name, *registry.uses(name))}


@lru_cache
def version(file: str) -> str:
    """Hash of the file, of every module of ours that it imports, near or far, and of the templates beside
    them.
    """
    return paths.hash_bytes(*(_code(f).encode() for f in files(Path(file))))


def files(start: Path) -> list[Path]:
    """The file, our modules that it needs (directly or through others), and the templates that lie beside
    them; sorted.
    """
    found, todo = set(), [start]
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += [f for f in _imported(file) if f.name not in IRRELEVANT]
    return sorted(found | {t for f in found if ROOT in f.parents for t in f.parent.glob("*.jinja")})


@lru_cache
def _imported(file: Path) -> list[Path]:
    """Our modules that a file imports by name. A package's __init__ counts only where a name is taken from
    it.
    """
    return list(_named(file))


def _named(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = (node.module or "").split(".") if node.module else []
        if node.level:
            base = file.parents[node.level - 1].joinpath(*parts)
        elif parts and parts[0] == ROOT.name:
            base = ROOT.joinpath(*parts[1:])
        else:
            continue
        for name in node.names:
            options = (
                base / f"{name.name}.py",
                base / name.name / "__init__.py",
                base.with_suffix(".py"),
                base / "__init__.py",
            )
            yield from [o for o in options if o.exists()][:1]


@lru_cache
def _code(file: Path) -> str:
    """The code without what decides nothing: comments, layout, docstrings, labels, and what a knob says
    beside its default.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return text
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _makes_knob(node.func):
            node.args, node.keywords = node.args[:1], []
        body = getattr(node, "body", None)
        if isinstance(body, list):
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                body = body[1:]
            node.body = [b for b in body if not _is_label(b)] or [ast.Pass()]  # type: ignore[attr-defined]
    return _dump(tree)


def _makes_knob(function: ast.expr) -> bool:
    """knob(default, …), or one of the shared ones, knobs.lr(default, …)."""
    return (
        getattr(function, "id", "") == "knob"
        or getattr(getattr(function, "value", None), "id", "") == "knobs"
    )


def _is_label(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") in LABELS


def _dump(tree: ast.AST) -> str:
    """ast.dump as Python 3.11 writes it: 3.12 added type_params, 3.13 leaves empty lists out."""
    for node in ast.walk(tree):
        if not getattr(node, "type_params", True):
            del node.type_params  # type: ignore[attr-defined]
    return ast.dump(tree, **({"show_empty": True} if sys.version_info >= (3, 13) else {}))
