"""Habits of the repository: ruff finds nothing; what is told about it agrees with pyproject.toml."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CHECKS = {"check": ["check"], "format": ["format", "--check", "--diff"]}


@pytest.fixture(scope="module")
def version():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS)
def test_ruff_finds_nothing(command):
    found = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "llmlab", "tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_types_of_the_library_agree():
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", os.devnull],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_type_checker_looks_at_methods_training_tokens_and_the_lab():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    eased = next(o for o in settings["overrides"] if isinstance(o["module"], list))
    assert settings["files"] == ["llmlab"]
    assert not {f"llmlab.{folder}.*" for folder in ("methods", "train", "tokens", "lab")} & set(
        eased["module"]
    )
    assert not {"attr-defined", "name-defined", "call-arg", "no-redef"} & set(eased["disable_error_code"])


def test_ruff_looks_at_lines_and_imports():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert lint["line-length"] == 110 and {"E", "F", "W", "B"} <= set(lint["lint"]["select"])
    assert not {"E501", "F401"} & set(lint["lint"]["ignore"])


def test_the_citation_names_the_version_and_the_licence(version):
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert told["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= set(told)
    assert (str(told["version"]), told["license"]) == (version, project["license"])


def test_the_changelog_has_an_open_section_and_the_version(version):
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert sections[0] == ("Unreleased", "") and sections[1][0] == version
    assert all(date for _, date in sections[1:])
    dates = {name: date for name, date in sections}
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["date-released"]
    assert str(cited) == dates[version]


def test_the_hooks_run_the_same_checks():
    told = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in told["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in told["repos"]} == {"local"}
    assert [hook["entry"] for hook in hooks] == ["ruff check", "ruff format --check"]
    for hook in hooks:
        assert hook["language"] == "system"
        for file in ("llmlab/tokens/chat.py", "tests/conftest.py"):
            assert re.search(hook["files"], file)
        assert not re.search(hook["files"], "notebooks/py/00_start_here.py")


# ---- tests leave the working tree alone ----

WRITES = """
from pathlib import Path

def test_it(tmp_path):
    folder = {folder}
    (folder / "known.txt").write_text("changed")
    (folder / "new.txt").write_text("new")
"""


@pytest.fixture
def repository(tmp_path):
    """A small repository with this conftest.py and a committed file."""
    tests = tmp_path / "repository" / "tests"
    tests.mkdir(parents=True)
    for name in ("conftest.py", "helpers_tree.py"):
        shutil.copyfile(Path(__file__).parent / name, tests / name)
    (tests.parent / "known.txt").write_text("known")
    (tests.parent / ".gitignore").write_text("__pycache__/\n")
    git = ["git", "-C", str(tests.parent), "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    return tests.parent


def session(repository: Path, *options: str, **env: str) -> subprocess.CompletedProcess:
    """A test session in the repository, with no plugins but those that are named."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "tests"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | env
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "xdist"])
def test_a_session_that_changes_the_working_tree_fails(options, repository):
    (repository / "tests" / "test_it.py").write_text(WRITES.format(folder="Path(__file__).parent.parent"))
    dirty = session(repository, *options)
    assert dirty.returncode == 1 and "1 passed" in dirty.stdout, dirty.stdout
    assert "is now  M known.txt" in dirty.stdout and "is now ?? new.txt" in dirty.stdout
    clean = session(repository, *options)  # what was changed before is no change
    assert clean.returncode == 0 and "working tree" not in clean.stdout, clean.stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_without_git_nothing_is_checked(repository):
    (repository / "tests" / "test_it.py").write_text(WRITES.format(folder="Path(__file__).parent.parent"))
    assert session(repository, PATH="").returncode == 0
