"""Chapter 02 in a real browser: move the replay slider, press Run, see the curve grow, press Stop; leaves the
screenshot test-output/panel.png.
"""

import re
import sys
import time
import urllib.error
import urllib.request

import pytest
from helpers_browser import (
    LAB,
    NEEDS_CHROMIUM,
    PATIENCE,
    chromium,
    free_port,
    new_page,
    picture,
    ready,
    served,
)

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as `llmlab lab` starts it, over copies of the notebooks; yields the address of chapter 02
    with its token.
    """
    folder = tmp_path_factory.mktemp("lab")
    command = [
        sys.executable,
        "-m",
        "llmlab.cli",
        "lab",
        "--chapter",
        "02",
        "--folder",
        str(folder / "notebooks"),
        "--no-browser",
        "--port",
        str(free_port()),
    ]
    with served(command, folder, LAB) as found:
        yield f"{found[1]}/lab/tree/02_continued_pretraining.ipynb?token={found[2]}"


@pytest.fixture(scope="module")
def page(lab):
    with chromium() as browser:
        page = new_page(browser, 1500, 1250)
        page.goto(lab)
        yield page


def test_lab_listens_on_loopback_only_and_asks_for_a_token(lab):
    assert lab.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(lab.split("/lab/")[0] + "/api/contents")
    assert e.value.code == 403


def test_panel_trains_and_stops(page):
    ready(page)
    page.click(".jp-Notebook .jp-Cell >> nth=0")
    for _ in range(
        60
    ):  # cell by cell up to the panel: a click is served at once only while no cell is running
        if page.locator(".jp-OutputArea button:has-text('Compare')").count():
            break
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(700)
    panel = page.locator(".jp-OutputArea-output:has(button.jupyter-button:has-text('Compare'))").first
    panel.wait_for(timeout=120_000)
    panel.scroll_into_view_if_needed()

    handle = panel.locator(".noUi-handle").first
    handle.focus()
    shown = panel.locator(".widget-readout").first
    value = lambda: float(shown.inner_text().removesuffix(" ●"))
    before = value()
    for _ in range(5):
        handle.press("ArrowRight")
    assert value() > before

    image = panel.locator("img").first
    pictures, status = {image.get_attribute("src")}, panel.locator(".widget-html-content")
    clicked = time.monotonic()
    panel.locator("button:has-text('Run')").click()
    steps = []
    while (
        len(steps) < 3 or len(pictures) < 4
    ) and time.monotonic() - clicked < 180:  # a new picture comes with each reading of the probes
        page.wait_for_timeout(200)
        pictures.add(image.get_attribute("src"))
        found = re.search(r"step (\d+) of", " ".join(status.all_inner_texts()))
        if found and int(found[1]) > (steps[-1] if steps else 0):
            steps.append(int(found[1]))
    assert steps == sorted(steps) and len(steps) >= 3, status.all_inner_texts()
    assert len(pictures) >= 4  # the curve grew

    picture(page, "panel")
    stopped = time.monotonic()
    panel.locator("button:has-text('Stop')").click()
    page.wait_for_selector("text=stopped by hand", timeout=PATIENCE)
    assert time.monotonic() - stopped < 15
    assert panel.locator("button:has-text('Run')").is_enabled()
