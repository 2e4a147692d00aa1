"""Recipe version: one hash of all code that decides what an experiment gives, found by following its
imports.
"""

import ast
from functools import lru_cache
from pathlib import Path
from typing import Iterator

from . import paths

ROOT = Path(__file__).parent
IRRELEVANT = {"errors.py", "paths.py"}  # messages and places: no number depends on them
LABELS = {"summary", "curves", "takes_texts"}  # class attributes that only say what there is


@lru_cache
def version(experiment_file: str) -> str:
    """Hash of the experiment's file, of every module of ours that it imports, near or far, and of the
    templates beside them.
    """
    return paths.hash_bytes(*(_code(f).encode() for f in files(Path(experiment_file))))


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


def _imported(file: Path) -> Iterator[Path]:
    """Our modules that a file imports by name. A package's __init__ counts only where a name is taken from
    it.
    """
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


def _code(file: Path) -> str:
    """The code without what decides nothing: comments, layout, docstrings, labels, and what a knob says
    beside its default.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return text
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "knob":
            node.args, node.keywords = node.args[:1], []
        body = getattr(node, "body", None)
        if isinstance(body, list):
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                body = body[1:]
            node.body = [
                b
                for b in body
                if not (isinstance(b, ast.AnnAssign) and getattr(b.target, "id", "") in LABELS)
            ] or [ast.Pass()]
    return ast.dump(tree)
