"""`llmlab audit`: false positives and false negatives of a verifier, on answers of which it is known whether
they are right.
"""

import json
from collections import Counter
from pathlib import Path

from .. import paths
from ..errors import UserError
from .options import Option, parse

FIELDS = {"question": str, "answer": str, "said": str, "right": bool, "kind": str}
ERRORS = {(True, False): "false_negatives", (False, True): "false_positives"}  # (right, verdict)
OPTIONS: list[Option] = [
    ("verifier", str, "", "your own check: a Python file, or math-verify (empty: the rule for answers)"),
    ("json", bool, False, "print the counts as one JSON object"),
    ("wrong", bool, False, "show every answer that is judged wrongly"),
]


def command(argv: list[str]) -> int:
    """`llmlab audit [FILE]`: how often a verifier errs, by kind of answer."""
    from ..lab.own_problems import judge_of

    file = str(paths.data() / "audit.jsonl")
    if argv and not argv[0].startswith("-"):
        file, *argv = argv
    options = parse("audit", OPTIONS, argv)
    rows, (judge, told) = answers(file), judge_of(options.verifier)
    counts, wrong = judged(rows, judge)
    name = told.splitlines()[0]
    if options.json:
        print(json.dumps({"verifier": name} | {k: dict(c) for k, c in counts.items()}))
        return 0
    table(counts, name, Path(file).name)
    for row, fault in wrong if options.wrong else []:
        truth = "right" if row["right"] else "wrong"
        print(f"{row['kind']}: {row['said']!r} is {truth}" + (f" ({fault})" if fault else ""))
    return 0


def answers(file: str) -> list[dict]:
    """The answers of a file. Raises UserError with file, line and fix."""
    from ..lab import files

    found = []
    for record in files.read(file)[1]:
        row = {"kind": "answers"} | record.fields
        lacks = [k for k, kind in FIELDS.items() if not isinstance(row.get(k), kind)]
        if record.why or lacks:
            raise UserError(
                f"{record.where}: {record.why or f'it has no {lacks[0]}'}; an answer has {', '.join(FIELDS)}"
                " (right: true or false)"
            )
        found.append(row)
    if not found:
        raise UserError(f"'{file}' holds no answers; write lines with {', '.join(FIELDS)}")
    return found


def judged(rows: list[dict], judge) -> tuple[dict[str, Counter], list[tuple[dict, str]]]:
    """(kind -> right, wrong, false_positives, false_negatives, faults; what was judged wrongly)."""
    from ..world.base import Problem

    counts: dict[str, Counter] = {}
    wrong = []
    for row in rows:
        problem = Problem(({"role": "user", "content": row["question"]},), row["answer"], {})
        verdict, fault = judge(problem, row["said"])
        error = "faults" if fault else ERRORS.get((row["right"], verdict), "")
        of = counts.setdefault(row["kind"], Counter())
        of["right" if row["right"] else "wrong"] += 1
        if error:
            of[error] += 1
            wrong.append((row, fault))
    return counts, wrong


def table(counts: dict[str, Counter], verifier: str, file: str) -> None:
    """One line a kind, and the sum."""
    from rich.console import Console
    from rich.table import Table

    total: Counter = sum(counts.values(), Counter())
    grid = Table(
        "kind of answer",
        "right",
        "false negatives",
        "wrong",
        "false positives",
        "no verdict",
        title=f"{verifier}, on {file}",
        title_justify="left",
    )
    names = ("right", "false_negatives", "wrong", "false_positives", "faults")
    for kind, of in [*counts.items(), ("all", total)]:
        grid.add_row(kind, *(str(of[n]) for n in names))
    Console(width=110).print(grid)
    tpr = 1 - total["false_negatives"] / max(1, total["right"])
    fpr = total["false_positives"] / max(1, total["wrong"])
    print(f"true positive rate {tpr:.2f}, false positive rate {fpr:.2f}, J = {tpr - fpr:.2f}")
