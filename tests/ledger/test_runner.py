"""Running claims: with the pool, with Ray, killed on the way; the looks; controls on the real
results; the command line.
"""

import copy
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from helpers_ledger import claims_are

from llmlab import cli
from llmlab.chapters.c01_data_topology import checks as topology_checks
from llmlab.chapters.c03_tokenizer_extension import checks as tokenizer_checks
from llmlab.chapters.c04_sft import checks as chat_checks
from llmlab.chapters.c05_lora import checks as lora_checks
from llmlab.chapters.c05_lora import checks_serving
from llmlab.lab import cluster, code, pool, runs
from llmlab.ledger import controls, exams, results, runner, statistics
from llmlab.ledger.claims import Arm, Claim, NeverThere, contrast
from llmlab.methods import imitation

TINY = dict(steps=10, batch=2, probe=10, warmup=1, held=4, loss="sft")
FAST, SLOW = (
    Arm(name, "pairs", TINY | {"lr": lr}, ("people",)) for name, lr in (("fast", 3e-3), ("slow", 1e-4))
)
SAME = Arm("fast, said again", "pairs", FAST.knobs, ("people",), every=10)  # another arm, the same run
LOSS = contrast(
    "the right answers", "less", FAST("chosen_loss"), SLOW("chosen_loss"), 0.001, "nats per token"
)
CLAIM = Claim(
    "C999",
    "A higher rate learns the right answers sooner.",
    "A 0",
    "measured",
    "01",
    "none",
    matched="steps",
    contrasts=(LOSS,),
)


@pytest.fixture
def empty(home, tmp_path, monkeypatch):
    """An empty ledger with one small claim, and no runs."""
    (tmp_path / "checkpoints").symlink_to(results.paths.data() / "checkpoints")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    monkeypatch.setattr(exams, "PROBLEMS", 8)  # in this process; the workers of a pool would ask all 512
    with claims_are(CLAIM):
        yield tmp_path


MADE: dict[tuple, runs.Run] = {}  # what tests of this module have computed


def one_by_one(jobs, workers=None):
    """An executor in this process. What an earlier test computed is only stored again."""
    for experiment, seed in jobs:
        if (experiment, seed) in MADE:
            runs.store(MADE[experiment, seed], code.of(experiment))
        else:
            MADE[experiment, seed] = runs.run(experiment, seed, experiment.default_model)
        yield (experiment, seed), MADE[experiment, seed]


def test_the_pool_tests_a_claim_and_the_second_call_computes_nothing(empty):
    calls = []
    alone = tuple(replace(t, arm=replace(t.arm, exam=())) for t in LOSS.terms)  # exams take the workers long
    claim = replace(CLAIM, contrasts=(replace(LOSS, terms=alone),))
    with claims_are(claim):
        record = runner.run([claim], on_run=lambda done, of, what: calls.append((done, of)))["C999"]
    assert (
        record["verdict"] == "supported"
        and len(record["contrasts"][0]["effects"]) == len(record["seeds"]) >= 5
    )
    assert calls[0] == (0, 10) and calls[-1][0] == calls[-1][1]

    def executor(jobs):
        assert list(jobs) == []
        return iter(())

    with claims_are(claim):
        assert runner.run([claim], executor)["C999"] == record == results.load()["C999"]
    run = runs.stored(alone[0].arm.study(), 3)
    assert record["contrasts"][0]["terms"][0]["values"][3] == pytest.approx(
        run.metrics()["chosen_loss"]["final"], abs=1e-6
    )


def test_a_dead_knob_in_one_claim_costs_no_other_its_runs(empty):
    twice = replace(
        CLAIM,
        id="C998",
        contrasts=(contrast("one arm", "same", FAST("chosen_loss"), SAME("chosen_loss"), 1),),
    )
    with claims_are(twice, CLAIM), pytest.raises(statistics.DeadKnob, match="C998.*the knob is dead"):
        runner.run([twice, CLAIM], one_by_one)
    assert set(results.load()) == {"C999"}


def test_a_value_that_a_run_never_gets_to_costs_no_other_claim_its_runs(empty):
    never = replace(
        CLAIM,
        id="C998",
        contrasts=(
            contrast(
                "where as much is learnt",
                "less",
                FAST("chosen_loss", at=("general_loss", 99.0)),
                SLOW("chosen_loss"),
                0.001,
            ),
        ),
    )
    with (
        claims_are(never, CLAIM),
        pytest.raises(NeverThere, match="fast: 'general_loss' goes from .* never 99"),
    ):
        runner.run([never, CLAIM], one_by_one)
    assert set(results.load()) == {"C999"}


def test_the_first_seed_is_the_one_declared_and_a_run_spelt_twice_runs_once(empty):
    seen = []

    def executor(jobs):
        for job, run in one_by_one(jobs):
            seen.append(job)
            yield job, run

    again = Arm("fast, spelt out", "pairs", FAST.knobs | {"method": FAST.value("method")}, ("people",))
    same = contrast(
        "the same, spelt out",
        "less",
        again("chosen_loss"),
        SLOW("chosen_loss"),
        0.001,
        "nats per token",
        counts=False,
    )
    fresh = replace(CLAIM, first=7, contrasts=(LOSS, same))
    with claims_are(fresh):
        record = runner.run([fresh], executor)["C999"]
    assert again.key != FAST.key and again.study() == FAST.study()
    assert (
        record["seeds"][0] == 7
        and {seed for _, seed in seen} == set(record["seeds"])
        and len(seen) == len(set(seen)) == 2 * len(record["seeds"])
    )
    assert (
        record["contrasts"][0]["effects"] == record["contrasts"][1]["effects"]
        and len(record["contrasts"][1]["effects"]) >= 5
    )
    assert (
        fresh.declared != replace(fresh, first=0).declared == replace(CLAIM, contrasts=(LOSS, same)).declared
    )


def test_ray_gives_the_same_runs(empty):
    pytest.importorskip("ray")
    # `empty` makes exams small in this process only; this one has the same size there
    jobs = [(replace(FAST, exam=("general_nats",)).study(), 0), (replace(SLOW, exam=()).study(), 0)]
    found = dict(cluster.run_all(jobs, workers=1))
    here = runs.run(*jobs[0], "chat", fresh=True)
    assert set(found) == set(jobs) and found[jobs[0]].rows == here.rows
    assert runs.stored(*jobs[1]).rows == found[jobs[1]].rows


def test_without_ray_or_without_its_cluster_it_is_one_sentence(empty, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(cluster.NoRay, match="not installed here; run: pip install"):
        list(cluster.run_all([(FAST.study(), 0)]))


def test_more_seeds_while_a_part_is_open_and_no_number_in_between(empty, monkeypatch):
    """A look at 5, 10 and 20 seeds; what is decided is not run on."""
    real, asked = statistics.part, []

    def part(e, rule):
        asked.append(e.n)
        return "open" if e.n < 10 else real(e, rule)

    monkeypatch.setattr(statistics, "part", part)
    record = runner.run([CLAIM], one_by_one)["C999"]
    assert len(record["seeds"]) == 10 and set(asked) == {5, 10}
    monkeypatch.setattr(statistics, "part", lambda e, rule: "open")
    assert len(runner.run([CLAIM], one_by_one, most=10)["C999"]["seeds"]) == 10
    assert results.load()["C999"]["verdict"] == "open"


def test_a_further_look_computes_only_the_seeds_that_are_missing(empty, monkeypatch):
    """The curves that the ledger keeps are enough: the runs themselves need not be stored."""
    runner.run([CLAIM], one_by_one, most=5)
    for file in (empty / "home" / "runs").rglob("*.json"):
        file.unlink()
    monkeypatch.setattr(statistics, "part", lambda e, rule: "open" if e.n < 10 else "as claimed")
    asked = []

    def executor(jobs):
        jobs = list(jobs)
        asked.extend(seed for _, seed in jobs)
        yield from one_by_one(jobs)

    runner.run([CLAIM], executor, most=10)
    assert sorted(set(asked)) == [5, 6, 7, 8, 9]


def test_curves_that_other_code_made_are_not_taken(empty, monkeypatch):
    runner.run([CLAIM], one_by_one, most=5)
    for file in (empty / "home" / "runs").rglob("*.json"):
        file.unlink()
    monkeypatch.setattr(results, "_named", lambda name: {name: "other code"})
    asked = []

    def executor(jobs):
        asked.extend(jobs)
        yield from one_by_one(asked)

    runner.run([CLAIM], executor, most=5)
    assert len(asked) == 10


def test_shared_arms_run_once():
    other = replace(CLAIM, id="C997", seeds=8)
    wanted = runner.jobs([CLAIM, other], lambda c: c.seeds)
    assert len(wanted) == 2 * 8 and [seed for _, seed in wanted] == sorted(seed for _, seed in wanted)


KILLED = """
import sys
from functools import partial

from llmlab.lab import pool
from llmlab.ledger import CLAIMS, runner
from llmlab.ledger.claims import Arm, Claim, contrast

TINY = dict(steps=10, batch=2, probe=10, warmup=1, held=4, loss="sft")
RATES = {"fast": 3e-3, "slow": 1e-4}
FAST, SLOW = (Arm(name, "pairs", TINY | {"lr": lr}) for name, lr in RATES.items())
READ = FAST("chosen_loss"), SLOW("chosen_loss")
LOSS = contrast("the right answers", "less", *READ, 0.001, "nats per token")
WORDS = "A higher rate learns the right answers sooner."
CLAIM = Claim("C999", WORDS, "A 0", "measured", "01", "none", matched="steps", contrasts=(LOSS,))
if __name__ == "__main__":
    for known in list(CLAIMS):
        del CLAIMS[known]
    CLAIMS["C999"] = CLAIM
    executor = partial(pool.run_all, workers=int(sys.argv[1]))
    print(runner.run([CLAIM], executor)["C999"]["contrasts"][0]["effects"])
"""


def test_killed_at_any_moment_it_goes_on_and_leaves_no_worker_behind(empty, tmp_path):
    script = tmp_path / "run_claims.py"
    script.write_text(KILLED)
    first = subprocess.Popen([sys.executable, str(script), "2"], stdout=subprocess.DEVNULL)
    done, until = lambda: list((empty / "home" / "runs").glob("*/*.json")), time.monotonic() + 240
    while len(done()) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    workers = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(first.pid)], capture_output=True, text=True
    ).stdout.split()
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = {f: f.stat().st_mtime_ns for f in done()}
    until = time.monotonic() + 60
    while any(alive(w) for w in workers) and time.monotonic() < until:
        time.sleep(0.2)
    assert workers and not [w for w in workers if alive(w)], "the workers end with their parent"
    again = subprocess.run(  # one worker will do: each takes seconds to start
        [sys.executable, str(script), "1"], capture_output=True, text=True, timeout=600
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == results.load()["C999"]["contrasts"][0]["effects"]
    assert {f: f.stat().st_mtime_ns for f in kept} == kept, "what was finished is not computed again"


def alive(pid: str) -> bool:
    """Does the process still run (a zombie does not)?"""
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


# ---- studies and exams ----


def test_an_exam_leaves_the_training_as_it_was(empty):
    examined, plain = runs.run(FAST.study(), 0), runs.run(FAST.study().of, 0)
    extra = {"examined", "people"}
    assert [{k: v for k, v in r.items() if k not in extra} for r in examined.rows] == plain.rows
    assert sorted(examined.curve("people")) == [0, 10]


def test_a_study_is_read_along_the_way_and_resumes(empty):
    study = replace(FAST, every=2).study()
    whole = runs.run(study, 1)
    assert sorted(whole.curve("people")) == [0, 2, 4, 6, 8, 10]
    seen = []
    with pytest.raises(runs.Interrupted):
        runs.run(study, 1, fresh=True, on_row=seen.append, stop=lambda: len(seen) > 5)
    runs.record("study", whole.key).unlink()
    assert runs.run(study, 1).rows == whole.rows


def test_drift_is_nothing_at_the_start_and_grows(base):
    import torch

    from llmlab.ledger.exams import Drift, cka

    drift = Drift(base.model, base.tok)
    start = drift(base.model)
    assert start["distance"] == pytest.approx(0, abs=1e-6) and start["likeness"] == pytest.approx(1)
    with torch.no_grad():
        for p in base.model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    assert drift(base.model)["distance"] > 0.01 and drift(base.model)["likeness"] < 0.999
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    turned = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2)))[0]
    assert (
        cka(x, 3 * x @ turned + 1) == pytest.approx(1)
        and cka(x, torch.randn(50, 8, generator=torch.Generator().manual_seed(3))) < 0.6
    )


# ---- exact claims ----


@pytest.mark.parametrize(
    "check",
    [
        topology_checks.masked_tokens,
        tokenizer_checks.tokens_saved,
        tokenizer_checks.old_tokenizer,
        tokenizer_checks.rows_saved,
        lora_checks.merged_is_unmerged,
        lora_checks.one_base_many_adapters,
        chat_checks.literal_roles,
        checks_serving.bleed,
    ],
)
def test_an_exact_claim_holds(check):
    assert any(c.isdigit() for c in check())


def test_a_loss_that_forgets_its_mask_fails_the_check(monkeypatch):
    pass  # OBJ

    monkeypatch.setattr(imitation, "nll", lambda out, batch: (-out.logprobs.mean(), {}))
    with pytest.raises(AssertionError, match="a gradient where the mask is 0"):
        topology_checks.masked_tokens()


def test_an_extension_without_effect_fails_the_check(monkeypatch):
    from llmlab.tokens import extend

    monkeypatch.setattr(extend, "add_words", lambda model, tok, words: None)
    for check in (tokenizer_checks.tokens_saved, tokenizer_checks.old_tokenizer, tokenizer_checks.rows_saved):
        with pytest.raises(AssertionError):
            check()


def test_a_merge_that_forgets_the_scale_fails_the_check(monkeypatch):
    from llmlab.models import adapters

    merged = adapters.merged
    monkeypatch.setattr(adapters, "merged", lambda model: merged(halved(model)))
    with pytest.raises(AssertionError, match="merging in fp32 moves a logit"):
        lora_checks.merged_is_unmerged()


def halved(model):
    """A copy whose adapters count half."""
    twin = copy.deepcopy(model)
    for name, p in twin.named_parameters():
        if "lora_B" in name:
            p.data /= 2
    return twin


def test_adapters_that_copy_the_base_fail_the_check(monkeypatch):
    from llmlab.models import memory

    monkeypatch.setattr(memory.Shape, "adapters", lambda self, rank, targets="both": self.parameters)
    with pytest.raises(AssertionError, match="are not those of one base"):
        lora_checks.one_base_many_adapters()


def test_a_tokenizer_that_reads_typed_control_tokens_fails_the_check(monkeypatch):
    from transformers import PreTrainedTokenizerFast

    call = PreTrainedTokenizerFast.__call__
    monkeypatch.setattr(
        PreTrainedTokenizerFast,
        "__call__",
        lambda self, *args, split_special_tokens=False, **more: call(self, *args, **more),
    )
    with pytest.raises(AssertionError):
        chat_checks.literal_roles()


def test_a_router_that_errs_fails_the_check(monkeypatch):
    from llmlab.serve import batcher

    slot = batcher.Batcher.slot
    monkeypatch.setattr(batcher.Batcher, "slot", lambda self, ticket: slot(self, ticket) % 3 + 1)
    with pytest.raises(AssertionError, match="another tenant's manner although the routing is right"):
        checks_serving.bleed()


# ---- the command line ----


def test_the_command_line_runs_and_shows(empty, capsys, monkeypatch):
    monkeypatch.setattr(pool, "run_all", one_by_one)
    assert cli.main(["claims"]) == 0 and "1 not run" in capsys.readouterr().out
    assert cli.main(["claims", "run", "C999"]) == 0 and "C999  supported" in capsys.readouterr().out
    assert cli.main(["claims", "run"]) == 0 and "all current" in capsys.readouterr().out
    assert cli.main(["claims", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["C999"]
    assert told["verdict"] == "supported" and len(told["contrasts"][0]["effects"]) == len(told["seeds"])
    assert cli.main(["claims", "C999"]) == 0
    out = capsys.readouterr().out
    assert "the right answers" in out and "less, by at least" in out and "matched     steps" in out


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["C123"], "there is no claim 'C123'"),
        (["run", "C123"], "there is no claim 'C123'"),
        (["--verdict", "true"], "there is no verdict 'true'"),
        (["--chapter", "77"], "chapter '77' has no claims"),
        (["run", "--executor", "spark", "--force"], "--executor is pool or ray, not 'spark'"),
        (["run", "--workers", "-3", "--force"], "--workers -3 is out of range"),
        (["run", "--most", "7", "--force"], "--most 7 is no look"),
        (["--colour"], "unknown option '--colour'"),
    ],
)
def test_bad_input_is_one_sentence(empty, capsys, argv, sentence):
    assert cli.main(["claims", *argv]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.err.count("\n") == 1


def test_a_damaged_file_is_one_sentence_and_running_mends_it(empty, capsys, monkeypatch):
    monkeypatch.setattr(pool, "run_all", one_by_one)
    runner.run([CLAIM], one_by_one)
    results.file().write_bytes(results.file().read_bytes().replace(b"supported", b"supportex"))
    assert cli.main(["claims"]) == 2 and "was changed after it was written" in capsys.readouterr().err
    assert cli.main(["claims", "run"]) == 0 and "C999  supported" in capsys.readouterr().out


def test_the_controls_on_a_small_ledger(empty):
    runner.run([CLAIM], one_by_one)
    assert (
        "was changed after it was written" in controls.altered()
        and "the knob is dead" in controls.dead_knob("C999")
    )


def test_arms_against_themselves_err_no_more_often_than_the_level_says():
    found = controls.same_arm()
    total = sum(found.values())
    assert total >= 50 and found.get("as claimed", 0) + found.get("reversed", 0) <= 0.05 * total


def test_a_planted_effect_is_found_and_never_excluded():
    found = controls.same_arm(planted=3.0)
    assert "reversed" not in found and "too small" not in found
    assert found["as claimed"] >= 0.5 * sum(found.values())
