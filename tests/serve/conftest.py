"""A small random model with random adapters (sharp: a wrong adapter says something else), and the chat model
with trained tenants.
"""

import pytest
from helpers_families import small
from helpers_serve import KINDS, NEW_CAPTAIN, save_random

from llmlab.models.load import load
from llmlab.serve.store import AdapterStore
from llmlab.serve.tenants import TENANTS, numbered, train_together


@pytest.fixture(scope="session")
def little(shipped):
    """A random model of 60 k parameters. Not to be changed."""
    found = small(shipped.tok)
    found.model.eval()
    return found


@pytest.fixture(scope="session")
def saved(little, tmp_path_factory):
    """name -> (folder that PEFT saved, PEFT's model with this adapter alone)."""
    home = tmp_path_factory.mktemp("saved")
    return {
        name: (home / name, save_random(little.model, home / name, i, **kind))
        for i, (name, kind) in enumerate(KINDS.items())
    }


@pytest.fixture
def store(saved, tmp_path):
    """Every adapter as the first version of its tenant."""
    found = AdapterStore(tmp_path)
    for name, (folder, _) in saved.items():
        found.publish(name, folder)
    return found


@pytest.fixture(scope="session")
def lab():
    """The chat checkpoint. Not to be changed."""
    return load("chat")


@pytest.fixture(scope="session")
def crew(lab, tmp_path_factory):
    """A store with three named tenants; the captain has two versions, the second one in service."""
    found, names = AdapterStore(tmp_path_factory.mktemp("crew")), ("captain", "robot", "tom")
    train_together(lab, found, [TENANTS[n] for n in names], steps=100, rows=4)
    train_together(lab, found, [NEW_CAPTAIN], steps=100, rows=6)
    found.swap("captain", 2)
    return found


@pytest.fixture(scope="session")
def many(lab, tmp_path_factory):
    """A store with 32 tenants, trained at once."""
    found = AdapterStore(tmp_path_factory.mktemp("many"))
    train_together(lab, found, numbered(32), steps=80)
    return found
