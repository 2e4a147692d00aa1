"""Versions: swap, rollback, broken ones, names that would lead elsewhere."""

import shutil

import pytest

from llmlab.errors import UserError
from llmlab.serve.adapters import BadAdapter
from llmlab.serve.store import AdapterStore, UnknownTenant


def test_publish_swap_rollback(store, saved):
    assert store.current("ann") == 1 and store.publish("ann", saved["bob"][0]) == 2
    assert store.current("ann") == 1, "a new version is not in service before it is swapped in"
    assert store.swap("ann").version == 2 == store.current("ann") == AdapterStore(store.folder).current("ann")
    assert store.load("ann").name == "ann@2" and store.load("ann@1").name == "ann@1"
    assert store.rollback("ann").version == 1 == store.current("ann")
    with pytest.raises(UserError, match="no version before 1"):
        store.rollback("ann")


def test_a_swap_by_another_process_counts(store, saved):
    store.publish("ann", saved["bob"][0])
    AdapterStore(store.folder).swap("ann", 2)
    assert store.load("ann").version == 2


def test_a_broken_version_never_comes_into_service(store, saved):
    number = store.publish("ann", saved["bob"][0])
    file = store.folder / "ann" / str(number) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(BadAdapter, match="truncated"):
        store.swap("ann", number)
    assert store.load("ann").name == "ann@1"


def test_a_broken_folder_is_not_published(store, saved, tmp_path):
    folder = shutil.copytree(saved["ann"][0], tmp_path / "other" / "x")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(BadAdapter):
        store.publish("ann", folder)
    assert store.versions("ann") == [1] and not list((store.folder / "ann").glob(".new*"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "eve",
        "../ann",
        "ann/1",
        "ann/../bob",
        ".",
        "..",
        "ANN",
        "ann\n",
        "a" * 65,
        "ann@",
        "ann@0",
        "ann@9",
        "ann@-1",
        "ann@x",
        "ann@1@1",
        "ann@١",
        "ann@" + "9" * 5000,
        "base@1",
    ],
)
def test_nobody_of_this_name(store, name):
    with pytest.raises(UnknownTenant):
        store.load(name)


@pytest.mark.parametrize("name", ["../x", "base", "a/b", "", "Ann", "."])
def test_no_name_for_a_tenant(store, saved, name):
    with pytest.raises(UserError, match="is no name for a tenant"):
        store.publish(name, saved["ann"][0])
    assert store.tenants() == ["ann", "bob", "cid", "dan"]


def test_entries_are_what_lies_there(store, saved):
    store.publish("bob", saved["ann"][0])
    found = {(e.tenant, e.version): e for e in store.entries()}
    assert found["bob", 1].current and not found["bob", 2].current and len(found) == 5
    assert found["bob", 1].bytes == sum(f.stat().st_size for f in (store.folder / "bob" / "1").iterdir())


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        AdapterStore(tmp_path / "nowhere")


def test_a_broken_pointer_is_one_sentence(store):
    (store.folder / "ann" / "current").write_text("two")
    with pytest.raises(BadAdapter, match="holds no version number"):
        store.load("ann")
