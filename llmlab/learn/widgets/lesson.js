// Lesson: one screen a step. Python holds the state; here it is drawn, and keys and clicks are sent as messages.
// All text goes in as textContent; only the table of samples, which Python escaped, is markup.

const CSS = `
.llmlab-lesson { --unit: 20px; box-sizing: border-box; font: var(--unit)/1.3 system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
  color: #1a1a1a; background: #fff; display: flex; flex-direction: column; overflow: hidden; position: relative; outline: none; }
.llmlab-lesson.full { position: fixed; inset: 0; z-index: 1000; }
.llmlab-lesson * { box-sizing: border-box; }
.llmlab-lesson header { flex: none; padding: .5em 1.4em .3em; border-bottom: 2px solid #0072B2; }
.llmlab-lesson .where { display: flex; justify-content: space-between; font-size: .9em; color: #555; }
.llmlab-lesson h1 { font-size: 1.75em; line-height: 1.15; margin: .1em 0 .15em; font-weight: 650; color: inherit; }
.llmlab-lesson main { flex: 1 1 auto; min-height: 0; display: flex; flex-direction: column; gap: .5em; padding: .6em 1.4em .3em; }
.llmlab-lesson .upper { display: grid; grid-template-columns: 1fr; gap: 1.4em; align-items: start; }
.llmlab-lesson .upper.pictured { grid-template-columns: minmax(0, 45fr) minmax(0, 55fr); }
.llmlab-lesson .question { font-size: 1.15em; margin: 0 0 .4em; font-weight: 600; }
.llmlab-lesson .large .question { font-size: 1.5em; margin: .3em 0 .7em; }
.llmlab-lesson .large .option { font-size: 1.5em; margin-bottom: .5em; }
.llmlab-lesson .large .why { font-size: 1.4em; }
.llmlab-lesson .option { display: flex; align-items: center; gap: .6em; padding: .16em .5em; margin-bottom: .22em; border: 2px solid #ccc; border-radius: 8px; }
.llmlab-lesson .option .text { flex: 1 1 auto; min-width: 0; }
.llmlab-lesson .option .hands { min-width: 1.6em; text-align: right; font-weight: 700; font-variant-numeric: tabular-nums; }
.llmlab-lesson .option.right { border-color: #009E73; background: #e3f5ef; font-weight: 650; }
.llmlab-lesson .option.wrong { color: #666; }
.llmlab-lesson button { font: inherit; font-size: .95em; line-height: 1.2; color: #1a1a1a; background: #f1f1f1; border: 1px solid #999; border-radius: 7px; padding: .22em .7em; cursor: pointer; }
.llmlab-lesson .option button { min-width: 2em; padding: .1em .3em; font-weight: 700; }
.llmlab-lesson button.main { background: #0072B2; border-color: #0072B2; color: #fff; font-weight: 600; }
.llmlab-lesson button:disabled { opacity: .4; cursor: default; }
.llmlab-lesson button:focus-visible { outline: 3px solid #E69F00; }
.llmlab-lesson .why { margin: .5em 0 0; }
.llmlab-lesson .measured { margin: .3em 0 0; color: #444; font-size: .92em; line-height: 1.2; white-space: pre-line; }
.llmlab-lesson img { display: block; width: 100%; height: auto; }
.llmlab-lesson .said { min-height: 0; }
.llmlab-lesson .said, .llmlab-lesson .said table, .llmlab-lesson .said small { font-size: .92em !important; line-height: 1.2; }
.llmlab-lesson .said table, .llmlab-lesson .said small { font-size: 1em !important; }
.llmlab-lesson .said table { border-collapse: collapse; width: 100%; }
.llmlab-lesson .said td:first-child { width: 19%; }
.llmlab-lesson .said td:first-child :is(small, br) { display: none; }
.llmlab-lesson .said td { white-space: normal; overflow-wrap: anywhere; min-width: 6em; }
.llmlab-lesson .said td > span { display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; }
.llmlab-lesson .large { padding-top: .6em; }
.llmlab-lesson footer { flex: none; position: relative; display: flex; flex-wrap: wrap; gap: .5em; align-items: center; padding: .3em 1.4em .5em; }
.llmlab-lesson footer .keys { flex: 1 1 auto; text-align: right; font-size: .9em; color: #555; }
.llmlab-lesson .notes { position: absolute; left: 0; right: 0; bottom: 100%; padding: .6em 1.4em; background: #fff7e0; border-top: 2px solid #E69F00; border-bottom: 2px solid #E69F00; }
.llmlab-lesson .notes b { display: block; }
`;
const KEYS = {
  ArrowRight: "next", PageDown: "next", " ": "next", ArrowLeft: "back", PageUp: "back",
  r: "reset", R: "reset", a: "reveal", A: "reveal", n: "notes", N: "notes",
};
const LEAST = 18; // pixels of the type: below it the last row cannot read

function typing(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable=''], [contenteditable=true]") !== null;
}

function render({ model, el }) {
  const full = model.get("full");
  const root = make("div", "llmlab-lesson" + (full ? " full" : ""));
  root.tabIndex = 0;
  const style = make("style", "", CSS);
  el.append(style, root);
  const send = (what) => model.send(what);

  function button(text, what, main) {
    const found = make("button", main ? "main" : "", text);
    found.type = "button";
    found.addEventListener("click", (event) => {
      if (event.detail) { found.blur(); root.focus({ preventScroll: true }); } // a mouse's click: the next space steps on
      send(what);
    });
    return found;
  }

  function option(view, i) {
    const { text, hands } = view.options[i], answer = view.answer;
    const known = answer && answer.right !== null;
    const row = make("div", "option" + (known ? (answer.right === i ? " right" : " wrong") : ""));
    const less = button("−", { do: "hand", option: i, more: -1 }), more = button("+", { do: "hand", option: i, more: 1 });
    less.setAttribute("aria-label", `one hand less for ${text}`);
    more.setAttribute("aria-label", `one hand more for ${text}`);
    less.disabled = hands === 0;
    const marked = known && answer.right === i ? `✓ ${text}` : text;
    row.append(make("span", "text", marked), less, make("span", "hands", String(hands)), more);
    return row;
  }

  function overflows(main) {
    return main.scrollHeight > main.clientHeight;
  }

  function fit() { // one unit for all type, by the screen; smaller where a step holds much
    const wide = full ? window.innerWidth : el.clientWidth || 1000, high = full ? window.innerHeight : 720;
    const main = root.querySelector("main");
    let unit = full ? Math.max(LEAST + 2, Math.min(wide / 61, high / 34.3)) : 16;
    const least = unit > 22 ? unit * 0.8 : full ? LEAST / 0.9 : 16;
    const lower = root.querySelector(".said");
    root.style.setProperty("--unit", `${unit}px`);
    while (full && overflows(main) && unit > least) {
      unit -= 0.5;
      root.style.setProperty("--unit", `${unit}px`);
    }
    while (full && lower && lower.isConnected && overflows(main)) { // fewer prompts, at last the curves alone
      const rows = lower.querySelectorAll("tr");
      (rows.length > 2 ? rows[rows.length - 1] : lower).remove();
    }
  }

  function draw() {
    const view = model.get("view"), answer = view.answer;
    const focused = root.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    root.replaceChildren();
    const header = make("header"), where = make("div", "where");
    where.append(make("span", "", view.title), make("span", "count", `${view.at + 1} of ${view.of}`));
    header.append(where, make("h1", "", answer ? view.headline : view.question));
    const pictured = Boolean(answer && answer.picture);
    const main = make("main"), upper = make("div", "upper" + (pictured ? " pictured" : " large")), left = make("div", "left");
    if (answer) left.append(make("p", "question", view.question)); // before, it is the headline: that would tell the answer
    left.append(...view.options.map((_, i) => option(view, i)));
    if (answer) left.append(make("p", "why", answer.why));
    const measured = answer && answer.measured ? [make("p", "measured", answer.measured)] : [];
    upper.append(left);
    if (pictured) {
      const image = make("img");
      image.alt = answer.measured;
      image.addEventListener("load", fit);
      image.src = answer.picture;
      const right = make("div", "plots");
      right.append(image, ...measured);
      upper.append(right);
    } else left.append(...measured);
    main.append(upper);
    if (answer && answer.said) {
      const table = make("div", "said");
      table.innerHTML = answer.said;
      main.append(table);
    }
    const footer = make("footer");
    const back = button("← Back", { do: "back" }), next = button("Next →", { do: "next" }), reveal = button("Answer (A)", { do: "reveal" }, true);
    back.disabled = view.at === 0;
    next.disabled = view.at === view.of - 1;
    reveal.disabled = Boolean(answer);
    footer.append(back, next, reveal, button("Reset (R)", { do: "reset" }), button("Notes (N)", { do: "notes" }),
      make("span", "keys", "keys: → ← A R N"));
    root.append(header, main, footer);
    if (view.notes) {
      const notes = make("div", "notes");
      notes.append(make("b", "", "Speaker's notes"), make("span", "", view.notes));
      footer.append(notes);
    }
    fit();
    if (focused) [...root.querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focused)?.focus();
  }

  function pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
    if (event.key === " " && event.target instanceof Element && event.target.closest("button")) return; // it presses that button
    const what = KEYS[event.key];
    if (!what) return;
    event.preventDefault();
    if (!event.repeat) send({ do: what });
  }

  const listens = full ? document : root; // in a notebook only while the lesson has the focus
  listens.addEventListener("keydown", pressed);
  if (full) window.addEventListener("resize", draw);
  model.on("change:view", draw);
  draw();
  return () => {
    listens.removeEventListener("keydown", pressed);
    window.removeEventListener("resize", draw);
    model.off("change:view", draw);
  };
}

export default { render };
