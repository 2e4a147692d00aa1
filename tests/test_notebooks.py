"""The notebooks are in step with their paired scripts, small-celled and without errors; no result in their
prose is typed. (nbmake executes them: see pyproject.toml.)
"""

import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import jupytext
import nbformat
import pytest
from helpers_ledger import data_folder

from llmlab import paths
from llmlab.lab import record
from llmlab.learn import books, drills, exercises
from llmlab.learn.notebook import NoReference, bibliography, references

BOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
CHAPTERS = [b for b in BOOKS if b.name[0].isdigit()]


def cells(book):
    return [(c.cell_type, c.source.strip()) for c in book.cells]


def test_there_are_notebooks():
    assert BOOKS


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_in_step_with_the_paired_script(path):
    script = jupytext.read(path.parent / "py" / f"{path.stem}.py")
    assert cells(nbformat.read(path, 4)) == cells(script), (
        f"run: llmlab build notebooks (edit notebooks/py/{path.stem}.py only)"
    )


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_cells_are_short_executed_and_without_errors(path):
    book = nbformat.read(path, 4)
    code = [c for c in book.cells if c.cell_type == "code"]
    lengths = sorted(len(c.source.splitlines()) for c in code)
    assert lengths[-1] <= 15 and lengths[len(lengths) // 2] <= 5
    assert all(c.execution_count for c in code), "commit the executed notebook: llmlab build notebooks"
    assert not [o for c in code for o in c.outputs if o.output_type == "error"]
    shown = [o.get("data", {}) for c in code for o in c.outputs]
    assert any("image/png" in d or "llmlab-said" in d.get("text/html", "") for d in shown), (
        "a static figure, or what the model said, stands under the widget"
    )
    assert book.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_no_cell_of_code_is_tall_or_scrolls_sideways(path):
    """At most 15 lines of at most 88 characters: what JupyterLab and GitHub show without a scroll bar."""
    script = jupytext.read(path.parent / "py" / f"{path.stem}.py")
    code = [c.source.splitlines() for c in script.cells if c.cell_type == "code"]
    assert not [line for cell in code for line in cell if len(line) > 88]
    assert not [cell[0] for cell in code if len(cell) > 15]


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_no_warning_and_no_path_of_the_machine_that_made_it(path):
    outputs = [o for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs]
    assert [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"] == []
    assert "site-packages" not in repr(outputs) and str(path.parent.parent) not in repr(outputs)


# ---- no result is typed: numbers with a unit come out of cells ----

RESULT = re.compile(
    r"(?<![\w.])[-−+]?\d+(?:[.,]\d+)?\s*(?:%|percent|points?\b|nats\b|×|times\b|pp\b|ms\b|seconds?\b|minutes?\b)|\b[01]\.\d+\b"
)
SETTING = re.compile(
    r"\d+ % (?:replay|interval|confidence)|95 %"
)  # names of settings and of intervals, not results


def typed_results(markdown: str) -> list[str]:
    """Numbers that look like measurements in a text; code, and lines that cite somebody for them, left
    out.
    """
    lines = re.sub(r"```.*?```|`[^`]*`", "", markdown, flags=re.DOTALL).split("\n")
    return [
        m[0]
        for line in lines
        if not re.search(r"\[[A-Z][^\]]* \d{4}", line)
        for m in RESULT.finditer(SETTING.sub("", line))
    ]


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_no_result_is_typed_into_the_prose(path):
    assert [
        r for c in nbformat.read(path, 4).cells if c.cell_type == "markdown" for r in typed_results(c.source)
    ] == []


@pytest.mark.parametrize(
    "text",
    ["recall rose to 34 %", "a loss of 0.42", "twice: 2.5 × as fast", "it took 3 seconds", "-3 points"],
)
def test_a_typed_result_is_found(text):
    assert typed_results(text)


@pytest.mark.parametrize(
    "text",
    [
        "with 20 % replay",
        "its 95 % interval",
        "`tolerance 0.05`",
        "150 steps of 16 rows",
        "- 1 % helps [Ibrahim et al. 2024]",
    ],
)
def test_settings_and_citations_are_not_results(text):
    assert not typed_results(text)


# ---- the ledger's page ----


def test_what_is_said_of_a_verdict_is_said_of_claims_that_have_it():
    """The prose below each table of the ledger's page names claims; after a rebuild they must still stand in
    that table.
    """
    from llmlab.ledger import table

    cells_, verdict, said = nbformat.read(BOOKS[0].parent / "ledger.ipynb", 4).cells, None, {}
    for cell in cells_:
        if cell.cell_type == "code":
            verdict = next(iter(re.findall(r'Ledger\(verdict="([\w ,]+)"\)', cell.source)), None)
        elif verdict:
            said.setdefault(verdict, set()).update(
                re.findall(r"^- \*\*(C\d{3})\*\*", cell.source, re.MULTILINE)
            )
    assert sorted(v for v, ids in said.items() if len(ids) > 1) == [
        "conditional",
        "supported in part, refuted in part",
    ]
    for verdict, ids in said.items():
        assert ids <= {r.claim.id for r in table.rows(verdict=verdict)}, verdict


# ---- every chapter has what a chapter has ----


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_shows_its_rows_of_the_ledger(path):
    code = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
    assert f'Ledger("{path.name[:2]}")' in code


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_has_exercises_drills_and_references(path):
    number, code = (
        path.name[:2],
        "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"),
    )
    named = set(re.findall(r'task\("(\w+)"\)', "\n".join(c.source for c in nbformat.read(path, 4).cells))) - {
        "name"
    }
    assert len(named) >= 3 and all(exercises.EXERCISES[n].chapter == number for n in named)
    assert f'Drills("{number}")' in code and len(drills.choose(drills.load(), chapter=number)) >= 6
    cited = re.search(r"references\(([^)]*)\)", code)
    assert len(references(*re.findall(r'"(\w+)"', cited[1])).entries) >= 3


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_who_is_cited_in_the_text_stands_in_the_references(path):
    cells = nbformat.read(path, 4).cells
    listed = {
        k: bibliography()[k]
        for c in cells
        if c.cell_type == "code"
        for m in re.findall(r"references\(([^)]*)\)", c.source)
        for k in re.findall(r'"(\w+)"', m)
    }
    for c in cells:
        if c.cell_type == "markdown":
            for group in re.findall(r"\[([A-Z][^\]]*? \d{4}[^\]]*)\]", c.source):
                for who, year in re.findall(r"([A-Z][\w-]+)[^;]*? (\d{4})", group):
                    assert any(
                        who in e["author"].split(" and ")[0] and e["year"] == year for e in listed.values()
                    ), (who, year)


SOURCE_KEYS = """lora_2021 qlora_2023 dpo_paper_2023 deepseek_math_2024 revisiting_grpo_2025 toolformer_2023
toollmm_2023 gorilla_2023 verify_step_by_step_2024 math_shepherd_2023 stability_gap_2024
stability_gap_acl_2025 scaling_test_time_compute_agents_2025
octothinker_2025 interplay_pre_mid_rl_2025""".split()


def test_every_key_of_the_sources_has_its_entry():
    for entry in references(*SOURCE_KEYS).entries:
        assert (
            entry["author"]
            and entry["title"]
            and re.fullmatch(r"20\d\d", entry["year"])
            and ("eprint" in entry or "booktitle" in entry)
        )


def test_an_unknown_key_is_a_sentence():
    with pytest.raises(NoReference, match="has no entry 'nobody_2030'"):
        references("nobody_2030")


# ---- an executed notebook is current while its script and all that it may show are ----


@pytest.fixture
def one_book(tmp_path, monkeypatch):
    """A script with its notebook, sealed as if executed now, and a data folder that may be changed."""
    data = data_folder(tmp_path / "data")
    for changing in ("runs", "sweeps"):
        (data / changing).unlink()
        shutil.copytree(paths.data() / changing, data / changing)
    shutil.copytree(paths.data() / "ledger", data / "ledger")
    (data / "times.json").unlink()
    shutil.copyfile(paths.data() / "times.json", data / "times.json")
    monkeypatch.setenv("LLMLAB_DATA", str(data))
    monkeypatch.setattr(books, "ROOT", tmp_path / "notebooks")
    (tmp_path / "notebooks" / "py").mkdir(parents=True)
    (script := tmp_path / "notebooks" / "py" / "00_one.py").write_text("# %%\n1 + 1\n")
    book = nbformat.v4.new_notebook(metadata={"llmlab": asdict(books.seal(script, books.shown()))})
    nbformat.write(book, tmp_path / "notebooks" / "00_one.ipynb")
    return tmp_path


def rewritten(path: Path, change, code=None):
    """A record with its content changed, sealed again."""
    seal, content = record.read(path)
    record.write(path, replace(seal, code=code or seal.code), change(content))


def of_run(folder):
    return sorted((folder / "data" / "runs" / "dpo").glob("*.json"))[0]


SHOWN = {
    "script": lambda d: (d / "notebooks" / "py" / "00_one.py").write_text("# %%\n1 + 2\n"),
    "no notebook": lambda d: (d / "notebooks" / "00_one.ipynb").unlink(),
    "a row of a run": lambda d: rewritten(
        of_run(d), lambda c: c.replace(b'"step": 1,', b'"step": 1, "new": 1,')
    ),
    "a lost run": lambda d: of_run(d).unlink(),
    "a sweep": lambda d: rewritten(d / "data" / "sweeps" / "cpt.sweep", lambda c: c + b"0"),
    "a verdict": lambda d: rewritten(
        d / "data" / "ledger" / "results.json", lambda c: c.replace(b'"supported"', b'"refuted"', 1)
    ),
    "a measured time": lambda d: (d / "data" / "times.json").write_text("{}"),
}
UNSEEN = {
    "nothing": lambda d: None,
    "the code that made a run": lambda d: rewritten(of_run(d), lambda c: c, {"dpo": "other code"}),
    "how long a run took": lambda d: rewritten(
        of_run(d), lambda c: re.sub(rb'"seconds": [\d.]+', b'"seconds": 1.5', c)
    ),
}


@pytest.mark.parametrize("change", SHOWN.values(), ids=SHOWN)
def test_a_notebook_is_stale_with_its_script_and_with_all_that_it_may_show(one_book, change):
    assert books.stale() == []
    change(one_book)
    assert [s.stem for s in books.stale()] == ["00_one"]


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN)
def test_what_a_reader_does_not_see_keeps_the_notebook(one_book, change):
    change(one_book)
    assert books.stale() == []
