"""LedgerPage: all claims with their verdicts as a forest plot; a click opens one in full, and a button runs
one more seed of it here and now.
"""

import threading
import time
from dataclasses import asdict, dataclass, replace
from html import escape
from itertools import count

import anywidget
import ipywidgets as w
import traitlets
from matplotlib.lines import Line2D

from ...errors import UserError
from ...lab import runs
from ...ledger import CLAIMS, declarations, results, table
from .. import forest
from ...ledger.claims import Contrast
from .. import figures
from .scripts import script

REFRESH = 0.3  # seconds between two readings of the progress
FRAME = "llmlab-claim"
STYLE = f"""<style>
.{FRAME} {{ line-height: 1.45; overflow-x: auto; }}
.widget-html-content:has(> .{FRAME}) {{ min-width: 0; }}
.{FRAME} table {{ border-collapse: collapse; margin: 4px 0; }}
.{FRAME} th, .{FRAME} td {{ text-align: left; vertical-align: top; padding: 1px 14px 1px 0; }}
.{FRAME} th, .{FRAME} td {{ font-variant-numeric: tabular-nums; }}
.{FRAME} th {{ white-space: nowrap; }}
.{FRAME} td.short {{ white-space: nowrap; }}
.{FRAME} td.seeds {{ min-width: 11em; }}
.{FRAME} .contrasts td {{ border-top: 1px solid rgba(128, 128, 128, .3); }}
.{FRAME} tr.here {{ background: rgba(128, 128, 128, .18); }}
</style>"""


@dataclass(frozen=True)
class Seen(table.Row):
    """A row whose record counts as current until the code has been read: that takes longer than to show the
    page.
    """

    current: bool = True


@dataclass(frozen=True)
class Stored:
    """A run of which only the curves are kept, in the shape that figures read."""

    curves: dict[str, dict[int, float]]
    experiment: str = ""

    def curve(self, metric: str) -> dict[int, float]:
        """step -> value."""
        return self.curves.get(metric, {})


class Forest(anywidget.AnyWidget):
    """The forest plot in the browser; `chosen`: id and contrast's label of the line that was clicked."""

    _esm = script("forest")
    data = traitlets.Dict().tag(sync=True)
    chosen = traitlets.List(traitlets.Unicode(), ["", ""]).tag(sync=True)


class LedgerPage:
    """The ledger to look through: filters, the forest plot, and the claim that was clicked, with its curves.

    `open(id)` is the click; `start()` runs every arm of the open contrast for the next seed that is not
    stored, `stop()` stops it.
    """

    def __init__(self):
        self.rows, self.problem = read()
        self.end = forest.reach(forest.entries(self.rows))
        self.contrast: Contrast | None = None
        self.fresh: results.Curves = {}  # of the seeds that were run here
        self._curves: results.Curves | None = None
        self.running = False  # is a seed being run?
        self._lock, self._stop, self._thread = threading.RLock(), threading.Event(), None
        self._build()
        self._fill()
        self._check = threading.Thread(target=self._compare, daemon=True)
        self._check.start()

    def _build(self) -> None:
        """The widgets, once."""
        filters, run = self._filters(), self._run_row()
        self.summary, self.detail, self.plot = (
            w.HTML(),
            w.HTML("Click a claim to see how it was tested."),
            Forest(),
        )
        self.picture = w.Image(
            format="png", layout=w.Layout(max_width="100%", align_self="flex-start", display="none")
        )
        self.plot.observe(lambda _: self._show(), names="chosen")
        said = [w.HTML(f'<b role="alert">{escape(self.problem)}</b>')] if self.problem else []
        shown = [filters, self.summary, self.plot, self.detail, run, self.picture] if self.rows else []
        self.widget = w.VBox([*said, *shown])

    def _filters(self) -> w.HBox:
        """What chooses among the claims."""
        look = dict(style={"description_width": "initial"}, layout=w.Layout(width="210px"))
        chapters = sorted({r.claim.chapter for r in self.rows})
        self.chapter = w.Dropdown(
            options=[("all", ""), *((c, c) for c in chapters)], description="chapter", **look
        )
        self.verdict = w.Dropdown(
            options=[("all", ""), *((v, v) for v in (*table.VERDICTS, *table.OPEN))],
            description="verdict",
            **look,
        )
        self.search = w.Text(
            placeholder="in ids and words", description="search", style={"description_width": "initial"}
        )
        self.quotable = w.Checkbox(
            description="only what can be quoted", indent=False, layout=w.Layout(width="200px")
        )
        fields = [self.chapter, self.verdict, self.search, self.quotable]
        for field in fields:
            field.observe(lambda _: self._fill(), names="value")
        return w.HBox(fields, layout=w.Layout(flex_flow="row wrap"))

    def _run_row(self) -> w.HBox:
        """What runs one more seed, and says how far it is."""
        tip = "train every arm of this contrast with a seed that is not stored"
        self.run_button = w.Button(
            description="Run one more seed",
            icon="play",
            tooltip=tip,
            disabled=True,
            layout=w.Layout(width="170px"),
        )
        self.stop_button = w.Button(
            description="Stop",
            icon="stop",
            tooltip="stop; the next run of this seed goes on from there",
            disabled=True,
        )
        self.bar, self.status = w.IntProgress(value=0, min=0, max=1, layout=w.Layout(width="160px")), w.HTML()
        self.run_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        return w.HBox(
            [self.run_button, self.stop_button, self.bar, self.status], layout=w.Layout(flex_flow="row wrap")
        )

    def __repr__(self) -> str:
        return "\n".join(
            [self.problem] * bool(self.problem)
            + [f"{r.claim.id} {r.verdict}: {r.claim.words}" for r in self.rows]
        )

    def _repr_mimebundle_(self, **options):
        text = {
            "text/markdown": f"{self.problem}\n\n" * bool(self.problem) + table.markdown(self.rows)
        }  # for readers without a kernel
        return text | self.widget._repr_mimebundle_(**options) | {"text/plain": repr(self)}

    # ---- the list ----

    def _fill(self) -> None:
        """Show the claims that fit the filters."""
        with self._lock:
            shown = [r for r in self.rows if self._fits(r)]
            verdicts = ", ".join(f"{n} {v}" for v, n in table.counts(shown).items())
            of = f" of {len(self.rows)}" if len(shown) < len(self.rows) else ""
            said = f"{len(shown)}{of} claims" + (f": {verdicts}." if verdicts else ".")
            self.summary.value = f"{said} {table.false_share(shown)}".strip()
            self.plot.data = front_end(shown, self.end)

    def _fits(self, row: Seen) -> bool:
        text = f"{row.claim.id} {row.claim.words}".casefold()
        chosen = self.chapter.value in ("", row.claim.chapter) and self.verdict.value in ("", row.verdict)
        chosen = chosen and (row.quotable or not self.quotable.value)
        return chosen and all(word in text for word in self.search.value.casefold().split())

    def _compare(self) -> None:
        """Find the records that were made by other code: a second's work, behind the page that is shown
        already.
        """
        rows = [replace(r, current=results.is_current(r.claim, r.record)) for r in self.rows]
        with self._lock:
            changed, self.rows = rows != self.rows, rows
            if changed:
                self._fill()
                self._show()

    # ---- one claim ----

    def open(self, id: str, label: str = "") -> None:
        """Show a claim; `label`: with the curves of this contrast, not of its first."""
        self.plot.chosen = [id, label]

    @property
    def row(self) -> Seen | None:
        """The claim that is open."""
        return next((r for r in self.rows if r.claim.id == self.plot.chosen[0]), None)

    def _show(self) -> None:
        """Everything about the chosen claim, then its curves: those need the experiments, whose first import
        takes seconds.
        """
        with self._lock:
            row, label = self.row, self.plot.chosen[1]
            if row is None:
                return
            counted = [c for c in row.claim.contrasts if c.counts]
            self.contrast = next(
                (c for c in row.claim.contrasts if c.label == label), counted[0] if counted else None
            )
            self.detail.value = in_full(row, self.contrast)
            self._buttons()
            self._draw()

    def _draw(self) -> None:
        """The curves of the open contrast's arms: stored seeds, and those that were run here."""
        groups = self._groups(self.row, self.contrast) if self.contrast else {}
        if groups:
            self.picture.value = picture(
                groups, {t.metric: t.arm.study().curves.get(t.metric, t.metric) for t in self.contrast.terms}
            )
        self.picture.layout.display = "" if groups else "none"

    def _groups(self, row: Seen, contrast: Contrast) -> dict[str, list[Stored]]:
        """Name of an arm -> its runs."""
        if self._curves is None:
            self._curves = results.load_curves()
        new, groups = self._new(row, contrast), {}
        told = f"seed{'s' * (len(new) > 1)} {', '.join(map(str, new))}"
        for arm in contrast.arms:
            groups[arm.label] = [
                Stored(self._curves[arm.key, s], arm.experiment)
                for s in seeds(row)
                if (arm.key, s) in self._curves
            ]
            groups[f"{arm.label}, {told}"] = [Stored(self.fresh[arm.key, s], arm.experiment) for s in new]
        return {name: found for name, found in groups.items() if found}

    def _new(self, row: Seen, contrast: Contrast) -> list[int]:
        """Seeds of the contrast that were run here, in order."""
        known = {s for _, s in self.fresh}
        return [
            s
            for s in sorted(known)
            if s not in seeds(row) and all((a.key, s) in self.fresh for a in contrast.arms)
        ]

    # ---- one more seed ----

    def start(self) -> None:
        """Run the open contrast's arms for the next seed in the background."""
        with self._lock:
            if self.running or not self.contrast:
                return
            row, contrast = self.row, self.contrast
            done = {*seeds(row), *self._new(row, contrast)}
            seed = next(s for s in count(max(seeds(row), default=row.claim.first - 1) + 1) if s not in done)
            self._stop.clear()
            self.running = True
            self._buttons()
            self._thread = threading.Thread(target=self._work, args=(row, contrast, seed), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the run to stop after its present step."""
        if self.running:
            self._stop.set()
            self._say("stopping …")

    def wait(self, timeout: float | None = None) -> None:
        """Block until the check of the records and the run have ended (for scripts and tests)."""
        self._check.join(timeout)
        if self._thread:
            self._thread.join(timeout)

    def _buttons(self) -> None:
        self.run_button.disabled, self.stop_button.disabled = (
            self.running or self.contrast is None,
            not self.running,
        )

    def _say(self, words: str) -> None:
        self.status.value = escape(words)

    def _work(self, row: Seen, contrast: Contrast, seed: int) -> None:
        try:
            said = self._one_more(row, contrast, seed)
        except (UserError, runs.Interrupted) as e:
            said = f"{row.claim.id}, seed {seed}: {e}"
        # whatever an experiment may raise: one sentence here, in place of a traceback that a thread would
        # lose
        except Exception as e:
            said = f"{row.claim.id}, seed {seed}: {type(e).__name__} ({e})"
        with self._lock:
            self.running = False
            self._buttons()
            self._say(said)
            if self.contrast == contrast:
                self._draw()

    def _one_more(self, row: Seen, contrast: Contrast, seed: int) -> str:
        """Run the arms; what the seed gave, in words."""
        from ...ledger import runner

        arms, found = contrast.arms, {}
        for i, arm in enumerate(arms, 1):
            study, told = arm.study(), f"{row.claim.id}, seed {seed}, arm {i} of {len(arms)} ({arm.label})"
            self._say(f"{told}: loading the model …")
            run = runs.run(
                study,
                seed,
                study.default_model,
                on_row=self._progress(told, study.steps),
                stop=self._stop.is_set,
            )
            found[arm.key, seed] = runner.kept(run)
        self.fresh |= found
        effect = round(sum(t.weight * results.values(t, found, [seed])[0] for t in contrast.terms), 6)
        return (
            f"{row.claim.id} {contrast.label}: seed {seed}: {amount(effect, contrast.unit)};"
            f" {stored_range(row, contrast)}"
        )

    def _progress(self, told: str, steps: int):
        """What is called with every row of a run."""
        shown, self.bar.value, self.bar.max = 0.0, 0, steps

        def on_row(row: dict) -> None:
            """Say how far the run is, if the last word is some time ago."""
            nonlocal shown
            if time.monotonic() - shown > REFRESH or row["step"] == steps:
                shown, self.bar.value = time.monotonic(), row["step"]
                if not self._stop.is_set():
                    self._say(f"{told}: step {row['step']} of {steps}")

        return on_row


def read() -> tuple[list[Seen], str]:
    """All claims with their records, and what is wrong with the file of results: none at all where it is
    damaged.
    """
    try:
        stored, problem = results.load(), ""
    except results.BadResults as e:
        if results.file().exists():
            return [], str(e)
        stored, problem = {}, str(e)
    return [Seen(c, results.worded(c, stored.get(c.id)), c.id in stored) for c in CLAIMS.values()], problem


def seeds(row: table.Row) -> list[int]:
    """The seeds of its record."""
    return row.record["seeds"] if row.record else []


def amount(value: float, unit: str) -> str:
    """'+31.2 points'."""
    return f"{table.number(value, unit)} {table.unit_name(unit)}"


def stored_range(row: table.Row, contrast: Contrast) -> str:
    """The per-seed effects that are stored, from the lowest to the highest."""
    found = (
        [c["effects"] for c in row.record["contrasts"] if c["label"] == contrast.label]
        if row.record and row.current
        else []
    )
    if not found:
        return "no stored seeds to compare with"
    low, high = (table.number(end(found[0]), contrast.unit) for end in (min, max))
    return f"stored seeds {low} to {high}"


# ---- what the browser draws ----


def front_end(shown: list[table.Row], end: float) -> dict:
    """What forest.js draws: claims with a line a contrast, those without any at the end, and all places
    between 0 and 1.
    """
    lines: dict[str, list[dict]] = {}
    for entry in forest.entries(shown):
        lines.setdefault(entry["id"], []).append(_line(entry, end))
    claims = [_claim(r, lines.get(r.claim.id, [])) for r in shown]
    return {
        "claims": sorted(claims, key=lambda c: not c["lines"]),
        "ticks": [[forest.place(t, end), f"{t}".replace("-", "−")] for t in forest.ticks(end)],
        "minus": forest.place(-1, end),
        "zero": forest.place(0, end),
        "one": forest.place(1, end),
        "axis": forest.AXIS,
        "colours": {verdict: colour for verdict, (colour, _) in forest.MARKS.items()},
        "legend": forest.LEGEND,
        "note": (
            "Point at a line, or move with the arrow keys, to read its numbers; click it, or press Enter, to"
            " open its claim."
        ),
        "rest": "Without an effect to draw: proven, corrected or untestable, stale, or not run.",
        "empty": "No claim fits.",
    }


def _line(entry: dict, end: float) -> dict:
    places = {k: round(forest.place(entry[k], end), 5) for k in ("x", "low", "high")}
    same = entry["direction"] == "same"
    return places | {
        "label": entry["label"],
        "same": same,
        "verdict": entry["verdict"],
        "sign": table.SIGNS[entry["verdict"]],
        "text": entry["text"],
    }


def _claim(row: table.Row, lines: list[dict]) -> dict:
    said = {"not run": "not run yet", "stale": "made by other code, or declared otherwise"}.get(
        row.verdict
    ) or "; ".join(row.effects)
    text = f"{row.claim.words} {table.ruling(row)}" + ("" if lines else f": {said}")
    return {
        "id": row.claim.id,
        "words": row.claim.words,
        "verdict": "in part" if "in part" in row.verdict else row.verdict,
        "sign": table.SIGNS.get(row.verdict, "·"),
        "text": text,
        "lines": lines,
    }


# ---- one claim in full ----


def in_full(row: table.Row, here: Contrast | None) -> str:
    """A claim as HTML; `here`: the contrast that is marked."""
    c = row.claim
    q = (row.record or {}).get("q")
    facts = {
        "what was found": table.in_the_lab(row),
        "verdict": f"{table.SIGNS.get(row.verdict, '')} {table.ruling(row)}{_why_open(row)}"
        + (f" (q {q:.2g})" if q else ""),
        "caveat": row.caveat,
        "literature": c.evidence + (f" ({', '.join(c.cites)})" if c.cites else ""),
        "its regime": table.regime(row),
        "would change our mind": table.change_of_mind(row) if row.record else "",
        "matched": c.matched,
        "seeds": _seeds_told(row),
        "source": f"{c.source} (chapter {c.chapter}, {c.kind})",
        "declared": declarations.told(c),
    }
    arms = "".join(
        f"<div>{escape(name)}: <code>{escape(said)}</code></div>" for name, said in table.commands(c).items()
    )
    cells = "".join(
        f"<tr><th>{name}</th><td>{said}</td></tr>"
        for name, said in [*((n, escape(f)) for n, f in facts.items()), ("arms", arms)]
        if said
    )
    return (
        f'{STYLE}<div class="{FRAME}"><b>{c.id}</b>'
        f" {escape(c.words)}<table>{cells}</table>{_contrasts(row, here)}</div>"
    )


def _why_open(row: table.Row) -> str:
    if row.verdict == "stale":
        return ": made by other code, or declared otherwise; llmlab claims run makes it again"
    return f": llmlab claims run {row.claim.id}" if row.verdict == "not run" else ""


def _seeds_told(row: table.Row) -> str:
    if not row.claim.contrasts:
        return ""
    if not seeds(row):
        return f"none run, {row.claim.seeds} declared"
    return f"{len(seeds(row))} run, read at {row.counted[0]['n']}"


def _contrasts(row: table.Row, here: Contrast | None) -> str:
    """The table of all contrasts; before the first run, what is expected of each."""
    found = (row.record or {}).get("contrasts", []) or [asdict(c) for c in row.claim.contrasts]
    if not found:
        return ""
    measured = "effects" in found[0]
    heads = (
        "contrast",
        "expected",
        *(("effect", "98 % interval", "p", "it is", "by seed") if measured else ()),
    )
    body = "".join(_contrast(c, measured, here is not None and here.label == c["label"]) for c in found)
    beside = (
        ""
        if all(c["counts"] for c in found)
        else "<div>In brackets: shown beside the claim, with an interval and no verdict.</div>"
    )
    return (
        f'<table class="contrasts"><tr>{"".join(f"<th>{h}</th>" for h in heads)}</tr>{body}</table>{beside}'
    )


def _contrast(c: dict, measured: bool, here: bool) -> str:
    label = c["label"] if c["counts"] else f"({c['label']})"
    cells = f"<td>{escape(label)}</td><td>{table.hypothesis(c)}</td>" + (_numbers(c) if measured else "")
    return f"<tr{' class=here' * here}>{cells}</tr>"


def _numbers(c: dict) -> str:
    """Cells of what was measured: effect, interval, p, verdict, and the effect of every seed."""
    low, high = (table.number(c[end], c["unit"], sign=False) for end in ("low", "high"))
    verdict = f"{table.SIGNS[c['verdict']]} {c['verdict']}" if c["verdict"] else ""
    short = (
        amount(c["mean"], c["unit"]),
        f"{low} to {high}",
        f"{c['p']:.2g}",
        verdict,
    )
    seeds = " ".join(table.number(e, c["unit"]) for e in c["effects"])
    return "".join(f'<td class="short">{cell}</td>' for cell in short) + f'<td class="seeds">{seeds}</td>'


def picture(groups: dict[str, list], metrics: dict[str, str]) -> bytes:
    """Curves as PNG, a panel a metric, with the names of all groups below."""
    figure = figures.curves(groups, metrics)
    width, foot = 4.6 * len(metrics), 0.55 + 0.19 * len(groups)
    tall = 2.4 + foot
    figure.set_size_inches(width, tall)
    figure.subplots_adjust(left=0.6 / width, right=1 - 0.15 / width, bottom=foot / tall, top=1 - 0.3 / tall)
    for below in list(figure.legends):  # two columns, and the names are long
        below.remove()
    names = [Line2D([], [], color=colour, label=name) for colour, name in zip(figures.COLOURS, groups)]
    figure.legend(
        handles=names,
        loc="lower left",
        bbox_to_anchor=(0.5 / width, 0),
        fontsize=8,
        frameon=False,
        labelspacing=0.25,
    )
    return figures.png(figure)
