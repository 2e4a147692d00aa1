"""Every kind of stored file, damaged in every way that disks, editors and half copies have: it is never taken
for whole, never ends in a traceback, and is not overwritten by being read.
"""

import os
import shutil
import warnings
from functools import partial
from pathlib import Path

import pytest
from helpers_families import small
from helpers_serve import save_random

from llmlab import paths
from llmlab.errors import UserError
from llmlab.lab import checkpoints, record, registry, rehearsal, runs, sweeps, times, vouched
from llmlab.learn import practice
from llmlab.ledger import TRIALS, rates, results
from llmlab.models.load import load
from llmlab.serve.store import AdapterStore
from llmlab.train import loop

SHIPPED = paths.data()


def cut(share: float, raw: bytes) -> bytes:
    return raw[: int(len(raw) * share)]


def flipped(place: float, raw: bytes) -> bytes:
    at = int((len(raw) - 1) * place)
    return raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]


DAMAGES = {
    "empty": lambda raw: b"",
    "half": partial(cut, 0.5),
    "all but a tenth": partial(cut, 0.1),
    "one byte short": lambda raw: raw[:-1],
    "a bit at the start": partial(flipped, 0.0),
    "a bit in the middle": partial(flipped, 0.5),
    "a bit near the end": partial(flipped, 0.99),
    "zeros": lambda raw: bytes(len(raw)),
    "noise before it": lambda raw: b"\x89noise" + raw,
    "noise behind it": lambda raw: raw + b"noise",
    "another file": lambda raw: b'{"name": "somebody else\'s"}',
    "brackets": lambda raw: b"[" * 50_000,
    "no text": lambda raw: b"\xff\xfe\x00" * 100,
}
# what changes nothing that is read; a list of vouched hashes vouches for less; what PEFT saved has no
# checksum
HARMLESS = {
    ("the log of the drills", "one byte short"),
    ("the log of the drills", "noise behind it"),
    ("times", "one byte short"),
    ("the list of vouched code", "one byte short"),
    ("the list of vouched code", "a bit in the middle"),
    ("the list of vouched code", "a bit near the end"),
    ("a tenant's weights", "a bit in the middle"),
    ("a tenant's weights", "a bit near the end"),
    ("a tenant's config", "a bit in the middle"),
    ("a tenant's config", "a bit near the end"),
}


def cpt():
    return registry.get("cpt")(steps=10, batch=2, probe=5)


def seal():
    return runs.seal(cpt(), 0, "f")


def finds_the_run() -> bool:
    return runs.find("cpt", seal()) is not None


def loads_the_sweep() -> bool:
    return sweeps.load("cpt") is not None


def reads_the_rates() -> bool:
    part, trials = next(iter(TRIALS.items()))
    return rates.is_current(part, trials) and bool(rates.load(part))


def reads_the_ledger() -> bool:
    return bool(results.load())


def reads_the_curves() -> bool:
    return bool(results.load_curves())


def reads_the_book() -> bool:
    try:
        return bool(rehearsal.books()["dpo"].read())
    except record.Damaged as e:
        raise UserError(str(e)) from None


def reads_the_list() -> bool:
    return len(vouched.entries()) > 10


def reads_the_times() -> bool:
    return "cpt" in times.read(paths.cache())


def loads(name: str) -> bool:
    return checkpoints.is_current(name) and bool(load(name))


def reads_the_log() -> bool:
    return len(practice.reviews()) == 3


def resumes() -> bool:
    from llmlab.models.load import new_lab_model

    model = new_lab_model(load("base").tok, hidden_size=32, num_hidden_layers=1, intermediate_size=64)
    return (
        loop.Checkpoint(paths.cache() / "x.state").load(model, loop.optimizers(model, "adamw", 1e-3))
        is not None
    )


def serves() -> bool:
    return AdapterStore(paths.cache() / "tenants").load("tom").version == 1


KINDS = {
    "a run": ("home/runs/cpt/*.json", finds_the_run),
    "a sweep": ("data/sweeps/cpt.sweep", loads_the_sweep),
    "rates": ("data/ledger-rates", reads_the_rates),
    "the ledger": ("data/ledger/results.json", reads_the_ledger),
    "the ledger's curves": ("data/ledger/curves", reads_the_curves),
    "a book": ("data/rehearsals/dpo.book", reads_the_book),
    "the list of vouched code": ("data/vouched.json", reads_the_list),
    "times": ("home/times.json", reads_the_times),
    "weights": ("data/checkpoints/base/model.safetensors", partial(loads, "base")),
    "a tokenizer": ("data/checkpoints/base/tokenizer.json", partial(loads, "base")),
    "a card": ("data/checkpoints/base/card.json", partial(loads, "base")),
    "the log of the drills": ("home/drills/reviews.jsonl", reads_the_log),
    "a state": ("home/x.state", resumes),
    "a tenant's weights": ("home/tenants/tom/1/adapter_model.safetensors", serves),
    "a tenant's config": ("home/tenants/tom/1/adapter_config.json", serves),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A data folder and a home that hold one whole file of every kind."""
    data, home = tmp_path / "data", tmp_path / "home"
    shutil.copytree(SHIPPED, data)
    monkeypatch.setenv("LLMLAB_DATA", str(data))
    monkeypatch.setenv("LLMLAB_HOME", str(home))
    wanted = seal()
    runs.store(runs.Run("cpt", {}, 0, "base", wanted.identity, [{"step": 0, "loss": 1.0}], 1.0), wanted.code)
    times.note("cpt", 3.0)
    for i in range(3):
        practice.record(practice.Review(f"d{i}", practice.Rating.Good, practice.now(), (0,), 1))
    return tmp_path


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter") / "tom"
    save_random(small(load("base").tok).model, folder, 0)
    return folder


def file_of(kind: str, place: Path, adapter: Path) -> Path:
    pattern = KINDS[kind][0]
    if kind == "rates":
        return rates.file(next(iter(TRIALS)))
    if kind.startswith("a tenant"):
        AdapterStore(_made(place / "home" / "tenants")).publish("tom", adapter)
    if kind == "a state":
        from llmlab.models.load import new_lab_model

        model = new_lab_model(load("base").tok, hidden_size=32, num_hidden_layers=1, intermediate_size=64)
        opts = loop.optimizers(model, "adamw", 1e-3)
        loop.Checkpoint(place / "home" / "x.state").tick(model, opts, dict, now=True)
    (found,) = place.glob(pattern)
    return found


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_never_taken_for_whole(kind, place, adapter):
    file, read = file_of(kind, place, adapter), KINDS[kind][1]
    whole = file.read_bytes()
    assert read(), "the whole file is read"
    for name, damage in DAMAGES.items():
        file.write_bytes(damage(whole))
        os.utime(file, ns=(file.stat().st_mtime_ns, file.stat().st_mtime_ns + 1_000_000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                taken = read()
            except UserError as e:
                taken = False
                assert str(e) and "\n" not in str(e), (name, e)
        assert not taken or (kind, name) in HARMLESS, f"{kind}, {name}: taken for whole"
        assert file.read_bytes() == damage(whole), f"{kind}, {name}: reading changed it"
    file.unlink()
    try:
        assert not read()
    except UserError as e:
        assert str(e) and "\n" not in str(e)
    except OSError:
        assert kind == "a book"
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_bytes(whole)
    os.utime(file)
    assert read(), "and read again once it is back"


def test_so_many_damages():
    assert len(KINDS) * len(DAMAGES) >= 120
