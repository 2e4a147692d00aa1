"""The moving picture of the README, docs/first_minute.gif: chapter 00 in Chromium, a question to the model,
twenty seconds of training, its words before and after.

    python docs/first_minute.py            # needs Chromium and '.[dev]'; --frames FOLDER keeps the frames
"""

import argparse
import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import TimeoutError

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers_browser import LAB, chromium, free_port, new_page, ready, served  # noqa: E402

GIF = ROOT / "docs" / "first_minute.gif"
SIZE = {"width": 980, "height": 600}
CUT = {"x": 39, "y": 34, "width": 904, "height": 408}  # of the window: the notebook, down to the table
COLOURS, LARGEST = 128, 700_000  # of the palette; bytes of the file
EVERY = 0.8  # seconds between two looks while it trains
SHOWN = dict(start=1500, asked=3000, training=230, end=4500)  # milliseconds that a frame stays
MOST = 24  # frames of the training


def play(page) -> list[tuple[str, bytes]]:
    """(kind of moment, screenshot) from the first cell to the trained model's words."""
    ready(page)
    page.keyboard.press("Control+b")  # no file browser
    widget = page.locator(".jp-OutputArea-output:has(button:has-text('Train it'))").first
    run_first_cell(page, widget)
    page.locator(".jp-Notebook .jp-CodeCell").first.evaluate("cell => cell.scrollIntoView({block: 'start'})")
    page.mouse.move(SIZE["width"] / 2, SIZE["height"] - 5)
    page.wait_for_timeout(1000)
    look = lambda moment: (moment, page.screenshot(animations="disabled", clip=CUT))
    frames = [look("start")]
    widget.locator("button:has-text('Ask')").click()
    widget.locator("table.llmlab-said").wait_for(timeout=120_000)
    page.wait_for_timeout(500)
    frames.append(look("asked"))
    widget.locator("button:has-text('Train it')").click()
    until = time.monotonic() + 300
    while not widget.locator("text=trained on").count():
        assert time.monotonic() < until, widget.inner_text()
        page.wait_for_timeout(1000 * EVERY)
        frames.append(look("training"))
    page.wait_for_timeout(500)
    return [*frames, look("end")]


def run_first_cell(page, widget) -> None:
    """Press Shift-Enter in it until its widget is there: JupyterLab may lose a key that comes too early."""
    for _ in range(8):
        if page.locator(".jp-Dialog .jp-mod-accept").count():  # asks for a kernel: the one that it proposes
            page.click(".jp-Dialog .jp-mod-accept")
        try:
            page.click(".jp-Notebook .jp-CodeCell .jp-InputArea-editor >> nth=0", timeout=10_000)
            page.keyboard.press("Shift+Enter")
            return widget.wait_for(timeout=25_000)
        except TimeoutError:
            continue
    raise AssertionError("the first cell shows no widget")


def thinned(frames: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """At most MOST frames of the training, evenly chosen."""
    training = [f for f in frames if f[0] == "training"]
    places = range(len(training))
    if len(training) > MOST:
        places = [round(i * (len(training) - 1) / (MOST - 1)) for i in range(MOST)]
    kept = [training[place] for place in places]
    return [*(f for f in frames if f[0] in ("start", "asked")), *kept, frames[-1]]


def write(frames: list[tuple[str, bytes]], path: Path) -> None:
    """An endless GIF in one palette, so that what stays the same costs nothing."""
    images = [Image.open(io.BytesIO(png)).convert("RGB") for _, png in frames]
    seen = Image.new("RGB", (images[0].width, 3 * images[0].height))
    for i, image in enumerate((images[1], images[len(images) // 2], images[-1])):
        seen.paste(image, (0, i * image.height))
    palette = seen.quantize(COLOURS)
    first, *others = [i.quantize(palette=palette, dither=Image.Dither.NONE) for i in images]
    stay = [SHOWN[moment] for moment, _ in frames]
    first.save(path, save_all=True, append_images=others, duration=stay, loop=0, optimize=True, disposal=1)
    size = path.stat().st_size
    assert size <= LARGEST, f"{size} bytes: fewer COLOURS or fewer frames (MOST)"
    print(f"{path}: {len(frames)} frames, {sum(stay) / 1000:.1f} s, {size / 1000:.0f} kB")


def main() -> None:
    """Start JupyterLab over a copy of the notebooks, play, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=GIF)
    parser.add_argument("--frames", type=Path, help="folder for the single frames as PNG")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "llmlab.cli", "lab", "--chapter", "00", "--no-browser"]
        command += ["--folder", f"{folder}/notebooks", "--port", str(free_port())]
        with served(command, Path(folder), LAB) as found, chromium() as browser:
            page = new_page(browser, **SIZE)
            page.goto(f"{found[1]}/lab/tree/00_start_here.ipynb?token={found[2]}")
            frames = thinned(play(page))
    if asked.frames:
        asked.frames.mkdir(parents=True, exist_ok=True)
        for i, (moment, png) in enumerate(frames):
            (asked.frames / f"{i:02}_{moment}.png").write_bytes(png)
    write(frames, asked.out)


if __name__ == "__main__":
    main()
