"""Imports point downwards: a module knows only what stands below it in this table."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from llmlab.lab import registry

PACKAGE = Path(__file__).parent.parent / "llmlab"
# bottom to top. Modules of one row do not know each other; the files inside a folder may, without going round
# in circles. A file of a folder that has a row of its own ("lab.code") stands there
ORDER = [
    {"errors"},
    {"paths"},
    {"world"},
    {"tokens"},
    {"models"},
    {"methods", "retrieval"},
    {"train"},
    {"serve"},
    {"lab"},
    {"ledger"},
    {"learn"},
    {"chapters"},
    {"trl"},
    {"cli"},
]
RANK = {name: rank for rank, row in enumerate(ORDER) for name in row}
FILES = sorted(f for f in PACKAGE.rglob("*.py") if f.parent != PACKAGE or f.name != "__init__.py")
WORLD_MAY = {"llmlab.world", "llmlab.errors", "jsonschema"} | sys.stdlib_module_names


def module(file: Path) -> str:
    """llmlab.tokens.chat for llmlab/tokens/chat.py."""
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(f) for f in FILES} | {"llmlab"}


def imports(file: Path, code: str | None = None) -> set[str]:
    """Full names of all modules that a file imports, at its top or inside functions."""
    package, found = ".".join(file.relative_to(PACKAGE.parent).parts[:-1]), set()
    for node in ast.walk(ast.parse(code if code is not None else file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(above + ([node.module] if node.module else []))
            found |= {f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names}
    return found


def top(name: str) -> str:
    """The row's entry that a module belongs to: its own, or that of its folder."""
    _, folder, *rest = name.split(".")
    return own if (own := ".".join([folder, *rest[:1]])) in RANK else folder


def upward(file: Path, code: str | None = None) -> set[str]:
    """Imports of llmlab's own modules that do not point downwards."""
    own = {n for n in imports(file, code) if n.startswith("llmlab.") and top(n) != top(module(file))}
    return {n for n in own if RANK[top(n)] >= RANK[top(module(file))]}


def test_every_module_has_its_place():
    assert {top(m) for m in MODULES - {"llmlab"}} == set(RANK)


@pytest.mark.parametrize("file", FILES, ids=module)
def test_imports_point_downwards(file):
    assert not upward(file)


UPWARD = {
    "world/desk.py": "from ..tokens import chat",
    "train/loop.py": "def f():\n    from ..lab import runs",
    "methods/parts.py": "from ..train.sample import sample",
    "models/load.py": "import llmlab.train.loop",
    "tokens/chat.py": "from ..models.load import load",
    "lab/sweeps.py": "from ..chapters.c02_continued_pretraining.cpt import CPT",
    "ledger/table.py": "from .. import cli",
}


@pytest.mark.parametrize("file, code", UPWARD.items(), ids=UPWARD)
def test_an_import_that_points_upwards_would_be_found(file, code):
    assert upward(PACKAGE / file, code)


@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name == "world"], ids=module)
def test_the_world_is_text_only(file):
    assert {n for n in imports(file) if not any(n == m or n.startswith(m + ".") for m in WORLD_MAY)} == set()


def chapter(name: str) -> str:
    """c02 for llmlab.chapters.c02_continued_pretraining.cpt; empty for what is no part of a chapter."""
    parts = name.split(".")
    return parts[2][:3] if parts[1] == "chapters" and len(parts) > 2 else ""


def later(file: Path, code: str | None = None) -> set[str]:
    """Imports of later chapters by a file of a chapter."""
    return {n for n in imports(file, code) if n.startswith("llmlab.") and chapter(n) > chapter(module(file))}


@pytest.mark.parametrize(
    "file", [f for f in FILES if "chapters" in f.parts and chapter(module(f))], ids=module
)
def test_a_chapter_knows_no_later_chapter(file):
    assert later(file) == set()


def test_an_import_of_a_later_chapter_would_be_found():
    file = PACKAGE / "chapters" / "c02_continued_pretraining" / "cpt.py"
    assert later(file, "from ..c07_reinforcement_learning.grpo import GRPO")


def test_no_two_files_know_each_other():
    left = {module(f): {n for n in imports(f) if n in MODULES} - {module(f)} for f in FILES}
    while free := [m for m, needs in left.items() if not needs & left.keys()]:
        for m in free:
            del left[m]
    assert not left, f"these go round in circles: {left}"


@pytest.mark.parametrize(
    "name",
    [
        "llmlab.world",
        "llmlab.paths",
        "llmlab.lab.times",
        "llmlab.learn.workbook",
        "llmlab.cli",
        "llmlab.lab.registry",
        "llmlab.ledger.table",
        "llmlab.cli.claims",
    ],
)
def test_light_modules_do_without_torch(name):
    code = f"import sys, {name}; assert not {{'torch', 'transformers'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [f"{c}.claims" for c in registry.chapters() if find_spec(f"{c}.claims")])
def test_a_chapters_claims_may_be_imported_before_the_ledger(name):
    code = f"import {name}; from llmlab.ledger import CLAIMS, TRIALS; assert CLAIMS and TRIALS"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
