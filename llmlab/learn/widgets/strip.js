// Token strip: draws what Python measured. All text goes in as textContent, never as markup.

const CSS = `
.llmlab-strip { font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 13px; color: var(--jp-ui-font-color1, inherit); line-height: 1.5; padding: 2px 0; }
.llmlab-strip .layers { display: flex; flex-wrap: wrap; gap: 4px; margin-bottom: 6px; }
.llmlab-strip button { font: inherit; color: inherit; background: transparent; cursor: pointer; padding: 1px 10px; border-radius: 3px;
  border: 1px solid var(--jp-border-color1, rgba(128, 128, 128, .5)); }
.llmlab-strip button[aria-pressed=true] { background: rgba(128, 128, 128, .28); font-weight: 600; }
.llmlab-strip .legend { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; margin-bottom: 6px; }
.llmlab-strip .bar { width: 110px; height: 11px; border: 1px solid rgba(128, 128, 128, .5); border-radius: 2px; }
.llmlab-strip .told { color: var(--jp-ui-font-color2, inherit); margin-left: 6px; }
.llmlab-strip .detail { min-height: 1.5em; margin: 0 0 6px; padding: 1px 8px; border-left: 3px solid rgba(128, 128, 128, .5); font-variant-numeric: tabular-nums; }
.llmlab-strip .detail code { font-family: var(--jp-code-font-family, monospace); margin-right: 8px; }
.llmlab-strip .row { display: flex; gap: 10px; margin-bottom: 5px; }
.llmlab-strip .label { flex: 0 0 auto; width: var(--label); text-align: right; color: var(--jp-ui-font-color2, inherit); font-size: 12px; line-height: 1.75; }
.llmlab-strip .tokens { flex: 1 1 auto; min-width: 0; font-family: var(--jp-code-font-family, monospace); line-height: 1.75; }
.llmlab-strip .token { display: inline-block; white-space: pre-wrap; overflow-wrap: anywhere; padding: 0 2px; margin: 0 1px 1px 0; border-radius: 3px; line-height: 1.5;
  cursor: default; box-shadow: inset 0 0 0 1px rgba(128, 128, 128, .25); }
.llmlab-strip .token.special { font-size: 11px; font-weight: 600; border-bottom: 2px solid rgba(128, 128, 128, .8); }
.llmlab-strip .token:focus, .llmlab-strip .token:hover { outline: 2px solid currentColor; outline-offset: 0; }
.llmlab-strip .more { color: var(--jp-ui-font-color2, inherit); font-size: 12px; }
`;
const BLUE = "0, 114, 178", ORANGE = "213, 94, 0", GREEN = "0, 158, 115"; // Okabe and Ito
const STRONGEST = 0.72; // text stays readable on the strongest colour, in the light theme and in the dark one

function colour(layer, shade) {
  const hue = layer.scale !== "sign" ? GREEN : shade > 0 ? BLUE : ORANGE;
  return shade === 0 ? "transparent" : `rgba(${hue}, ${(STRONGEST * Math.abs(shade)).toFixed(3)})`;
}

function describe(data, r, t) {
  return data.layers.map((layer) => `${layer.name} ${layer.values[r][t]}`).join(" · ");
}

function gradientBar(layer) {
  const ends = layer.scale === "sign" ? [-1, 0, 1] : [0, 1];
  const bar = make("span", "bar");
  bar.style.background = `linear-gradient(to right, ${ends.map((shade) => colour(layer, shade)).join(", ")})`;
  return bar;
}

function render({ model, el }) {
  let tokens = []; // [row][token] -> element
  const root = make("div", "llmlab-strip");
  root.dataset.lmSuppressShortcuts = "true"; // arrow keys move between tokens here, not between the notebook's cells
  el.append(make("style", "", CSS), root);

  function chosen(data) {
    return data.layers.find((layer) => layer.name === model.get("layer")) || data.layers[0];
  }

  function paint() {
    const data = model.get("data"), layer = chosen(data);
    root.querySelectorAll(".layers button").forEach((button) => button.setAttribute("aria-pressed", String(button.value === layer.name)));
    const legend = root.querySelector(".legend");
    legend.replaceChildren(make("span", "", layer.ends[0]), gradientBar(layer), make("span", "", layer.ends[1]), make("span", "told", layer.legend));
    tokens.forEach((row, r) => row.forEach((token, t) => { token.style.background = colour(layer, layer.shades[r][t]); }));
  }

  function show(r, t) {
    const data = model.get("data"), detail = root.querySelector(".detail");
    detail.replaceChildren(make("code", "", data.rows[r].pieces[t]), make("span", "", `${data.rows[r].label}, token ${t} · ${describe(data, r, t)}`));
  }

  function focus(r, t) {
    const row = tokens[Math.max(0, Math.min(tokens.length - 1, r))];
    const next = row && row[Math.max(0, Math.min(row.length - 1, t))];
    if (!next) return;
    tokens.flat().forEach((token) => { token.tabIndex = -1; });
    next.tabIndex = 0;
    next.focus();
  }

  function onKey(event, r, t) {
    const to = { ArrowRight: [r, t + 1], ArrowLeft: [r, t - 1], ArrowDown: [r + 1, t], ArrowUp: [r - 1, t], Home: [r, 0], End: [r, Infinity] }[event.key];
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    focus(...to);
  }

  function tokenElement(data, r, t) {
    const row = data.rows[r], token = make("span", `token ${row.kinds[t]}`, row.pieces[t]);
    token.setAttribute("role", "gridcell");
    token.setAttribute("aria-label", `${row.pieces[t]}: ${describe(data, r, t)}`);
    token.tabIndex = r === 0 && t === 0 ? 0 : -1; // one stop for the Tab key; arrow keys go on from there
    token.addEventListener("mouseenter", () => show(r, t));
    token.addEventListener("focus", () => show(r, t));
    token.addEventListener("keydown", (event) => onKey(event, r, t));
    return token;
  }

  function rowElement(data, r) {
    const row = make("div", "row"), list = make("div", "tokens");
    row.setAttribute("role", "row");
    const label = make("div", "label", data.rows[r].label);
    label.setAttribute("role", "rowheader");
    tokens[r] = data.rows[r].pieces.map((_, t) => tokenElement(data, r, t));
    list.append(...tokens[r]);
    if (data.rows[r].padding) list.append(make("span", "more", ` + ${data.rows[r].padding} padding`));
    row.append(label, list);
    return row;
  }

  function build() {
    const data = model.get("data"), buttons = make("div", "layers"), grid = make("div", "grid"), detail = make("div", "detail", data.note);
    buttons.setAttribute("role", "group");
    buttons.setAttribute("aria-label", "layer to colour by");
    for (const layer of data.layers) {
      const button = make("button", "", layer.name);
      button.type = "button";
      button.value = layer.name;
      button.title = layer.legend;
      button.addEventListener("click", () => { model.set("layer", layer.name); model.save_changes(); });
      buttons.append(button);
    }
    detail.setAttribute("aria-live", "polite");
    grid.setAttribute("role", "grid");
    grid.setAttribute("aria-label", "tokens");
    tokens = [];
    grid.style.setProperty("--label", `${Math.max(...data.rows.map((row) => row.label.length))}ch`);
    grid.append(...data.rows.map((_, r) => rowElement(data, r)));
    root.replaceChildren(buttons, make("div", "legend"), detail, grid, make("div", "more", data.rest));
    paint();
  }

  model.on("change:layer", paint);
  model.on("change:data", build);
  build();
  return () => { model.off("change:layer", paint); model.off("change:data", build); };
}

export default { render };
