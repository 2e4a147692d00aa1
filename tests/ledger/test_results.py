"""Results: declared before the run, checked when read. Stale, truncated, altered or dead results are
refused.
"""

import io
import json
import random
import shlex
from dataclasses import replace
from html import escape

import pandas as pd
import pytest

from llmlab.cli import main, run
from llmlab.cli.claims import as_json
from llmlab.cli.options import parse
from llmlab.lab import record as sealed
from llmlab.lab import registry, vouched
from llmlab.ledger import CLAIMS, declarations, guards, results, statistics, table
from llmlab.ledger.caveats import CAVEATS, REGIMES, Caveat
from llmlab.ledger.claims import HOWS, Arm, Claim, NeverThere, Reading, contrast, gain
from llmlab.learn.widgets import ledger as page

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
    results.save({"C998": results.measured(CLAIM, found, range(6))}, found)
    return tmp_path


def test_effects_are_weighted_sums_of_readings_seed_by_seed(stored):
    first, second = results.load()["C998"]["contrasts"]
    c = curves()
    assert first["effects"] == [
        pytest.approx(c[ONE.key, s]["people"][150] - c[OTHER.key, s]["people"][150]) for s in range(6)
    ]
    assert first["verdict"] == "as claimed"
    # the price was said to fall, and rose; what is shown has an interval and no verdict
    assert second["verdict"] == "" and second["low"] < second["mean"] < second["high"]
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
    assert "] people, said better, 5 seeds: as claimed" in row.effects[0]
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
    assert set(results.seal(CLAIM).code) == {"cpt", "checkpoints"}
    examined = Arm("one", "dpo", {}, ("people",))
    exam = contrast("people", "more", examined("people"), OTHER("people"), 0.05)
    assert set(results.seal(replace(CLAIM, contrasts=(exam,))).code) == {"cpt", "dpo", "study", "checkpoints"}
    checked = replace(CLAIM, contrasts=(), check=lambda: "")
    assert set(results.seal(checked).code) == {"check C998", "checkpoints"}


def test_another_checkpoint_makes_it_stale(stored, monkeypatch):
    monkeypatch.setattr(results, "_checkpoints", lambda folder, names: "retrained")
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


def test_q_counts_every_contrast_of_the_ledger_once_and_changes_no_verdict(stored):
    """The same contrast in twenty claims is one test."""
    one = results.measured(CLAIM, curves(), range(6))
    alone = {"C998": json.loads(json.dumps(one))}
    crowd = alone | {f"C{i}": json.loads(json.dumps(one)) for i in range(900, 920)}
    results.judge(alone)
    first = json.loads(json.dumps(alone["C998"]))
    results.judge(crowd)
    assert crowd["C998"] == first
    other = json.loads(json.dumps(one))
    other["contrasts"][0] |= {"effects": [0.5, -0.5, 0.4, -0.4, 0.1, 0.0], "least": 0.06}
    crowd = {"C998": json.loads(json.dumps(one)), "C900": other}
    results.judge(crowd)
    assert crowd["C998"]["q"] == pytest.approx(2 * first["q"])
    assert crowd["C998"]["verdict"] == first["verdict"]


# ---- guards ----


def shares(one: float, other: float) -> results.Curves:
    r = random.Random(0)
    return {
        (a.key, s): {m: {0: 0.5, 150: v + 0.001 * r.random()} for m in ("people", "sums")}
        for a, v in ((ONE, one), (OTHER, other))
        for s in range(5)
    }


def judged(claim, found) -> dict:
    records = {claim.id: results.measured(claim, found, range(5))}
    CLAIMS[claim.id] = claim
    results.judge(records)
    return records[claim.id]


@pytest.mark.parametrize(
    "one, other, said",
    [(0.01, 0.0, "near 0 %"), (0.998, 0.99, "near 100 %"), (0.5, 0.3, ""), (0.99, 0.5, "")],
)
def test_a_difference_cannot_show_at_the_floor_or_the_ceiling(stored, one, other, said):
    found = judged(CLAIM, shares(one, other))
    assert (said in found["withheld"]) and bool(found["withheld"]) == (found["verdict"] == "withheld")
    assert bool(found["withheld"]) == bool(said)


def test_that_both_keep_everything_is_something(stored):
    same = replace(CLAIM, contrasts=(contrast("kept", "same", ONE("people"), OTHER("people"), 0.05),))
    assert judged(same, shares(0.998, 0.99))["verdict"] == "supported"


def test_a_condition_of_the_claims_own_comes_first(stored):
    start = gain("better than its own start", ONE, "people", "more", 0.05)
    guarded = replace(CLAIM, guards=(start,))
    assert judged(guarded, shares(0.9, 0.7))["verdict"] == "supported"
    found = judged(guarded, shares(0.45, 0.2))  # better than the other arm, and worse than before
    assert found["verdict"] == "withheld" and "better than its own start" in found["withheld"]
    assert guarded.declared != CLAIM.declared


def test_few_questions_cannot_show_a_small_effect(stored):
    assert judged(replace(CLAIM, items=2000), shares(0.5, 0.3))["verdict"] == "supported"
    found = judged(replace(CLAIM, items=48), shares(0.5, 0.3))
    assert found["verdict"] == "withheld" and "over 48 questions" in found["withheld"]


def test_a_rate_at_the_edge_of_those_tried_is_no_tuned_one(stored, monkeypatch):
    monkeypatch.setattr(guards.rates, "tried", lambda arm: (1e-4, 1e-2, 1e-3))
    assert judged(CLAIM, shares(0.5, 0.3))["verdict"] == "supported"
    monkeypatch.setattr(guards.rates, "tried", lambda arm: (1e-4, 1e-2, 1e-2))
    assert "is the highest of those that were tried" in judged(CLAIM, shares(0.5, 0.3))["withheld"]


@pytest.mark.parametrize("id", ["C021", "C097"])
def test_designs_that_the_audit_found_wanting_have_no_verdict(id):
    assert results.load()[id]["verdict"] == "withheld"


def test_a_mixture_is_conditional_only_on_a_knob_in_which_the_parts_differ(stored):
    one, other = (Arm(n, "cpt", {"replay": r}) for n, r in (("a", 0.1), ("b", 0.3)))
    up, down = gain("up", one, "people", "more", 0.05), gain("down", other, "people", "more", 0.05)
    found = {
        (a.key, s): {"people": {0: 0.5, 150: v + 0.001 * s}}
        for a, v in ((one, 0.8), (other, 0.2))
        for s in range(5)
    }
    mixed = replace(CLAIM, contrasts=(up, down))
    assert judged(mixed, found)["verdict"] == "supported in part, refuted in part"
    assert judged(replace(mixed, depends="replay"), found)["verdict"] == "conditional"
    with pytest.raises(ValueError, match="do not differ in 'lr'"):
        replace(mixed, depends="lr")


# ---- the log of declarations ----


def test_every_claim_stands_in_the_log_as_it_is_declared():
    assert declarations.missing(CLAIMS) == []
    assert all(declarations.told(c).startswith("2026-") for c in CLAIMS.values())


def test_a_changed_declaration_is_missed_until_it_is_noted(stored):
    changed = replace(CLAIM, items=300)
    declarations.note([CLAIM], "declared", after_results=False, day="2026-11-29")
    assert declarations.missing({"C998": CLAIM}) == [] and declarations.missing({"C998": changed}) == ["C998"]
    declarations.note([changed], "the number of questions", after_results=True, day="2026-11-30")
    assert declarations.missing({"C998": changed}) == []
    assert declarations.told(changed) == (
        "2026-11-29 (declared); changed after results on 2026-11-30: the number of questions"
    )


def test_a_damaged_log_is_one_sentence(stored):
    declarations.file().parent.mkdir(exist_ok=True)
    for raw in ("{", '{"date": 3}', "[" * 50_000):
        declarations.file().write_text(raw)
        with pytest.raises(declarations.BadLog, match="is damaged"):
            declarations.entries()


# ---- words ----


def test_every_row_has_its_sentence_in_plain_words_and_what_would_change_our_mind():
    for row in table.rows():
        said = table.in_the_lab(row)
        assert said.endswith(".") and len(said) > 20, row.claim.id
        assert table.change_of_mind(row).endswith(".")
        for c in row.counted:
            assert c["label"] in said and table.number(c["mean"], c["unit"]) in said


def test_caveats_belong_to_claims_and_travel_with_the_verdict():
    assert set(CAVEATS) | set(REGIMES) <= set(CLAIMS)
    rows = table.rows()
    for shown in (table.markdown(rows), table.html(rows)):
        assert all(escape(c.words) in shown or c.words in shown for c in CAVEATS.values())
    for c in [*CAVEATS.values(), *map(Caveat, REGIMES.values())]:
        assert c.words.endswith(".") and len(c.words) < 200


def test_a_chapters_table_folds_claims_of_several_parts_and_says_how_they_came_out():
    found = table.rows(chapter="02")
    for shown in (table.Ledger("02")._repr_html_(), table.Ledger("02")._repr_markdown_()):
        assert shown.count("<details>") == sum(len(r.effects) > 1 for r in found)
        assert all(
            escape(e).replace("|", r"\|") in shown or escape(e) in shown for r in found for e in r.effects
        )
    (mixed,) = table.rows(["C013"])
    assert "<summary>1 as claimed, 1 too small</summary>" in table.measured(mixed, True)
    for opened in (table.Ledger(ids=["C013"]), table.Ledger(verdict="refuted")):
        assert "<details>" not in opened._repr_html_() + opened._repr_markdown_()


def test_what_must_not_be_quoted_is_left_out_where_one_asks_for_what_can_be():
    found = {r.claim.id for r in table.rows(quotable=True)}
    assert {"C060"}.isdisjoint(found) and {"C012", "C040", "C074", "C098"} <= found
    assert all(r.verdict in table.DECIDED for r in table.rows(quotable=True))


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
        and claim.source.split(" ")[0] in ("A", "B", "ours")
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
                "rollbacks",
                "wrong_length",
                "ece",
                "teacher_accuracy",
                "teacher_pass_at_1",
                *(
                    "selected",
                    "executable",
                    "answered_3",
                    "drop",
                    "single",
                    "prm",
                    "adaptive",
                    "right_hard",
                    "right_known",
                ),  # of chapter 08, not drawn
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
    found = {how: Reading(ONE, "people", how).of({"people": curve}) for how in HOWS}
    assert found == pytest.approx(
        {"start": 1.0, "final": 0.9, "before": 0.7, "early": 0.5, "highest": 1.0, "lowest": 0.4, "mean": 0.65}
    )


LOSS = {0: 4.0, 10: 2.0, 20: 1.0, 30: 1.5, 40: 0.5}


@pytest.mark.parametrize("value, read", [(4.0, 1.0), (3.0, 0.9), (2.0, 0.8), (1.25, 0.65), (0.5, 0.2)])
def test_a_reading_where_as_much_is_learnt(value, read):
    """Linear between readings, and where the value is crossed first (1.25 is crossed three times)."""
    curves = {"people": {0: 1.0, 10: 0.8, 20: 0.6, 30: 0.4, 40: 0.2}, "loss": LOSS | {15: 1.5}}
    assert ONE("people", at=("loss", value)).of(curves) == pytest.approx(read)


@pytest.mark.parametrize("value", [4.1, 0.4])
def test_a_value_that_is_never_reached_is_one_sentence(value):
    with pytest.raises(NeverThere, match=f"'loss' goes from 4 to 0.5 and is never {value:g}"):
        ONE("people", at=("loss", value)).of({"people": LOSS, "loss": LOSS})


def test_where_a_reading_is_taken_decides_and_is_declared():
    plain, at = (
        replace(CLAIM, contrasts=(contrast("a", "more", one, OTHER("people"), 0.1),))
        for one in (ONE("people"), ONE("people", at=("loss", 1.0)))
    )
    assert plain.declared != at.declared
    assert at.rules[0][4][2] == "at loss 1" and plain.rules[0][4][2] == "final"


@pytest.mark.parametrize(
    "bad", [dict(kind="guess"), dict(contrasts=()), dict(seeds=4), dict(matched=""), dict(why="no idea")]
)
def test_an_incomplete_claim_is_refused(bad):
    with pytest.raises(ValueError):
        replace(CLAIM, **bad)


def test_a_claim_waits_for_the_checkpoints_that_its_runs_start_from_and_for_no_other():
    """The reader of chapter 08 was made anew; what starts from the chat model was not run again for that."""
    from llmlab.chapters.c11_distillation.distill import SIZES, TEACHER
    from llmlab.lab import registry

    for claim in CLAIMS.values():
        own = {registry.get(a.experiment).default_model for a in claim.arms}
        if "distill" in {a.experiment for a in claim.arms}:  # a teacher, and students of three sizes
            own |= {TEACHER, *SIZES.values()}
        assert own <= set(results.started(claim)) == {"base", "chat"} | own, claim.id
    assert results.started(CLAIMS["C100"]) == ("base", "chat")
    assert results.started(CLAIMS["C109"]) == ("base", "chat", "reader")


def test_the_command_shown_for_an_arm_is_its_experiment():
    assert all(len({a.label for a in c.arms}) == len(c.arms) for c in CLAIMS.values())
    arms = {a.key: a for c in CLAIMS.values() for a in c.arms}
    assert len(arms) > 300
    for arm in arms.values():
        cls, (llmlab, what, name, *argv) = registry.get(arm.experiment), shlex.split(arm.command)
        options = parse(f"run {name}", run.knobs_of(cls) + run.options_of(cls), argv)
        assert (llmlab, what, name) == ("llmlab", "run", arm.experiment)
        assert cls(**{k.name: getattr(options, k.name) for k in cls.knobs()}) == cls(**arm.knobs)


def test_the_commands_of_the_arms_are_shown_whole_wherever_a_claim_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    claim = CLAIMS["C006"]
    commands = {a.label: a.command for a in claim.arms}
    assert len(commands) == len(claim.arms) == 3
    assert main(["claims", "C006"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(line.endswith(c) for line in lines) for c in commands.values())
    assert any(line.endswith("exams that its numbers come from: llmlab claims run C006") for line in lines)
    (row,) = table.rows(["C006"])
    assert as_json([row])["C006"]["arms"] == commands
    assert all(escape(c) in page.in_full(row, None) for c in commands.values())
