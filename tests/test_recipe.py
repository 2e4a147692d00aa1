"""The recipe's version: changed by what decides a result, and by nothing else."""

import shutil

import pytest

from llmlab import recipe

CODE = '''"""Doc."""
# a comment
from .base import knob
class A:
    """Doc."""
    summary: str = "what it shows"
    steps: int = knob(150, 10, 5000, unit="steps", help="optimiser steps")

    def f(self, x=1):
        """Doc."""
        return x + 1  # one more
'''
SAME = {
    "comment": CODE.replace("# a comment", "# another comment"),
    "docstrings": CODE.replace("Doc.", "Other."),
    "blank lines": CODE.replace("\n", "\n\n"),
    "no docstring": CODE.replace('        """Doc."""\n', ""),
    "label": CODE.replace("what it shows", "something else"),
    "range and help of a knob": (
        CODE.replace("10, 5000", "1, 500").replace("optimiser steps", "steps of AdamW")
    ),
}
OTHER = {
    "a number": CODE.replace("x + 1", "x + 2"),
    "a default": CODE.replace("x=1", "x=2"),
    "a knob's default": CODE.replace("knob(150", "knob(160"),
    "a name": CODE.replace("def f", "def g"),
    "a line more": CODE + "y = 1\n",
    "a string that is no docstring": CODE.replace("x + 1", "'Doc.'"),
}


@pytest.fixture(autouse=True)
def forget_versions():
    yield
    recipe.version.cache_clear()


def version(path, code=None):
    if code:
        path.write_text(code)
    recipe.version.cache_clear()
    return recipe.version(str(path))


@pytest.mark.parametrize("change", SAME)
def test_what_decides_nothing_does_not_change_the_version(tmp_path, change):
    assert version(tmp_path / "x.py", CODE) == version(tmp_path / "x.py", SAME[change])


@pytest.mark.parametrize("change", OTHER)
def test_code_changes_the_version(tmp_path, change):
    assert version(tmp_path / "x.py", CODE) != version(tmp_path / "x.py", OTHER[change])


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that a test may change."""
    copied = tmp_path / "llmlab"
    shutil.copytree(recipe.ROOT, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(recipe, "ROOT", copied)
    return copied


def changed(package, experiment: str, file: str) -> bool:
    """Does a line more in `file` change the version of the experiment?"""
    before = version(package / "experiments" / f"{experiment}.py")
    (package / file).write_text((package / file).read_text() + "\nx = 1\n")
    return version(package / "experiments" / f"{experiment}.py") != before


DECIDES = [
    "loop.py",
    "objectives.py",
    "advantages.py",
    "rollout.py",
    "sample.py",
    "models/forward.py",
    "tokens/chat.py",
    "tokens/lab_template.jinja",
    "world/sums.py",
    "world/words.py",
    "experiments/base.py",
    "experiments/grpo.py",
]


@pytest.mark.parametrize("file", DECIDES)
def test_the_code_that_decides_a_result_is_part_of_the_version(package, file):
    assert changed(package, "grpo", file)


@pytest.mark.parametrize(
    "file",
    ["cli.py", "figures.py", "world/talk.py", "world/desk.py", "sample.py", "experiments/dpo.py", "paths.py"],
)
def test_code_that_an_experiment_does_not_use_leaves_its_runs_valid(package, file):
    assert not changed(package, "cpt", file)


def test_imports_inside_functions_and_absolute_ones_count(package):
    (package / "experiments" / "own.py").write_text("def f():\n    from llmlab.world.talk import Talk\n")
    assert package / "world" / "talk.py" in recipe.files(package / "experiments" / "own.py")
