"""The mechanisms in JupyterLab, in a real browser: one notebook with all of them; they answer at once,
without the kernel and without the network. Screenshots in test-output/.
"""

import nbformat.v4 as nb
import pytest
from helpers_browser import (
    NEEDS_CHROMIUM,
    PATIENCE,
    chromium,
    eventually,
    lab_over,
    new_page,
    picture,
    ready,
    run_all,
)

pytestmark = NEEDS_CHROMIUM
TITLES = {
    "clip": "The PPO clip",
    "group": "The group of GRPO",
    "dpo": "The margin of DPO",
    "kl": "Two directions of KL",
    "nf4": "4-bit levels and real weights",
    "lora": "A low-rank update",
    "schedule": "Learning rate and replay",
}
MADE = "from llmlab.learn.widgets.mechanisms import Mechanism\nMechanism({kind!r})"
MS = 50

ON_INPUT = """slider => {
  const root = slider.closest('.llmlab-mechanism'), read = () => root.querySelector('.numbers').innerText;
  const before = read(), at = slider.value;
  slider.focus(); slider.stepUp(); if (slider.value === at) slider.stepDown();
  const start = performance.now(); slider.dispatchEvent(new Event('input', {bubbles: true}));
  const after = read(), drawn = root.getBoundingClientRect().height > 0;
  return {ms: performance.now() - start, changed: after !== before && drawn}; }"""
ON_KEY = """handle => {
  const root = handle.closest('.llmlab-mechanism'), read = () => root.querySelector('.numbers').innerText;
  const before = read(), start = performance.now();
  handle.focus();
  for (const key of ['ArrowUp', 'ArrowDown', 'ArrowDown', 'ArrowLeft', 'ArrowLeft']) {
    handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
    if (read() !== before) return {ms: performance.now() - start, changed: true}; }
  return {ms: 0, changed: false}; }"""
TO = """(slider, end) => { const at = slider.value; if (end !== null) slider.value = end;
  slider.dispatchEvent(new Event('input', {bubbles: true})); return at; }"""
CUT_OFF = """root => { const out = [];
  for (const text of root.querySelectorAll('.plot > svg text')) {
    const own = text.getBoundingClientRect(), svg = text.closest('svg').getBoundingClientRect();
    if (own.left < svg.left - 1 || own.right > svg.right + 1 || own.bottom > svg.bottom + 1)
      out.push(text.textContent); }
  for (const word of ['NaN', 'undefined', 'Infinity'])
    if (root.innerText.includes(word) || root.innerHTML.includes(word)) out.push(word);
  for (const cell of root.querySelectorAll('.numbers > div'))
    if (cell.getBoundingClientRect().height > 45) out.push(cell.innerText);
  return {out, width: root.getBoundingClientRect().width}; }"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The notebook, open, with all its cells run."""
    folder, home = tmp_path_factory.mktemp("books"), tmp_path_factory.mktemp("home")
    book = nb.new_notebook(cells=[nb.new_code_cell(MADE.format(kind=kind)) for kind in TITLES])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / "mechanisms.ipynb").write_text(nb.writes(book))
    with lab_over(folder, home) as (address, token), chromium() as browser:
        page = new_page(browser, 1300, 1300)
        page.address, page.asked, page.told, page.errors = address, [], [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("websocket", lambda socket: page.asked.append(socket.url))
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: page.told.append(frame)))
        page.goto(f"{address}/lab/tree/mechanisms.ipynb?token={token}")
        ready(page)
        run_all(page, f".llmlab-mechanism h4:text-is('{TITLES['schedule']}')")
        yield page


def shown(page, kind: str):
    """A mechanism, scrolled into the window."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(list(TITLES).index(kind))
    cell.scroll_into_view_if_needed()
    found = cell.locator(".llmlab-mechanism")
    found.wait_for(timeout=PATIENCE)
    found.scroll_into_view_if_needed()
    return found


def kernel_messages(page) -> int:
    """Messages of widgets to the kernel so far."""
    raw = [frame if isinstance(frame, bytes) else frame.encode() for frame in page.told]
    return sum(b"comm_msg" in frame for frame in raw)


@pytest.mark.parametrize("kind", TITLES)
def test_every_mechanism_is_drawn_whole(page, kind):
    found = shown(page, kind)
    assert found.locator("h4").inner_text() == TITLES[kind]
    assert found.locator(".plot > svg").count() >= 1 and found.locator(".numbers .value").count() >= 4
    seen = found.evaluate(CUT_OFF)
    assert seen["out"] == [] and seen["width"] <= 720
    names = found.locator("input, [role=slider], .plot > svg")
    assert all(names.nth(i).get_attribute("aria-label") for i in range(names.count()))
    picture(page, f"mechanism_{kind}", found)
    sliders = found.locator("input[type=range]")
    for i in range(sliders.count()):
        slider = sliders.nth(i)
        for end in ("-1e9", "1e9"):  # the browser keeps it between the slider's ends
            was = slider.evaluate(TO, end)
            assert found.evaluate(CUT_OFF)["out"] == [], (slider.get_attribute("aria-label"), end)
            slider.evaluate(TO, was)


@pytest.mark.parametrize("kind", TITLES)
def test_every_slider_and_point_answers_at_once_and_without_the_kernel(page, kind):
    found = shown(page, kind)
    before = kernel_messages(page)
    sliders, handles = found.locator("input[type=range]"), found.locator("[role=slider]")
    assert sliders.count() + handles.count() > 0
    answers = [sliders.nth(i).evaluate(ON_INPUT) for i in range(sliders.count())]
    answers += [handles.nth(i).evaluate(ON_KEY) for i in range(handles.count())]
    assert all(a["changed"] for a in answers) and max(a["ms"] for a in answers) < MS, answers
    assert kernel_messages(page) == before and not page.errors


@pytest.mark.parametrize("kind", [kind for kind in TITLES if kind != "group"])
def test_real_keys_move_a_slider_and_not_the_notebook(page, kind):
    found = shown(page, kind)
    numbers, slider = found.locator(".numbers"), found.locator("input[type=range]").first
    was, value = numbers.inner_text(), slider.input_value()
    slider.press("ArrowLeft")
    if slider.input_value() == value:  # it was at its end
        slider.press("ArrowRight")
    assert slider.input_value() != value and numbers.inner_text() != was
    assert slider.evaluate("slider => document.activeElement === slider")


def drag(page, handle, dx: float, dy: float) -> None:
    """Pulls a point by pixels, with the mouse."""
    box = handle.locator(".dot").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()


def read(found, name: str) -> str:
    """The number that stands behind a name."""
    return found.locator(f".numbers div:has(.name:text-is('{name}')) .value").inner_text()


def test_a_ratio_dragged_out_of_the_range_has_no_gradient(page):
    found = shown(page, "clip")
    found.locator("button:has-text('PPO')").click()
    found.locator("input[type=range]").first.fill("1")
    drag(page, found.locator("[role=slider]"), 90, 0)
    assert float(read(found, "ratio r")) > 1.2 and read(found, "clipped objective") == "1.20"
    assert read(found, "gradient") == "0.00" and "Clipped" in found.locator(".told").inner_text()
    found.locator("button:has-text('flip')").click()
    assert read(found, "gradient") == "−1.00" and "wrong side" in found.locator(".told").inner_text()


def test_a_group_of_equal_rewards_gives_no_signal(page):
    found = shown(page, "group")
    for button in ("all right", "all wrong"):
        found.locator(f"button:text-is('{button}')").click()
        assert "No signal" in found.locator(".told").inner_text()
        assert read(found, "answer 1, group_norm") == "0.00"
    found.locator("button:text-is('one right')").click()
    assert read(found, "answer 1, group_norm") == "+2.47"
    drag(page, found.locator("[role=slider]").nth(4), 0, -60)
    assert "No signal" not in found.locator(".told").inner_text()
    assert float(read(found, "answer 5, no_baseline")) > 0.3


def test_both_logprobs_fall_and_so_does_the_loss(page):
    found = shown(page, "dpo")
    found.locator("button:has-text('back to')").click()
    loss = float(read(found, "loss −log σ(margin)"))
    assert loss == 0.693
    for _ in range(2):
        found.locator("button:text-is('both fall')").click()
        now = float(read(found, "loss −log σ(margin)"))
        assert now < loss
        loss = now
    assert read(found, "chosen: log π − log ref") == "−8.0 nats"
    assert "Likelihood displacement" in found.locator(".told").inner_text()
    picture(page, "mechanism_dpo_displaced", found)


def test_each_kl_has_its_own_best_gaussian(page):
    found = shown(page, "kl")
    for which, word in (("forward", "covering"), ("reverse", "seeking")):
        found.locator(f"button:has-text('{which}')").click()
        assert word in found.locator(".told").inner_text()
        name = f"{which} KL" + ("(p‖q)" if which == "forward" else "(q‖p)")
        assert read(found, name) == read(found, f"least {which} KL")
        picture(page, f"mechanism_kl_{which}", found)


def test_equal_steps_round_real_weights_worse(page):
    found = shown(page, "nf4")
    found.locator("button:has-text('NF4')").click()
    error = read(found, "mean squared error")
    found.locator("button:has-text('int4')").click()
    assert float(read(found, "mean squared error").split()[0]) > float(error.split()[0])
    assert found.locator("button:has-text('int4')").get_attribute("aria-pressed") == "true"


def test_dark_theme_keeps_the_words_readable(page):
    page.click(".lm-MenuBar-itemLabel:text-is('Settings')")
    page.hover(".lm-Menu-itemLabel:text-is('Theme')")
    page.click(".lm-Menu-itemLabel:text-is('JupyterLab Dark')")
    body = page.locator("body")
    eventually(lambda: body.get_attribute("data-jp-theme-light"), lambda v: v == "false", page=page)
    found = shown(page, "schedule")
    page.wait_for_timeout(500)
    light = "root => getComputedStyle(root).color.match(/[\\d.]+/g).slice(0, 3).every((part) => part > 200)"
    eventually(lambda: found.evaluate(light), bool, page=page)
    picture(page, "mechanism_dark", found)


def test_nothing_leaves_the_machine(page):
    host = page.address.removeprefix("http://")
    local = (f"http://{host}", f"ws://{host}", "blob:", "data:")
    assert page.asked and [url for url in page.asked if not url.startswith(local)] == []
