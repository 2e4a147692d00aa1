"""`llmlab lab`: the workbook in JupyterLab."""

import os
import sys

from .. import paths
from .options import parse


def command(argv: list[str]) -> int:
    """`llmlab lab`: JupyterLab on loopback at the first chapter, without news pop-ups."""
    options = parse(
        "lab",
        [
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
        ],
        argv,
    )
    from ..learn import workbook

    name = workbook.chapter(options.chapter)
    books, told = workbook.place(options.folder)
    for line in told:
        print(line, flush=True)
    arguments = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--notebook-dir={books}",
        "--ServerApp.ip=127.0.0.1",
        f"--port={options.port}",
        str(books / name),
    ]
    quiet = (
        paths.writable(paths.cache()) / "jupyter"
    )  # no news pop-up, no look for news: there may be no network
    paths.write_atomic(
        quiet / "labconfig" / "page_config.json",
        b'{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}',
    )
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        filter(None, [str(quiet), os.environ.get("JUPYTER_CONFIG_PATH")])
    )
    in_container = (
        hasattr(os, "geteuid") and os.geteuid() == 0
    )  # root: usual in containers; the server listens on loopback and asks for its token
    os.execv(
        sys.executable,
        arguments + ["--allow-root"] * in_container + [f"--ServerApp.open_browser={options.browser}"],
    )
