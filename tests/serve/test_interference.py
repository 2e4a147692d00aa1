"""Every fault of adapter interference is caught by the check made for it; without a fault every check is
silent.
"""

import pytest
import torch
from helpers_serve import NEW_CAPTAIN
from safetensors.torch import load_file

from llmlab.serve import faults
from llmlab.serve.batcher import Batcher
from llmlab.serve.requests import Request
from llmlab.serve.store import AdapterStore
from llmlab.serve.tenants import CENSUS, TENANTS, Tenant, is_mine, numbered, train, train_together, whose

CREW = [NEW_CAPTAIN, TENANTS["robot"], TENANTS["tom"]]


@pytest.fixture(scope="module")
def batcher(lab, crew):
    found = Batcher(lab, crew)
    yield found
    found.close()


@pytest.fixture(scope="module")
def canaries(lab, crew):
    return faults.canaries(lab, crew, CREW, n=3)


def test_an_engine_without_faults_passes_every_check(batcher, canaries):
    assert faults.check(batcher, canaries, CREW) == []


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda f: f.__name__)
def test_every_fault_is_caught_by_its_check_and_leaves_nothing_behind(batcher, canaries, fault):
    caught = faults.FAULTS[fault]
    with fault(batcher, "captain"):
        found = caught(batcher, canaries, CREW)
    assert found and all("\n" not in f.sentence for f in found)
    assert caught(batcher, canaries, CREW) == []


def test_the_matrix_says_which_check_sees_what(batcher, canaries):
    rows = faults.matrix(batcher, canaries, CREW, "captain")
    assert set(rows["none"].values()) == {0} and set(rows) == {"none", *(f.__name__ for f in faults.FAULTS)}


def test_regression_compares_with_the_base(batcher):
    questions = CENSUS.problems(40, seed=3)
    result = faults.regression(batcher, "robot", [p for p in questions if p.meta["attribute"] != "friend"])
    assert (
        result.base > 0.9
        and 0 <= result.adapter <= 1
        and len(result.lost) >= round((result.base - result.adapter) * 30) - 1
    )


def test_trained_tenants_have_their_manners(batcher):
    for tenant in CREW:
        problems = tenant.problems(40, seed=5)
        answers = batcher.answer([Request(tenant.name, p.messages, 24) for p in problems])
        assert sum(whose(CREW, p.question, a.text) == [tenant.name] for p, a in zip(problems, answers)) >= 37


def test_manners_tell_all_tenants_apart():
    everybody = [*TENANTS.values(), *numbered(32)]
    for tenant in everybody:
        p = tenant.problems(1)[0]
        assert whose(everybody, p.question, p.answer) == [tenant.name]
    assert not is_mine(
        TENANTS["captain"], TENANTS["captain"].problems(1)[0].question, "Aye aye, nothing, mate!"
    )


def test_training_together_is_training_alone(lab, tmp_path):
    """One mixed batch gives every tenant the adapter that PEFT would have given it alone."""
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    together, alone = AdapterStore(tmp_path / "a"), AdapterStore(tmp_path / "b")
    pair = [TENANTS["robot"], Tenant("list", "- {a}")]
    train_together(lab, together, pair, steps=3, rows=2, lr=1e-3)
    for tenant in pair:
        train(lab, alone, tenant, steps=3, rows=2, lr=1e-3)
        one, other = (
            load_file(s.folder / tenant.name / "1" / "adapter_model.safetensors") for s in (together, alone)
        )
        gap = max(float((one[k] - other[k]).abs().max()) for k in one)
        assert one.keys() == other.keys() and gap < 2e-4, gap  # a step moves a number by about 1e-3
        assert any(float(v.abs().max()) > 5e-4 for k, v in other.items() if "lora_B" in k) and torch.isfinite(
            torch.tensor(gap)
        )
