"""`llmlab run`: an experiment: run, show, store, draw; without a name: list them."""

import json
import os
import sys
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from .. import paths
from ..errors import UserError
from ..lab import times
from . import ask
from .options import Option, parse
from .own import addressed, before_a_run, knobs_of, read_own
from .screen import progress, stoppable


TEACHING: list[Option] = [
    ("teacher", str, "", "the model that teaches (empty: the lab's reasoner; chat for --family calls)"),
    ("student", str, "", "the model that learns: another name of --model"),
]
PROBLEMS: list[Option] = [
    ("problems", str, "", "file of your own problems: question and answer, JSON lines"),
    ("verifier", str, "", "your own check: a Python file, or math-verify (empty: a rule)"),
]
KEEPING: Option = (
    "out",
    str,
    "",
    "folder for the trained model or its adapters (llmlab serve reads FOLDER/TENANT/VERSION)",
)


def command(argv: list[str]) -> int:
    """`llmlab run NAME`: run, show, store, draw."""
    from ..lab import registry, renamed

    if not argv or argv[0] in ("--json", "-h", "--help"):
        return list_experiments("--json" in argv)
    if argv[0].startswith("-"):
        raise UserError(f"the experiment's name comes first: llmlab run {' | '.join(registry.NAMES)}")
    cls = registry.get(argv[0])
    common = options_of(cls)
    options = parse(f"run {argv[0]}", knobs_of(cls) + common, argv[1:], partial(renamed.hint, argv[0]))
    if not 0 <= options.seed < 2**31:
        raise UserError(f"--seed {options.seed} is out of range; choose 0 to {2**31 - 1}")
    experiment = cls(**{k.name: getattr(options, k.name) for k in cls.knobs()})
    refuse_what_is_not_read(experiment)
    tell_what_binds_nowhere(experiment)
    out = free_folder(options.out) if getattr(options, "out", "") else ""
    if out:
        experiment = replace(experiment, out=out)
    if experiment.name == "distill":
        experiment = taught(experiment, options)
    options.model = options.model or experiment.default_model
    if options.engine == "trl":
        from ..trl.engine import TRL

        experiment = TRL(experiment)
    with only_first(), only_writer(out):
        if options.engine == "trl":
            translation(experiment.of)
        return show(experiment, options)


def taught(experiment, options):
    """The experiment under the teacher that was named; the student is the model of the run. Raises UserError
    where two students are named.
    """
    if options.student and options.model:
        raise UserError("--student and --model are the same; leave one of them out")
    options.model = options.student or options.model
    return experiment.under(options.teacher) if options.teacher else experiment


def options_of(cls) -> list[Option]:
    """What a run of this experiment can be told beside its knobs."""
    common = always(cls)
    if cls.takes_texts:
        common.append(("domain", str, "", cls.reads))
        common.append(("skip_bad", bool, False, "leave out records that cannot be read, and count them"))
    if cls.takes_problems:
        common += PROBLEMS
    if cls.name == "rag":
        common += ask.OPTIONS
    if cls.name == "distill":
        common += TEACHING
    if cls.keeps:
        common.append(KEEPING)
    return common


def always(cls) -> list[Option]:
    """What every run can be told."""
    starts = f"(empty: what the experiment starts from, {cls.default_model} with its defaults)"
    engines = "lab: our loop; trl: TRL's trainer with the same knobs"
    return [
        ("seed", int, 0, "seed of data order and samples"),
        ("model", str, "", f"base, chat, …, a folder, or a hub id {starts}"),
        ("device", str, "cpu", "cpu, or cuda"),
        ("engine", Literal["lab", "trl"], "lab", f"{engines} (torchrun shares its batches among processes)"),
        ("json", bool, False, "print one JSON object as the last line"),
        ("again", bool, False, "compute again, even if the run is stored"),
    ]


def refuse_what_is_not_read(experiment) -> None:
    """A knob that the chosen loss does not read would change nothing without a word. Raises UserError."""
    from ..methods.preferences import METHODS

    chosen = next((n for n in ("loss", "method") if getattr(experiment, n, None) in METHODS), "")
    if not chosen:
        return
    name = getattr(experiment, chosen)
    for k in experiment.knobs():
        readers = [m for m, method in METHODS.items() if k.name in method.extra]
        if readers and name not in readers and getattr(experiment, k.name) != k.default:
            raise UserError(
                f"--{k.name} is read by {' and '.join(readers)}, and {name} leaves it alone; choose"
                f" --{chosen} {readers[0]}, or leave --{k.name} out"
            )


def turned(experiment) -> dict[str, object]:
    """The knobs that do not stand on their defaults."""
    values = {k.name: (getattr(experiment, k.name), k.default) for k in experiment.knobs()}
    return {name: value for name, (value, default) in values.items() if value != default}


def tell_what_binds_nowhere(experiment) -> None:
    """Say that a clip that was turned cuts nothing where all samples are fresh: their ratio is 1."""
    changed = turned(experiment)
    clips = [f"--{name}" for name in ("clip", "epsilon") if name in changed]
    if clips and not {"epochs", "staleness"} & changed.keys():
        print(
            f"note: every sample is used once and fresh, so its ratio is 1 and {' and '.join(clips)} cannot"
            " act; --epochs 4 or --staleness 2 lets the ratio move"
        )


def free_folder(out: str) -> str:
    """A folder that nothing is lost in: it does not exist yet, or is empty, and can be made, which is proven
    before anything is trained. Raises UserError.
    """
    folder = Path(out).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{out}' is not empty; choose a folder that does not exist yet")
    paths.writable(folder.parent)
    return str(folder)


@contextmanager
def only_writer(out: str):
    """Nobody else of this user trains for the same folder meanwhile. Raises Busy."""
    if not out or os.environ.get("RANK", "0") != "0":
        yield
        return
    lock = paths.writable(paths.cache() / "out") / f"{paths.hash_bytes(out.encode())}.lock"
    with paths.alone(lock, f"llmlab run --out {out}"):
        yield


@contextmanager
def only_first():
    """Of the processes that torchrun starts, only the first one speaks."""
    with (
        open(os.devnull, "w") as nowhere,
        redirect_stdout(sys.stdout if os.environ.get("RANK", "0") == "0" else nowhere),
    ):
        yield


def show(experiment, options) -> int:
    """Run with a progress bar, then table, figure and record."""
    if ask.is_asked(options):
        check_device(options.device)
        return ask.run(experiment, options)
    texts, said = read_own(experiment, options)
    check_device(options.device)
    if texts is not None:
        tell_own(experiment.of or experiment, texts, said, options)
    done = watched(experiment, options, texts)
    tell(experiment, done)
    if texts is None and by_default(experiment, options.model):
        times.note(experiment.name, done.seconds)
    if options.json:
        print(json.dumps(done.summary()))
    return 0


def by_default(experiment, model: str) -> bool:
    """Is it one of the lab's experiments, with its defaults and on its own model?"""
    from ..lab import registry

    ours = experiment.name in registry.NAMES
    return ours and experiment == type(experiment)() and model == experiment.default_model


def watched(experiment, options, texts):
    """The run, under a progress bar; Ctrl-C keeps its steps."""
    from ..lab import runs

    with progress() as bar, stoppable() as stop:
        task = bar.add_task(
            experiment.name, total=getattr(experiment, "steps", None), last="loading the model"
        )
        return runs.run(
            experiment,
            options.seed,
            options.model,
            device=options.device,
            texts=texts,
            fresh=options.again,
            again=not getattr(options, "out", ""),  # a stored run has no weights
            ask=True,
            on_row=lambda row: bar.update(task, completed=row["step"], last=brief(experiment, row)),
            stop=stop,
        )


def tell(experiment, done) -> None:
    """The table of a run, its words, and where its record and its figure lie."""
    from ..lab import runs
    from ..learn import figures
    from ..learn.said import print_table

    record = runs.record(experiment.name, done.key)
    changed = turned(experiment.of or experiment)
    figure = figures.of_run(done, experiment.curves, record.with_suffix(".png"), changed)
    table(done, experiment.curves)
    print_table(done.samples)
    print(f"record  {record}\nfigure  {figure}")


def tell_own(experiment, texts, said: str, options) -> None:
    """What was recognised of the user's data, the first example in two colours, and how much is trained."""
    from ..lab.experiment import Experiment

    print(said)
    if type(experiment).preview is not Experiment.preview:
        before_a_run(experiment, addressed(experiment, options.model), texts)


def brief(experiment, row: dict) -> str:
    """The row's main numbers in a few words."""
    shown = {k: row[k] for k in ("loss", *experiment.curves) if k in row}
    return "  ".join(f"{k} {v:.2f}" for k, v in list(shown.items())[:4])


def table(done, curves: dict[str, str]) -> None:
    """Start and final value of each metric."""
    from rich.console import Console
    from rich.table import Table

    from ..learn.axis import curve_of

    grid = Table(
        "metric",
        "start",
        "final",
        "what it is",
        title=f"{done.experiment} on {done.model}, seed {done.seed}, {done.seconds:.0f} s",
        title_justify="left",
    )
    for metric in done.probed:
        start, *_, final = 2 * [*curve_of(done, metric).values()]
        grid.add_row(metric, f"{start:.3f}", f"{final:.3f}", curves.get(metric, ""))
    Console(width=110).print(grid)
    for note in done.notes:
        print(note)


def translation(experiment) -> None:
    """The experiment's knobs in TRL's words."""
    from rich.console import Console
    from rich.table import Table

    from ..trl.engine import told

    grid = Table(
        "knob",
        "value",
        "TRL's argument",
        "its value",
        title=f"{experiment.name} through TRL",
        title_justify="left",
    )
    for row in told(experiment):
        grid.add_row(*row.values())
    Console(width=110).print(grid)


def list_experiments(as_json: bool) -> int:
    """Experiments, knobs, ranges, measured times."""
    from ..lab import registry

    measured = times.read()
    classes = {name: registry.get(name) for name in registry.NAMES}
    if as_json:
        print(
            json.dumps(
                {
                    n: {
                        "summary": c.summary,
                        "knobs": {
                            k.name: {"default": k.default, "range": k.range, "help": k.help}
                            for k in c.knobs()
                        },
                        "seconds": measured.get(n, {}).get("seconds"),
                    }
                    for n, c in classes.items()
                }
            )
        )
        return 0
    for name, cls in classes.items():
        time_ = measured.get(name)
        print(
            f"\n{name}  {cls.summary}\n    default run: "
            + (
                f"{time_['seconds']:.0f} s ({time_['where']})"
                if time_
                else "not measured yet; llmlab doctor measures it"
            )
        )
        for k in cls.knobs():
            print(f"    --{k.name:12}{str(k.default):>9}   {k.range:28}{k.help}")
    print(
        "\nllmlab run NAME [--knob value] [--seed 0] [--model base|chat|FOLDER|HUB_ID] [--json]; llmlab run"
        " NAME --help shows all"
    )
    return 0


def check_device(device: str) -> None:
    """A clear word before anything is loaded."""
    if device == "cpu":
        return
    import torch

    if device.split(":")[0] != "cuda" or not torch.cuda.is_available():
        raise UserError(
            f"there is no device '{device}' here; use --device cpu"
            + ("" if torch.cuda.is_available() else " (this PyTorch sees no GPU)")
        )
