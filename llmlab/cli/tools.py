"""`llmlab tools`: your own tools, from a Python file or an MCP server: how well does a model call them?"""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..errors import UserError
from ..world.toolworld import Tools
from .desk import needs_mcp
from .options import Option, parse
from .own import addressed, before_a_run
from .run import brief, check_device, free_folder, only_writer
from .screen import progress, stoppable

USAGE = "llmlab tools my_tools.py --problems FILE.jsonl, or an MCP server's address or command in its place"
NUMBERS = {
    "valid": "valid: one call that fits its schema",
    "selected": "the right tool",
    "right": "right: tool and arguments",
    "executable": "executable: the tool has an answer",
    "wrong_but_valid": "wrong but valid",
    "false_calls": "calls where none is right",
    "answered": "right answers in the end",
}
OPTIONS: list[Option] = [
    (
        "problems",
        str,
        "",
        'JSON lines: {"question", "call": {"name", "arguments"}, "answer"}; no call: none is right; answer'
        " may be left out",
    ),
    ("model", str, "chat", "base, chat, a folder, or a hub id; its calls are read in <tool_call> marks"),
    (
        "train",
        str,
        "",
        "first train on a file of conversations with tool_calls, as llmlab run chats --domain does (needs"
        " --out)",
    ),
    ("out", str, "", "folder for the model that --train makes"),
    ("steps", int, 60, "steps of --train"),
    ("seed", int, 0, "seed of --train"),
    ("device", str, "cpu", "cpu, or cuda"),
    ("max_new", int, 64, "tokens that a turn takes at most"),
    ("seconds", float, 10.0, "that a call may take, then its process is ended"),
    (
        "memory",
        int,
        1024,
        "megabytes that your functions may take; your code runs with your rights: it may read files, use the"
        " network, and is really called",
    ),
    ("json", bool, False, "print one JSON object as the last line"),
]


def command(argv: list[str]) -> int:
    """`llmlab tools TOOLS --problems FILE`: four numbers under four ways of decoding, before and after
    training.
    """
    named = argv and not argv[0].startswith("-")
    if not named and not {"-h", "--help"} & set(argv):
        raise UserError(f"which tools? {USAGE}")
    options = parse("tools TOOLS", OPTIONS, argv[1:] if named else argv)
    check(options)
    with opened(argv[0], options.seconds, options.memory) as tools:
        from ..chapters.c08_tools_and_retrieval import own_tools

        problems = own_tools.read(options.problems, tools)
        texts = own_tools.trajectories(options.train, tools) if options.train else None
        check_device(options.device)
        measured = {"before" if texts else "model": measure(tools, problems, options.model, options)}
        if texts:
            train(texts, options)
            measured["after"] = measure(tools, problems, options.out, options)
    show(measured, options)
    return 0


def check(options) -> None:
    """Raises UserError for what does not go together or is out of range, before anything is loaded."""
    if not options.problems:
        raise UserError(f"--problems is missing: {USAGE}")
    if bool(options.train) != bool(options.out):
        raise UserError("--train and --out go together: a file to learn from, a folder for the model")
    for name, low, high in (("seconds", 0.1, 3600), ("memory", 16, 2**20), ("max_new", 1, 4096)):
        if not low <= getattr(options, name) <= high:
            raise UserError(f"--{name} {getattr(options, name)} is out of range; choose {low} to {high}")
    if options.train:
        options.out = free_folder(options.out)


@contextmanager
def opened(where: str, seconds: float, megabytes: int) -> Iterator[Tools]:
    """The tools of a Python file, or of an MCP server."""
    if where.endswith(".py") and " " not in where:
        from ..serve.python_tools import PythonTools

        if not Path(where).expanduser().is_file():
            raise UserError(f"there is no file '{where}'; give the Python file that defines your tools")
        made: Tools = PythonTools(str(Path(where).expanduser()), seconds=seconds, megabytes=megabytes)
    else:
        needs_mcp("an MCP server")
        from ..serve.mcp_client import MCPTools

        made = MCPTools(where, seconds=seconds)
    with made as tools:
        yield tools


def measure(tools: Tools, problems: list, model: str, options) -> dict[str, float]:
    """The numbers of a model; what could not be measured is told."""
    from ..chapters.c08_tools_and_retrieval import own_tools
    from ..chapters.c08_tools_and_retrieval.tools import Tools as Shown
    from ..models.load import load

    loaded = load(model, options.device)
    Shown().address(loaded)
    found, notes = own_tools.measured(loaded, problems, tools, options.max_new)
    for note in notes:
        print(note)
    return found


def train(texts: tuple, options) -> None:
    """What `llmlab run chats` does with these conversations; no row is cut, so that the tools stay in it."""
    from ..lab import registry, runs

    experiment = registry.get("chats")(steps=options.steps, length=4096, out=options.out)
    before_a_run(experiment, addressed(experiment, options.model), texts)
    with only_writer(options.out), progress() as bar, stoppable() as stop:
        task = bar.add_task("chats", total=options.steps, last="loading the model")
        runs.run(
            experiment,
            options.seed,
            options.model,
            device=options.device,
            texts=texts,
            again=False,  # a stored run has no weights
            on_row=lambda row: bar.update(task, completed=row["step"], last=brief(experiment, row)),
            stop=stop,
        )


def show(measured: dict[str, dict[str, float]], options) -> None:
    """A table for each model: a line a number, a column a way of decoding."""
    from rich.console import Console
    from rich.table import Table

    from ..chapters.c08_tools_and_retrieval.tools import DECODED

    for when, found in measured.items():
        heads = ["free", *(suffix[1:] for suffix in DECODED if suffix)]
        title = f"{when}: {options.out if when == 'after' else options.model}"
        grid = Table("share", *heads, title=title, title_justify="left")
        for name, meaning in NUMBERS.items():
            if name in found:
                cells = [found.get(name + suffix) for suffix in DECODED]
                grid.add_row(meaning, *("" if c is None else f"{c:.2f}" for c in cells))
        Console(width=110).print(grid)
    print("A grammar makes a call valid. Only 'right' tells whether it is the call that the question needs.")
    if options.json:
        print(json.dumps(measured))
