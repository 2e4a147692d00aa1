"""The code hash: changed by what decides a result, by nothing else, and the same under every Python."""

import json
import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from llmlab.chapters.c05_lora.lora import LoRA
from llmlab.chapters.c06_preferences.dpo import DPO
from llmlab.lab import code, registry
from llmlab.ledger.study import Study

HOME = code.ROOT
CHAT = Study(DPO())

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
    "a label more": CODE.replace("    steps: int", "    rehearsal: dict = dict(short={})\n    steps: int"),
    "range and help of a knob": (
        CODE.replace("10, 5000", "1, 500").replace("optimiser steps", "steps of AdamW")
    ),
}
OTHER = {
    "a number": CODE.replace("x + 1", "x + 2"),
    "a default": CODE.replace("x=1", "x=2"),
    "an attribute that is no label": CODE.replace("    steps: int", "    size: int = 3\n    steps: int"),
    "a knob's default": CODE.replace("knob(150", "knob(160"),
    "a name": CODE.replace("def f", "def g"),
    "a line more": CODE + "y = 1\n",
    "a string that is no docstring": CODE.replace("x + 1", "'Doc.'"),
}


def forget():
    """What was read of files that a test changes."""
    for known in (code.version, code._code, code._imported):
        known.cache_clear()


@pytest.fixture
def changing():
    """For tests that change files: nothing that was read of them stays known."""
    yield
    forget()


def version(path, text=None):
    if text:
        path.write_text(text)
    forget()
    return code.version(str(path))


@pytest.mark.parametrize("change", SAME)
def test_what_decides_nothing_does_not_change_the_version(tmp_path, change):
    assert version(tmp_path / "x.py", CODE) == version(tmp_path / "x.py", SAME[change])


@pytest.mark.parametrize("change", OTHER)
def test_code_changes_the_version(tmp_path, change):
    assert version(tmp_path / "x.py", CODE) != version(tmp_path / "x.py", OTHER[change])


@pytest.fixture
def package(tmp_path, monkeypatch, changing):
    """A copy of the package that a test may change."""
    copied = tmp_path / "llmlab"
    shutil.copytree(code.ROOT, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "ROOT", copied)
    return copied


def changed(package, experiment: str, file: str) -> bool:
    """Does a line more in `file` change the version of the experiment?"""
    home = package / Path(registry.file(experiment)).relative_to(HOME)
    before = version(home)
    (package / file).write_text((package / file).read_text() + "\nx = 1\n")
    return version(home) != before


DECIDES = [
    "train/loop.py",
    "train/recipe.py",
    "train/collect.py",
    "train/rollout.py",
    "train/sample.py",
    "methods/policy.py",
    "methods/parts.py",
    "methods/advantages.py",
    "models/forward.py",
    "tokens/chat.py",
    "tokens/lab_template.jinja",
    "world/sums.py",
    "world/words.py",
    "lab/experiment.py",
    "chapters/c07_reinforcement_learning/grpo.py",
]


@pytest.mark.parametrize("file", DECIDES)
def test_the_code_that_decides_a_result_is_part_of_the_version(package, file):
    assert changed(package, "grpo", file)


@pytest.mark.parametrize(
    "file",
    [
        "cli/run.py",
        "learn/figures.py",
        "world/talk.py",
        "world/desk.py",
        "train/sample.py",
        "chapters/c06_preferences/dpo.py",
        "paths.py",
    ],
)
def test_code_that_an_experiment_does_not_use_leaves_its_runs_valid(package, file):
    assert not changed(package, "cpt", file)


def test_imports_inside_functions_and_absolute_ones_count(package):
    own = package / "chapters" / "own.py"
    own.write_text("def f():\n    from llmlab.world.talk import Talk\n")
    assert package / "world" / "talk.py" in code.files(own)


def test_of_an_experiment_it_names_its_own_code_and_of_a_study_that_of_both():
    dpo = code.version(registry.file("dpo"))
    assert code.of(DPO()) == {"dpo": dpo}
    assert code.of(CHAT) == {"dpo": dpo, "study": code.version(str(code.ROOT / "ledger" / "study.py"))}


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_file_of_an_experiment_is_found_without_importing_it(name):
    used = {n: code.version(registry.file(n)) for n in (name, *registry.uses(name))}
    assert code.of(registry.get(name)()) == code.named(name) == used


def test_an_experiment_that_asks_for_others_by_name_has_their_code_too():
    assert set(code.of(LoRA())) == {"lora", "sft", "dpo", "grpo"} and registry.uses("dpo") == ()


def test_what_keeps_the_records_is_no_part_of_the_code_that_makes_them():
    """Else every change of the store would make every record stale."""
    keeping = {
        f"lab/{part}.py" for part in ("code", "record", "vouched", "runs", "pool", "sweeps", "rehearsal")
    }
    keeping |= {
        str(f.relative_to(code.ROOT))
        for layer in ("ledger", "learn", "cli")
        for f in (code.ROOT / layer).rglob("*.py")
    }
    for name in registry.NAMES:
        used = {f.relative_to(code.ROOT).as_posix() for f in code.files(Path(registry.file(name)))}
        assert not used & keeping, name


# --- the same under every Python
# ----------------------------------------------------------------------------------------

RUNNING = sys.version_info[:2]
HASHES = """
import ast, json, sys, types
for absent in ("platformdirs", "filelock"):  # of our packages; nothing of them decides a hash
    sys.modules[absent] = types.ModuleType(absent)
sys.modules["filelock"].FileLock = sys.modules["filelock"].Timeout = object
root, plain, *files = sys.argv[1:]
sys.path.insert(0, root)
from llmlab.lab import code
if plain == "plain":
    code._dump = ast.dump
print(json.dumps([code.version(f) for f in files]))
"""
FILES = [registry.file(name) for name in registry.NAMES] + [str(code.ROOT / "ledger" / "study.py")]


@lru_cache
def pythons() -> dict[tuple[int, int], str]:
    """(3, minor) -> a real interpreter, not pyenv's shim, of each other Python from 3.11 on that is here."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [Path(p) for p in os.environ["PATH"].split(os.pathsep) if "shims" not in p]
    folders += sorted(root.glob("versions/3.*/bin"))
    found = {}
    for binary in [b for folder in folders for b in sorted(folder.glob("python3.[0-9]*"))]:
        minor = binary.name.removeprefix("python3.")
        if minor.isdigit() and int(minor) >= 11 and (3, int(minor)) != RUNNING:
            found.setdefault((3, int(minor)), str(binary))
    return found


def others(least: int) -> list:
    """Parameters: each other Python from 3.`least` on, or a skip."""
    found = [pytest.param(b, id=f"3.{v[1]}") for v, b in sorted(pythons().items()) if v[1] >= least]
    missing = pytest.mark.skip(reason=f"no other Python from 3.{least} on is installed here")
    return found or [pytest.param("", id="none", marks=missing)]


def hashes(python: str, how: str = "ours", files=FILES) -> list[str]:
    """The hashes of experiments under another Python."""
    command = [python, "-I", "-c", HASHES, str(code.ROOT.parent), how, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("python", others(11))
def test_the_hash_is_the_same_under_every_python(python):
    assert hashes(python) == [code.version(f) for f in FILES]


@pytest.mark.skipif(RUNNING > (3, 11), reason="this Python already writes a tree as the new ones do")
@pytest.mark.parametrize("python", others(12))
def test_without_our_dump_it_would_not_be(python):
    assert hashes(python, "plain", FILES[:1]) != hashes(sys.executable, "plain", FILES[:1])
