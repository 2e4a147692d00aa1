"""Results: declared before the run, checked when read. Stale, truncated, altered or dead results are
refused.
"""

import io
import json
import random
from dataclasses import replace

import pandas as pd
import pytest

from llmlab.lab import record as sealed
from llmlab.lab import vouched
from llmlab.ledger import CLAIMS, results, statistics, table
from llmlab.ledger.claims import HOWS, Arm, Claim, Reading, contrast

ONE, OTHER = Arm("one", "cpt", {"replay": 0.5}), Arm("other", "cpt", {"replay": 0.0})
CLAIM = Claim(
    "C998",
    "One beats the other.",
    "A 0",
    "measured",
    "02",
    "none",
    matched="all",
    knob="k",
    contrasts=(
        contrast("people", "more", ONE("people"), OTHER("people"), 0.05),
        contrast("price", "less", ONE("sums"), OTHER("sums"), 0.05, counts=False),
    ),
)


def curves(gap: float = 0.3, seeds: int = 6, noise: float = 0.02):
    r = random.Random(5)
    return {
        (a.key, s): {
            m: {0: 1.0, 50: 0.5, 150: round(0.3 + gap * (a is ONE) + r.gauss(0, noise), 4)}
            for m in ("people", "sums")
        }
        for a in (ONE, OTHER)
        for s in range(seeds)
    }


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """One claim with results in an empty data folder."""
    (tmp_path / "checkpoints").symlink_to(results.paths.data() / "checkpoints")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    monkeypatch.setitem(CLAIMS, "C998", CLAIM)
    found = curves()
    results.save({"C998": results.measured(CLAIM, found, range(6)) | {"needed": 4}}, found)
    return tmp_path


def test_effects_are_weighted_sums_of_readings_seed_by_seed(stored):
    first, second = results.load()["C998"]["contrasts"]
    c = curves()
    assert first["effects"] == [
        pytest.approx(c[ONE.key, s]["people"][150] - c[OTHER.key, s]["people"][150]) for s in range(6)
    ]
    assert (
        first["verdict"] == "supported" and second["verdict"] == "refuted"
    )  # the price was said to fall, and rose
    assert results.load()["C998"]["verdict"] == "supported", "what does not count has no part in the verdict"


def test_curves_come_back_as_written(stored):
    back, c = results.load_curves(), curves()
    assert back.keys() == c.keys()
    assert all(
        back[k][m][step] == pytest.approx(v, abs=1e-6) for k in c for m in c[k] for step, v in c[k][m].items()
    )


@pytest.mark.parametrize("change", [dict(seeds=8), dict(first=1), dict(kind="systems"), dict(id="C997")])
def test_a_changed_declaration_is_stale(stored, change):
    record = results.load()["C998"]
    assert results.is_current(CLAIM, record) and not results.is_current(replace(CLAIM, **change), record)


def renamed(claim):
    """The claim with other labels of contrasts and arms."""
    contrasts = tuple(
        replace(
            c,
            label=f"{c.label}, said better",
            terms=tuple(replace(t, arm=replace(t.arm, label=f"the {t.arm.label}")) for t in c.terms),
        )
        for c in claim.contrasts
    )
    return replace(claim, contrasts=contrasts)


BETTER = {
    "words": replace(CLAIM, words="One beats the other by far."),
    "source": replace(CLAIM, source="B 1"),
    "what is matched": replace(CLAIM, matched="nothing"),
    "knob": replace(CLAIM, knob=""),
    "chapter": replace(CLAIM, chapter="03"),
    "evidence": replace(CLAIM, evidence="a new paper", cites=("lora_2021",)),
    "labels": renamed(CLAIM),
}


@pytest.mark.parametrize("claim", BETTER.values(), ids=BETTER)
def test_improved_words_keep_the_result(stored, claim):
    assert results.is_current(claim, results.load()["C998"])


def test_a_result_is_shown_in_the_claims_present_words(stored, monkeypatch):
    monkeypatch.setitem(CLAIMS, "C998", renamed(CLAIM))
    (row,) = table.rows(["C998"])
    first = row.record["contrasts"][0]
    assert row.verdict == "supported" and first["label"] == "people, said better"
    assert [t["label"] for t in first["terms"]] == ["the one", "the other"]
    assert row.effects[0].startswith("people, said better: +")
    before = results.load()["C998"]["contrasts"][0]
    assert {k: v for k, v in first.items() if k not in ("label", "terms")} == {
        k: v for k, v in before.items() if k not in ("label", "terms")
    }


def test_a_result_of_other_contrasts_keeps_its_own_words(stored):
    first, second = renamed(CLAIM).contrasts
    other = replace(CLAIM, contrasts=(replace(first, least=0.01), second))
    assert results.worded(other, results.load()["C998"]) == results.load()["C998"]
    assert results.worded(CLAIM, None) is None


def test_why_a_claim_cannot_be_tested_is_said_in_present_words(stored):
    claim = replace(CLAIM, contrasts=(), why="nobody has one")
    record, better = results.untestable(claim), replace(claim, why="nobody has one here")
    assert results.is_current(better, record) and results.worded(better, record)["found"] == better.why


def test_a_moved_threshold_is_stale(stored):
    first, second = CLAIM.contrasts
    moved = [
        replace(first, least=0.01),
        replace(first, direction="same"),
        replace(first, counts=False),
        replace(first, terms=(ONE("people", "early"), -OTHER("people"))),
        replace(first, terms=(Arm("one", "cpt", {"replay": 0.4})("people"), -OTHER("people"))),
    ]
    record = results.load()["C998"]
    assert not any(results.is_current(replace(CLAIM, contrasts=(m, second)), record) for m in moved)


def test_other_code_of_the_experiment_makes_it_stale_unless_it_is_vouched_for(stored, monkeypatch):
    record, old = results.load()["C998"], results.seal(CLAIM).code["cpt"]
    monkeypatch.setattr(results, "_named", lambda name: {name: "another version"})
    assert not results.is_current(CLAIM, record) and table.Row(CLAIM, record).verdict == "stale"
    assert sealed.stale(s for s in results.seals() if s[0] == "C998") == ["C998"]
    vouched.add([{"name": "cpt", "old": old, "new": "another version"}])
    assert results.is_current(CLAIM, record) and table.Row(CLAIM, record).verdict == "supported"
    assert not sealed.stale(s for s in results.seals() if s[0] == "C998")


def test_the_seal_names_the_code_of_every_arm_of_its_exam_and_of_a_check():
    assert set(results.seal(CLAIM).code) == {"cpt"}
    examined = Arm("one", "dpo", {}, ("people",))
    exam = contrast("people", "more", examined("people"), OTHER("people"), 0.05)
    assert set(results.seal(replace(CLAIM, contrasts=(exam,))).code) == {"cpt", "dpo", "study"}
    checked = replace(CLAIM, contrasts=(), check=lambda: "")
    assert set(results.seal(checked).code) == {"check C998"}


def test_another_checkpoint_makes_it_stale(stored, monkeypatch):
    monkeypatch.setattr(results, "_checkpoints", lambda folder: "retrained")
    assert not results.is_current(CLAIM, results.load()["C998"])


def test_one_altered_number_is_refused(stored):
    raw = results.file().read_text()
    body = json.loads(raw.split("\n", 1)[1])
    before = json.dumps(body["C998"]["contrasts"][0]["effects"][2])
    results.file().write_text(raw.replace(before, before[:-1] + ("1" if before[-1] != "1" else "2")))
    with pytest.raises(
        results.BadResults, match="was changed after it was written, so no verdict in it counts"
    ):
        results.load()


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_one_sentence(stored, cut):
    raw = results.file().read_bytes()
    results.file().write_bytes(raw[: int(len(raw) * cut) if cut < 1 else cut])
    with pytest.raises(results.BadResults, match="llmlab claims run"):
        results.load()


def test_truncated_curves_leave_the_verdicts(stored):
    results.curves_file().write_bytes(results.curves_file().read_bytes()[:100])
    assert results.load_curves() == {} and results.load()["C998"]["verdict"] == "supported"


def test_one_altered_number_in_the_curves_is_refused(stored):
    head, _, raw = results.curves_file().read_bytes().partition(b"\n")
    frame = pd.read_parquet(io.BytesIO(raw))
    frame.loc[3, "value"] += 0.001
    changed = frame.to_parquet(compression="zstd", index=False)
    results.curves_file().write_bytes(head + b"\n" + changed)
    assert results.load_curves() == {} and results.load()["C998"]["verdict"] == "supported"


def test_curves_that_were_written_with_other_results_are_not_read(stored):
    curves_ = results.curves_file().read_bytes()
    results.save({"C998": results.load()["C998"] | {"needed": 5}}, curves())
    assert results.load_curves()
    results.curves_file().write_bytes(curves_)
    assert results.load_curves() == {} and results.load()["C998"]["needed"] == 5


def test_a_planted_dead_knob_is_caught():
    alike = {
        (a.key, s): {"people": {0: 1.0, 150: 0.5 + 0.01 * s}, "sums": {0: 1.0, 150: 0.4}}
        for a in (ONE, OTHER)
        for s in range(6)
    }
    with pytest.raises(statistics.DeadKnob, match="'one' and 'other' gave the same numbers for all 6 seeds"):
        results.measured(CLAIM, alike, range(6))
    alike[ONE.key, 5]["sums"][150] += 0.01  # one number of one seed suffices to show that it lives
    assert results.measured(CLAIM, alike, range(6))["contrasts"][0]["effects"] == [0.0] * 6


def test_verdicts_are_made_anew_over_all_records(stored):
    """Holm: the same p counts for less among many. A second claim's tests change the first one's adjusted
    p.
    """
    c = curves()
    one = results.measured(CLAIM, c, range(6))
    alone, crowd = (
        {"C998": one},
        {"C998": json.loads(json.dumps(one))}
        | {f"C{i}": json.loads(json.dumps(one)) for i in range(900, 920)},
    )
    results.judge(alone)
    results.judge(crowd)
    assert crowd["C998"]["contrasts"][0]["adjusted"] == pytest.approx(21 * alone["C998"]["contrasts"][0]["p"])


def test_shuffled_arm_labels_come_out_inconclusive():
    """Ten claims that hold and ten without effect. One that holds has its arm labels shuffled: it must find
    nothing in 95 of 100 cases.
    """
    r = random.Random(3)

    def record(gap):
        return {
            "label": "x",
            "direction": "more",
            "least": 0.05,
            "unit": "share",
            "counts": True,
            "effects": [gap + r.gauss(0, 0.03) for _ in range(6)],
        }

    records = {f"C{i}": {"contrasts": [record(0.3 * (i % 2))]} for i in range(900, 920)}
    treated, control = [0.6 + r.gauss(0, 0.02) for _ in range(6)], [0.3 + r.gauss(0, 0.02) for _ in range(6)]
    verdicts = []
    for shuffle in range(101):
        values = r.sample(treated + control, 12) if shuffle else treated + control
        records["C901"]["contrasts"][0]["effects"] = [a - b for a, b in zip(values[:6], values[6:])]
        results.judge(records)
        verdicts.append(records["C901"]["verdict"])
    assert verdicts[0] == "supported" and verdicts[1:].count("inconclusive") >= 95


# ---- the declarations themselves ----


def test_all_forty_claims_of_the_first_chapters_are_declared():
    first = {i: c.chapter for i, c in CLAIMS.items() if i <= "C040"}
    assert [f"C{i:03d}" for i in range(1, 41)] == sorted(first) and set(first.values()) == {
        "00",
        "01",
        "02",
        "03",
    }


DERIVATIVES = {"wrong_push", "right_push"}  # readings that are 0 where nothing would change


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_declaration_is_complete(claim):
    from llmlab.learn.notebook import bibliography

    assert (
        claim.words.endswith(".")
        and claim.source.split(" ")[0] in ("A", "B")
        and claim.evidence.endswith(".")
    )
    assert set(claim.cites) <= set(bibliography())
    for c in claim.contrasts:
        assert c.arms and {t.how for t in c.terms} <= set(HOWS)
        assert (
            sum(t.weight for t in c.terms) == pytest.approx(0) or {t.metric for t in c.terms} <= DERIVATIVES
        ), "an effect is a difference"
    kinds = {c.counts for c in claim.contrasts}
    assert not claim.contrasts or True in kinds
    counted = [c for c in claim.contrasts if c.counts]
    assert len(counted) < 2 or claim.knob or len({c.label for c in counted}) == len(counted)


@pytest.mark.parametrize("claim", [c for c in CLAIMS.values() if c.contrasts], ids=lambda c: c.id)
def test_every_metric_of_a_claim_is_one_that_its_runs_have(claim):
    """Every reading names a curve that the experiment or the exam draws."""
    for c in claim.contrasts:
        for t in c.terms:
            study = t.arm.study()
            known = {*study.curves, *t.arm.exam, "tokens"} | {
                "likeness.1",
                "drug_facts.nerves",
                "general_recall",
                "blunt",
                "megabytes",
                "gflop",
                "clip_fraction_mean",
                "wrong_length",
                "samples",
            }
            assert t.metric in known, (t.metric, sorted(known))


def test_accuracies_are_measured_on_at_least_five_hundred_problems():
    from llmlab.chapters.c02_continued_pretraining import facts, longdoc, midtrain
    from llmlab.chapters.c07_reinforcement_learning.sampling import Sampling
    from llmlab.ledger import exams

    assert exams.PROBLEMS == facts.HELD == longdoc.HELD == midtrain.HELD == Sampling().problems == 512


def test_readings_by_hand():
    curve = {0: 1.0, 10: 0.4, 40: 0.6, 50: 0.7, 150: 0.9}
    found = {how: Reading(ONE, "people", how).of(curve) for how in HOWS}
    assert found == pytest.approx(
        {"start": 1.0, "final": 0.9, "before": 0.7, "early": 0.5, "highest": 1.0, "lowest": 0.4, "mean": 0.65}
    )


@pytest.mark.parametrize(
    "bad", [dict(kind="guess"), dict(contrasts=()), dict(seeds=4), dict(matched=""), dict(why="no idea")]
)
def test_an_incomplete_claim_is_refused(bad):
    with pytest.raises(ValueError):
        replace(CLAIM, **bad)
