"""`llmlab demo`: one experiment's panel, or a chapter's lesson, full screen, without code, for a classroom:
Voilà over a notebook of one cell.
"""

import importlib.util
import os
import secrets
import socket
import sys
from pathlib import Path

from .. import paths
from ..errors import UserError
from ..lab import registry

CELL = """from llmlab.learn.widgets import Panel
Panel({name!r}, show={show!r}, large=True)"""
LESSON = """from llmlab.learn.widgets.lesson import Lesson
Lesson({chapter!r}, full=True)"""


ABANDONED = 300  # seconds after which the kernel of a page that was closed is ended


class NoVoila(UserError):
    """Voilà, an extra, is not installed."""


def is_chapter(name: str) -> bool:
    """Is it the number of a chapter, and no experiment's name?"""
    return len(name) <= 2 and name.isascii() and name.isdigit()


def notebook(name: str) -> Path:
    """The notebook that Voilà serves: the lesson of a chapter, or a title and the panel of an experiment with
    its swept knobs (all where nothing was swept).
    """
    import nbformat.v4 as nb

    if is_chapter(name):
        cells = [nb.new_code_cell(LESSON.format(chapter=name))]
    else:
        from ..lab import sweeps

        cls = registry.get(name)
        show = list(sweeps.GRIDS[name].axes) if name in sweeps.GRIDS else None
        cells = [
            nb.new_markdown_cell(f"# {cls.summary}"),
            nb.new_code_cell(CELL.format(name=name, show=show)),
        ]
    book = nb.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = paths.writable(paths.cache() / "demo") / f"{name}.ipynb"
    paths.write_atomic(path, nb.writes(book).encode())
    return path


def command(book: Path, port: int, browser: bool, network: bool) -> list[str]:
    """Voilà's command line. On loopback by default; open to a network only with a token of its own."""
    if importlib.util.find_spec("voila") is None:
        raise NoVoila(f"llmlab demo needs Voilà; install it with: {paths.extra('demo')}")
    where = (
        ["--Voila.ip=0.0.0.0", "--Voila.port_retries=0", f"--Voila.token={secrets.token_urlsafe(16)}"]
        if network
        else ["--Voila.ip=127.0.0.1"]
    )
    quiet = ["--template=llmlab", "--theme=light", "--strip_sources=True", "--show_tracebacks=False"] + [
        "--no-browser"
    ] * (not browser)
    # a closed page leaves its kernel (Voilà's own request to end it is refused, 403): the server ends it
    manager = "--MappingKernelManager.cull"
    ended = [f"{manager}_idle_timeout={ABANDONED}", f"{manager}_interval={min(60, ABANDONED)}"]
    return [sys.executable, "-m", "voila", str(book), f"--port={port}", *where, *quiet, *ended]


def serve(name: str, port: int, browser: bool, network: bool) -> None:
    """Say what is opened to whom, and become the server."""
    arguments = command(notebook(name), port, browser, network)
    what = f"the lesson of chapter {name}" if is_chapter(name) else f"the panel of {name}"
    whom = "every machine of the network that has the token" if network else "this machine only"
    print(f"llmlab demo opens {what} to {whom}; Ctrl-C ends it", file=sys.stderr, flush=True)
    if network:  # Voilà hides the token in what it prints
        token = next(a.partition("=")[2] for a in arguments if a.startswith("--Voila.token="))
        print(f"for the class: http://{socket.gethostname()}:{port}/?token={token}", flush=True)
    own = str(paths.PACKAGE / "learn")  # where Voilà finds our template: voila/templates/llmlab
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [own, os.environ.get("JUPYTER_PATH")]))
    os.execv(sys.executable, arguments)
