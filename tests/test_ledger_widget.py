"""The ledger's page and its forest plot: right is as claimed, every claim opens, one more seed gives the
number that a run of it gives.
"""

import html
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

import pytest
from helpers_ledger import claims_are, data_folder, made_up, record, stored
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from llmlab.errors import UserError
from llmlab.lab import runs
from llmlab.learn import figures, forest
from llmlab.learn.widgets import LedgerPage
from llmlab.learn.widgets import ledger as page_module
from llmlab.learn.widgets.ledger import Forest
from llmlab.ledger import CLAIMS, results, table
from llmlab.ledger.claims import Arm, Claim, contrast

TINY = {"steps": 10, "batch": 2, "probe": 10}
ONE, ALL = Arm("answers only", "topology", TINY), Arm("all tokens", "topology", TINY | {"loss": "all"})


def claim(id: str, *contrasts, **changed) -> Claim:
    """A claim of the tests."""
    about = dict(
        kind="measured",
        chapter="01",
        evidence="An experiment <b>elsewhere</b>.",
        cites=("somebody_2024",),
        matched="all & sundry",
        knob="it",
    )
    return Claim(id, f"What {id} says is < 1.", "A 9.9", contrasts=contrasts, **about | changed)


def loss(label: str, direction: str, counts: bool = True):
    """A contrast of the two tiny arms."""
    return contrast(label, direction, ALL("user_loss"), ONE("user_loss"), 0.1, "nats", counts)


TESTED = claim(
    "C901",
    loss("loss", "less"),
    loss("the same, turned round", "more"),
    loss("no part of it", "same", counts=False),
)
SECOND = claim("C902", loss("another loss", "less"))
LONG = claim(
    "C903",
    contrast(
        "long",
        "less",
        Arm("long", "topology", TINY | {"steps": 2000})("user_loss"),
        ONE("user_loss"),
        0.1,
        "nats",
    ),
)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Made-up results of all claims."""
    return stored(tmp_path_factory.mktemp("ledger") / "data")


@pytest.fixture
def full(everything, monkeypatch):
    """The page of all claims."""
    monkeypatch.setenv("LLMLAB_DATA", str(everything))
    page = LedgerPage()
    page.wait(60)
    return page


@pytest.fixture
def few(tmp_path, monkeypatch):
    """The page of three claims whose arms run in seconds."""
    with claims_are(TESTED, SECOND, LONG):
        monkeypatch.setenv("LLMLAB_DATA", str(stored(tmp_path / "data", [TESTED, SECOND])))
        page = LedgerPage()
        page.wait(60)
        yield page
        page.stop()
        page.wait(60)


def shown(page) -> list[str]:
    """Ids in the order of the page."""
    return [c["id"] for c in page.plot.data["claims"]]


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- the forest ----


@pytest.mark.parametrize("direction, sign", [("more", 1), ("less", -1), ("same", 1)])
def test_right_is_as_claimed_in_units_of_the_smallest_effect(direction, sign):
    c = claim("C900", contrast("x", direction, ALL("people"), ONE("people"), 0.05))
    effects = [0.09, 0.10, 0.11, 0.10, 0.12, 0.11]
    curves = {
        (a.key, s): {"people": {0: 0.0, 10: e * (a is ALL)}}
        for a in (ONE, ALL)
        for s, e in enumerate(effects)
    }
    records = {"C900": results.measured(c, curves, range(6))}
    results.judge(records)
    (entry,) = forest.entries([page_module.Seen(c, records["C900"])])
    measured = records["C900"]["contrasts"][0]
    assert entry["x"] == pytest.approx(sign * 0.104 / 0.05) and entry["low"] <= entry["x"] <= entry["high"]
    assert [entry["low"], entry["high"]] == pytest.approx(
        sorted(sign * measured[end] / 0.05 for end in ("low", "high"))
    )
    found = {"more": "as claimed", "less": "reversed", "same": "differs"}[direction]
    assert entry["verdict"] == measured["verdict"] == found
    assert entry["claim_verdict"] == ("supported" if direction == "more" else "refuted")
    assert (entry["id"], entry["label"], entry["direction"], entry["text"]) == (
        "C900",
        "x",
        direction,
        table.told(measured),
    )


def test_an_entry_for_every_contrast_that_counts_in_the_order_of_the_ids(full):
    found = forest.entries(list(reversed(full.rows)))
    assert [(e["id"], e["label"]) for e in found] == [
        (c.id, x.label) for c in CLAIMS.values() for x in c.contrasts if x.counts
    ]
    assert len({(e["id"], e["label"]) for e in found}) == len(found)
    assert forest.entries([replace(r, current=False) for r in full.rows]) == [], (
        "what is stale has no place in the plot"
    )


def test_the_arms_of_a_contrast_have_names_of_their_own():
    assert all(len({a.label for a in x.arms}) == len(x.arms) for c in CLAIMS.values() for x in c.contrasts)


@pytest.mark.filterwarnings("error")
def test_the_picture_has_a_line_a_contrast_and_its_marks_by_verdict(full):
    picture, found = forest.figure(full.rows), forest.entries(full.rows)
    axis = picture.axes[0]
    marked = [line for line in axis.lines if line.get_marker() not in ("None", None, "")]
    assert [float(line.get_xdata()[0]) for line in marked] == [e["x"] for e in found]
    looks = {(e["verdict"], line.get_marker(), line.get_color()) for e, line in zip(found, marked)}
    assert looks == {(verdict, marker, colour) for verdict, (colour, marker) in forest.MARKS.items()}
    assert (
        set(forest.TICKS) <= set(axis.get_xticks())
        and axis.get_xlabel() == "effect ÷ smallest effect of interest"
    )
    bands = [p for p in axis.patches if p.get_x() == -1 and p.get_width() == 2]
    assert len(bands) == sum(e["direction"] == "same" for e in found) > 0
    words = [t.get_text() for t in axis.texts]
    assert all(e["id"] in words and "\n".join(wrap(e["label"], forest.LABEL)) in words for e in found)
    assert picture.texts[0].get_text() == "98 % intervals over 5 seeds"
    assert isinstance(picture, figures.Drawing) and picture._repr_png_().startswith(b"\x89PNG")


def test_the_browser_draws_where_the_picture_does(full):
    picture, end = forest.figure(full.rows), full.end
    axis = picture.axes[0]
    for value in (-30, -1, 0, 0.4, 1, 17):
        assert axis.transAxes.inverted().transform(axis.transData.transform((value, 0)))[0] == pytest.approx(
            forest.place(value, end)
        )
    lines = [line for c in full.plot.data["claims"] for line in c["lines"]]
    assert [line["x"] for line in lines] == [
        pytest.approx(forest.place(e["x"], end), abs=1e-5) for e in forest.entries(full.rows)
    ]
    assert all(0 <= line["low"] <= line["x"] <= line["high"] <= 1 for line in lines)


def test_what_lies_beyond_the_ticks_widens_the_axis():
    assert forest.ticks(forest.reach([])) == list(forest.TICKS)
    far = forest.reach([{"low": -400.0, "high": 2.0}])
    assert far == pytest.approx(440) and forest.ticks(far) == [-300, -100, *forest.TICKS, 100, 300]


def test_without_results_the_picture_says_what_to_run():
    picture = forest.figure([])
    assert "llmlab claims run" in picture.texts[0].get_text() and picture._repr_png_()


# ---- the list ----


def test_the_filters_choose_by_chapter_verdict_and_words(full):
    assert sorted(shown(full)) == list(CLAIMS) and full.summary.value.startswith(f"{len(CLAIMS)} claims: ")
    full.chapter.value = "03"
    assert sorted(shown(full)) == [c.id for c in CLAIMS.values() if c.chapter == "03"]
    full.verdict.value = "proven"
    exact = [c.id for c in CLAIMS.values() if c.chapter == "03" and c.check]
    assert (
        sorted(shown(full)) == exact
        and full.summary.value == f"{len(exact)} of {len(CLAIMS)} claims: {len(exact)} proven."
    )
    full.chapter.value = full.verdict.value = ""
    full.search.value = "forget REPLAY"
    wanted = [c.id for c in CLAIMS.values() if "forget" in c.words.lower() and "replay" in c.words.lower()]
    assert sorted(shown(full)) == wanted and wanted
    full.search.value = "c016"
    assert shown(full) == ["C016"]
    full.search.value = "no such thing"
    assert shown(full) == [] and full.summary.value == f"0 of {len(CLAIMS)} claims."


def test_claims_without_an_effect_come_last(full):
    drawn = [bool(c["lines"]) for c in full.plot.data["claims"]]
    assert drawn == sorted(drawn, reverse=True) and not all(drawn)
    assert {c["id"] for c in full.plot.data["claims"] if not c["lines"]} == {
        c.id for c in CLAIMS.values() if not c.contrasts
    }


def test_in_exported_html_the_table_is_one_whatever_a_row_says():
    """A bar in a row once made text of the whole table."""
    found = table.rows()
    assert any("|" in effect for r in found for effect in r.effects), "a row with a bar is among them"
    page = markdown2html_mistune(table.markdown(found))
    assert page.count("<table") == 1 and page.count("<tr") == len(found) + 1
    assert {len(re.findall("<td", line)) for line in page.split("</tr>")[1:-1]} == {3}


def test_the_text_for_readers_without_a_kernel_has_every_claim(full):
    data = full._repr_mimebundle_()
    assert all(i in data["text/markdown"] and i in data["text/plain"] for i in CLAIMS)
    assert "application/vnd.jupyter.widget-view+json" in data


def test_what_other_code_made_is_said_to_be_stale_once_it_was_read(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_DATA", str(data_folder(tmp_path / "data")))
    wanted = [CLAIMS["C011"], CLAIMS["C016"]]
    records, curves = made_up(wanted)
    records["C011"]["seal"]["code"] = dict.fromkeys(records["C011"]["seal"]["code"], "other code")
    results.save(records, curves)
    page = LedgerPage()
    page.open("C011")
    page.wait(60)
    page.verdict.value = "stale"
    assert shown(page) == ["C011"] and not page.plot.data["claims"][0]["lines"]
    assert "stale: made by other code" in page.detail.value and "by seed" in page.detail.value
    page.verdict.value = "not run"
    assert len(shown(page)) == len(CLAIMS) - 2


def test_a_damaged_file_is_a_sentence(everything, tmp_path, monkeypatch):
    folder = data_folder(tmp_path / "data")
    (folder / "ledger").mkdir()
    whole = (everything / "ledger" / "results.json").read_text()
    (folder / "ledger" / "results.json").write_text(whole.replace('"effects"', '"efects"', 1))
    monkeypatch.setenv("LLMLAB_DATA", str(folder))
    page = LedgerPage()
    (said,) = page.widget.children
    assert (
        "was changed after it was written" in said.value
        and "llmlab claims run" in said.value
        and not page.rows
    )
    assert "was changed" in repr(page) and "was changed" in page._repr_mimebundle_()["text/markdown"]


def test_missing_results_are_a_sentence_and_every_claim_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_DATA", str(data_folder(tmp_path / "data")))
    page = LedgerPage()
    page.wait(60)
    assert (
        "llmlab claims run" in page.widget.children[0].value
        and page.summary.value == f"{len(CLAIMS)} claims: {len(CLAIMS)} not run."
    )
    for c in CLAIMS.values():
        page.open(c.id)
        assert html.escape(c.words) in page.detail.value and f"llmlab claims run {c.id}" in page.detail.value
        assert page.picture.layout.display == "none" and all(
            html.escape(x.label) in page.detail.value for x in c.contrasts
        )


# ---- one claim ----


def test_every_claim_can_be_opened(full):
    for c in CLAIMS.values():
        full.open(c.id)
        assert (
            html.escape(c.words) in full.detail.value
            and html.escape(c.evidence) in full.detail.value
            and c.source in full.detail.value
        )
        assert (full.picture.layout.display == "") == bool(c.contrasts) and full.run_button.disabled == (
            not c.contrasts
        )
    full.open("C008")
    assert "checked: all of it" in full.detail.value


def test_an_open_claim_tells_everything_and_shows_the_curves(few, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        page_module, "picture", lambda groups, metrics: drawn.append((groups, metrics)) or b"\x89PNG"
    )
    few.open("C901", "the same, turned round")
    stored_record, said = results.load()["C901"], few.detail.value
    for c in stored_record["contrasts"]:
        wanted = [
            c["label"],
            table.hypothesis(c),
            table.number(c["mean"], "nats"),
            f"{c['p']:.2g}",
            c["verdict"],
        ]
        wanted += [" ".join(table.number(e, "nats") for e in c["effects"])]
        assert all(html.escape(part) in said for part in wanted)
    assert (
        "What C901 says is &lt; 1." in said
        and "An experiment &lt;b&gt;elsewhere&lt;/b&gt;. (somebody_2024)" in said
    )
    assert "A 9.9" in said and "all &amp; sundry" in said and "5 run, read at 5" in said
    assert "(no part of it)" in said and re.search(r"<tr class=here><td>the same, turned round", said)
    ((groups, metrics),) = drawn
    assert metrics == {"user_loss": "loss, user's words (nats per token)"}
    assert {name: len(found) for name, found in groups.items()} == {"all tokens": 5, "answers only": 5}
    assert groups["all tokens"][3].curve("user_loss") == results.load_curves()[ALL.key, 3]["user_loss"]
    assert groups["all tokens"][3].curve("of nothing") == {}


def test_the_picture_names_every_group_and_is_a_png():
    live = page_module.Stored({"a": {0: 1.0, 10: 2.0}})
    assert page_module.picture(
        {"arm": [live, live], "arm, seed 5": [live]}, {"a": "a (nats)", "b": "b (nats)"}
    ).startswith(b"\x89PNG")


def test_a_conditional_verdict_says_on_what(full):
    row = next(r for r in full.rows if r.verdict == "conditional" and r.claim.knob)
    full.open(row.claim.id)
    assert f"conditional on {html.escape(row.claim.knob)}" in full.detail.value


# ---- one more seed ----


def test_one_more_seed_gives_what_a_run_of_it_gives(few):
    few.open("C901", "loss")
    before = few.picture.value
    few.start()
    assert few.run_button.disabled and not few.stop_button.disabled
    few.wait(300)
    found = [runs.run(arm.study(), 5, "base", fresh=True) for arm in (ALL, ONE)]
    effect = sum(
        sign * t.of({"user_loss": run.curve("user_loss")})
        for sign, t, run in zip((1, -1), TESTED.contrasts[0].terms, found)
    )
    effects = results.load()["C901"]["contrasts"][0]["effects"]
    assert (
        few.status.value
        == f"C901 loss: seed 5: {effect:+.3f} nats; stored seeds {min(effects):+.3f} to {max(effects):+.3f}"
    )
    assert (
        few.picture.value != before
        and not few.run_button.disabled
        and few.stop_button.disabled
        and few.bar.value == 10
    )
    groups = few._groups(few.row, few.contrast)
    assert list(groups) == ["all tokens", "all tokens, seed 5", "answers only", "answers only, seed 5"]
    # the panel's run and the one here may use different numbers of threads: sums in another order
    assert groups["all tokens, seed 5"][0].curve("user_loss") == pytest.approx(found[0].curve("user_loss"))


def test_every_click_runs_the_next_seed_of_all_arms(few, monkeypatch):
    asked = []

    def run(study, seed, model, **settings):
        asked.append((study.loss, seed, model))
        return runs.Run(
            study.name,
            study.settings(),
            seed,
            model,
            "key",
            [{"step": s, "tokens": 9, "user_loss": 1.0 + seed + s / 10} for s in (0, 10)],
            1.0,
        )

    monkeypatch.setattr(runs, "run", run)
    for label in ("loss", "loss", "the same, turned round"):  # what one contrast ran, the other has as well
        few.open("C901", label)
        few.start()
        few.wait(60)
    assert asked == [(loss, seed, "base") for seed in (5, 6, 7) for loss in ("all", "assistant")]
    assert few.status.value.startswith("C901 the same, turned round: seed 7: +0.000 nats; stored seeds ")
    assert list(few._groups(few.row, few.contrast))[1] == "all tokens, seeds 5, 6, 7"


def test_other_claims_can_be_read_while_a_seed_runs(few):
    few.open("C903")
    assert "not run" in few.detail.value and few.picture.layout.display == "none"
    few.start()
    wait_for(lambda: "step" in few.status.value)
    few.start()  # a second click does nothing
    few.open("C902")
    picture = few.picture.value
    assert "What C902" in few.detail.value and few.running and few.run_button.disabled
    wait_for(lambda: re.search(r"C903, seed 0, arm 1 of 2 \(long\): step \d+ of 2000", few.status.value))
    few.stop()
    few.wait(60)
    assert few.status.value.startswith("C903, seed 0: stopped by hand at step") and few.fresh == {}
    assert (
        few.picture.value == picture
        and "What C902" in few.detail.value
        and not few.run_button.disabled
        and few.stop_button.disabled
    )


@pytest.mark.parametrize(
    "error, said",
    [
        (UserError("there is no room"), "there is no room"),
        (RuntimeError("<odd>"), "RuntimeError (&lt;odd&gt;)"),
    ],
)
def test_what_goes_wrong_is_one_sentence(few, monkeypatch, error, said):
    def fails(*arguments, **settings):
        raise error

    monkeypatch.setattr(runs, "run", fails)
    few.open("C901")
    few.start()
    few.wait(60)
    assert (
        few.status.value == f"C901, seed 5: {said}"
        and not few.run_button.disabled
        and few.stop_button.disabled
    )


def test_a_claim_without_arms_cannot_be_run(full):
    full.open("C008")
    full.start()
    assert full._thread is None and full.run_button.disabled


# ---- opening ----


def test_the_page_opens_without_torch(everything):
    """How fast: `llmlab bench --only ledger`."""
    code = """import sys
import llmlab.learn.widgets.ledger
page = llmlab.learn.widgets.ledger.LedgerPage()
page.wait()
page._repr_mimebundle_()
assert not {'torch', 'transformers'} & set(sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_widget_is_found_by_name():
    import llmlab.learn.widgets as widgets

    assert all(getattr(widgets, name).__name__ == name for name in widgets.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Panl'"):
        widgets.Panl  # noqa: B018


# ---- the script ----


def test_the_script_writes_text_only_and_loads_nothing():
    code = Forest._esm.replace("http://www.w3.org/2000/svg", "")  # the name of a language, not an address
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", code)
    assert not re.search(r"https?:|//cdn|\bimport\b|fetch\(", code)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_the_script_parses(tmp_path):
    file = tmp_path / "forest.mjs"
    file.write_text(Forest._esm, encoding="utf-8")
    done = subprocess.run(
        [shutil.which("node"), "--check", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_script_has_a_shape_for_every_verdict_and_is_installed():
    assert all(re.search(rf'SHAPES = .*\b{verdict}"?: (\[|SQUARE)', Forest._esm) for verdict in forest.MARKS)
    settings = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "learn/widgets/*.js" in settings["tool"]["setuptools"]["package-data"]["llmlab"]


def test_a_record_of_the_tests_passes_for_current():
    assert results.is_current(CLAIMS["C008"], record(CLAIMS["C008"], {}))
