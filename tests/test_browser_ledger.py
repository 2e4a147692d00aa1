"""The ledger's page in JupyterLab, in a real browser: rows are buttons for mouse and keyboard, filters act at
once; screenshots in test-output/.
"""

import re

import nbformat.v4 as nb
import pytest
from helpers_browser import (
    NEEDS_CHROMIUM,
    chromium,
    eventually,
    lab_over,
    new_page,
    picture,
    ready,
    run_all,
)
from helpers_ledger import stored

from llmlab.ledger import CLAIMS

pytestmark = NEEDS_CHROMIUM
CELL = """from llmlab.learn.widgets.ledger import LedgerPage

page = LedgerPage()
page"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The scratch notebook, open, with its cell run."""
    folder, data = tmp_path_factory.mktemp("books"), stored(tmp_path_factory.mktemp("stored") / "data")
    book = nb.new_notebook(cells=[nb.new_code_cell(CELL)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / "ledger.ipynb").write_text(nb.writes(book))
    with (
        lab_over(folder, tmp_path_factory.mktemp("home"), LLMLAB_DATA=str(data)) as (address, token),
        chromium() as browser,
    ):
        lab = new_page(browser, 1300, 1500)
        lab.goto(f"{address}/lab/tree/ledger.ipynb?token={token}")
        ready(lab)
        run_all(lab, ".llmlab-forest .row")
        yield lab


def buttons(lab, kind: str = "line"):
    """The buttons of the plot: all, or only claims or rows."""
    return lab.locator(f".llmlab-forest button.{kind}")


def detail(lab) -> str:
    """The words below the plot."""
    return lab.locator(".llmlab-claim").inner_text() if lab.locator(".llmlab-claim").count() else ""


def choose(lab, field: str, value: str) -> None:
    """Choose in one of the filters."""
    lab.locator(f".widget-dropdown:has(label:text-is('{field}')) select").select_option(value)


def brightness(colour: str) -> float:
    """Mean of red, green and blue of a CSS colour."""
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def test_all_claims_are_there_and_every_contrast_that_counts(lab):
    counted = sum(x.counts for c in CLAIMS.values() for x in c.contrasts)
    assert buttons(lab, "claim").count() == len(CLAIMS) and buttons(lab, "row").count() == counted
    assert f"{len(CLAIMS)} claims: " in lab.locator(".jp-OutputArea-output").first.inner_text()
    assert lab.locator(".llmlab-forest .row .mark").count() == counted
    label = buttons(lab, "row").first.get_attribute("aria-label")
    assert (
        label.startswith("C001, ")
        and "seeds: " in label
        and buttons(lab, "row").first.get_attribute("aria-pressed") == "false"
    )


def test_a_click_opens_the_claim_with_its_curves(lab):
    row = buttons(lab, "row").nth(4)
    claim = CLAIMS[row.get_attribute("data-id")]
    row.click()
    eventually(
        lambda: detail(lab),
        lambda text: claim.words in text and claim.evidence in text and claim.matched in text,
        page=lab,
    )
    image = lab.locator(".widget-image:visible")
    eventually(image.count, lambda n: n == 1, seconds=60, page=lab)
    assert row.get_attribute("aria-pressed") == "true" and lab.locator("tr.here").inner_text().startswith(
        row.get_attribute("data-label")
    )
    assert (
        lab.locator("button:has-text('Run one more seed')").is_enabled()
        and not lab.locator("button:text-is('Stop')").is_enabled()
    )
    picture(lab, "ledger")


def test_pointing_at_a_row_tells_its_numbers(lab):
    row = buttons(lab, "row").nth(2)
    row.hover()
    told = lab.locator(".llmlab-forest .told").inner_text()
    assert told and told in row.get_attribute("aria-label")


def test_the_keyboard_moves_and_opens(lab):
    first = buttons(lab).first
    first.focus()
    for key in ("End", "Home", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        lab.keyboard.press(key)
    place = "[...document.querySelectorAll('.llmlab-forest button.line')].indexOf(document.activeElement)"
    assert lab.evaluate(place) == 2
    lab.keyboard.press("End")
    last = lab.evaluate("document.activeElement.dataset.id")
    lab.keyboard.press("Enter")
    found = CLAIMS[last].corrects or CLAIMS[last].why or "checked: all of it"
    eventually(lambda: detail(lab), lambda text: CLAIMS[last].words in text and found in text, page=lab)
    eventually(lab.locator(".widget-image:visible").count, lambda n: n == 0, page=lab)
    lab.keyboard.press("Home")
    lab.keyboard.press("Space")
    eventually(lambda: detail(lab), lambda text: CLAIMS["C001"].words in text, page=lab)


def test_filters_shrink_the_list(lab):
    everything = buttons(lab).count()
    choose(lab, "verdict", "supported")
    eventually(buttons(lab).count, lambda n: 0 < n < everything, page=lab)
    assert set(buttons(lab, "claim").locator(".verdict").all_inner_texts()) == {"✓ supported"}
    lab.locator("input[placeholder='in ids and words']").fill("no such words")
    eventually(
        lambda: lab.locator(".llmlab-forest").inner_text(), lambda text: "No claim fits." in text, page=lab
    )
    choose(lab, "verdict", "all")
    lab.locator("input[placeholder='in ids and words']").fill("c016")
    eventually(buttons(lab, "claim").count, lambda n: n == 1, page=lab)
    lab.locator("input[placeholder='in ids and words']").fill("")
    eventually(buttons(lab).count, lambda n: n == everything, page=lab)


def test_it_fits_a_narrow_window_and_the_dark_theme(lab):
    forest = lab.locator(".llmlab-forest")
    lab.evaluate(
        "document.querySelector('.jp-OutputArea-output"
        " .llmlab-forest').closest('.jp-OutputArea-output').style.maxWidth = '420px'"
    )
    for menu in (
        ".lm-MenuBar-itemLabel:text-is('Settings')",
        ".lm-Menu-itemLabel:text-is('Theme')",
        ".lm-Menu-itemLabel:text-is('JupyterLab Dark')",
    ):
        lab.click(menu)
    lab.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    plots = lab.locator(".llmlab-forest .row .plot")
    wide = "e => e.getBoundingClientRect().width"
    eventually(lambda: plots.first.evaluate(wide), lambda pixels: 300 < pixels < 420, page=lab)
    assert forest.evaluate("e => e.scrollWidth <= e.clientWidth")
    buttons(lab, "row").nth(3).click()
    eventually(lambda: detail(lab), lambda text: CLAIMS["C002"].words in text.replace("\n", " "), page=lab)
    eventually(
        lambda: lab.locator(".llmlab-claim").evaluate(wide), lambda pixels: 300 < pixels <= 420, page=lab
    )
    background, words = (
        forest.locator(of).first.evaluate(f"e => getComputedStyle(e).{what}")
        for of, what in ((".axis", "backgroundColor"), (".words", "color"))
    )
    assert brightness(background) < 80 and brightness(words) > 180
    picture(lab, "ledger_narrow")
