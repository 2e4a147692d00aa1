"""The shipped checkpoints are what the build makes today, reach what they must, and are small."""

import json
import re

import pytest

from llmlab import paths
from llmlab.lab import checkpoints, sweeps
from llmlab.learn import drills, readme, shipped
from llmlab.models.load import card, load


@pytest.mark.parametrize("name", paths.LAB)
def test_a_checkpoint_is_current(name):
    assert checkpoints.is_current(name), f"run: llmlab build {name}"


@pytest.mark.parametrize("name", paths.LAB)
def test_a_checkpoint_reaches_its_targets(name):
    found = card(name)
    for skill, least in found["targets"].items():
        assert found["skills"][skill] >= least, skill


@pytest.mark.parametrize("name", paths.LAB)
def test_the_targets_of_a_card_are_those_of_the_recipe(name):
    found = card(name)
    assert found["targets"] == {
        k: least for k, (_, _, least) in checkpoints.SKILLS[name].items() if least is not None
    }


@pytest.mark.parametrize("name", paths.LAB)
def test_the_cards_figures_are_those_of_the_shipped_weights(name):
    loaded = load(name)
    again = checkpoints.measure(
        loaded.model, loaded.tok, name, n=64
    )  # the first 64 of the card's 512 problems
    for skill, share in card(name)["skills"].items():
        assert abs(again[skill] - share) <= 0.2, skill  # 64 of 512: a standard error of at most 0.06


def test_some_skills_are_left_for_reinforcement_learning():
    left = [s for s, share in card("base")["skills"].items() if 0.1 <= share <= 0.6]
    assert len(left) >= 2, card("base")["skills"]


def test_shipped_data_is_small():
    assert sum(f.stat().st_size for f in paths.data().rglob("*") if f.is_file()) < 60e6
    for name in paths.LAB:
        assert (paths.data() / "checkpoints" / name / "model.safetensors").stat().st_size < 2.5e6
        assert not list((paths.data() / "checkpoints" / name).glob("*.bin"))


def test_a_changed_recipe_or_corpus_is_stale(monkeypatch):
    before = checkpoints.recipe_hash("base")
    monkeypatch.setitem(checkpoints.PLANS, "base", checkpoints.Plan(steps=1, rows=6, length=257, lr=3e-3))
    assert checkpoints.recipe_hash("base") != before
    monkeypatch.undo()
    general = checkpoints.corpora.general
    monkeypatch.setattr(
        checkpoints.corpora,
        "general",
        lambda *a, **k: (t.replace("baker", "banker") for t in general(*a, **k)),
    )
    assert checkpoints.recipe_hash("base") != before and not checkpoints.is_current("base")


def test_stored_runs_are_current():
    assert not shipped.missing(), "run: llmlab build runs"


def test_stored_sweeps_are_current():
    assert [n for n, grid in sweeps.GRIDS.items() if not sweeps.is_current(grid)] == [], (
        "run: llmlab build sweeps"
    )


def test_every_drills_run_is_shipped():
    assert [d.id for d in drills.load() if d.link.run() is None] == []


def test_every_chapter_has_its_title_and_its_minutes():
    from llmlab.learn import books

    assert [c["title"][:2] for c in books.chapters()] == [c["file"][:2] for c in books.chapters()]
    assert max(c["seconds"] for c in books.chapters()) < 240


def test_shipped_data_stays_small():
    assert sum(f.stat().st_size for f in paths.data().rglob("*") if f.is_file()) < 30e6


def test_the_readmes_figures_come_from_the_data_files():
    assert readme.is_current(), "run: llmlab build readme"
    text = (readme.ROOT / "docs" / "bench.md").read_text()
    ratio = json.loads((paths.data() / "bench.json").read_text())["figures"]["sft"]["ratio"]
    assert f"| {ratio:.2f} |" in text
    assert not readme.filled(text.replace(f"| {ratio:.2f} |", "| 9.99 |")).count("| 9.99 |")


def test_every_block_stands_on_one_page():
    texts = [page.read_text(encoding="utf-8") for page in readme.pages()]
    for name in readme.BLOCKS:
        assert sum(text.count(f"<!-- {name} -->\n") for text in texts) == 1, name
        assert sum(text.count(f"<!-- /{name} -->") for text in texts) == 1, name


def test_links_between_the_pages_lead_somewhere():
    for page in readme.pages():
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), (page.name, link)


def test_the_map_names_every_folder_at_the_top():
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    tree = text.split("## The map")[1].split("```")[1]
    top = {line.split("/")[0] for line in tree.splitlines() if line and line[0] != " "}
    assert top == {"llmlab", "notebooks", "data", "docs", "tests"}
    assert all(re.match(r" *[\w]+/ +\S|llmlab/$", line) for line in tree.strip().splitlines())


@pytest.mark.parametrize(
    "ids, told",
    [
        (["C001"], "C001"),
        (["C002", "C001", "C003"], "C001–C003"),
        (["C080", "C081", "C088", "C090", "C091"], "C080–C081, C088, C090–C091"),
    ],
)
def test_ids_in_a_row_are_told_by_their_ends(ids, told):
    assert readme.spans(ids) == told
