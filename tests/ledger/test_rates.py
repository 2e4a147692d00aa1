"""Rates: equal trials, on a seed that no claim uses, and the constants are what the table says."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlab.chapters.c05_lora import claims as lora
from llmlab.chapters.c06_preferences import claims as prefer
from llmlab.chapters.c07_reinforcement_learning import claims as policy
from llmlab.chapters.c07_reinforcement_learning.grpo import GRPO
from llmlab.chapters.c11_distillation import claims as distilled
from llmlab.lab import code, record, vouched
from llmlab.ledger import TRIALS, rates, results
from llmlab.ledger.claims import Arm
from llmlab.ledger.rates import PILOT, Trials

TOY = Trials(
    "skill",
    (1e-3, 1e-2),
    (
        Arm("a", "lora", {"task": "dpo", "steps": 10}),
        Arm("b", "lora", {"task": "dpo", "steps": 10, "lr": 5e-3}, ("sums",), 5),
    ),
)


def test_every_arm_gets_the_same_trials_without_its_exam():
    tried = TOY.runs()
    assert set(tried) == {(label, lr) for label in "ab" for lr in (1e-3, 1e-2)}
    assert all(arm.knobs["lr"] == lr and arm.exam == () and arm.every == 0 for (_, lr), arm in tried.items())


@given(st.dictionaries(st.sampled_from(["0.0003", "0.001", "0.003", "0.01"]), st.integers(0, 3), min_size=1))
def test_the_best_rate_has_the_highest_reading_and_of_equals_is_the_lowest(row):
    best = rates.best(row)
    assert row[f"{best:g}"] == max(row.values()) and all(
        float(lr) >= best for lr, v in row.items() if v == row[f"{best:g}"]
    )


def test_the_table_is_written_and_goes_stale_with_what_was_tried(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    assert not rates.is_current("toy", [TOY])

    def executor(jobs):
        for experiment, seed in jobs:
            assert seed == PILOT
            yield (
                (experiment, seed),
                SimpleNamespace(curve=lambda m, e=experiment: {0: 0.0, 10: e.lr * 10}, seconds=1.0),
            )

    told = list(rates.build("toy", [TOY], executor))
    assert [t[:2] for t in told] == [(i, len(told)) for i in range(1, len(told) + 1)]
    assert (
        rates.load("toy")["table"] == {label: {"0.001": 0.01, "0.01": 0.1} for label in "ab"}
        and rates.load("toy")["seed"] == PILOT
    )
    assert rates.is_current("toy", [TOY]) and not rates.is_current(
        "toy", [Trials("skill", (1e-3,), TOY.arms)]
    )
    old = rates.seal([TOY]).code  # lora, and what it uses
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "version", lambda file: "other code")
        assert not rates.is_current("toy", [TOY])
        vouched.add([{"name": name, "old": hash, "new": "other code"} for name, hash in old.items()])
        assert rates.is_current("toy", [TOY])
    assert record.stale(rates.seals({"toy": [TOY], "new": [TOY]})) == ["new"]
    rates.file("toy").write_bytes(rates.file("toy").read_bytes()[:-1])
    assert not rates.is_current("toy", [TOY]) and record.stale(rates.seals({"toy": [TOY]})) == ["toy"]


PARTS = {"lora": lora, "codes": lora, "prefer": prefer, "policy": policy, "agent": policy}
PARTS |= dict.fromkeys(("distill", "selfdistill", "qat"), distilled)
LABELS = [(part, label) for part in PARTS for label in rates.load(part)["table"]]


@pytest.mark.parametrize("part", PARTS)
def test_the_rates_that_the_claims_use_are_those_of_the_stored_trials(part):
    assert rates.is_current(part, TRIALS[part]), "the trials are stale; run: llmlab build rates"
    table = rates.load(part)["table"]
    found, used = {label: rates.best(row) for label, row in table.items()}, PARTS[part].RATES
    assert {label: used.get(label) for label in table} == found
    assert len({len(row) for row in table.values()}) == 1


def test_no_rate_is_used_that_was_not_tried():
    tried = {(id(PARTS[part]), label) for part, label in LABELS}
    assert {(id(module), label) for module in PARTS.values() for label in module.RATES} == tried


GRPO_LIMIT = {k.name: k for k in GRPO.knobs()}["lr"].high
LOSING = ("decide, SFT", "sums, DPO")  # every rate makes them worse than they began: the lowest is best
FLAT = ("GRPO",)  # the reader finds no right answer, so no rate is better than another
# trained until 60 % are right, which none reaches in time at the lowest rate; at the next nothing is lost
KEEPING = tuple(arm.label for arm in policy.KEPT.values())


@pytest.mark.parametrize("part, label", LABELS)
def test_the_best_rate_is_not_at_the_edge_of_what_was_tried(part, label):
    row, best = rates.load(part)["table"][label], PARTS[part].RATES[label]
    tried = sorted(map(float, row))
    if label in LOSING:
        assert best == tried[0] and list(row.values())[0] - list(row.values())[-1] > 0.2
    elif label in FLAT:
        assert best == tried[0] and max(row.values()) == row[f"{best:g}"]
    elif label in KEEPING:
        assert row[f"{tried[0]:g}"] == 0 and best == tried[1]
        assert row[f"{best:g}"] > 0.97 and row[f"{tried[-1]:g}"] < 0.1
    else:
        assert tried[0] < best and (best < tried[-1] or tried[-1] == GRPO_LIMIT)


def test_no_claim_uses_the_seed_of_the_trials():
    assert all(
        PILOT not in claim.numbered(50)
        for claim in {c.id: c for module in PARTS.values() for c in module.CLAIMS}.values()
    )
    assert all(PILOT not in found["seeds"] for found in results.load().values())


def test_a_rate_that_does_not_get_there_counts_as_nothing():
    trials = Trials("known", (1e-3,), TOY.arms, reached=(("skill", 0.6),))
    runs = [
        SimpleNamespace(curve=lambda m, skill=skill: {0: 0.0, 10: {"known": 0.9, "skill": skill}[m]})
        for skill in (0.59, 0.6)
    ]
    assert [trials.reading(r) for r in runs] == [0.0, 0.9]


@pytest.mark.parametrize(
    "claim",
    [c for c in lora.CLAIMS if any(a.experiment == "lora" for a in c.arms)],
    ids=lambda c: c.id,
)
def test_every_tuned_arm_of_a_claim_runs_at_its_own_rate(claim):
    for arm in claim.arms:
        same = (
            lora.NF4[arm.knobs["task"]] if arm.knobs.get("scheme") == "int4" else arm
        )  # int4 runs at the rate of NF4
        assert arm.knobs["lr"] == lora.RATES[same.label], arm.label
