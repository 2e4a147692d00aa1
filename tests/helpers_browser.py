"""What the browser tests share: Chromium, started servers that end with the test, a made-up stored sweep, and
waiting for a notebook.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OUT = Path(__file__).parent.parent / "test-output"
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; .ci/run installs it"),
]
LAB = (  # what JupyterLab prints just before it listens: address, token
    r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)"
)
PATIENCE = 90_000  # milliseconds that a click or a wait may take: other work may hold both cores
QUIET = b'{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}'


# ---- servers ----


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def served(command: list[str], folder: Path, found: str, **env: str):
    """What matches `found`, an address, in the server's log, once the server listens there; it has folders of
    its own and ends with the block, kernels included.
    """
    own = {
        "LLMLAB_HOME": "home",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_RUNTIME_DIR": "runtime",
    }
    log = folder / "log"
    with open(log, "w") as f:
        environment = os.environ | {name: str(folder / sub) for name, sub in own.items()} | env
        server = subprocess.Popen(
            command, stdout=f, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        yield _printed(server, log, found)
    finally:
        end(server)


def _printed(server: subprocess.Popen, log: Path, found: str, seconds: float = 120) -> re.Match:
    """Waits until the server's log holds the pattern and the address in it is served."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        match = re.search(found, log.read_text())
        if match and _listens(match[0]):
            return match
        assert server.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def _listens(address: str) -> bool:
    """Whether somebody takes a connection at http://host:port."""
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", int(re.search(r":(\d+)", address)[1]))) == 0


def end(server: subprocess.Popen) -> None:
    """Ends a server and its process group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, sign)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def lab_over(folder: Path, home: Path, **env: str):
    """JupyterLab as `llmlab lab` starts it, over a folder of scratch notebooks; yields (address, token)."""
    quiet = home / "quiet"
    (quiet / "labconfig").mkdir(parents=True)
    (quiet / "labconfig" / "page_config.json").write_bytes(QUIET)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--notebook-dir={folder}",
        "--ServerApp.ip=127.0.0.1",
        f"--port={free_port()}",
    ]
    command += ["--allow-root"] * (hasattr(os, "geteuid") and os.geteuid() == 0) + [
        "--ServerApp.open_browser=False"
    ]
    with served(command, home, LAB, JUPYTER_CONFIG_PATH=str(quiet), **env) as found:
        yield found[1], found[2]


# ---- pages ----


@contextmanager
def chromium():
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser, width: int, height: int):
    """A window of this size that is patient."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    return page


def picture(page, name: str, of=None) -> Path:
    """A screenshot in test-output/, of the page or of a part of it."""
    OUT.mkdir(exist_ok=True)
    (of or page).screenshot(path=str(OUT / f"{name}.png"))
    return OUT / f"{name}.png"


def ready(page) -> None:
    """Waits until the notebook is there and its kernel is idle."""
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
    page.wait_for_selector("text=Idle", timeout=PATIENCE, state="attached")


def run_all(page, shows: str, seconds: float = 180) -> None:
    """Runs all cells and waits until one shows what `shows` selects; pressed again while no cell has been
    taken up (menu not ready, kernel restarted).
    """
    until, pressed = time.monotonic() + seconds, False
    while not page.locator(shows).count():
        if time.monotonic() > until:
            picture(page, "not_shown")
            raise AssertionError(
                f"no {shows} after {seconds:g} s; the notebook shows:"
                f" {page.locator('.jp-Notebook').inner_text()}"
            )
        if not pressed or all(
            prompt.strip("[]: ") == "" for prompt in page.locator(".jp-InputPrompt").all_inner_texts()
        ):
            page.click(".lm-MenuBar-itemLabel:text-is('Run')")
            page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
            pressed = True
        page.wait_for_timeout(2000)


def eventually(read, wanted, seconds: float = 20, page=None):
    """Reads until `wanted(value)`; the value, or a failure that shows the last one."""
    until = time.monotonic() + seconds
    while True:
        value = read()
        if wanted(value):
            return value
        assert time.monotonic() < until, f"after {seconds:g} s still: {value!r}"
        page.wait_for_timeout(50) if page else time.sleep(0.05)


def settled(page, image) -> str:
    """Bytes of the picture, as text, once it has stayed the same for half a second: the slider sends its
    moves one by one.
    """
    last, since = None, time.monotonic()
    while time.monotonic() - since < 0.5:
        if (src := image.get_attribute("src")) != last:
            last, since = src, time.monotonic()
        page.wait_for_timeout(50)
    return page.evaluate("src => fetch(src).then(got => got.blob()).then(blob => blob.text())", last)


# ---- data ----


def stored_sweep(data: Path) -> Path:
    """A data folder with all that is shipped, and a made-up sweep of cpt over today's grid: each setting's
    curves differ from all others'.
    """
    from llmlab import paths
    from llmlab.chapters.c02_continued_pretraining.cpt import CPT
    from llmlab.lab import sweeps

    data.mkdir(parents=True)
    for shipped in paths.data().iterdir():
        if shipped.name != "sweeps":
            (data / shipped.name).symlink_to(shipped)
    grid = sweeps.GRIDS["cpt"]
    rows = [
        point | {"seed": seed, "step": step} | {m: _curve(i, seed, step) for m in CPT.curves}
        for i, point in enumerate(grid.points())
        for seed in range(grid.seeds)
        for step in range(0, CPT().steps + 1, 10)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMLAB_DATA", str(data))
        sweeps._write(grid, rows)
    return data


def _curve(point: int, seed: int, step: int) -> float:
    return 0.9 - 0.016 * point + seed / 50 - step / 500 * (0.3 + 0.05 * (point % 7))
