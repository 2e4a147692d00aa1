"""The built wheel works without a clone: in an empty folder, with nothing but itself on the path."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEEDED = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "llmlab", "data", "notebooks"]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
BECOMES = "import os, sys; os.execv = lambda p, a: print(*a, sep='\\n'); "  # tells which server would start


def done(command: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess:
    """The command's end, within two minutes."""
    return subprocess.run(
        command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=120, errors="replace"
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the working tree, so that the tree stays as it is."""
    for tool in ("pip", "setuptools"):
        if importlib.util.find_spec(tool) is None:
            pytest.skip(f"no {tool} in this environment")
    top = tmp_path_factory.mktemp("wheel")
    (top / "copy").mkdir()
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, top / "copy" / name, ignore=ignore)
        else:
            shutil.copyfile(ROOT / name, top / "copy" / name)
    told = done([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", "out", "./copy"], top)
    assert told.returncode == 0, told.stderr
    (found,) = (top / "out").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel) -> Path:
    """A folder with the installed wheel."""
    target = wheel.parent.parent / "site"
    told = done(
        [*PIP, "install", "--no-deps", "--no-compile", "--target", str(target), str(wheel)], wheel.parent
    )
    assert told.returncode == 0, told.stderr
    return target


@pytest.fixture
def llmlab(site, tmp_path):
    """Calls `llmlab …`, or other Python code first, from an empty folder with a home of its own."""
    (tmp_path / "empty").mkdir()
    env = {"PYTHONPATH": str(site), "LLMLAB_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}

    def call(*argv: str, first: str = "") -> str:
        code = f"{first}import sys, llmlab.cli; sys.exit(llmlab.cli.main({list(argv)!r}))"
        told = done([sys.executable, "-c", code], tmp_path / "empty", **env)
        assert told.returncode == 0 and "Traceback" not in told.stderr, told.stderr
        assert list((tmp_path / "empty").iterdir()) == [], "nothing is left where the command was called"
        return told.stdout

    return call


def test_the_wheel_is_small_and_holds_all_that_is_shipped(wheel):
    assert wheel.stat().st_size < 25e6
    names = set(zipfile.ZipFile(wheel).namelist())
    clone = {f.relative_to(ROOT) for f in (ROOT / "llmlab").rglob("*") if f.is_file()}
    assert {str(f) for f in clone if "__pycache__" not in f.parts} <= names
    shipped = {f for f in (ROOT / "data").rglob("*") if f.is_file()} | set(
        (ROOT / "notebooks").glob("*.ipynb")
    )
    shipped = {f"llmlab/_shipped/{f.relative_to(ROOT)}" for f in shipped if not f.name.startswith(".")}
    assert {n for n in names if n.startswith("llmlab/_shipped/")} == shipped
    assert {n.split("/")[0] for n in names if not n.startswith("llmlab-")} == {"llmlab"}


def test_the_ledger_is_there_and_as_current_as_in_the_clone(llmlab, site):
    where = llmlab("claims", "C016", first="import llmlab; print(llmlab.__file__); ")
    assert where.startswith(str(site)) and "C016" in where
    told = json.loads(llmlab("claims", "--json").splitlines()[-1])
    clone = done([sys.executable, "-m", "llmlab.cli", "claims", "--json"], ROOT)
    assert told == json.loads(clone.stdout.splitlines()[-1])


def test_a_claim_is_tested_again_in_the_users_folder(llmlab, site, tmp_path):
    """The installed package may be read-only, and is no place for results."""
    inside = {f: f.read_bytes() for f in (site / "llmlab" / "_shipped" / "data" / "ledger").iterdir()}
    before = json.loads(llmlab("claims", "--json").splitlines()[-1])
    assert "C073" in llmlab("claims", "run", "C073", "--force")
    assert {f: f.read_bytes() for f in inside} == inside
    (own,) = (tmp_path / "home" / "ledger").iterdir()
    assert {f.name for f in own.iterdir()} == {"curves", "results.json"}
    assert json.loads(llmlab("claims", "--json").splitlines()[-1]) == before


def test_an_experiment_runs(llmlab):
    told = json.loads(llmlab("run", "sampling", "--steps", "1", "--problems", "8", "--json").splitlines()[-1])
    assert told["experiment"] == "sampling" and told["metrics"]


def test_drills_are_there(llmlab):
    assert re.search(r"\b02-[a-z-]+", llmlab("drill", "--list"))


def test_lab_opens_copies_and_keeps_what_was_changed(llmlab, tmp_path):
    own = tmp_path / "home" / "notebooks"
    for _ in range(2):
        told = llmlab("lab", "--chapter", "02", "--no-browser", first=BECOMES).splitlines()
        assert told[0] == f"your notebooks are in {own}" and f"--notebook-dir={own}" in told
        assert str(own / "02_continued_pretraining.ipynb") in told
        (own / "02_continued_pretraining.ipynb").write_text("my own")
    assert (own / "02_continued_pretraining.ipynb").read_text() == "my own"
    shipped = {p.name: p.read_bytes() for p in (ROOT / "notebooks").glob("*.ipynb")}
    del shipped["02_continued_pretraining.ipynb"]
    assert {name: (own / name).read_bytes() for name in shipped} == shipped


def test_demo_finds_its_template(llmlab, site, tmp_path):
    pytest.importorskip("voila")
    show = BECOMES.replace("print(*a", "print(os.environ['JUPYTER_PATH'], *a")
    told = llmlab("demo", "cpt", "--no-browser", first=show).splitlines()
    assert (Path(told[0].split(os.pathsep)[0]) / "voila" / "templates" / "llmlab" / "index.html.j2").exists()
    assert told[0].startswith(str(site)) and str(tmp_path / "home" / "demo" / "cpt.ipynb") in told
