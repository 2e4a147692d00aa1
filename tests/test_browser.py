"""Chapter 02 in a real browser: move the replay slider, press Run, see the curve grow, press Stop; leaves the screenshot test-output/panel.png."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; .ci/run installs it")]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as `llmlab lab` starts it; yields the address with its token."""
    port, log = free_port(), tmp_path_factory.mktemp("lab") / "log"
    command = [sys.executable, "-m", "llmlab.cli", "lab", "--no-browser", "--port", str(port)]
    env = os.environ | {"LLMLAB_HOME": str(tmp_path_factory.mktemp("home")), "JUPYTER_CONFIG_DIR": str(tmp_path_factory.mktemp("config")),
                        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path_factory.mktemp("workspaces"))}
    with open(log, "w") as f:
        server = subprocess.Popen(command, stdout=f, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    try:
        for _ in range(240):
            found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)", log.read_text())
            if found:
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
        yield f"{found[1]}/lab/tree/02_continued_pretraining.ipynb?token={found[2]}"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


@pytest.fixture(scope="module")
def page(lab):
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 1250})
        page.goto(lab)
        yield page
        browser.close()


def test_lab_listens_on_loopback_only_and_asks_for_a_token(lab):
    assert lab.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(lab.split("/lab/")[0] + "/api/contents")
    assert e.value.code == 403


def test_panel_trains_and_stops(page):
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
    page.wait_for_selector("text=Idle", timeout=90_000, state="attached")
    page.click(".jp-Notebook .jp-Cell >> nth=0")
    for _ in range(60):  # cell by cell up to the panel: a click is served at once only while no cell is running
        if page.locator(".jp-OutputArea .jupyter-button").count():
            break
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(700)
    panel = page.locator(".jp-OutputArea-output:has(button.jupyter-button:has-text('Run'))").first
    panel.wait_for(timeout=120_000)
    panel.scroll_into_view_if_needed()

    handle = panel.locator(".noUi-handle").first
    handle.focus()
    shown = panel.locator(".widget-readout").first
    before = shown.inner_text()
    for _ in range(10):
        handle.press("ArrowRight")
    assert float(shown.inner_text()) > float(before)

    picture = panel.locator("img")
    pictures, status = {picture.get_attribute("src")}, panel.locator(".widget-html-content")
    clicked = time.monotonic()
    panel.locator("button:has-text('Run')").click()
    steps = []
    while (len(steps) < 3 or len(pictures) < 4) and time.monotonic() - clicked < 180:  # a new picture comes with each reading of the probes
        page.wait_for_timeout(200)
        pictures.add(picture.get_attribute("src"))
        found = re.search(r"step (\d+) of", " ".join(status.all_inner_texts()))
        if found and int(found[1]) > (steps[-1] if steps else 0):
            steps.append(int(found[1]))
    assert steps == sorted(steps) and len(steps) >= 3, status.all_inner_texts()
    assert len(pictures) >= 4  # the curve grew

    out = ROOT / "test-output"
    out.mkdir(exist_ok=True)
    page.screenshot(path=str(out / "panel.png"))
    stopped = time.monotonic()
    panel.locator("button:has-text('Stop')").click()
    page.wait_for_selector("text=stopped by hand", timeout=30_000)
    assert time.monotonic() - stopped < 15
    assert panel.locator("button:has-text('Run')").is_enabled()
