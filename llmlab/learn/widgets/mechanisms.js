// Mechanisms: small pictures of a formula whose inputs are dragged. Everything is computed here, without the kernel. All text goes in as textContent, never as markup.

const CSS = `
.llmlab-mechanism { --blue: #0072B2; --orange: #D55E00; --green: #009E73; --grey: rgba(110, 110, 110, .7); container-type: inline-size; max-width: 720px; box-sizing: border-box;
  font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 13px; line-height: 1.45; color: var(--jp-ui-font-color1, inherit); padding: 4px 2px; }
[data-jp-theme-light=false] .llmlab-mechanism { --blue: #56B4E9; --orange: #F0803C; --green: #2FC79A; --grey: rgba(170, 170, 170, .75); }
.llmlab-mechanism h4 { margin: 0; font-size: 14px; font-weight: 600; }
.llmlab-mechanism .hint { margin: 0 0 6px; color: var(--jp-ui-font-color2, inherit); }
.llmlab-mechanism .slider { display: grid; grid-template-columns: 15em minmax(0, 1fr) 8em; align-items: center; gap: 10px; min-height: 24px; }
.llmlab-mechanism .slider input { width: 100%; margin: 0; accent-color: var(--blue); }
.llmlab-mechanism .buttons { display: flex; flex-wrap: wrap; gap: 6px; margin: 4px 0; }
.llmlab-mechanism button { font: inherit; color: inherit; background: transparent; cursor: pointer; padding: 1px 10px; min-height: 24px; border-radius: 3px; border: 1px solid var(--jp-border-color1, rgba(128, 128, 128, .5)); }
.llmlab-mechanism button:hover { background: rgba(128, 128, 128, .14); }
.llmlab-mechanism button[aria-pressed=true] { background: rgba(128, 128, 128, .28); font-weight: 600; }
.llmlab-mechanism button:focus-visible, .llmlab-mechanism input:focus-visible { outline: 2px solid currentColor; outline-offset: 1px; }
.llmlab-mechanism .plots { display: flex; flex-wrap: wrap; align-items: flex-end; gap: 4px 10px; margin-top: 4px; }
.llmlab-mechanism .plot { flex: 0 1 auto; min-width: 0; max-width: 100%; }
.llmlab-mechanism .plot svg { display: block; max-width: 100%; height: auto; user-select: none; }
.llmlab-mechanism .plot text { fill: currentColor; font-size: 12px; }
.llmlab-mechanism .legend { display: flex; flex-wrap: wrap; gap: 0 12px; font-size: 12px; padding-left: 4px; }
.llmlab-mechanism .legend svg { display: inline-block; vertical-align: middle; margin-right: 6px; }
.llmlab-mechanism .handle { cursor: grab; touch-action: none; outline: none; }
.llmlab-mechanism .handle .reach { fill: transparent; }
.llmlab-mechanism .handle .dot { stroke: var(--jp-layout-color1, Canvas); stroke-width: 2; }
.llmlab-mechanism .handle:focus-visible .dot { stroke: currentColor; stroke-width: 3; }
.llmlab-mechanism .numbers { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 1px 14px; margin: 6px 0 0; font-variant-numeric: tabular-nums; }
.llmlab-mechanism .numbers .name { color: var(--jp-ui-font-color2, inherit); margin-right: 6px; }
.llmlab-mechanism .numbers .value { display: inline-block; font-weight: 600; white-space: nowrap; }
.llmlab-mechanism .told { min-height: 2.9em; margin: 6px 0 0; padding: 1px 8px; border-left: 3px solid rgba(128, 128, 128, .5); }
@container (max-width: 520px) {
  .llmlab-mechanism .slider { grid-template-columns: 9em minmax(0, 1fr) 4em; }
  .llmlab-mechanism .plot.wide text { font-size: 16px; }
}
`;

// ---- formulas: plain numbers in, plain numbers out; tests compare them with the Python library ----

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const sum = (xs) => xs.reduce((total, x) => total + x, 0);
const range = (n) => Array.from({ length: n }, (_, i) => i);
const between = (low, high, n) => range(n).map((i) => low + ((high - low) * i) / (n - 1));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

function clipped(r, A, low, high) {
  return Math.min(r * A, clamp(r, 1 - low, 1 + high) * A);
}

function clippedGradient(r, A, low, high) {
  return clipped(r, A, low, high) < r * A ? 0 : A;
}

const singles = (rewards) => rewards.map(Math.fround); // equal ones have exactly their own value as mean, as in Python

function noBaseline(rewards) {
  return singles(rewards);
}

function groupMean(rewards) {
  const r = singles(rewards),
    mean = sum(r) / r.length;
  return r.map((x) => x - mean);
}

function deviation(rewards) {
  // with n - 1
  return Math.sqrt(sum(groupMean(rewards).map((x) => x * x)) / Math.max(1, rewards.length - 1));
}

function groupNorm(rewards, eps = 1e-4) {
  const std = deviation(rewards);
  return groupMean(rewards).map((x) => x / (std + eps));
}

function leaveOneOut(rewards) {
  const r = singles(rewards),
    total = sum(r);
  return r.map((x) => (r.length > 1 ? x - (total - x) / (r.length - 1) : 0));
}

function logRatioMargin(w, l, refW, refL) {
  return w - refW - (l - refL);
}

function dpoLoss(h, beta) {
  // -log sigmoid(beta h)
  return softplus(-beta * h);
}

function dpoWeight(h, beta) {
  // sigmoid(-beta h)
  return 1 / (1 + Math.exp(beta * h));
}

const PEAKS = [
  [0.6, -2, 0.6],
  [0.4, 2, 0.6],
]; // weight, mean, width of the two peaks of p
const STEP = 0.05,
  GRID = range(801).map((i) => -20 + STEP * i);

function logNormal(x, mean, width) {
  return -0.5 * ((x - mean) / width) ** 2 - Math.log(width) - 0.5 * Math.log(2 * Math.PI);
}

function logTarget(x) {
  const [a, b] = PEAKS.map(([weight, mean, width]) => Math.log(weight) + logNormal(x, mean, width));
  return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}

const LOG_P = GRID.map(logTarget),
  P = LOG_P.map(Math.exp);

function forwardKL(mean, width) {
  // KL(p || q)
  let total = 0;
  for (let i = 0; i < GRID.length; i++) total += P[i] * (LOG_P[i] - logNormal(GRID[i], mean, width));
  return total * STEP;
}

function reverseKL(mean, width) {
  // KL(q || p)
  let total = 0;
  for (let i = 0; i < GRID.length; i++) {
    const logq = logNormal(GRID[i], mean, width);
    total += Math.exp(logq) * (logq - LOG_P[i]);
  }
  return total * STEP;
}

function best(divergence, means, widths) {
  let found = { value: Infinity };
  for (const mean of means)
    for (const width of widths) {
      const value = divergence(mean, width);
      if (value < found.value) found = { value, mean, width };
    }
  return found;
}

function minimiser(divergence) {
  // a coarse grid, then a fine one around its best point
  const { mean, width } = best(divergence, between(-4, 4, 17), between(0.4, 3, 14));
  const near = (x, low, high, span) => between(-span, span, 11).map((d) => clamp(x + d, low, high));
  return best(divergence, near(mean, -4, 4, 0.5), near(width, 0.4, 3, 0.2));
}

function nearest(x, levels) {
  let found = 0;
  levels.forEach((level, i) => {
    if (Math.abs(level - x) < Math.abs(levels[found] - x)) found = i;
  });
  return levels[found];
}

function kept(values, r) {
  // share of the squared norm in the r largest singular values
  const squares = values.map((s) => s * s);
  return sum(squares.slice(0, r)) / sum(squares);
}

function loraParameters(r, [rows, columns]) {
  return r * (rows + columns);
}

function rate(step, n, warmup, final) {
  return step < warmup ? (step + 1) / (warmup + 1) : final + ((1 - final) * (n - step)) / Math.max(1, n - warmup);
}

function mixture(steps, replay, tokens) {
  // tokens: of one step
  return { old: steps * tokens * replay, fresh: steps * tokens * (1 - replay) };
}

export const formulas = {
  clipped,
  clippedGradient,
  noBaseline,
  groupMean,
  groupNorm,
  leaveOneOut,
  deviation,
  logRatioMargin,
  dpoLoss,
  dpoWeight,
  forwardKL,
  reverseKL,
  minimiser,
  logTarget,
  nearest,
  kept,
  loraParameters,
  rate,
  mixture,
};

// ---- numbers and elements ----

const BLUE = "var(--blue)",
  ORANGE = "var(--orange)",
  GREEN = "var(--green)",
  GREY = "var(--grey)",
  INK = "currentColor";
const DASHED = "6 4",
  DOTTED = "2 3";
const rounded = (x, digits) => Number(x.toFixed(digits));
const minus = (text) => text.replace("-", "−");
const fixed = (x, digits = 2) => minus((rounded(x, digits) + 0).toFixed(digits)); // + 0: no negative zero
const signed = (x, digits = 2) => (rounded(x, digits) > 0 ? "+" : "") + fixed(x, digits);
const percent = (share, digits = 0) => `${fixed(100 * share, digits)} %`;
const whole = (n) => Math.round(n).toLocaleString("en-US").replaceAll(",", "\u202f");
const small = (x) => String(Number(x.toPrecision(3)));

// ---- a plot: axes, and parts in the axes' units ----

const LEFT = 50,
  RIGHT = 14,
  TOP = 24,
  BOTTOM = 38;

function scales({ width, height, x, y }) {
  const line =
    ([low, high], from, to) =>
    (v) =>
      from + ((v - low) / (high - low)) * (to - from);
  const back =
    ([low, high], from, to) =>
    (at) =>
      clamp(low + ((at - from) / (to - from)) * (high - low), low, high);
  return {
    x: line(x, LEFT, width - RIGHT),
    y: line(y, height - BOTTOM, TOP),
    atX: back(x, LEFT, width - RIGHT),
    atY: back(y, height - BOTTOM, TOP),
  };
}

function ticks([low, high], count = 6) {
  const raw = (high - low) / count,
    power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return range(Math.floor(high / step + 1e-9) - first + 1).map((i) => Number(((first + i) * step).toPrecision(10)));
}

function label(x, y, text, anchor = "middle") {
  return draw("text", { x, y, "text-anchor": anchor }, text);
}

function axes(plot, to) {
  const { width, height } = plot,
    floor = height - BOTTOM,
    write = (v) => minus(String(v));
  const drawn = [label((LEFT + width - RIGHT) / 2, height - 4, plot.xlabel), label(4, 13, plot.ylabel, "start")];
  for (const v of plot.xticks ?? ticks(plot.x)) {
    const [at, text] = Array.isArray(v) ? v : [v, write(v)];
    drawn.push(draw("line", { x1: to.x(at), x2: to.x(at), y1: floor, y2: floor + 4, stroke: GREY }), label(to.x(at), floor + 17, text));
  }
  for (const v of plot.yticks ?? ticks(plot.y, 5)) {
    drawn.push(
      draw("line", { x1: LEFT, x2: width - RIGHT, y1: to.y(v), y2: to.y(v), stroke: GREY, "stroke-opacity": 0.35 }),
      label(LEFT - 6, to.y(v) + 4, write(v), "end"),
    );
  }
  drawn.push(draw("line", { x1: LEFT, x2: width - RIGHT, y1: floor, y2: floor, stroke: GREY }));
  return drawn;
}

const PARTS = {
  line: (part, to) =>
    draw("path", {
      d: "M" + part.points.map(([x, y]) => `${to.x(x).toFixed(1)} ${to.y(y).toFixed(1)}`).join("L"),
      fill: "none",
      stroke: part.colour,
      "stroke-width": part.thick ?? 2,
      "stroke-dasharray": part.dash ?? "none",
    }),
  area: (part, to) =>
    draw("path", {
      d: "M" + part.points.map(([x, y]) => `${to.x(x).toFixed(1)} ${to.y(y).toFixed(1)}`).join("L") + "Z",
      fill: part.colour,
      "fill-opacity": 0.3,
    }),
  bars: (part, to) =>
    draw(
      "g",
      { fill: part.colour, "fill-opacity": part.faint ? 0.35 : 0.9 },
      ...part.boxes.map(([x0, x1, y0, y1]) =>
        draw("rect", {
          x: to.x(x0),
          width: Math.max(0, to.x(x1) - to.x(x0)),
          y: to.y(Math.max(y0, y1)),
          height: Math.abs(to.y(y0) - to.y(y1)),
        }),
      ),
    ),
};

const across = (plot, y, more) => ({
  kind: "line",
  points: [
    [plot.x[0], y],
    [plot.x[1], y],
  ],
  ...more,
});
const upright = (plot, x, more) => ({
  kind: "line",
  points: [
    [x, plot.y[0]],
    [x, plot.y[1]],
  ],
  ...more,
});
const curve = (f, [low, high], more, n = 161) => ({ kind: "line", points: between(low, high, n).map((x) => [x, f(x)]), ...more });

function legendItem(part) {
  const item = make("span"),
    svg = draw("svg", { width: part.kind === "line" ? 24 : 14, height: 10, "aria-hidden": "true" });
  svg.append(
    part.kind === "line"
      ? draw("line", { x1: 0, x2: 24, y1: 5, y2: 5, stroke: part.colour, "stroke-width": 2.5, "stroke-dasharray": part.dash ?? "none" })
      : draw("rect", {
          x: 0,
          y: 0,
          width: 14,
          height: 10,
          fill: part.colour,
          "fill-opacity": part.kind === "area" || part.faint ? 0.35 : 0.9,
        }),
  );
  item.append(svg, part.label);
  return item;
}

// ---- the page of one mechanism: sliders, buttons, plots with handles, numbers, a sentence ----

function sliderRow(spec, state, set) {
  const row = make("label", "slider"),
    input = make("input"),
    value = make("output");
  Object.assign(input, { type: "range", min: spec.min, max: spec.max, step: spec.step });
  input.setAttribute("aria-label", spec.label);
  input.addEventListener("input", () => set({ [spec.key]: Number(input.value) }));
  row.append(make("span", "", spec.label), input, value);
  const paint = () => {
    input.value = state[spec.key];
    value.textContent = spec.show(state[spec.key]);
    input.setAttribute("aria-valuetext", value.textContent);
  };
  return { row, paint };
}

function buttonOf(spec, state, set) {
  const button = make("button", "", spec.label);
  button.type = "button";
  button.addEventListener("click", () => set(spec.patch(state)));
  return {
    button,
    paint: () => {
      if (spec.on) button.setAttribute("aria-pressed", String(spec.on(state)));
    },
  };
}

const ARROWS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 1, ArrowDown: -1 };

function handleOf(spec, state, data, set) {
  const colour = spec.colour ?? ORANGE;
  const element = draw(
    "g",
    { class: "handle", tabindex: 0, role: "slider", "aria-label": spec.label },
    draw("circle", { r: 15, class: "reach" }),
    draw("circle", { r: 7, class: "dot", fill: colour }),
  );
  element.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const [x, y] = spec.at(state, data);
    set(spec.move(x + arrow * spec.step[0], y + arrow * spec.step[1], state, data));
  });
  const paint = (to, plot) => {
    const [x, y] = spec.at(state, data),
      now = spec.step[0] ? x : y,
      limits = spec.step[0] ? plot.x : plot.y;
    element.setAttribute("transform", `translate(${to.x(clamp(x, ...plot.x))} ${to.y(clamp(y, ...plot.y))})`);
    Object.entries({ valuenow: small(now), valuemin: limits[0], valuemax: limits[1], valuetext: spec.text(state, data) }).forEach(
      ([k, v]) => element.setAttribute(`aria-${k}`, v),
    );
  };
  return { element, spec, paint };
}

function dragging(svg, handles, current, set, state, data) {
  let held = null;
  const place = (event) => {
    const box = svg.getBoundingClientRect(),
      scale = box.width / current().width;
    return [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale];
  };
  const move = (event) => {
    const to = scales(current()),
      [px, py] = place(event);
    set(held.spec.move(to.atX(px), to.atY(py), state, data));
  };
  const closest = (event) => {
    const to = scales(current()),
      [px, py] = place(event);
    const far = ({ spec }) => {
      const [x, y] = spec.at(state, data);
      return Math.hypot(to.x(x) - px, spec.step[1] || spec.near ? to.y(y) - py : 0);
    };
    return handles.reduce((found, handle) => (far(handle) < far(found) ? handle : found));
  };
  svg.addEventListener("pointerdown", (event) => {
    if (!handles.length) return;
    held = closest(event);
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
    held.element.focus();
    move(event);
  });
  svg.addEventListener("pointermove", (event) => {
    if (held) move(event);
  });
  for (const end of ["pointerup", "pointercancel"])
    svg.addEventListener(end, () => {
      held = null;
    });
}

function plotOf(index, it, state, data, set) {
  const box = make("div", "plot"),
    legend = make("div", "legend"),
    back = draw("g", {}),
    current = () => it.plots(state, data)[index];
  const first = current(),
    handles = (index === 0 ? (it.handles?.(data) ?? []) : []).map((spec) => handleOf(spec, state, data, set));
  const svg = draw("svg", {
    viewBox: `0 0 ${first.width} ${first.height}`,
    width: first.width,
    height: first.height,
    role: "group",
    "aria-label": `${first.ylabel} over ${first.xlabel}`,
  });
  svg.append(back, ...handles.map(({ element }) => element));
  dragging(svg, handles, current, set, state, data);
  box.style.width = `${first.width}px`;
  box.classList.toggle("wide", first.width > 600);
  box.append(legend, svg);
  const paint = () => {
    const plot = current(),
      to = scales(plot),
      named = plot.parts.filter((part) => part.label);
    back.replaceChildren(...axes(plot, to), ...plot.parts.map((part) => PARTS[part.kind](part, to)));
    legend.replaceChildren(...named.map(legendItem));
    for (const handle of handles) handle.paint(to, plot);
  };
  return { box, paint };
}

function numbersOf(pairs) {
  return pairs.map(([name, value]) => {
    const cell = make("div");
    cell.append(make("span", "name", name), make("span", "value", value));
    return cell;
  });
}

function page(root, it, data) {
  const state = it.start(data),
    numbers = make("div", "numbers"),
    told = make("p", "told"),
    buttons = make("div", "buttons"),
    plots = make("div", "plots");
  const set = (patch) => {
    Object.assign(state, patch);
    paint();
  };
  const made = {
    sliders: (it.sliders?.(data) ?? []).map((spec) => sliderRow(spec, state, set)),
    buttons: (it.buttons?.(data) ?? []).map((spec) => buttonOf(spec, state, set)),
    plots: it.plots(state, data).map((_, index) => plotOf(index, it, state, data, set)),
  };
  function paint() {
    for (const part of Object.values(made).flat()) part.paint();
    numbers.replaceChildren(...numbersOf(it.numbers(state, data)));
    const said = it.says(state, data);
    if (told.textContent !== said) told.textContent = said;
  }
  told.setAttribute("aria-live", "polite");
  buttons.append(...made.buttons.map(({ button }) => button));
  plots.append(...made.plots.map(({ box }) => box));
  root.replaceChildren(
    make("h4", "", it.title),
    make("p", "hint", it.hint),
    ...made.sliders.map(({ row }) => row),
    ...(made.buttons.length ? [buttons] : []),
    plots,
    numbers,
    told,
  );
  paint();
}

// ---- clip ----

const clipBase = { width: 340, height: 250, x: [0, 2], xlabel: "ratio r = π(token) / π_old(token)" };

function clipObjective({ r, A, low, high }) {
  const plot = { ...clipBase, y: [-3, 3], ylabel: "objective (units of A)" },
    f = (x) => clipped(x, A, low, high);
  return {
    ...plot,
    parts: [
      upright(plot, 1 - low, { colour: GREY, dash: DASHED }),
      upright(plot, 1 + high, { colour: GREY, dash: DASHED, label: "clip range" }),
      curve((x) => x * A, plot.x, { colour: GREY, dash: DOTTED, label: "r·A" }),
      curve(f, plot.x, { colour: BLUE, thick: 2.5, label: "clipped" }),
    ],
  };
}

function clipGradientPlot({ r, A, low, high }) {
  const plot = { ...clipBase, y: [-1.7, 1.7], ylabel: "gradient with respect to r (units of A)" },
    f = (x) => clippedGradient(x, A, low, high);
  return {
    ...plot,
    parts: [
      upright(plot, r, { colour: ORANGE, dash: DOTTED, label: "your token" }),
      curve(f, plot.x, { colour: BLUE, thick: 2.5, label: "gradient" }, 401),
    ],
  };
}

function clipSays({ r, A, low, high }) {
  if (clippedGradient(r, A, low, high) === 0 && A !== 0)
    return "Clipped: the ratio has already moved far enough in the direction of the advantage. The gradient is 0, so this token pushes no further.";
  if (A > 0 && r < 1 - low)
    return "The ratio is outside the range, but on the wrong side: the token should become likelier and has become less likely. The gradient stays, so the mistake can be undone.";
  if (A < 0 && r > 1 + high)
    return "The ratio is outside the range, but on the wrong side: the token should become less likely and has become likelier. The gradient stays, and nothing bounds it.";
  return A === 0 ? "The advantage is 0, so the token pushes nothing." : "Inside the range the objective is r·A, and its gradient is A.";
}

const CLIP = {
  title: "The PPO clip",
  hint: "Drag the point. Change the sign of A, then raise ε_high as DAPO does.",
  start: () => ({ r: 1.1, A: 1, low: 0.2, high: 0.2 }),
  sliders: () => [
    { key: "A", label: "advantage A", min: -1.5, max: 1.5, step: 0.1, show: (v) => signed(v, 1) },
    { key: "low", label: "ε_low (range below 1)", min: 0, max: 0.8, step: 0.01, show: (v) => fixed(v) },
    { key: "high", label: "ε_high (range above 1)", min: 0, max: 0.8, step: 0.01, show: (v) => fixed(v) },
  ],
  buttons: () => [
    { label: "PPO: ε = 0.2", patch: () => ({ low: 0.2, high: 0.2 }), on: ({ low, high }) => low === 0.2 && high === 0.2 },
    { label: "DAPO: ε_high = 0.28", patch: () => ({ low: 0.2, high: 0.28 }), on: ({ low, high }) => low === 0.2 && high === 0.28 },
    { label: "flip the sign of A", patch: ({ A }) => ({ A: -A }) },
  ],
  plots: (state) => [clipObjective(state), clipGradientPlot(state)],
  handles: () => [
    {
      label: "ratio of one token",
      at: ({ r, A, low, high }) => [r, clipped(r, A, low, high)],
      move: (x) => ({ r: rounded(clamp(x, 0, 2), 2) }),
      step: [0.05, 0],
      text: ({ r }) => `ratio ${fixed(r)}`,
    },
  ],
  numbers: ({ r, A, low, high }) => [
    ["ratio r", fixed(r)],
    ["r·A", fixed(r * A)],
    ["clipped objective", fixed(clipped(r, A, low, high))],
    ["gradient", fixed(clippedGradient(r, A, low, high))],
    ["clip range", `${fixed(1 - low)} to ${fixed(1 + high)}`],
  ],
  says: clipSays,
};

// ---- group ----

const RULES = [
  ["no_baseline", "REINFORCE", noBaseline, GREY],
  ["group_mean", "Dr. GRPO", groupMean, BLUE],
  ["group_norm", "GRPO", groupNorm, ORANGE],
  ["leave_one_out", "RLOO", leaveOneOut, GREEN],
];
const groupAxis = { width: 700, x: [0.4, 8.6], xticks: range(8).map((i) => i + 1), xlabel: "answer to one prompt" };

function rewardPlot({ rewards }) {
  const plot = { ...groupAxis, height: 170, y: [0, 1.05], yticks: [0, 0.25, 0.5, 0.75, 1], ylabel: "reward" };
  return {
    ...plot,
    parts: [
      { kind: "bars", faint: true, colour: BLUE, boxes: rewards.map((r, i) => [i + 0.7, i + 1.3, 0, r]) },
      across(plot, sum(rewards) / 8, { colour: INK, dash: DASHED, thick: 1.5, label: "mean reward" }),
    ],
  };
}

function advantagePlot({ rewards }) {
  const plot = { ...groupAxis, height: 230, y: [-2.6, 2.6], ylabel: "advantage (units of reward; group_norm: standard deviations)" };
  const bars = RULES.map(([name, method, rule, colour], k) => ({
    kind: "bars",
    colour,
    label: `${name} (${method})`,
    boxes: rule(rewards).map((a, i) => [i + 0.66 + 0.17 * k, i + 0.82 + 0.17 * k, 0, a]),
  }));
  return { ...plot, parts: [...bars, across(plot, 0, { colour: INK, thick: 1 })] };
}

function groupSays({ rewards }) {
  if (!deviation(rewards))
    return `No signal: all eight rewards are equal, so group_mean, group_norm and leave_one_out are all 0. ${rewards[0] ? "Only no_baseline still pushes, and it pushes every answer the same way." : "With reward 0, no_baseline is 0 too."}`;
  const spread = deviation(rewards),
    factor = fixed(1 / (spread + 1e-4), 1);
  return `The rewards have a standard deviation of ${fixed(spread)}: group_norm multiplies the advantages of group_mean by ${factor}, leave_one_out multiplies them by 8/7 = 1.14.`;
}

const setReward = (rewards, i, value) => ({ rewards: rewards.map((r, j) => (j === i ? rounded(clamp(value, 0, 1), 2) : r)), chosen: i });

const GROUP = {
  title: "The group of GRPO",
  hint: "Drag the rewards of eight answers to one prompt. See what each rule makes of them.",
  start: () => ({ rewards: [1, 0, 0, 1, 0, 0.5, 0, 0], chosen: 0 }),
  buttons: () => [
    { label: "all right", patch: () => ({ rewards: Array(8).fill(1), chosen: 0 }) },
    { label: "all wrong", patch: () => ({ rewards: Array(8).fill(0), chosen: 0 }) },
    { label: "one right", patch: () => ({ rewards: [1, 0, 0, 0, 0, 0, 0, 0], chosen: 0 }) },
    { label: "half right", patch: () => ({ rewards: [1, 1, 1, 1, 0, 0, 0, 0], chosen: 0 }) },
  ],
  plots: (state) => [rewardPlot(state), advantagePlot(state)],
  handles: () =>
    range(8).map((i) => ({
      label: `reward of answer ${i + 1}`,
      colour: BLUE,
      near: true,
      at: ({ rewards }) => [i + 1, rewards[i]],
      move: (_, y, { rewards }) => setReward(rewards, i, y),
      step: [0, 0.05],
      text: ({ rewards }) => `reward ${fixed(rewards[i])}`,
    })),
  numbers: ({ rewards, chosen }) => [
    ["mean reward", fixed(sum(rewards) / 8)],
    ["standard deviation (n − 1)", fixed(deviation(rewards), 3)],
    ...RULES.map(([name, , rule]) => [`answer ${chosen + 1}, ${name}`, signed(rule(rewards)[chosen])]),
  ],
  says: groupSays,
};

// ---- dpo ----

const REFERENCE = { w: -20, l: -22 };
const marginOf = ({ w, l }) => logRatioMargin(w, l, REFERENCE.w, REFERENCE.l);

function logprobPlot({ w, l }) {
  const plot = {
    width: 300,
    height: 270,
    x: [0.4, 2.6],
    y: [-60, 0],
    xticks: [
      [1, "chosen"],
      [2, "rejected"],
    ],
    xlabel: "answer",
    ylabel: "log-prob of the answer (nats)",
  };
  const reference = [
    [1, REFERENCE.w],
    [2, REFERENCE.l],
  ].map(([x, y], i) => ({
    kind: "line",
    points: [
      [x - 0.35, y],
      [x + 0.35, y],
    ],
    colour: INK,
    dash: DASHED,
    label: i ? undefined : "reference",
  }));
  const moved = [
    [1, w, REFERENCE.w, BLUE, "chosen"],
    [2, l, REFERENCE.l, ORANGE, "rejected"],
  ].map(([x, y, from, colour, name]) => ({
    kind: "line",
    points: [
      [x, from],
      [x, y],
    ],
    colour,
    thick: 3,
    label: name,
  }));
  return { ...plot, parts: [...reference, ...moved] };
}

function lossPlot(state) {
  const plot = { width: 385, height: 270, x: [-6, 6], y: [0, 6.2], xlabel: "margin", ylabel: "loss −log σ(margin) (nats)" };
  const z = clamp(state.beta * marginOf(state), ...plot.x);
  return {
    ...plot,
    parts: [
      curve((x) => softplus(-x), plot.x, { colour: BLUE, thick: 2.5, label: "loss" }),
      upright(plot, z, { colour: GREEN, dash: DOTTED, label: "this pair" }),
      {
        kind: "line",
        points: [
          [z - 0.12, softplus(-z)],
          [z + 0.12, softplus(-z)],
        ],
        colour: GREEN,
        thick: 10,
      },
    ],
  };
}

function dpoSays(state) {
  const { w, l } = state,
    h = marginOf(state),
    falls = w < REFERENCE.w && l < REFERENCE.l;
  if (falls && h > 0)
    return `Likelihood displacement: the chosen answer is ${fixed(REFERENCE.w - w, 1)} nats less likely than under the reference. The rejected one fell further, so the margin grew and the loss fell. DPO only sees the difference.`;
  if (h < 0)
    return "The policy prefers the rejected answer more than the reference does. The loss is above ln 2 = 0.69, and the gradient weight is above one half.";
  return h === 0
    ? "The margin is 0: loss ln 2 = 0.69, gradient weight one half. This is where training starts."
    : "The chosen answer has gained on the rejected one. As the margin grows, the gradient weight fades.";
}

const DPO = {
  title: "The margin of DPO",
  hint: "Drag the two log-probs. Then press “both fall” a few times and watch the loss.",
  start: () => ({ w: -18, l: -26, beta: 0.1 }),
  sliders: () => [{ key: "beta", label: "β (per nat)", min: 0.01, max: 1, step: 0.01, show: (v) => fixed(v) }],
  buttons: () => [
    { label: "both fall", patch: ({ w, l }) => ({ w: Math.max(-60, w - 4), l: Math.max(-60, l - 10) }) },
    { label: "move apart", patch: ({ w, l }) => ({ w: Math.min(0, w + 3), l: Math.max(-60, l - 3) }) },
    { label: "back to the reference", patch: () => ({ ...REFERENCE }) },
  ],
  plots: (state) => [logprobPlot(state), lossPlot(state)],
  handles: () =>
    [
      ["w", 1, "chosen", BLUE],
      ["l", 2, "rejected", ORANGE],
    ].map(([key, x, name, colour]) => ({
      label: `log-prob of the ${name} answer`,
      colour,
      near: true,
      at: (state) => [x, state[key]],
      move: (_, y) => ({ [key]: rounded(clamp(y, -60, 0), 1) }),
      step: [0, 1],
      text: (state) => `${fixed(state[key], 1)} nats`,
    })),
  numbers: (state) => {
    const h = marginOf(state),
      { w, l, beta } = state;
    return [
      ["chosen: log π − log ref", `${signed(w - REFERENCE.w, 1)} nats`],
      ["rejected: log π − log ref", `${signed(l - REFERENCE.l, 1)} nats`],
      ["difference of the two", `${signed(h, 1)} nats`],
      ["margin: β · difference", signed(beta * h)],
      ["loss −log σ(margin)", fixed(dpoLoss(h, beta), 3)],
      ["weight of the pair ÷ β, σ(−margin)", fixed(dpoWeight(h, beta), 3)],
    ];
  },
  says: dpoSays,
};

// ---- kl ----

const found = {}; // each minimiser is searched once
const minimum = (name, divergence) => (found[name] ??= minimiser(divergence));
const move = ({ mean, width }) => ({ mean: rounded(mean, 2), width: rounded(width, 2) });
const density = (x, { mean, width }) => Math.exp(logNormal(x, mean, width));

function densityPlot(state) {
  const plot = { width: 700, height: 260, x: [-6, 6], y: [0, 1.05], xlabel: "x", ylabel: "density (per unit of x)" };
  const target = between(-6, 6, 241).map((x) => [x, Math.exp(logTarget(x))]);
  return {
    ...plot,
    parts: [
      { kind: "area", points: [[-6, 0], ...target, [6, 0]], colour: BLUE, label: "target p" },
      curve((x) => density(x, state), plot.x, { colour: ORANGE, thick: 2.5, label: "model q (one Gaussian)" }, 241),
    ],
  };
}

function klSays({ mean, width }) {
  const near = (to) => Math.abs(mean - to.mean) < 0.06 && Math.abs(width - to.width) < 0.06;
  if (near(minimum("forward", forwardKL)))
    return "Mode covering: forward KL asks q to put mass wherever p has some, so the best q spans both peaks and the gap between them. SFT on samples of p minimises this direction.";
  if (near(minimum("reverse", reverseKL)))
    return "Mode seeking: reverse KL punishes q wherever p has almost no mass, so the best q sits on one peak and ignores the other. The KL penalty of RL and on-policy distillation use this direction.";
  return "Forward KL grows where p has mass and q has none. Reverse KL grows where q has mass and p has none.";
}

const KL = {
  title: "Two directions of KL",
  hint: "Drag the model q: its top moves the mean, the point on its side sets the width.",
  start: () => ({ mean: 0.5, width: 1 }),
  sliders: () => [
    { key: "mean", label: "mean of q", min: -4, max: 4, step: 0.01, show: (v) => fixed(v) },
    { key: "width", label: "standard deviation of q", min: 0.4, max: 3, step: 0.01, show: (v) => fixed(v) },
  ],
  buttons: () => [
    { label: "minimise forward KL(p‖q)", patch: () => move(minimum("forward", forwardKL)) },
    { label: "minimise reverse KL(q‖p)", patch: () => move(minimum("reverse", reverseKL)) },
  ],
  plots: (state) => [densityPlot(state)],
  handles: () => [
    {
      label: "mean of q",
      near: true,
      at: (s) => [s.mean, density(s.mean, s)],
      move: (x) => ({ mean: rounded(clamp(x, -4, 4), 2) }),
      step: [0.1, 0],
      text: ({ mean }) => `mean ${fixed(mean)}`,
    },
    {
      label: "width of q",
      near: true,
      colour: GREEN,
      at: (s) => [s.mean + s.width, density(s.mean + s.width, s)],
      move: (x, _, { mean }) => ({ width: rounded(clamp(x - mean, 0.4, 3), 2) }),
      step: [0.1, 0],
      text: ({ width }) => `width ${fixed(width)}`,
    },
  ],
  numbers: ({ mean, width }) => [
    ["forward KL(p‖q)", `${fixed(forwardKL(mean, width))} nats`],
    ["reverse KL(q‖p)", `${fixed(reverseKL(mean, width))} nats`],

    ["least forward KL", `${fixed(minimum("forward", forwardKL).value)} nats`],
    ["least reverse KL", `${fixed(minimum("reverse", reverseKL).value)} nats`],
  ],
  says: klSays,
};

// ---- nf4 ----

const NAMES = { nf4: "NF4", int4: "int4" };
const blockOf = (state, data) => data.blocks[state.block];

function levelPlot(state, data) {
  const shares = blockOf(state, data).shares,
    n = shares.length,
    top = Math.max(...data.blocks.flatMap((b) => b.shares));
  const plot = {
    width: 700,
    height: 260,
    x: [-1.04, 1.04],
    y: [0, 108 * top],
    xlabel: "weight / largest weight of its block",
    ylabel: `share of the weights (% in each of ${n} bins)`,
  };
  const levels = data.levels[state.scheme].map((level, i) =>
    upright(plot, level, { colour: ORANGE, thick: 1.5, label: i ? undefined : `levels of ${NAMES[state.scheme]}` }),
  );
  const to = nearest(state.x, data.levels[state.scheme]);
  return {
    ...plot,
    parts: [
      {
        kind: "bars",
        colour: BLUE,
        faint: true,
        label: "weights",
        boxes: shares.map((s, i) => [-1 + (2 * i) / n, -1 + (2 * (i + 1)) / n, 0, 100 * s]),
      },
      ...levels,
      {
        kind: "line",
        points: [
          [state.x, 50 * top],
          [to, 50 * top],
        ],
        colour: GREEN,
        thick: 4,
        label: "rounding of your weight",
      },
    ],
  };
}

function nf4Says(state, data) {
  const { mse } = blockOf(state, data),
    ratio = mse.int4 / mse.nf4;
  return `NF4 puts its levels where most weights are. Here int4, with equal steps, has ${fixed(ratio)} times the squared error of NF4. A smaller block gets a better-fitting scale, but every block has to store its own.`;
}

const NF4 = {
  title: "4-bit levels and real weights",
  hint: "Switch between NF4 and int4, change the block size, and drag one weight to see where it is rounded to.",
  start: () => ({ block: 0, scheme: "nf4", x: 0.4 }),
  sliders: (data) => [
    {
      key: "block",
      label: "block size (weights per scale)",
      min: 0,
      max: data.blocks.length - 1,
      step: 1,
      show: (i) => String(data.blocks[i].size),
    },
  ],
  buttons: () =>
    [
      ["nf4", "NF4: 16 levels"],
      ["int4", "int4: 15 levels"],
    ].map(([scheme, text]) => ({ label: text, patch: () => ({ scheme }), on: (state) => state.scheme === scheme })),
  plots: (state, data) => [levelPlot(state, data)],
  handles: (data) => [
    {
      label: "one weight",
      colour: GREEN,
      at: (s) => [s.x, 50 * Math.max(...data.blocks.flatMap((b) => b.shares))],
      move: (x) => ({ x: rounded(clamp(x, -1, 1), 2) }),
      step: [0.02, 0],
      text: ({ x }) => `weight ${fixed(x)}`,
    },
  ],
  numbers: (state, data) => {
    const block = blockOf(state, data),
      to = nearest(state.x, data.levels[state.scheme]);
    return [
      ["mean squared error", `${fixed(1e4 * block.mse[state.scheme], 2)} × 10⁻⁴`],
      ["relative to mean square", percent(block.mse[state.scheme] / data.square, 2)],
      ["memory", `${fixed(4 + 32 / block.size, 2)} bits per weight`],
      ["your weight", `${fixed(state.x)} → ${fixed(to, 3)}`],
      ["its error", signed(to - state.x, 3)],
      ["matrix of base", data.name.split(".").pop()],
    ];
  },
  says: nf4Says,
};

// ---- lora ----

const shareOf = (r, data) => loraParameters(r, data.shape) / (data.shape[0] * data.shape[1]);

function rankPlot(state, data) {
  const most = data.values.length,
    plot = { width: 700, height: 260, x: [0, most], y: [0, 2.05], xlabel: "rank r", ylabel: "share" },
    ranks = range(most + 1);
  return {
    ...plot,
    parts: [
      across(plot, 1, { colour: GREY, dash: DASHED, label: "the full matrix" }),
      {
        kind: "line",
        colour: BLUE,
        thick: 2.5,
        points: ranks.map((r) => [r, kept(data.values, r)]),
        label: "squared norm of the update kept",
      },
      {
        kind: "line",
        colour: GREEN,
        thick: 2.5,
        dash: DASHED,
        points: ranks.map((r) => [r, Math.min(2.05, shareOf(r, data))]),
        label: "parameters r·(in + out) / (in · out)",
      },
      upright(plot, state.r, { colour: ORANGE, dash: DOTTED }),
    ],
  };
}

function loraSays({ r }, data) {
  const share = shareOf(r, data);
  if (share >= 1) return "At this rank the two thin matrices hold as many parameters as the full one: LoRA saves nothing.";
  return `The best update of rank ${r} keeps ${percent(kept(data.values, r), 1)} of the squared norm of the full update with ${percent(share, 1)} of its parameters. This full fine-tuning was not asked to be of low rank; LoRA trains a low-rank update directly and need not copy it.`;
}

const LORA = {
  title: "A low-rank update",
  hint: "How much of what full fine-tuning changed in one matrix fits into rank r?",
  start: () => ({ r: 8 }),
  sliders: (data) => [{ key: "r", label: "rank r", min: 1, max: data.values.length, step: 1, show: String }],
  plots: (state, data) => [rankPlot(state, data)],
  handles: (data) => [
    {
      label: "rank r",
      at: ({ r }) => [r, kept(data.values, r)],
      move: (x) => ({ r: Math.round(clamp(x, 1, data.values.length)) }),
      step: [1, 0],
      text: ({ r }) => `rank ${r}`,
    },
  ],
  numbers: ({ r }, data) => [
    ["squared norm kept", percent(kept(data.values, r), 1)],
    ["parameters r·(in + out)", whole(loraParameters(r, data.shape))],
    ["full matrix in · out", whole(data.shape[0] * data.shape[1])],
    ["share of the parameters", percent(shareOf(r, data), 1)],
    [`matrix ${data.name.split(".").pop()}`, `${data.shape[0]} × ${data.shape[1]}`],
  ],
  says: loraSays,
};

// ---- schedule ----

const TOKENS = 16 * 128; // in one step of `llmlab run cpt`: 16 rows of 128 predictions
const peakOf = ({ power }) => 10 ** power;
const inside = ({ at, steps }) => Math.min(at, steps - 1);

function ratePlot(state) {
  const { steps, warmup, final } = state,
    peak = 1e3 * peakOf(state),
    plot = { width: 440, height: 250, x: [0, steps], y: [0, 1.1 * peak], xlabel: "step", ylabel: "learning rate (10⁻³)" };
  return {
    ...plot,
    parts: [
      across(plot, peak, { colour: GREY, dash: DASHED, label: "peak" }),
      {
        kind: "line",
        colour: BLUE,
        thick: 2.5,
        label: "learning rate",
        points: range(steps).map((s) => [s, peak * rate(s, steps, warmup, final)]),
      },
    ],
  };
}

function mixPlot({ steps, replay }) {
  const { old, fresh } = mixture(steps, replay, TOKENS),
    plot = {
      width: 245,
      height: 250,
      x: [0.3, 2.7],
      y: [0, (1.1 * steps * TOKENS) / 1e6],
      xticks: [
        [1, "new text"],
        [2, "old text"],
      ],
      xlabel: "tokens of the whole run",
      ylabel: "millions of tokens",
    };
  return {
    ...plot,
    parts: [
      { kind: "bars", colour: ORANGE, boxes: [[0.65, 1.35, 0, fresh / 1e6]] },
      { kind: "bars", colour: BLUE, boxes: [[1.65, 2.35, 0, old / 1e6]] },
    ],
  };
}

function scheduleSays({ steps, warmup, replay }) {
  const warm =
    warmup >= steps
      ? "The run ends before the warm-up does: the peak is never reached."
      : `The rate rises for ${warmup} steps and falls in a straight line over the other ${steps - warmup}.`;
  return `${warm} ${replay ? `A share of ${percent(replay)} of every batch is old text, so ${percent(1 - replay)} of the run is left for the new domain.` : "Without replay, nothing of the old text is rehearsed."}`;
}

const SCHEDULE = {
  title: "Learning rate and replay",
  hint: "Set the schedule of a run of continued pretraining, and drag the point along it.",
  start: () => ({ power: Math.log10(2e-3), warmup: 20, steps: 150, final: 0.1, replay: 0.2, at: 60 }),
  sliders: () => [
    { key: "power", label: "peak learning rate", min: -5, max: -2, step: 0.01, show: (v) => small(10 ** v) },
    { key: "warmup", label: "warm-up (steps)", min: 0, max: 200, step: 1, show: String },
    { key: "steps", label: "length of the run (steps)", min: 10, max: 500, step: 1, show: String },
    { key: "final", label: "final (share of the peak)", min: 0, max: 1, step: 0.05, show: (v) => fixed(v) },
    { key: "replay", label: "replay (share of a batch)", min: 0, max: 0.9, step: 0.01, show: (v) => percent(v) },
  ],
  plots: (state) => [ratePlot(state), mixPlot(state)],
  handles: () => [
    {
      label: "step",
      at: (s) => [inside(s), 1e3 * peakOf(s) * rate(inside(s), s.steps, s.warmup, s.final)],
      move: (x, _, { steps }) => ({ at: Math.round(clamp(x, 0, steps - 1)) }),
      step: [1, 0],
      text: (s) => `step ${inside(s)}`,
    },
  ],
  numbers: (s) => {
    const { old, fresh } = mixture(s.steps, s.replay, TOKENS),
      now = rate(inside(s), s.steps, s.warmup, s.final);
    return [
      [`learning rate at step ${inside(s)}`, small(peakOf(s) * now)],
      ["share of the peak", percent(now)],
      ["tokens of new text", whole(fresh)],
      ["tokens of old text", whole(old)],
      ["tokens per step (16 × 128)", whole(TOKENS)],
    ];
  },
  says: scheduleSays,
};

export const KINDS = { clip: CLIP, group: GROUP, dpo: DPO, kl: KL, nf4: NF4, lora: LORA, schedule: SCHEDULE };

function render({ model, el }) {
  const root = make("div", "llmlab-mechanism");
  root.dataset.lmSuppressShortcuts = "true"; // arrow keys move points here, not between the notebook's cells
  root.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow")) event.stopPropagation();
  });
  el.append(make("style", "", CSS), root);
  page(root, KINDS[model.get("kind")], model.get("data"));
}

export default { render };
