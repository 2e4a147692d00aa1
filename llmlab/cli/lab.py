"""`llmlab lab`: the workbook in JupyterLab."""

import os
import sys
from pathlib import Path

from .. import paths
from .options import Option, parse

OPTIONS: list[Option] = [
    ("browser", bool, True, "open the browser"),
    ("port", int, 8888, "first port to try"),
    ("chapter", str, "00", "chapter to open, by its number"),
    (
        "folder",
        str,
        "",
        (
            "folder for your own copies of the notebooks; what you changed there is never overwritten"
            " (without it: the clone's notebooks, or copies in your data folder)"
        ),
    ),
]


def command(argv: list[str]) -> int:
    """`llmlab lab`: JupyterLab on loopback at the first chapter, without news pop-ups."""
    options = parse("lab", OPTIONS, argv)
    from ..learn import workbook

    name = workbook.chapter(options.chapter)
    books, told = workbook.place(options.folder)
    for line in told:
        print(line, flush=True)
    without_news()
    os.execv(sys.executable, arguments(books, name, options))


def without_news() -> None:
    """JupyterLab without its pop-up and its look for news: there may be no network."""
    quiet = paths.writable(paths.cache()) / "jupyter"
    paths.write_atomic(
        quiet / "labconfig" / "page_config.json",
        b'{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}',
    )
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        filter(None, [str(quiet), os.environ.get("JUPYTER_CONFIG_PATH")])
    )


def arguments(books: Path, name: str, options) -> list[str]:
    """The command line of JupyterLab that opens the notebook `name` of the folder `books`."""
    # root is usual in containers; the server listens on loopback and asks for its token
    in_container = hasattr(os, "geteuid") and os.geteuid() == 0
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--notebook-dir={books}",
        "--ServerApp.ip=127.0.0.1",
        f"--port={options.port}",
        str(books / name),
        *["--allow-root"] * in_container,
        f"--ServerApp.open_browser={options.browser}",
    ]
