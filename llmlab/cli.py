"""The command line: lab, run, claims, drill, demo, serve, build, doctor, bench. Bad input gets one sentence
and exit code 2.
"""

import difflib
import json
import os
import signal
import sys
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import make_dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Literal

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from . import paths, times  # noqa: E402
from .errors import UserError  # noqa: E402
from .runs import Interrupted  # noqa: E402

COMMANDS = {
    "lab": "open the workbook in JupyterLab",
    "run": "run an experiment; without a name: list them",
    "claims": "the ledger: what was claimed, what was measured, the verdicts; claims run tests them again",
    "drill": "practise interview questions, or sit a mock interview",
    "demo": "one experiment's panel full screen, for a classroom",
    "serve": "many adapters on one model, behind OpenAI's chat API on this machine",
    "build": (
        "make the shipped data (checkpoints, sweeps, runs, the ledger, notebooks), resuming where it stopped"
    ),
    "doctor": "what this machine can do, and how long each experiment takes here",
    "bench": "speed against TRL and plain transformers, as ratios",
}


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return dispatch(argv)
    except UserError as e:
        print(f"llmlab: {e}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Interrupted):
        print("llmlab: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def dispatch(argv: list[str]) -> int:
    """Find the command and hand the rest over."""
    if not argv or argv[0] in ("-h", "--help"):
        print("llmlab <command> [--help]\n" + "\n".join(f"  {c:8}{text}" for c, text in COMMANDS.items()))
        return 0
    name, *rest = argv
    if name == "--version":
        from importlib.metadata import version

        print(version("llmlab"))
        return 0
    if name not in COMMANDS:
        raise UserError(f"there is no command '{name}'{nearest(name, COMMANDS)}")
    known = {
        "lab": lab,
        "run": run,
        "claims": claims,
        "drill": drill,
        "demo": demo,
        "serve": serve,
        "build": build,
        "doctor": doctor,
        "bench": bench,
    }
    return known[name](rest)


def nearest(name: str, known) -> str:
    """'; did you mean …?' or the list."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; choose one of {', '.join(known)}"


BUILDS = ("base", "chat", "sweeps", "runs", "rates", "claims", "notebooks", "readme")
REHEARSED = ("book", "vouch")
Option = tuple[str, type, object, str]  # name, type, default, help


def parse(command: str, options: list[Option], argv: list[str]):
    """Options by tyro, after a check that turns each mistake into one sentence."""
    import tyro

    check(options, argv)
    fields = [(n, Annotated[t, tyro.conf.arg(help=h)], d) for n, t, d, h in options]
    return tyro.cli(
        make_dataclass("Options", fields), args=argv, prog=f"llmlab {command}", use_underscores=True
    )


def check(options: list[Option], argv: list[str]) -> None:
    """Every flag is known and has a value of its type."""
    kinds, i = {n: t for n, t, _, _ in options}, 0
    while i < len(argv):
        flag, eq, value = argv[i].partition("=")
        name = flag[2:].replace("-", "_")
        if flag in ("-h", "--help"):
            return
        if kinds.get(name.removeprefix("no_")) is bool:
            name = name.removeprefix("no_")
        if not flag.startswith("--") or name not in kinds:
            known = [f"--{n}" for n in kinds]
            raise UserError(f"unknown option '{flag}'{nearest(flag, known)}")
        kind, i = kinds[name], i + 1
        if kind is bool:
            if eq:
                raise UserError(f"{flag} takes no value; leave '={value}' out")
            continue
        if not eq:
            if i >= len(argv) or argv[i].startswith("--"):
                raise UserError(f"{flag} needs a value")
            value, i = argv[i], i + 1
        if kind in (int, float):
            try:
                kind(value)
            except ValueError:
                raise UserError(
                    f"{flag} takes a {'whole number' if kind is int else 'number'}, not '{value}'"
                ) from None
        choices = getattr(kind, "__args__", ())
        if choices and value not in choices:
            raise UserError(f"{flag} is one of {', '.join(choices)}, not '{value}'")


def run(argv: list[str]) -> int:
    """`llmlab run NAME`: run, show, store, draw."""
    from . import experiments

    if not argv or argv[0] in ("--json", "-h", "--help"):
        return list_experiments("--json" in argv)
    if argv[0].startswith("-"):
        raise UserError(f"the experiment's name comes first: llmlab run {' | '.join(experiments.NAMES)}")
    cls = experiments.get(argv[0])
    knobs: list[Option] = [
        (k.name, Literal[k.choices] if k.choices else k.kind, k.default, f"{k.help} [{k.range}]")
        for k in cls.knobs()
    ]
    common: list[Option] = [
        ("seed", int, 0, "seed of data order and samples"),
        (
            "model",
            str,
            "",
            (
                "base, chat, a folder, or a hub id (empty: what the experiment starts from,"
                f" {cls.default_model} with its defaults)"
            ),
        ),
        ("device", str, "cpu", "cpu, or cuda"),
        (
            "engine",
            Literal["lab", "trl"],
            "lab",
            (
                "lab: our loop; trl: TRL's trainer with the same knobs (torchrun shares its batches among"
                " processes)"
            ),
        ),
        ("json", bool, False, "print one JSON object as the last line"),
        ("fresh", bool, False, "compute again, even if the run is stored"),
    ]
    if cls.takes_texts:
        folder = (
            "folder of your own documents (.txt, .md, .jsonl), or 'python' for the texts every Python has"
        )
        common.append(("domain", str, "", getattr(cls, "reads", folder)))
    if hasattr(cls, "out"):
        common.append(
            (
                "out",
                str,
                "",
                "folder for the trained model or its adapters (llmlab serve reads FOLDER/TENANT/VERSION)",
            )
        )
    options = parse(f"run {argv[0]}", knobs + common, argv[1:])
    if not 0 <= options.seed < 2**31:
        raise UserError(f"--seed {options.seed} is out of range; choose 0 to {2**31 - 1}")
    experiment = cls(**{k.name: getattr(options, k.name) for k in cls.knobs()})
    if getattr(options, "out", ""):
        experiment = replace(experiment, out=free_folder(options.out))
    options.model = options.model or experiment.default_model
    if options.engine == "trl":
        from .engines.trl import TRL

        experiment = TRL(experiment)
    with only_first():
        if options.engine == "trl":
            translation(experiment.of)
        return show(experiment, options)


def free_folder(out: str) -> str:
    """A folder that nothing is lost in: it does not exist yet, or is empty. Raises UserError."""
    folder = Path(out).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{out}' is not empty; choose a folder that does not exist yet")
    return str(folder)


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
    from . import experiments, figures, runs

    texts = (
        getattr(getattr(experiment, "of", experiment), "own", documents)(options.domain)
        if getattr(options, "domain", "")
        else None
    )
    check_device(options.device)
    with progress() as bar, stoppable() as stop:
        task = bar.add_task(
            experiment.name, total=getattr(experiment, "steps", None), last="loading the model"
        )
        done = runs.run(
            experiment,
            options.seed,
            options.model,
            device=options.device,
            texts=texts,
            fresh=options.fresh,
            again=not getattr(options, "out", ""),  # a stored run has no weights
            on_row=lambda row: bar.update(task, completed=row["step"], last=brief(experiment, row)),
            stop=stop,
        )
    figure = figures.of_run(
        done, experiment.curves, runs.record(experiment.name, done.key).with_suffix(".png")
    )
    table(done, experiment.curves)
    print(f"record  {runs.record(experiment.name, done.key)}\nfigure  {figure}")
    if (
        experiment.name in experiments.NAMES
        and experiment == type(experiment)()
        and texts is None
        and options.model == experiment.default_model
    ):
        times.note(experiment.name, done.seconds)
    if options.json:
        print(json.dumps(done.summary()))
    return 0


@contextmanager
def stoppable():
    """Ctrl-C ends the work after its present step, so that nothing is lost; a second one at once. Yields a
    function: has it been pressed?
    """
    pressed = []

    def press(*_):
        if pressed:
            raise KeyboardInterrupt
        pressed.append(True)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def progress():
    """A progress bar on stderr with the time left and the last reading, if stderr is a terminal; in a log
    only what went wrong is to stand there.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
        console=console,
        disable=not console.is_terminal,
    )


def brief(experiment, row: dict) -> str:
    """The row's main numbers in a few words."""
    shown = {k: row[k] for k in ("loss", *experiment.curves) if k in row}
    return "  ".join(f"{k} {v:.2f}" for k, v in list(shown.items())[:4])


def table(done, curves: dict[str, str]) -> None:
    """Start and final value of each metric."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(
        "metric",
        "start",
        "final",
        "what it is",
        title=f"{done.experiment} on {done.model}, seed {done.seed}, {done.seconds:.0f} s",
        title_justify="left",
    )
    for metric, v in done.metrics().items():
        grid.add_row(metric, f"{v['start']:.3f}", f"{v['final']:.3f}", curves.get(metric, ""))
    Console(width=110).print(grid)
    for note in done.notes:
        print(note)


def translation(experiment) -> None:
    """The experiment's knobs in TRL's words."""
    from rich.console import Console
    from rich.table import Table

    from .engines.trl import told

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
    from . import experiments

    measured = times.read()
    classes = {name: experiments.get(name) for name in experiments.NAMES}
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


def documents(domain: str):
    """The user's texts by sub-folder, or those that every Python has."""
    from .experiments.cpt import Texts
    from .world import corpora

    if domain == "python":
        return Texts.cut(corpora.python_texts())
    return Texts.cut(corpora.folders(domain))


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


def claims(argv: list[str]) -> int:
    """`llmlab claims [ID …]` shows, `llmlab claims run [ID …]` runs."""
    from . import claims_terminal

    runs_them = argv[:1] == ["run"]
    argv = argv[runs_them:]
    ids = list(takewhile(lambda a: not a.startswith("-"), argv))
    options = parse(
        "claims run [ID …]" if runs_them else "claims [ID …]",
        claims_terminal.RUN if runs_them else claims_terminal.SHOW,
        argv[len(ids) :],
    )
    return claims_terminal.run(ids, options, progress) if runs_them else claims_terminal.show(ids, options)


def drill(argv: list[str]) -> int:
    """`llmlab drill`: practice with spaced repetition, or an interview against the clock."""
    from . import drill_terminal

    return drill_terminal.practise(parse("drill", drill_terminal.OPTIONS, argv))


def build(argv: list[str]) -> int:
    """`llmlab build [base|chat|…|all]`, `llmlab build book`, `llmlab build vouch`."""
    words = (*BUILDS, "all", *REHEARSED)
    names = [a for a in argv if not a.startswith("-")]
    for name in names:
        if name not in words:
            raise UserError(f"there is nothing to build called '{name}'{nearest(name, words)}")
    options = parse(
        f"build [{'|'.join(words)}]",
        [
            ("check", bool, False, "only say what is current and what is stale"),
            ("force", bool, False, "build again what is current"),
        ],
        [a for a in argv if a not in names],
    )
    for name in BUILDS if not names or "all" in names else names:
        if name in REHEARSED:
            rehearse(name, options)
            continue
        left = stale(name)
        if options.check or not (left or options.force):
            print(f"{name}: {'stale or missing: ' + ', '.join(left) if left else 'current'}", flush=True)
        else:
            make(name, options.force)
    return 0


def stale(name: str) -> list[str]:
    """What of a kind of shipped data was not made by today's code from today's inputs, or is missing."""
    from . import books, readme, stored, sweeps
    from . import build as builder
    from .lab import record, vouched
    from .ledger import TRIALS, rates, results

    seals = {
        "sweeps": sweeps.seals,
        "runs": stored.seals,
        "rates": lambda: rates.seals(TRIALS),
        "claims": results.seals,
        "notebooks": books.seals,
        "readme": readme.seals,
    }
    try:
        found = seals.get(name, lambda: (s for s in builder.seals() if s[0] == name))()
        return record.stale(found)
    except vouched.BadList:
        raise
    except (ValueError, KeyError, OSError):  # what it is made from is not there yet, or broken
        return [name]


def make(name: str, force: bool) -> None:
    """Build one kind of shipped data: what of it is stale, or all of it."""
    if name in ("base", "chat"):
        from . import build as builder

        if name == "base" and not builder.is_current("pre"):
            report(build_one(builder, "pre"))
        report(build_one(builder, name))
    elif name == "sweeps":
        build_sweeps(force)
    elif name == "rates":
        from .ledger import TRIALS, rates

        for part, trials in TRIALS.items():
            if force or not rates.is_current(part, trials):
                for done, of, what in rates.build(part, trials):
                    print(f"rates of {part}: {done} of {of}: {what}", flush=True)
    elif name == "claims":
        claims(["run"] + ["--force"] * force)
    elif name == "readme":
        from . import readme

        readme.build()
        print("readme: written")
    else:
        from . import books, stored

        for line in stored.build() if name == "runs" else books.build(force):
            print(f"{name}: {line}", flush=True)


def rehearse(name: str, options) -> None:
    """`build book`: rehearse what changed and write it down, before a refactoring. `build vouch`: rehearse again after
    it, and vouch for what is bit for bit the same.
    """
    from . import runs, stored
    from .lab import record, rehearsal, vouch
    from .ledger.rehearsed import OTHERS

    books = rehearsal.books(OTHERS)
    if options.check:
        left = record.stale((n, record.seal_of(b.file), b.seal) for n, b in books.items())
        print(f"{name}: {'stale: ' + ', '.join(left) if left else 'current'}")
        return
    if options.force:
        for book in books.values():
            book.file.unlink(missing_ok=True)
    with progress() as bar:
        task = bar.add_task("rehearsals", total=None, last="")

        def told(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        if name == "book":
            lines = vouch.write(books, told)
        else:
            checks = {
                e.name: [(e, s, runs.rows_of(stored.place(e, seal)))] for (e, s), seal in stored.wanted()
            }
            lines = vouch.vouch(books, checks, told)
        for line in lines:
            print(line, flush=True)


def build_one(builder, name: str) -> dict:
    """One checkpoint with a progress bar; its card."""
    with progress() as bar, stoppable() as stop, closing(builder.build(name)) as rows:
        task = bar.add_task(f"build {name}", total=builder.RECIPES[name].steps, last="")
        for row in rows:
            bar.update(task, completed=row["step"], last=f"loss {row['loss']:.2f}" if "loss" in row else "")
            if stop() and "card" not in row:
                raise Interrupted(f"stopped by hand at step {row['step']}")
    return row["card"]


def build_sweeps(force: bool) -> None:
    """Every sweep that is missing or stale, with a progress bar; runs that were finished before are not
    computed again.
    """
    from . import sweeps

    for grid in sweeps.GRIDS.values():
        if force or not sweeps.is_current(grid):
            with progress() as bar, closing(sweeps.build(grid)) as counts:
                task = bar.add_task(f"sweep {grid.experiment}", total=len(grid.jobs()), last="runs")
                for done, _ in counts:
                    bar.update(task, completed=done)
            print(f"sweeps: {grid.experiment}, {len(grid.jobs())} runs")


def report(card: dict) -> None:
    """Skills of a fresh checkpoint beside what they must reach."""
    for skill, share in card["skills"].items():
        least = card["targets"].get(skill)
        print(
            f"  {skill:28}{share:7.1%}"
            + (f"   at least {least:.0%}: {'reached' if share >= least else 'MISSED'}" if least else "")
        )


def doctor(argv: list[str]) -> int:
    """`llmlab doctor`: this machine, and the time of each experiment on it."""
    options = parse(
        "doctor",
        [
            ("quick", bool, False, "do not time the experiments"),
            ("json", bool, False, "print one JSON object as the last line"),
        ],
        argv,
    )
    from . import doctor as physician

    found = physician.examine(time_experiments=not options.quick)
    for line in physician.lines(found):
        print(line)
    if options.json:
        print(json.dumps(found))
    return 0


def bench(argv: list[str]) -> int:
    """`llmlab bench`: ratios measured side by side in this process."""
    options = parse(
        "bench",
        [
            ("only", str, "", "one of the benchmarks by name"),
            ("save", bool, False, "keep the figures in data/bench.json, for the README"),
            ("json", bool, False, "print one JSON object as the last line"),
        ],
        argv,
    )
    from . import bench as benchmark
    from . import experiments

    if options.only and options.only not in benchmark.BENCHES:
        raise UserError(f"there is no benchmark '{options.only}'{nearest(options.only, benchmark.BENCHES)}")
    figures = benchmark.run([options.only] if options.only else list(benchmark.BENCHES))
    if options.save:
        file = paths.data() / "bench.json"
        kept = json.loads(file.read_text())["figures"] if file.exists() else {}
        paths.write_atomic(
            file, json.dumps({"machine": benchmark.machine(), "figures": kept | figures}, indent=1).encode()
        )
        for name in experiments.NAMES if "defaults" in figures else ():
            times.note(name, figures["defaults"][f"{name}_s"], benchmark.machine(), folder=paths.data())
    if options.json:
        print(json.dumps(figures))
    return 0


def demo(argv: list[str]) -> int:
    """`llmlab demo NAME`: a panel without code, for a classroom."""
    from . import demo as classroom
    from . import experiments

    if not argv or argv[0].startswith("-"):
        raise UserError(f"which experiment? llmlab demo {' | '.join(experiments.NAMES)}")
    experiments.get(argv[0])
    options = parse(
        f"demo {argv[0]}",
        [
            ("port", int, 8866, "first port to try"),
            ("browser", bool, True, "open the browser"),
            ("network", bool, False, "let other machines in, with a token; without it only this machine can"),
        ],
        argv[1:],
    )
    classroom.serve(argv[0], options.port, options.browser, options.network)
    return 0


def serve(argv: list[str]) -> int:
    """`llmlab serve ADAPTERS`: a folder of tenants on one base, or the vLLM command line that would serve the
    same.
    """
    if not {"-h", "--help"} & set(argv) and (not argv or argv[0].startswith("-")):
        raise UserError(
            "which adapters? llmlab serve FOLDER, with TENANT/VERSION/ sub-folders as PEFT saves adapters"
        )
    options = parse(
        "serve ADAPTERS",
        [
            ("model", str, "chat", "the base: base, chat, a folder, or a hub id"),
            ("port", int, 8000, "port on this machine's loopback"),
            (
                "make",
                bool,
                False,
                "first train the lab's small tenants that the folder lacks, a few seconds each",
            ),
            ("vllm", bool, False, "do not serve: print the vLLM command line for the same adapters"),
        ],
        argv if argv[0].startswith("-") else argv[1:],
    )
    if options.make:
        make_tenants(Path(argv[0]), options.model)
    if options.vllm:
        from .models.load import resolve
        from .serve import vllm

        print(vllm.command(argv[0], str(resolve(options.model) or options.model)))
        return 0
    from .serve import http

    http.run(argv[0], options.model, options.port)
    return 0


def make_tenants(folder: Path, model: str) -> None:
    """Train what the folder lacks of the lab's tenants; interrupted, the next call goes on with the next
    tenant.
    """
    from .models.load import load
    from .serve.store import AdapterStore
    from .serve.tenants import TENANTS, train

    folder.mkdir(parents=True, exist_ok=True)
    loaded, store = load(model), AdapterStore(folder)
    with progress() as bar:
        task = bar.add_task("tenants", total=len(TENANTS), last="")
        for i, tenant in enumerate(TENANTS.values(), 1):
            if tenant.name not in store.tenants():
                train(loaded, store, tenant)
            bar.update(task, completed=i, last=tenant.name)


def lab(argv: list[str]) -> int:
    """`llmlab lab`: JupyterLab on loopback at the first chapter, without news pop-ups."""
    options = parse(
        "lab",
        [
            ("browser", bool, True, "open the browser"),
            ("port", int, 8888, "first port to try"),
            ("chapter", str, "00", "chapter to open, by its number"),
        ],
        argv,
    )
    books = Path(__file__).parent.parent / "notebooks"
    found = sorted(books.glob(f"{options.chapter}*.ipynb"))
    if not found:
        raise UserError(
            f"there is no chapter '{options.chapter}'; there are"
            f" {', '.join(sorted(p.name[:2] for p in books.glob('*.ipynb')))}"
        )
    arguments = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--notebook-dir={books}",
        "--ServerApp.ip=127.0.0.1",
        f"--port={options.port}",
        str(found[0]),
    ]
    quiet = (
        paths.writable(paths.cache()) / "jupyter"
    )  # no news pop-up, no look for news: there may be no network
    paths.write_atomic(
        quiet / "labconfig" / "page_config.json",
        b'{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}',
    )
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        filter(None, [str(quiet), os.environ.get("JUPYTER_CONFIG_PATH")])
    )
    in_container = (
        hasattr(os, "geteuid") and os.geteuid() == 0
    )  # root: usual in containers; the server listens on loopback and asks for its token
    os.execv(
        sys.executable,
        arguments + ["--allow-root"] * in_container + [f"--ServerApp.open_browser={options.browser}"],
    )


if __name__ == "__main__":
    sys.exit(main())
