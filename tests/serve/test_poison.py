"""One tenant's adapter with huge finite weights harms that tenant only, whoever gets its rows afterwards."""

import json
import shutil

import pytest
from helpers_serve import KINDS, save_random
from safetensors.torch import load_file, save_file

from llmlab.serve.adapters import BadAdapter
from llmlab.serve.batcher import Batcher
from llmlab.serve.cache import RowLayer
from llmlab.serve.requests import Request
from llmlab.serve.store import AdapterStore

HUGE = 1e25
TENANTS = [f"{kind}{i}" for kind in KINDS for i in range(5)]


@pytest.fixture(scope="module")
def folders(little, tmp_path_factory):
    """Twenty adapters, and one whose numbers are finite until they are multiplied."""
    top = tmp_path_factory.mktemp("twenty")
    for i, name in enumerate(TENANTS):
        save_random(little.model, top / name, seed=i, **KINDS[name.rstrip("01234")])
    save_random(little.model, top / "eve", seed=99, **KINDS["ann"])
    weights = top / "eve" / "adapter_model.safetensors"
    save_file({k: t * HUGE for k, t in load_file(weights).items()}, weights, {"format": "pt"})
    return top


@pytest.fixture
def batcher(little, folders, tmp_path):
    (tmp_path / "adapters").mkdir()
    store = AdapterStore(tmp_path / "adapters")
    for name in [*TENANTS, "eve"]:
        store.publish(name, folders / name)
    found = Batcher(little, store, max_rows=6, max_adapters=8)
    yield found
    found.close()


def ask(tenant, i=0, **more) -> Request:
    words = f"Who is number {i}, and where does she live?"[: 20 + 7 * (i % 4)]
    return Request(tenant, ({"role": "user", "content": words},), **({"max_tokens": 4 + i % 5} | more))


def answers(batcher, requests) -> list:
    """ids of each answer, or the error's class."""
    tickets = [batcher.submit(r) for r in requests]
    while not all(t.over for t in tickets):
        batcher.step()
    return [type(t.error) if t.error else t.ids for t in tickets]


def with_eve(requests) -> list[Request]:
    """The same, with the poisoned tenant behind every second one, greedy and sampled."""
    found = []
    for i, r in enumerate(requests):
        found += [r, ask("eve", i, temperature=float(i % 4 == 1))] if i % 2 else [r]
    return found


ASKED = [ask(name, i, seed=i, temperature=float(i % 3 == 0)) for i, name in enumerate(TENANTS * 5)]


def harmed(batcher) -> int:
    alone = answers(batcher, ASKED)
    mixed = answers(batcher, with_eve(ASKED))
    return sum(
        a != b for a, b in zip(alone, [m for r, m in zip(with_eve(ASKED), mixed) if r.tenant != "eve"])
    )


def test_no_answer_of_twenty_tenants_depends_on_a_poisoned_one(batcher):
    assert harmed(batcher) == 0
    failed = answers(batcher, [ask("eve"), ask("ann0"), ask("eve", temperature=1.0)])
    assert failed[0] is failed[2] is BadAdapter and failed[1] == answers(batcher, [ask("ann0")])[0]


def test_rows_that_keep_what_stood_in_them_would_harm_the_others(batcher, monkeypatch):
    """Negative control: it is the zeros that keep tenants apart."""
    monkeypatch.setattr(RowLayer, "clear", lambda self, rows: None)
    assert harmed(batcher) > 0


@pytest.mark.parametrize(
    "change",
    [
        {"lora_alpha": float("nan")},
        {"lora_alpha": float("inf")},
        {"lora_alpha": 1e300},
        {"alpha_pattern": {"q_proj": float("nan")}},
        {"alpha_pattern": {"(": 3}},
        {"alpha_pattern": [1]},
    ],
    ids=str,
)
def test_an_odd_alpha_is_refused_where_it_is_read(batcher, folders, tmp_path, change):
    shutil.copytree(folders / "ann0", tmp_path / "odd")
    config = json.loads((tmp_path / "odd" / "adapter_config.json").read_text()) | change
    (tmp_path / "odd" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BadAdapter):
        batcher.store.publish("odd", tmp_path / "odd")
