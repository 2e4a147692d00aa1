"""Notebooks: executed from their paired scripts (notebooks/py), which are the source."""

import base64
import io
import json
import os
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Iterator

from .. import paths
from ..errors import UserError
from ..lab import record, runs, sweeps, times
from ..lab.record import Seal
from ..ledger import CLAIMS, replication, results
from ..ledger.caveats import CAVEATS
from . import shipped


class BrokenCell(UserError):
    """A chapter's cell raises."""


ROOT = paths.shipped("notebooks")
WIDGET = "application/vnd.jupyter.widget-view+json"
RUN_IT = "*Run this cell for the sliders.*"


def shown() -> bytes:
    """All that notebooks may show: the rows of the stored runs, the sweeps, the ledger's words, numbers and
    verdicts, its caveats and replication, and the measured times. Which code made them is not seen.
    """
    rows = [runs.rows_of(shipped.place(experiment, seal)) for (experiment, _), seal in shipped.wanted()]
    swept = [paths.hash_bytes(record.content_of(grid.file)) for grid in sweeps.GRIDS.values()]
    try:
        ledger = [{k: v for k, v in found.items() if k != "seal"} for found in results.load().values()]
    except results.BadResults:
        ledger = []
    words = [[getattr(c, f.name) for f in fields(c) if f.type in ("str", str)] for c in CLAIMS.values()]
    again = paths.hash_bytes(record.content_of(replication.file()))
    told = [rows, swept, ledger, words, repr(CAVEATS), again, times.read(paths.data())]
    return json.dumps(told, sort_keys=True).encode()


def seal(script: Path, shown: bytes) -> Seal:
    """What an executed notebook depends on: its script, and all that it may show."""
    return Seal(paths.hash_bytes(script.read_bytes(), shown))


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """(script's name, seal that is there, seal that is wanted) of every notebook."""
    now = shown()
    for script in scripts():
        book = ROOT / f"{script.stem}.ipynb"
        found = opened(book)["metadata"].get("llmlab") if book.exists() else None
        yield script.stem, Seal.read(found), seal(script, now)


def opened(book: Path) -> dict:
    """A notebook as JSON. Raises ValueError where it is none."""
    return json.loads(book.read_bytes())


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
    import jupytext  # with nbformat two seconds that a look at what is current does not wait for
    import nbclient
    import nbformat

    paths.clone("llmlab build notebooks")
    for script in sorted((ROOT / "py").glob("*.py")) if force else stale():
        book, began = jupytext.read(script), time.monotonic()
        try:
            client = nbclient.NotebookClient(
                book, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
            )
            client.execute(
                env=os.environ | {"LLMLAB_PRINTED": "1"}
            )  # widgets leave what a reader without them sees
        except nbclient.exceptions.CellExecutionError as e:
            raise BrokenCell(
                f"a cell of notebooks/py/{script.name} fails ({e.ename}: {e.evalue}); mend it and build again"
            ) from None
        slim(book)
        book.metadata |= {
            "llmlab": asdict(seal(script, shown())),
            "llmlab_seconds": round(time.monotonic() - began),
        }
        paths.write_atomic(ROOT / f"{script.stem}.ipynb", nbformat.writes(book).encode())
        yield f"{script.stem}: {book.metadata['llmlab_seconds']} s"


def slim(book) -> None:
    """Without what no reader gets back: timestamps (every rebuild would differ), the state of widgets,
    pictures in more colours than they have. Where a widget stood, what it leaves without a kernel stays, and
    says so.
    """
    from nbformat.v4 import new_output

    book.metadata.pop("widgets", None)
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        outputs = []
        for out in cell.outputs:
            data = out.get("data", {})
            was_widget = data.pop(WIDGET, None) is not None
            if "image/png" in data:
                data["image/png"] = base64.b64encode(palette(base64.b64decode(data["image/png"]))).decode()
            if was_widget and "image/png" in data:
                outputs.append(new_output("display_data", {"text/markdown": RUN_IT}))
            outputs.append(out)
        cell.outputs = outputs


TALL = 4000  # pixels: the page of all intervals, which has few colours of its own


def palette(png: bytes) -> bytes:
    """The same picture in 128 colours (32 where it is very tall): a fifth of the bytes, and no difference to
    the eye.
    """
    from PIL import Image

    small, picture = io.BytesIO(), Image.open(io.BytesIO(png)).convert("RGB")
    colours = 32 if picture.height > TALL else 128
    picture.quantize(colours, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return min(small.getvalue(), png, key=len)


def chapters() -> list[dict]:
    """file, title and seconds of each executed chapter (the ledger's page is none)."""
    found = []
    for path in sorted(ROOT.glob("[0-9]*.ipynb")):
        book = opened(path)
        text = next("".join(c["source"]) for c in book["cells"] if c["cell_type"] == "markdown")
        title, seconds = text.split("\n")[0].lstrip("# "), book["metadata"].get("llmlab_seconds")
        found.append({"file": path.name, "title": title, "seconds": seconds})
    return found
