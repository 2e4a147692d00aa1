"""Executed notebooks as they are shipped: small, and readable without a kernel."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from llmlab.learn import books, figures
from llmlab.ledger import CLAIMS
from llmlab.ledger.caveats import CAVEATS, Caveat

BOOKS = sorted(books.ROOT.glob("*.ipynb"))


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_small(path):
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_every_output_can_be_read_without_a_kernel(path):
    book = nbformat.read(path, 4)
    assert "widgets" not in book.metadata
    for cell in book.cells:
        for out in cell.get("outputs", []):
            data = out.get("data", {})
            assert books.WIDGET not in data
            shown = set(data) - {"text/plain"}
            assert out.output_type != "display_data" or shown, "nothing but a widget's name would be seen"


@pytest.mark.parametrize("path", [p for p in BOOKS if p.stem[0].isdigit()], ids=lambda p: p.stem)
def test_a_picture_of_sliders_says_how_to_get_them(path):
    cells = nbformat.read(path, 4).cells
    panels = [
        c for c in cells if c.cell_type == "code" and "Panel(" in c.source and "Predict(" not in c.source
    ]
    told = [c for c in panels if any(books.RUN_IT.rstrip("*") in str(o.get("data", "")) for o in c.outputs)]
    assert len(told) == len(panels)


def test_a_slim_notebook_keeps_the_picture_and_says_run_me():
    png = figures.png(figures.line(list(range(30)), "step", "loss"))
    widget = {
        books.WIDGET: {"model_id": "x"},
        "image/png": base64.b64encode(png).decode(),
        "text/plain": "Panel",
    }
    cell = nbformat.v4.new_code_cell("Panel()", outputs=[nbformat.v4.new_output("display_data", widget)])
    book = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": "x" * 1000}})
    books.slim(book)
    said, shown = book.cells[0].outputs
    assert said.data["text/markdown"] == books.RUN_IT and "image/png" in shown.data
    assert books.WIDGET not in json.dumps(book) and "widgets" not in book.metadata


def test_a_palette_loses_no_line():
    png = figures.png(figures.line(list(range(30)), "step", "loss"))
    small = books.palette(png)
    assert len(small) <= len(png)
    one, other = (Image.open(io.BytesIO(p)).convert("L") for p in (png, small))
    assert one.size == other.size
    far = sum(abs(a - b) > 40 for a, b in zip(one.getdata(), other.getdata()))
    assert far < 0.002 * one.size[0] * one.size[1]


def test_html_offline_shows_pictures_where_widgets_were(tmp_path):
    from nbconvert import HTMLExporter

    path = next(p for p in BOOKS if p.stem.startswith("02"))
    html, _ = HTMLExporter(template_name="lab").from_filename(str(path))
    assert html.count("data:image/png;base64") >= 3 and "Run this cell for the sliders" in html
    assert Path(path).exists()


def test_other_words_of_a_claim_or_another_caveat_make_notebooks_stale(monkeypatch):
    before = books.shown()
    assert [claim.declared for claim in CLAIMS.values() if claim.contrasts], "a claim keeps it once asked"
    assert books.shown() == before
    with monkeypatch.context() as patch:
        patch.setitem(CAVEATS, "C134", Caveat("Another one."))
        assert books.shown() != before
    monkeypatch.setitem(CLAIMS, "C134", replace(CLAIMS["C134"], matched="something else"))
    assert books.shown() != before
