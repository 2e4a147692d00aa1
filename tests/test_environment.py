"""One list of dependencies: environment.yml brings Python and pip, everything else is pyproject.toml's."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def test_the_environment_installs_the_package_itself_by_pip(environment):
    pip = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert environment["name"] == "llmlab" and "pip" in environment["dependencies"]
    assert pip == [["-c constraints.txt", '-e ".[demo]"']]


def test_the_environment_repeats_no_dependency(environment, project):
    named = {re.split(r"[<>=! ]", d)[0] for d in environment["dependencies"] if isinstance(d, str)}
    every = [
        *project["dependencies"],
        *(d for extra in project["optional-dependencies"].values() for d in extra),
    ]
    assert named == {"python", "pip"} and not named & {canonicalize_name(Requirement(d).name) for d in every}


def test_both_files_ask_for_the_same_python(environment, project):
    assert f"python{project['requires-python']}" in environment["dependencies"]


def test_torch_is_pinned_and_nothing_is_listed_twice(project):
    found = [Requirement(d) for d in project["dependencies"]]
    assert {r.name: str(r.specifier) for r in found}["torch"] == "==2.13.0"
    assert all(r.specifier for r in found) and len({canonicalize_name(r.name) for r in found}) == len(found)


# ---- the tested versions ----


@pytest.fixture(scope="module")
def pins():
    """Name -> requirement, of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    assert len({canonicalize_name(r.name) for r in found}) == len(found)
    return {canonicalize_name(r.name): r for r in found}


def test_constraints_are_plain_pins(pins):
    for r in pins.values():
        (only,) = r.specifier
        assert r.url is None and not r.extras and only.operator == "==" and not Version(only.version).local, r
    assert "llmlab" not in pins and "pip" not in pins


def test_constraints_cover_what_the_tests_need_and_what_pyproject_allows(pins, project):
    extras = project["optional-dependencies"]
    needed = [
        Requirement(d) for d in [*project["dependencies"], *extras["dev"], *extras["demo"], *extras["sweep"]]
    ]
    for r in needed:
        if r.name != "llmlab":
            (pin,) = pins[canonicalize_name(r.name)].specifier
            assert r.specifier.contains(pin.version), f"{r} does not allow the tested {pin.version}"


def command(readme: str, name: str) -> str:
    """The README's command between the markers of this name, as .ci/run reads it."""
    block = re.search(rf"<!-- {name} -->\n```\n(.*?)\n```\n<!-- /{name} -->", readme, re.DOTALL)
    return block[1]


def test_the_readmes_commands_take_the_tested_versions_or_the_newest():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("start", "test"):
        assert "pip install -q -c constraints.txt -e '.[" in command(readme, name), name
    newest = command(readme, "newest")
    assert "constraints.txt" not in newest and "--upgrade" in newest and newest.endswith("-m pytest -q -n 2")
    assert "\n" not in newest + command(readme, "test")


# ---- what is imported ----


def imported(file: Path) -> set[str]:
    """Names of the packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
    return {name.split(".")[0] for name in found}


def test_what_the_package_imports_is_installed_with_it(project):
    listed = {canonicalize_name(Requirement(d).name) for d in project["dependencies"]}
    others = {
        "jinja2",
        "jupytext",
        "nbclient",
        "nbformat",
    }  # come with transformers and JupyterLab, or are needed to make the workbook only
    needed = (
        set().union(*(imported(f) for f in (ROOT / "llmlab").rglob("*.py")))
        - sys.stdlib_module_names
        - {"llmlab"}
        - others
    )
    extras = {
        "ray",
        "mcp",
        "anyio",
        "lancedb",
        "math-verify",
        "gguf",
    }  # behind an extra; whoever lacks it reads so
    assert extras <= {
        canonicalize_name(Requirement(d).name) for ds in project["optional-dependencies"].values() for d in ds
    }
    needed = {name for name in needed if canonicalize_name(name) not in extras}
    called = {"yaml": "pyyaml", "PIL": "pillow"}  # packages that are imported under another name
    assert {canonicalize_name(called.get(name, name)) for name in needed} <= listed
