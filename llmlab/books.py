"""Notebooks: executed from their paired scripts (notebooks/py), which are the source."""

import json
import time
from pathlib import Path
from typing import Iterator

import jupytext
import nbclient
import nbformat

from . import paths, stored, sweeps, times
from .errors import UserError
from .ledger import results


class BrokenCell(UserError):
    """A chapter's cell raises."""


ROOT = paths.shipped("notebooks")


def made_from(script: Path) -> str:
    """Hash of what an executed notebook depends on: its script, the ledger, and the stored runs, sweeps and
    measured times that it may show.
    """
    shown = (
        [file for _, _, file in stored.wanted()]
        + [grid.key() for grid in sweeps.GRIDS.values()]
        + [json.dumps(times.read(paths.data()))]
    )
    ledger = results.file().read_bytes() if results.file().exists() else b""
    return paths.hash_bytes(script.read_bytes(), ledger, *(name.encode() for name in shown))


def stale() -> list[Path]:
    """Scripts whose executed notebook is missing or was made from something else."""

    def current(script):
        book = ROOT / f"{script.stem}.ipynb"
        return book.exists() and nbformat.read(book, 4).metadata.get("llmlab") == made_from(script)

    return [s for s in sorted((ROOT / "py").glob("*.py")) if not current(s)]


def build(force: bool = False) -> Iterator[str]:
    """Execute what is stale; a line per notebook. Raises BrokenCell and leaves the old notebook in place, and
    NoClone in an installed wheel, which has no scripts.
    """
    paths.clone("llmlab build notebooks")
    for script in sorted((ROOT / "py").glob("*.py")) if force else stale():
        book, began = jupytext.read(script), time.monotonic()
        try:
            nbclient.NotebookClient(
                book, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
            ).execute()
        except nbclient.exceptions.CellExecutionError as e:
            raise BrokenCell(
                f"a cell of notebooks/py/{script.name} fails ({e.ename}: {e.evalue}); mend it and build again"
            ) from None
        for cell in book.cells:
            cell.metadata.pop("execution", None)  # timestamps: every rebuild would differ
        book.metadata |= {"llmlab": made_from(script), "llmlab_seconds": round(time.monotonic() - began)}
        paths.write_atomic(ROOT / f"{script.stem}.ipynb", nbformat.writes(book).encode())
        yield f"{script.stem}: {book.metadata['llmlab_seconds']} s"


def chapters() -> list[dict]:
    """file, title and seconds of each executed chapter (the ledger's page is none)."""
    found = []
    for path in sorted(ROOT.glob("[0-9]*.ipynb")):
        book = nbformat.read(path, 4)
        title = next(c.source for c in book.cells if c.cell_type == "markdown").split("\n")[0]
        found.append(
            {"file": path.name, "title": title.lstrip("# "), "seconds": book.metadata.get("llmlab_seconds")}
        )
    return found
