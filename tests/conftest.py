"""Shared by all tests: a cache of their own, no network, one torch thread a worker, and models that nobody
else has touched.
"""

import copy
import os

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from helpers_tree import changes, status  # noqa: E402

# these take minutes; `-m "not slow"` leaves them out while one works
SLOW = ("test_rehearsal.py", "test_vouch.py", "test_browser_lessons.py", "test_faults.py", "test_resume.py")
settings.register_profile("llmlab", deadline=None)  # the first example may import, on a machine that is busy
settings.load_profile("llmlab")
TREE, CHANGED = pytest.StashKey(), pytest.StashKey()


def pytest_sessionstart(session):
    """Remember the working tree; with xdist only the controller does."""
    if not hasattr(session.config, "workerinput"):
        session.config.stash[TREE] = status()


def pytest_collection_modifyitems(items):
    """Mark what takes minutes, and begin with the notebooks, so that no worker ends with a long one alone."""
    for item in items:
        if item.path.suffix == ".ipynb" or item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.path.suffix != ".ipynb")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """A session that changes the working tree fails, whatever its tests say."""
    if TREE in session.config.stash:
        session.config.stash[CHANGED] = changes(session.config.stash[TREE], status())
        if session.config.stash[CHANGED] and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Say what has changed."""
    if changed := config.stash.get(CHANGED, []):
        terminalreporter.section("the working tree changed during the tests", red=True)
        terminalreporter.line(
            "Tests must work on copies. If you edited these files meanwhile, run the tests again."
        )
        for line in changed:
            terminalreporter.line(line)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """LLMLAB_HOME for the whole session: no test sees the user's runs, or leaves one there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMLAB_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty LLMLAB_HOME for one test."""
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def shipped():
    """The shipped base model. Not to be changed: tests take `base`."""
    from llmlab.models.load import load

    return load("base")


@pytest.fixture
def base(shipped):
    """A copy of the shipped base model, free to be trained."""
    return copy.deepcopy(shipped)


@pytest.fixture
def tiny(shipped):
    """A random Qwen3 of 60 k parameters with the lab tokenizer and its chat template."""
    from helpers_families import small

    return small(shipped.tok)


@pytest.fixture(scope="session", params=["qwen3", "llama", "gemma3"])
def foreign(request, tmp_path_factory):
    """(family, folder): a tiny random model of another family with its own tokenizer and its own chat
    template.
    """
    from helpers_families import save_family

    return request.param, save_family(request.param, tmp_path_factory.mktemp(request.param))
