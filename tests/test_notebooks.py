"""The notebooks are in step with their paired scripts, small-celled and without errors. (nbmake executes them: see pyproject.toml.)"""

from pathlib import Path

import jupytext
import nbformat
import pytest

BOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def cells(book):
    return [(c.cell_type, c.source.strip()) for c in book.cells]


def test_there_are_notebooks():
    assert BOOKS


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_in_step_with_the_paired_script(path):
    script = jupytext.read(path.parent / "py" / f"{path.stem}.py")
    assert cells(nbformat.read(path, 4)) == cells(script), f"run: llmlab build notebooks (edit notebooks/py/{path.stem}.py only)"


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_cells_are_short_executed_and_without_errors(path):
    book = nbformat.read(path, 4)
    code = [c for c in book.cells if c.cell_type == "code"]
    lengths = sorted(len(c.source.splitlines()) for c in code)
    assert lengths[-1] <= 15 and lengths[len(lengths) // 2] <= 5
    assert all(c.execution_count for c in code), "commit the executed notebook: llmlab build notebooks"
    assert not [o for c in code for o in c.outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for c in code for o in c.outputs), "a static figure stands under the widget"
    assert book.metadata.kernelspec.name == "python3"
