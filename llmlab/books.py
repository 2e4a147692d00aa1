"""Notebooks: executed from their paired scripts (notebooks/py), which are the source."""

from pathlib import Path
from typing import Iterator

import jupytext
import nbclient
import nbformat

from . import paths, stored

ROOT = Path(__file__).parent.parent / "notebooks"


def made_from(script: Path) -> str:
    """Hash of what an executed notebook depends on: its script and the stored runs it shows."""
    return paths.hash_bytes(script.read_bytes(), *(file.encode() for _, _, file in stored.wanted()))


def stale() -> list[Path]:
    """Scripts whose executed notebook is missing or was made from something else."""

    def current(script):
        book = ROOT / f"{script.stem}.ipynb"
        return book.exists() and nbformat.read(book, 4).metadata.get("llmlab") == made_from(script)

    return [s for s in sorted((ROOT / "py").glob("*.py")) if not current(s)]


def build(force: bool = False) -> Iterator[str]:
    """Execute what is stale; a line per notebook. Raises nbclient's error if a cell fails, and leaves the old notebook in place."""
    for script in sorted((ROOT / "py").glob("*.py")) if force else stale():
        book = jupytext.read(script)
        nbclient.NotebookClient(book, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
        for cell in book.cells:
            cell.metadata.pop("execution", None)  # timestamps: every rebuild would differ
        book.metadata["llmlab"] = made_from(script)
        paths.write_atomic(ROOT / f"{script.stem}.ipynb", nbformat.writes(book).encode())
        yield script.stem
