"""`llmlab demo CHAPTER` in Chromium: each lesson from its first to its last step by the keyboard, all
of it on one screen.
"""

import sys
from urllib.parse import urlsplit

import pytest
from helpers_browser import (
    NEEDS_CHROMIUM,
    PATIENCE,
    chromium,
    eventually,
    free_port,
    new_page,
    picture,
    served,
)

from llmlab import paths
from llmlab.lab import samples
from llmlab.learn import demo, lessons

pytestmark = NEEDS_CHROMIUM
BY_COMMAND = "02"  # the others are served by what the command becomes: it checks its lesson for five seconds
SMALL, LARGE = {"width": 1280, "height": 720}, {"width": 1920, "height": 1080}
TEXT = ".llmlab-lesson :is(h1, p, button, span, img, td, th, small, .option)"
CUT = f"""() => [...document.querySelectorAll("{TEXT}")].map((e) => [e, e.getBoundingClientRect()])
    .filter(([e, r]) => r.width && (r.left < -1 || r.top < -1 || r.right > innerWidth + 1
        || r.bottom > innerHeight + 1)).map(([e]) => e.outerHTML.slice(0, 100))"""
OVERLAPS = """() => { const main = document.querySelector(".llmlab-lesson main");
    return main.scrollHeight > main.clientHeight + 1; }"""
SMALLEST = f"""() => Math.min(...[...document.querySelectorAll("{TEXT}")]
    .map((e) => parseFloat(getComputedStyle(e).fontSize)))"""


@pytest.fixture(params=lessons.chapters())
def lesson(request, tmp_path_factory):
    """(chapter, page of its lesson, addresses that it asked for)."""
    pytest.importorskip("voila")
    folder, port, own = tmp_path_factory.mktemp("voila"), free_port(), {}
    command = [sys.executable, "-m", "llmlab.cli", "demo", request.param, "--no-browser", "--port", str(port)]
    if request.param != BY_COMMAND:
        command = demo.command(demo.notebook(request.param), port, browser=False, network=False)
        own = {"JUPYTER_PATH": str(paths.PACKAGE / "learn")}
    with served(command, folder, rf"http://\S+:{port}", **own), chromium() as browser:
        page, asked = new_page(browser, **SMALL), []
        page.on("request", lambda got: asked.append(got.url))
        page.on("websocket", lambda got: asked.append(got.url))
        page.goto(f"http://127.0.0.1:{port}", timeout=120_000)
        page.wait_for_selector(".llmlab-lesson h1", timeout=120_000)
        yield request.param, page, asked


def on_one_screen(page) -> None:
    """Nothing to scroll, nothing cut, no tiny type."""
    inner = page.evaluate("[innerWidth, innerHeight]")
    scroll = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert scroll[0] <= inner[0] + 1 and scroll[1] <= inner[1] + 1
    assert page.evaluate(CUT) == [] and not page.evaluate(OVERLAPS)
    assert page.evaluate(SMALLEST) >= 17.9


def at(page, n: int) -> None:
    """Waits for a step."""
    eventually(page.locator(".count").inner_text, lambda text: text.startswith(f"{n} of"), page=page)


def on_a_large_one(page, name: str) -> None:
    """The same on a projector's screen, in larger type."""
    page.set_viewport_size(LARGE)
    page.wait_for_timeout(200)
    on_one_screen(page)
    assert page.evaluate(SMALLEST) >= 20
    picture(page, name)
    page.set_viewport_size(SMALL)


def test_a_lesson_from_its_first_to_its_last_step(lesson):
    """One test: a page takes twenty seconds to open, and must stand where the part before has left it."""
    chapter, page, asked = lesson
    forth_by_the_keyboard(chapter, page)
    back_reset_and_two_quick_keys(chapter, page)
    no_request_leaves_this_machine(page, asked)


def forth_by_the_keyboard(chapter, page) -> None:
    """Each step on one screen, small or large."""
    steps = lessons.load(chapter).steps
    for n, step in enumerate(steps, 1):
        at(page, n)
        assert page.inner_text("h1") == step.ask.question and not page.locator(".why").count()
        on_one_screen(page)
        page.locator(".option button:text-is('+')").last.click()
        eventually(page.locator(".hands").last.inner_text, lambda text: text == "1", page=page)
        page.keyboard.press("a")
        page.wait_for_selector(".why", timeout=PATIENCE)
        if step.show:
            page.wait_for_function("document.querySelector('.llmlab-lesson img')?.naturalWidth > 0")
        page.wait_for_timeout(200)
        assert page.inner_text("h1") == step.headline and page.locator(".option.right").count() == 1
        told = step.show and step.show.experiment not in samples.SILENT
        assert page.locator(".said tr").count() in ((2, 3) if told else (0,))
        picture(page, f"lesson_{chapter}_{n}")
        on_one_screen(page)
        on_a_large_one(page, f"lesson_{chapter}_{n}_large")
        page.keyboard.press("n")
        page.wait_for_selector(".notes")
        on_one_screen(page)
        page.keyboard.press("n")
        page.wait_for_selector(".notes", state="detached")
        page.keyboard.press(["ArrowRight", "PageDown", "Space"][n % 3])


def back_reset_and_two_quick_keys(chapter, page) -> None:
    """From the last step back; a key that is typed into a field moves nothing."""
    last = len(lessons.load(chapter).steps)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("PageUp")
    at(page, last - 2)
    assert page.locator(".why").count() == 1
    page.keyboard.press("r")
    page.wait_for_selector(".why", state="detached")
    assert page.locator(".hands").last.inner_text() == "0"
    page.locator("button:has-text('Next')").click()
    at(page, last - 1)
    page.evaluate("document.body.append(Object.assign(document.createElement('input'), {id: 'typed'}))")
    page.evaluate("document.getElementById('typed').focus()")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("r")
    page.wait_for_timeout(500)
    at(page, last - 1)
    assert page.locator(".why").count() == 1
    page.evaluate("document.getElementById('typed').remove()")


def no_request_leaves_this_machine(page, asked) -> None:
    """All addresses that were asked for are here."""
    page.wait_for_timeout(500)
    away = [
        url
        for url in asked
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1"
    ]
    assert len(asked) > 5 and not away, away
