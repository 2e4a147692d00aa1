"""`llmlab demo`: who may connect, what it needs, and the page itself: a panel without code that asks no other
machine for anything.
"""

import importlib.util
import re
import sys
from urllib.parse import urlsplit
from urllib.request import urlopen

import nbformat
import psutil
import pytest
from helpers_browser import (
    NEEDS_CHROMIUM,
    chromium,
    eventually,
    free_port,
    new_page,
    picture,
    served,
    settled,
    stored_sweep,
)

from llmlab import cli
from llmlab.lab import registry, sweeps
from llmlab.learn import demo, lessons

TOKEN = re.compile(r"--Voila\.token=(.+)")


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Voilà counts as installed, except where a test says otherwise: its command line is not run here."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: name if name == "voila" else found(name, *rest)
    )


def token(arguments: list[str]) -> str | None:
    """The token in a command line."""
    found = [match[1] for a in arguments if (match := TOKEN.fullmatch(a))]
    return found[0] if found else None


def test_only_this_machine_can_connect_by_default(tmp_path):
    arguments = demo.command(tmp_path / "cpt.ipynb", 8866, browser=True, network=False)
    assert (
        "--Voila.ip=127.0.0.1" in arguments and "--no-browser" not in arguments and token(arguments) is None
    )
    assert not any("0.0.0.0" in a for a in arguments)


def test_a_network_gets_in_with_a_token_that_nobody_can_guess(tmp_path):
    commands = [demo.command(tmp_path / "cpt.ipynb", 8866, browser=False, network=True) for _ in range(20)]
    assert all("--Voila.ip=0.0.0.0" in c and "--no-browser" in c for c in commands)
    tokens = {token(c) for c in commands}
    assert len(tokens) == 20 and all(
        re.fullmatch(r"[\w-]{22,}", t) for t in tokens
    )  # 16 random bytes and more


def test_neither_code_nor_tracebacks_are_shown(tmp_path):
    arguments = demo.command(tmp_path / "cpt.ipynb", 8866, browser=True, network=False)
    assert {"--strip_sources=True", "--show_tracebacks=False", "--template=llmlab"} <= set(arguments)


@pytest.mark.parametrize(
    "argv",
    [
        ["demo", "cpr"],
        ["demo"],
        ["demo", "--network"],
        ["demo", "cpt", "--port", "many"],
        ["demo", "cpt", "--code"],
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(argv, capsys, monkeypatch):
    monkeypatch.setattr(demo, "serve", lambda *_: pytest.fail("nothing is to be served"))
    assert cli.main(argv) == 2
    told = capsys.readouterr()
    assert "Traceback" not in told.err + told.out and len((told.err + told.out).strip().splitlines()) == 1


def test_without_voila_one_sentence_says_how_to_get_it(home, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(demo.os, "execv", lambda *_: pytest.fail("nothing is to be started"))
    assert cli.main(["demo", "cpt"]) == 2
    assert "pip install -e '.[demo]'" in capsys.readouterr().err


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_notebook_holds_one_cell_with_the_swept_knobs(name, home):
    book = nbformat.read(demo.notebook(name), as_version=4)
    nbformat.validate(book)
    title, panel = book.cells
    shown = list(sweeps.GRIDS[name].axes) if name in sweeps.GRIDS else None
    assert (
        registry.get(name).summary in title.source
        and f"Panel({name!r}, show={shown!r}, large=True)" in panel.source
    )


def test_serving_replaces_this_process_and_finds_our_template(home, monkeypatch):
    started = []
    monkeypatch.setenv("JUPYTER_PATH", "")
    monkeypatch.setattr(demo.os, "execv", lambda program, arguments: started.append((program, arguments)))
    monkeypatch.setenv("JUPYTER_PATH", "before")
    demo.serve("cpt", 8866, browser=False, network=False)
    (program, arguments), folder = started[0], demo.os.environ["JUPYTER_PATH"].split(demo.os.pathsep)[0]
    assert (
        program == sys.executable and arguments[1:3] == ["-m", "voila"] and arguments[3].endswith("cpt.ipynb")
    )
    assert (demo.Path(folder) / "voila" / "templates" / "llmlab" / "index.html.j2").exists()


def test_the_kernel_of_a_closed_page_is_ended(tmp_path, monkeypatch):
    """The page is fetched and never opens a connection, which is what a closed one looks like."""
    pytest.importorskip("voila")
    book, port = tmp_path / "small.ipynb", free_port()
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")]), book)
    monkeypatch.setattr(demo, "ABANDONED", 2)
    monkeypatch.setenv("JUPYTER_PATH", str(demo.paths.PACKAGE / "learn"))
    command = demo.command(book, port, browser=False, network=False)
    with served(command, tmp_path, rf"http://\S+:{port}"):
        (server,) = [p for p in psutil.Process().children() if str(book) in p.cmdline()]
        kernels = lambda: [p for p in server.children() if p.status() != psutil.STATUS_ZOMBIE]
        with urlopen(f"http://127.0.0.1:{port}", timeout=60) as page:
            page.read()
        assert len(kernels()) == 1
        eventually(kernels, lambda left: not left)


# ---- the page ----


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    """The page of `llmlab demo cpt` with a stored sweep, and all addresses that it asked for."""
    pytest.importorskip("voila")
    folder, port = tmp_path_factory.mktemp("voila"), free_port()
    data = stored_sweep(folder / "data")
    command = [sys.executable, "-m", "llmlab.cli", "demo", "cpt", "--no-browser", "--port", str(port)]
    with served(command, folder, rf"http://\S+:{port}", LLMLAB_DATA=str(data)), chromium() as browser:
        page, asked = new_page(browser, 1600, 1000), []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.goto(f"http://127.0.0.1:{port}", timeout=120_000)
        page.wait_for_selector("button:has-text('Reset')", timeout=120_000)
        yield page, asked


def browser_test(test):
    """Marks a test that drives Chromium."""
    for mark in NEEDS_CHROMIUM:
        test = mark(test)
    return test


@browser_test
def test_the_page_is_a_panel_without_code_in_large_type(classroom):
    page, _ = classroom
    picture(page, "demo_start")
    assert page.locator("h1").inner_text().startswith(registry.get("cpt").summary)
    assert (
        page.locator(".noUi-handle:visible").count() == len(sweeps.GRIDS["cpt"].axes)
        and page.locator("img").first.is_visible()
    )
    assert (
        "import" not in page.inner_text("body")
        and page.locator(".jp-InputArea-editor, .highlight").count() == 0
    )
    for seen in (
        ".widget-label:text-is('replay share')",
        ".widget-readout",
        "button:has-text('Run')",
        ".widget-html-content:has-text('stored: 5 seeds')",
    ):
        assert (
            float(page.locator(seen).first.evaluate("e => parseFloat(getComputedStyle(e).fontSize)")) >= 20
        ), seen


@browser_test
def test_the_slider_answers_and_one_click_resets(classroom):
    page, _ = classroom
    image, handle, reading = (
        page.locator("img").first,
        page.locator(".noUi-handle").first,
        page.locator(".widget-readout").first,
    )
    default, before = reading.inner_text(), settled(page, image)
    handle.focus()
    for _ in range(4):
        handle.press("ArrowLeft")
    eventually(reading.inner_text, lambda text: text == "0 ●", page=page)
    assert settled(page, image) != before and "stored: 5 seeds" in page.inner_text("body")
    page.locator("button:has-text('Compare')").click()
    for _ in range(2):
        handle.press("ArrowRight")
    settled(page, image)
    picture(page, "demo")
    page.locator("button:has-text('Reset')").click()
    eventually(reading.inner_text, lambda text: text == default == "0.2 ●", page=page)


@browser_test
def test_no_request_leaves_this_machine(classroom):
    page, asked = classroom
    page.wait_for_timeout(1000)
    away = [
        url
        for url in asked
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1"
    ]
    assert len(asked) > 5 and not away, away


def test_the_address_for_the_class_is_printed_with_its_token(monkeypatch, capsys, home):
    started = []
    monkeypatch.setenv("JUPYTER_PATH", "")
    monkeypatch.setattr(demo.os, "execv", lambda program, arguments: started.extend(arguments))
    demo.serve("topology", 8899, browser=False, network=True)
    token = next(a.partition("=")[2] for a in started if a.startswith("--Voila.token="))
    assert f":8899/?token={token}" in capsys.readouterr().out
    demo.serve("topology", 8899, browser=False, network=False)
    assert "token" not in capsys.readouterr().out


def test_a_damaged_lesson_is_one_sentence_and_nothing_is_served(tmp_path, monkeypatch, capsys):
    """Voilà's page would only say that a cell failed."""
    (tmp_path / "02.yaml").write_text("title: x\nsteps: [")
    monkeypatch.setattr(lessons, "folder", lambda: tmp_path)
    monkeypatch.setattr(demo.os, "execv", lambda *_: pytest.fail("it was served"))
    assert cli.main(["demo", "02", "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert "02.yaml" in said and "not valid YAML at line 2" in said
