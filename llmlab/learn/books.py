"""Notebooks: executed from their paired scripts (notebooks/py), which are the source."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Iterator

import jupytext
import nbclient
import nbformat

from .. import paths
from ..errors import UserError
from ..lab import record, runs, sweeps, times
from ..lab.record import Seal
from ..ledger import results
from . import shipped


class BrokenCell(UserError):
    """A chapter's cell raises."""


ROOT = paths.shipped("notebooks")


def shown() -> bytes:
    """All that notebooks may show: the rows of the stored runs, the sweeps, the ledger's numbers and
    verdicts, and the measured times. Which code made them is not seen.
    """
    rows = [runs.rows_of(shipped.place(experiment, seal)) for (experiment, _), seal in shipped.wanted()]
    swept = [paths.hash_bytes(record.content_of(grid.file)) for grid in sweeps.GRIDS.values()]
    try:
        ledger = [{k: v for k, v in found.items() if k != "seal"} for found in results.load().values()]
    except results.BadResults:
        ledger = []
    return json.dumps([rows, swept, ledger, times.read(paths.data())], sort_keys=True).encode()


def seal(script: Path, shown: bytes) -> Seal:
    """What an executed notebook depends on: its script, and all that it may show."""
    return Seal(paths.hash_bytes(script.read_bytes(), shown))


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """(script's name, seal that is there, seal that is wanted) of every notebook."""
    now = shown()
    for script in scripts():
        book = ROOT / f"{script.stem}.ipynb"
        found = nbformat.read(book, 4).metadata.get("llmlab") if book.exists() else None
        yield script.stem, Seal.read(found), seal(script, now)


def scripts() -> list[Path]:
    """The sources of the notebooks."""
    return sorted((ROOT / "py").glob("*.py"))


def stale() -> list[Path]:
    """Scripts whose executed notebook is missing or was made from something else."""
    names = record.stale(seals())
    return [script for script in scripts() if script.stem in names]


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
        book.metadata |= {
            "llmlab": asdict(seal(script, shown())),
            "llmlab_seconds": round(time.monotonic() - began),
        }
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
