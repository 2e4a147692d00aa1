"""Every widget kind in JupyterLab, in a real browser: one server and one scratch notebook with a cell for
each; screenshots in test-output/.
"""

import json
import statistics

import nbformat.v4 as nb
import pytest
from helpers_browser import (
    NEEDS_CHROMIUM,
    OUT,
    PATIENCE,
    chromium,
    eventually,
    lab_over,
    new_page,
    picture,
    ready,
    run_all,
    settled,
    stored_sweep,
)

pytestmark = NEEDS_CHROMIUM
ANSWER = "421.9"  # 7.5 cubed, as Predict writes it: it stands in no cell

CELLS = {
    "panel": (
        """from llmlab.learn.widgets import Panel
panel = Panel("cpt", show=["replay", "lr", "warmup"])
panel"""
    ),
    "strip": (
        """import copy

from llmlab.methods import imitation
from llmlab.models.load import load
from llmlab.tokens import chat
from llmlab.tokens.batch import Batch, pad
from llmlab.learn.widgets import TokenStrip
from llmlab.world import Talk

base = load("chat")
rows = [chat.example(base.tok, p.messages, Talk().solution(p)) for p in Talk(("fact",)).problems(2, seed=1)]
ids, masks = zip(*rows)
batch = Batch(pad(ids, base.tok.pad_token_id), pad(masks, 0).float())
strip = TokenStrip(base.tok, batch, base.model, imitation.nll)
data = copy.deepcopy(strip.data)
data["rows"][0]["pieces"][1] = "<script>document.title = 'taken'</script>"
data["rows"][0]["label"] = "<img src=x onerror=\\"document.title='taken'\\">"
strip.data = data
strip"""
    ),
    "predict": (
        """from llmlab.learn.widgets import Predict
predict = Predict("How much is the cube of 7.5?", lambda: 7.5 ** 3, unit="units", low=0, high=1000)
predict"""
    ),
    "sketch": (
        """curves = {"domain": [3, 2, 1], "general": [1, 0.2, 0.9]}
sketch = Predict("What will the two do?", curves, kind="sketch", metrics=["domain", "general"])
sketch"""
    ),
    "drills": (
        """from llmlab.learn.widgets import Drills
drills = Drills("02", level=1)
drills"""
    ),
    "map": (
        """from llmlab.learn.widgets.atlas import Flow, Map
Map()"""
    ),
    "flow": "Flow()",
    "evidence": (
        """import time
from llmlab.learn.atlas import Leaf, Question, Reading

def slow():
    time.sleep(2)
    return Reading("share <right>", 0.25, 0.75, 3, "llmlab run cpt --replay 0")

Flow(Question("Ready?", {"yes": Leaf("A lever", "why", "risk", "measure", "02", (slow,))}))"""
    ),
    "tree": (
        """from llmlab.learn.widgets import Tree
from llmlab.world.reasoning import Reasoning

reasoner, asked = load("reasoner"), Reasoning(("reach",), (2,)).problems(1, seed=1)[0]
Tree(reasoner, asked, lambda nodes: [1.0 / n.depth for n in nodes], rounds=6)"""
    ),
    "judge": (
        """from llmlab.learn.judge import check

def mine(documents, end, length):
    stream = [token for ids in documents for token in ids]
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]

check("pack_plain", mine)"""
    ),
    "error": 'Panel("cpr")',  # the last: JupyterLab runs nothing after an error
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def page(home, tmp_path_factory):
    """The scratch notebook, open, with all its cells run."""
    folder, data = tmp_path_factory.mktemp("books"), stored_sweep(tmp_path_factory.mktemp("stored") / "data")
    book = nb.new_notebook(cells=[nb.new_code_cell(source) for source in CELLS.values()])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / "widgets.ipynb").write_text(nb.writes(book))
    with lab_over(folder, home, LLMLAB_DATA=str(data)) as (address, token), chromium() as browser:
        page = new_page(browser, 1400, 1500)
        page.received = received = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
        page.goto(f"{address}/lab/tree/widgets.ipynb?token={token}")
        ready(page)
        run_all(page, ".jp-Notebook [data-mime-type='application/vnd.jupyter.stderr']")
        picture(page, "widgets_notebook")
        yield page


def cell(page, name: str):
    """The notebook's cell of this name."""
    return page.locator(".jp-Notebook .jp-Cell").nth(list(CELLS).index(name))


def shown(page, name: str):
    """What a cell shows, scrolled into the window."""
    found = cell(page, name)
    found.scroll_into_view_if_needed()
    out = found.locator(".jp-OutputArea-output").first
    out.wait_for(timeout=PATIENCE)
    out.scroll_into_view_if_needed()
    return out


# ---- Panel ----

TIMED = """img => { const seen = window.answered = {times: []}; let pressed = null;
  document.addEventListener('keydown', () => { pressed = performance.now(); }, true);
  const answered = () => { seen.times.push(performance.now() - pressed); pressed = null; };
  new MutationObserver(() => { if (pressed !== null) answered(); })
    .observe(img, {attributes: true, attributeFilter: ['src']}); }"""


def knob(panel, name: str):
    """A knob's handle and its reading."""
    row = panel.locator(f".widget-inline-hbox:has(.widget-label:text-is('{name}'))")
    return row.locator(".noUi-handle"), row.locator(".widget-readout")


def test_panel_answers_from_the_stored_runs(page):
    panel = shown(page, "panel")
    image = panel.locator("img").first
    handle, reading = knob(panel, "replay share")
    assert "●" in reading.inner_text() and "stored: 5 seeds" in panel.inner_text()
    image.evaluate(TIMED)
    handle.focus()
    places, readings, pictures = 0, [reading.inner_text()], {image.get_attribute("src")}
    for key in ["ArrowLeft"] * 4 + ["ArrowRight"] * 4 + ["ArrowLeft"] * 2:
        handle.press(key)
        places += 1
        eventually(
            lambda: page.evaluate("answered.times.length"), lambda n, places=places: n == places, page=page
        )
        readings.append(reading.inner_text())
        pictures.add(image.get_attribute("src"))
    times = page.evaluate("answered.times")
    assert len(set(readings)) == 5 and len(pictures) == 11  # every move gave another picture
    median = statistics.median(times)
    OUT.mkdir(exist_ok=True)
    (OUT / "panel_answer_ms.json").write_text(
        json.dumps({"median": round(median, 1), "all": [round(t, 1) for t in times]})
    )
    told = (
        f"from key to picture: median {median:.0f} ms of {[round(t) for t in times]} (150 ms on a quiet"
        " machine)"
    )
    assert len(times) >= 8 and median < 1000, told


def test_panel_says_what_is_not_stored_and_offers_a_run(page):
    panel = shown(page, "panel")
    handle, reading = knob(panel, "replay share")
    for _ in range(30):
        if "●" not in reading.inner_text():
            break
        handle.press("ArrowRight")
        page.wait_for_timeout(50)
    value = reading.inner_text()
    eventually(
        panel.inner_text,
        lambda text: f"not stored: replay {value}" in text and "Run trains it here" in text,
        page=page,
    )
    assert panel.locator("button:has-text('Run')").is_enabled()
    picture(page, "widget_panel_not_stored", panel)


def to_stop(page, handle, reading, wanted: str, key: str) -> None:
    """Press the key until the slider reads as wanted."""
    for _ in range(30):
        if reading.inner_text() == wanted:
            return
        handle.press(key)
        page.wait_for_timeout(60)
    assert reading.inner_text() == wanted


def test_panel_compares_and_resets(page):
    panel = shown(page, "panel")
    image, (handle, reading) = panel.locator("img").first, knob(panel, "replay share")
    panel.locator("button:has-text('Reset')").click()
    eventually(panel.inner_text, lambda text: "stored: 5 seeds" in text, page=page)
    default = reading.inner_text()
    to_stop(page, handle, reading, "0 ●", "ArrowLeft")
    settled(page, image)
    panel.locator("button:has-text('Compare')").click()
    to_stop(page, handle, reading, "0.5 ●", "ArrowRight")
    eventually(panel.inner_text, lambda text: "stored: 5 seeds" in text, page=page)
    both = settled(page, image)
    picture(page, "widget_panel", panel)
    panel.locator("button:has-text('Reset')").click()
    eventually(reading.inner_text, lambda text: text == default == "0.2 ●", page=page)
    settled(page, image)
    to_stop(page, handle, reading, "0.5 ●", "ArrowRight")
    assert settled(page, image) != both  # at the same setting, but without what was kept


# ---- TokenStrip ----


def test_strip_shows_tokens_as_text_and_switches_layers(page):
    strip = shown(page, "strip").locator(".llmlab-strip")
    tokens = strip.locator(".token")
    assert tokens.count() > 20 and tokens.nth(1).inner_text() == "<script>document.title = 'taken'</script>"
    assert strip.locator("script, img").count() == 0 and page.title() != "taken"
    assert strip.locator("button[aria-pressed=true]").inner_text() == "gradient"
    colours = tokens.evaluate_all("all => all.map(t => t.style.background)")
    strip.locator("button:text-is('mask')").click()
    eventually(
        lambda: strip.locator("button[aria-pressed=true]").inner_text(),
        lambda name: name == "mask",
        page=page,
    )
    assert tokens.evaluate_all("all => all.map(t => t.style.background)") != colours
    picture(page, "widget_strip", shown(page, "strip"))


def test_strip_gives_its_numbers_to_the_keyboard(page):
    strip = shown(page, "strip").locator(".llmlab-strip")
    tokens, detail = strip.locator(".token"), strip.locator(".detail")
    tokens.first.focus()
    tokens.first.press("End")
    said = detail.inner_text()
    assert "loss" in said and "gradient" in said and "mask 0" in said
    page.keyboard.press("ArrowLeft")
    assert "mask 1" in detail.inner_text() != said and page.evaluate(
        "document.activeElement.classList.contains('token')"
    )
    assert strip.locator("script, img").count() == 0 and page.title() != "taken"


# ---- Predict ----


def test_predict_keeps_the_answer_out_of_the_browser_until_the_commitment(page):
    predict = shown(page, "predict")
    assert ANSWER not in page.content() and not any(ANSWER in str(frame) for frame in page.received)
    handle = predict.locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowRight")
    mine = predict.locator(".widget-readout").inner_text()
    predict.locator("button:has-text('Commit')").click()
    eventually(predict.inner_text, lambda text: f"{ANSWER} units" in text and "measured" in text, page=page)
    assert any(
        ANSWER in str(frame) for frame in page.received
    )  # frames can be read: the check above is not blind
    cells = predict.locator("td").all_inner_texts()
    assert f"{float(mine):g} units" in cells and f"{ANSWER} units" in cells
    assert not predict.locator("button:has-text('Commit')").is_enabled()
    picture(page, "widget_predict", predict)


def test_predict_sketch_says_what_is_missing_and_compares(page):
    sketch = shown(page, "sketch")
    sketch.locator("button:has-text('Commit')").click()
    eventually(sketch.inner_text, lambda text: "say for each of domain, general" in text, page=page)
    for row, button in enumerate(("falls", "rises")):
        sketch.locator(".widget-toggle-buttons").nth(row).locator(f"button:has-text('{button}')").click()
    sketch.locator("button:has-text('Commit')").click()
    eventually(sketch.inner_text, lambda text: "✓ as predicted" in text and "✗ another" in text, page=page)
    picture(page, "widget_sketch", sketch)


# ---- Drills ----


def test_drills_from_the_question_to_the_log(page, home):
    drills = shown(page, "drills")
    first = drills.locator("h4").first.inner_text()
    assert drills.locator("input[type=checkbox]").count() == 0
    drills.locator("textarea").first.fill("It forgets.")
    picture(page, "widget_drill", drills)
    drills.locator("button:has-text('Show the answer')").click()
    boxes = drills.locator("input[type=checkbox]")
    eventually(boxes.count, lambda n: n >= 3, page=page)
    eventually(
        lambda: drills.locator("button:has-text('Again')").get_attribute("class"),
        lambda c: "success" in c,
        page=page,
    )
    for i in range(boxes.count()):
        boxes.nth(i).check()
    eventually(
        lambda: drills.locator("button:has-text('Easy')").get_attribute("class"),
        lambda c: "success" in c,
        page=page,
    )
    picture(page, "widget_drill_answer", drills)
    points = boxes.count()
    drills.locator("button:has-text('Good')").click()
    eventually(lambda: drills.locator("h4").first.inner_text(), lambda now: now != first, page=page)
    review = json.loads((home / "home" / "drills" / "reviews.jsonl").read_text())
    assert (review["rating"], review["points"], review["ticked"]) == (3, points, list(range(points)))
    assert drills.locator("textarea").first.input_value() == ""


# ---- Map and Flow ----


def test_map_shows_the_stage_that_is_clicked(page):
    life = shown(page, "map")
    assert "forgetting" in life.inner_text()
    life.locator("button:text-is('reinforcement learning')").click()
    eventually(life.inner_text, lambda text: "reward hacking" in text and "forgetting" not in text, page=page)
    picture(page, "widget_map", life)


def test_flow_leads_to_a_lever_and_back(page):
    flow = shown(page, "flow")
    assert not flow.locator("button:has-text('Back')").is_enabled()
    flow.locator("button:text-is('no')").click()
    eventually(flow.inner_text, lambda text: "What is missing?" in text, page=page)
    picture(page, "widget_flow", flow)
    flow.locator("button:has-text('too expensive')").click()  # a leaf that reads no runs
    eventually(
        flow.inner_text, lambda text: "Distillation" in text and "how one would know" in text, page=page
    )
    picture(page, "widget_flow_leaf", flow)
    for question in ("What is missing?", "A good prompt with a few examples"):
        flow.locator("button:has-text('Back')").click()
        eventually(
            flow.inner_text,
            lambda text, question=question: question in text and "Distillation" not in text,
            page=page,
        )


def test_flow_shows_the_lever_while_its_evidence_is_read(page):
    flow = shown(page, "evidence")
    flow.locator("button:text-is('yes')").click()
    eventually(flow.inner_text, lambda text: "A lever" in text and "reading them" in text, page=page)
    eventually(flow.inner_text, lambda text: "share <right>: 0.25 → 0.75" in text, page=page)
    assert (
        flow.locator("code").inner_text() == "llmlab run cpt --replay 0"
        and flow.locator("a").inner_text() == "02"
    )
    picture(page, "widget_flow_evidence", flow)


# ---- sentences in place of tracebacks ----


# ---- Tree ----


def test_the_tree_grows_with_its_buttons_and_goes_back_with_its_slider(page):
    tree = shown(page, "tree")
    nodes, drawn = tree.locator(".llmlab-tree g[id^=node]"), tree.locator(".llmlab-tree")
    assert nodes.count() == 1
    tree.locator("button:text-is('Step')").click()
    eventually(nodes.count, lambda n: n > 1, page=page)
    tree.locator("button:text-is('Run')").click()
    eventually(drawn.text_content, lambda said: "round 6 of 6" in said, page=page)
    grown = nodes.count()
    assert tree.locator("button:text-is('Step')").is_disabled()
    assert "visits" in nodes.nth(1).locator("title").text_content()
    picture(page, "widget_tree", tree)
    tree.locator(".noUi-handle").press("ArrowLeft")
    eventually(drawn.text_content, lambda said: "round 5 of 6" in said, page=page)
    assert nodes.count() <= grown and "Most visited" in tree.inner_text()
    tree.locator("button:text-is('Again')").click()
    eventually(nodes.count, lambda n: n == 1, page=page)


def test_judge_shows_its_hint_as_html(page):
    said = shown(page, "judge")
    assert "You join documents without" in said.inner_text() and "✗ pack_plain" in said.inner_text()
    assert said.locator("table code").count() >= 3 and "Traceback" not in said.inner_text()
    picture(page, "widget_judge", said)


def test_a_users_mistake_is_one_sentence(page):
    said = shown(page, "error").inner_text().strip()
    assert "cpr" in said and len(said.splitlines()) == 1 and "Traceback" not in said and "File" not in said
    picture(page, "widget_error", cell(page, "error"))
