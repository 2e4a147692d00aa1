"""said: what the model answered, as a table for notebooks and as one for the terminal; right and wrong
marked.
"""

import html
from typing import Sequence

MARKS = {True: ("✓", "#009E73"), False: ("✗", "#D55E00")}
STYLE = (
    "<style>.llmlab-said {font-size: 13px; line-height: 1.3}"
    ".llmlab-said td, .llmlab-said th {text-align: left !important; vertical-align: top;"
    " padding: 2px 12px 2px 0;"
    " border-top: 1px solid rgba(128,128,128,.3)} .llmlab-said small {opacity: .7}</style>"
)
LONGEST = 64  # characters of an answer that are shown


def moments(samples: Sequence[dict]) -> dict[str, list[dict]]:
    """'before', 'step 75', 'after' -> the answers of that moment, in the order of the prompts; 'answer' where
    the model was asked once.
    """
    steps = sorted({s["step"] for s in samples})
    names = {steps[0]: "before", steps[-1]: "after"} if len(steps) > 1 else {s: "answer" for s in steps}
    return {names.get(s, f"step {s}"): [a for a in samples if a["step"] == s] for s in steps}


def short(text: str, longest: int = LONGEST) -> str:
    """An answer in one line: all of it, or how it begins and how it ends, where worked answers have their
    result.
    """
    words = " ⏎ ".join(line for line in text.splitlines() if line.strip()) or "(nothing)"
    if len(words) <= longest:
        return words
    return f"{words[: longest // 2].rstrip()} … {words[-(longest - longest // 2) :].lstrip()}"


def table(sides: dict[str, Sequence[dict]], sampled: bool = False, longest: int = LONGEST) -> str:
    """HTML: a row a prompt; before, on the way and after. sides: name of a setting -> its samples; with
    several settings (Compare) only what each says in the end, side by side where they are asked the same.
    sampled: the drawn answers too. longest: characters of an answer.
    """
    columns: dict[str, dict[tuple, dict]] = {}  # of each the answers by prompt
    for name, samples in sides.items():
        found = list(moments(samples).items())
        if len(found) > 1 and len(sides) > 1:
            found = [("before", found[0][1]), (f"after: {name}", found[-1][1])]
        for column, answers in found:
            asked = {(i, a["prompt"]): a for i, a in enumerate(answers)}
            there = columns.get(column, {})
            if any(there.get(prompt, a)["greedy"] != a["greedy"] for prompt, a in asked.items()):
                column, there = f"{column}: {name}", {}
            columns[column] = there | asked
    if not columns:
        return ""
    prompts = dict.fromkeys(prompt for asked in columns.values() for prompt in asked)
    rows = [[asked.get(prompt) for asked in columns.values()] for prompt in prompts]
    head = "".join(f"<th>{html.escape(c)}</th>" for c in ("prompt", "right", *columns))
    body = "".join(_row(row, sampled, longest) for row in rows)
    return (
        f"{STYLE}<div style='margin-top:4px'><b>What the model says</b> (held-out prompts, greedy"
        + (", and two samples" if sampled else "")
        + f")</div><table class='llmlab-said'><tr>{head}</tr>{body}</table>"
    )


def _row(answers: list[dict | None], sampled: bool, longest: int) -> str:
    """None: this setting is not asked this."""
    first = next(a for a in answers if a)
    cells = "".join(f"<td>{_answer(a, sampled, longest) if a else '–'}</td>" for a in answers)
    return (
        f"<tr><td><small>{html.escape(first['about'])}</small><br>{html.escape(short(first['prompt']))}</td>"
        f"<td>{html.escape(short(first['wanted'], longest))}</td>{cells}</tr>"
    )


def _answer(a: dict, sampled: bool, longest: int) -> str:
    said = [a["greedy"], *(a["sampled"] if sampled else ())]
    return "<br>".join(
        f"<span title='{html.escape(s['text'], quote=True)}'>"
        f"<span style='color:{MARKS[s['right']][1]}'>{MARKS[s['right']][0]}</span>"
        f" {html.escape(short(s['text'], longest))}</span>"
        for s in said
    )


def print_table(samples: Sequence[dict]) -> None:
    """The same in the terminal, greedy answers only."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = moments(samples)
    if not found:
        return
    grid = Table(
        "prompt", "right", *found, title="what the model says (held-out, greedy)", title_justify="left"
    )
    for row in zip(*found.values()):
        cells = [f"{MARKS[a['greedy']['right']][0]} {escape(short(a['greedy']['text']))}" for a in row]
        grid.add_row(escape(short(row[0]["prompt"])), escape(short(row[0]["wanted"])), *cells)
    Console(width=150).print(grid)
