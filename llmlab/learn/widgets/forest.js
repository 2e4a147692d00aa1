// Forest plot of the ledger: a button a claim, and under it one for each contrast with its interval. All text goes in as textContent, never as markup.

const CSS = `
.llmlab-forest { container-type: inline-size; font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 13px; line-height: 1.4;
  color: var(--jp-ui-font-color1, inherit); padding: 2px 0; }
.llmlab-forest .scroll { max-height: 460px; overflow-y: auto; scroll-padding: 48px 0 8px; border: 1px solid var(--jp-border-color1, rgba(128, 128, 128, .5)); border-radius: 3px; }
.llmlab-forest .line { display: grid; grid-template-columns: minmax(0, 1.2fr) minmax(0, 1fr) 9em; align-items: center; width: 100%; box-sizing: border-box; padding: 0 8px; }
.llmlab-forest button.line { font: inherit; color: inherit; text-align: left; background: transparent; border: 0; margin: 0; cursor: pointer; min-height: 24px; }
.llmlab-forest button.line:hover { background: rgba(128, 128, 128, .14); }
.llmlab-forest button.line:focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }
.llmlab-forest button.line[aria-pressed=true] { background: rgba(128, 128, 128, .28); }
.llmlab-forest button.claim { background: rgba(128, 128, 128, .10); grid-template-columns: minmax(0, 1fr) 9em; padding-top: 2px; padding-bottom: 2px; }
.llmlab-forest button.claim + .claim { border-top: 1px solid rgba(128, 128, 128, .25); }
.llmlab-forest .id { font-weight: 600; margin-right: 8px; }
.llmlab-forest .label { text-align: right; padding-right: 10px; }
.llmlab-forest .verdict { padding-left: 12px; white-space: nowrap; }
.llmlab-forest .claim .verdict { font-weight: 600; }
.llmlab-forest .plot { position: relative; align-self: stretch; min-height: 24px; }
.llmlab-forest .plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.llmlab-forest .axis { position: sticky; top: 0; z-index: 1; background: var(--jp-layout-color1, Canvas); border-bottom: 1px solid rgba(128, 128, 128, .5); font-size: 12px;
  font-variant-numeric: tabular-nums; }
.llmlab-forest .axis .label { color: var(--jp-ui-font-color2, inherit); }
.llmlab-forest .axis text { fill: currentColor; text-anchor: middle; }
.llmlab-forest .grid { stroke: rgba(128, 128, 128, .22); }
.llmlab-forest .zero, .llmlab-forest .one { stroke: currentColor; stroke-opacity: .75; }
.llmlab-forest .one { stroke-dasharray: 4 3; }
.llmlab-forest .band { fill: #56B4E9; fill-opacity: .25; }
.llmlab-forest .interval { stroke-width: 2; }
.llmlab-forest .mark > * { stroke-width: 1.8; }
.llmlab-forest .marks { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0 0 4px; font-size: 12px; color: var(--jp-ui-font-color2, inherit); }
.llmlab-forest .marks svg { width: 14px; height: 14px; vertical-align: -3px; margin-right: 5px; overflow: visible; }
.llmlab-forest .told { min-height: 1.5em; margin: 4px 0 0; padding: 1px 8px; border-left: 3px solid rgba(128, 128, 128, .5); font-variant-numeric: tabular-nums; }
.llmlab-forest .rest { padding: 8px 8px 4px; color: var(--jp-ui-font-color2, inherit); }
@container (max-width: 640px) {
  .llmlab-forest .line { grid-template-columns: minmax(0, 1fr) auto; }
  .llmlab-forest .row .label { text-align: left; padding: 3px 0 0 10px; }
  .llmlab-forest .row .verdict { grid-row: 1; grid-column: 2; }
  .llmlab-forest .line .plot { grid-column: 1 / -1; }
  .llmlab-forest button.claim { grid-template-columns: minmax(0, 1fr) auto; }
  .llmlab-forest .claim .verdict { white-space: normal; max-width: 8.5em; }
}
`;
const SQUARE = ["rect", { x: -4.5, y: -4.5, width: 9, height: 9 }];
const SHAPES = { "as claimed": ["circle", { r: 5 }], reversed: SQUARE, "too small": SQUARE, differs: SQUARE, open: ["path", { d: "M 0 -6 L 6 0 L 0 6 L -6 0 Z" }] };
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

const percent = (share) => `${(100 * share).toFixed(3)}%`;

function mark(verdict, colours, at) {
  const [tag, attributes] = SHAPES[verdict];
  const hollow = verdict === "open" ? "var(--jp-layout-color1, Canvas)" : colours[verdict];
  return draw("svg", { x: at, y: "50%", overflow: "visible", class: "mark" }, draw(tag, { ...attributes, stroke: colours[verdict], style: `fill: ${hollow}` }));
}

function upright(at, name) {
  return draw("line", { x1: percent(at), x2: percent(at), y1: "0", y2: "100%", class: name });
}

function field(svg) {
  const cell = make("span", "plot"); // as high as its line, however many lines the label takes
  cell.append(svg);
  return cell;
}

function plot(data, line) {
  const svg = draw("svg", { "aria-hidden": "true" }), colour = data.colours[line.verdict];
  if (line.same) svg.append(draw("rect", { x: percent(data.minus), width: percent(data.one - data.minus), y: "0", height: "100%", class: "band" }));
  svg.append(...data.ticks.map(([at]) => upright(at, "grid")), upright(data.zero, "zero"), upright(data.one, "one"));
  svg.append(draw("line", { x1: percent(line.low), x2: percent(line.high), y1: "50%", y2: "50%", stroke: colour, class: "interval" }));
  svg.append(mark(line.verdict, data.colours, percent(line.x)));
  return field(svg);
}

function axis(data) {
  const row = make("div", "line axis"), svg = draw("svg", {});
  svg.append(...data.ticks.map(([at, name]) => draw("text", { x: percent(at), y: "70%" }, name)));
  row.append(make("div", "label", data.axis), field(svg), make("div"));
  return row;
}

function legend(data) {
  const row = make("div", "marks");
  for (const verdict of Object.keys(SHAPES)) {
    const item = make("span");
    item.append(draw("svg", { "aria-hidden": "true" }, mark(verdict, data.colours, "50%")), verdict);
    row.append(item);
  }
  row.append(make("span", "", data.legend));
  return row;
}

function render({ model, el }) {
  const root = make("div", "llmlab-forest");
  root.dataset.lmSuppressShortcuts = "true"; // arrow keys move between claims here, not between the notebook's cells
  el.append(make("style", "", CSS), root);
  const buttons = () => [...root.querySelectorAll("button.line")];

  function paint() {
    const [id, label] = model.get("chosen");
    for (const button of buttons()) button.setAttribute("aria-pressed", String(button.dataset.id === id && (button.dataset.label ?? label) === label));
  }

  function onKey(event) {
    const step = STEPS[event.key], all = buttons();
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    focus(all[Math.max(0, Math.min(all.length - 1, all.indexOf(event.currentTarget) + step))]);
  }

  function focus(button) {
    for (const other of buttons()) other.tabIndex = -1;
    button.tabIndex = 0; // one stop for the Tab key; arrow keys go on from there
    button.focus();
  }

  function button(name, id, label, text, opens) {
    const made = make("button", `line ${name}`);
    const tell = () => { root.querySelector(".told").textContent = text; };
    made.type = "button";
    made.tabIndex = -1;
    made.dataset.id = id;
    if (label !== undefined) made.dataset.label = label;
    made.setAttribute("aria-label", `${id}, ${text}`);
    made.addEventListener("click", () => { model.set("chosen", [id, opens]); model.save_changes(); });
    made.addEventListener("keydown", onKey);
    made.addEventListener("mouseenter", tell);
    made.addEventListener("focus", tell);
    return made;
  }

  function claimElement(claim) {
    const words = make("span", "words", claim.words), opens = claim.lines.length ? claim.lines[0].label : "";
    const made = button("claim", claim.id, undefined, claim.text, opens);
    words.prepend(make("span", "id", claim.id));
    made.append(words, make("span", "verdict", `${claim.sign} ${claim.verdict}`));
    return made;
  }

  function lineElement(data, claim, line) {
    const made = button("row", claim.id, line.label, line.text, line.label);
    made.append(make("span", "label", line.label), plot(data, line), make("span", "verdict", `${line.sign} ${line.verdict}`));
    return made;
  }

  function build() {
    const data = model.get("data"), scroll = make("div", "scroll");
    scroll.setAttribute("role", "group");
    scroll.setAttribute("aria-label", "claims");
    const drawn = data.claims.filter((claim) => claim.lines.length), rest = data.claims.filter((claim) => !claim.lines.length);
    if (drawn.length) scroll.append(axis(data));
    for (const claim of drawn) scroll.append(claimElement(claim), ...claim.lines.map((line) => lineElement(data, claim, line)));
    if (rest.length) scroll.append(make("div", "rest", data.rest), ...rest.map(claimElement));
    if (!data.claims.length) scroll.append(make("div", "rest", data.empty));
    root.replaceChildren(legend(data), scroll, make("div", "told", data.note));
    if (buttons().length) buttons()[0].tabIndex = 0;
    paint();
  }

  model.on("change:chosen", paint);
  model.on("change:data", build);
  build();
  return () => { model.off("change:chosen", paint); model.off("change:data", build); };
}

export default { render };
