"""`llmlab doctor`: what this machine can do, and how long each experiment takes on it.

Every finding is told as soon as it is known. Two short experiments are timed; the other times are the shipped
ones, scaled by what those two show.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Callable, Iterator

from .. import paths
from ..errors import UserError
from ..lab import registry, times
from .options import parse
from .screen import progress

TIMED = ("dpo", "sampling")  # one trains, one samples: about 6 s each on the machine of the shipped times
BUDGET = 20.0  # seconds for all of TIMED
LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "jupyterlab")


def examine(time_experiments: bool = True, on_row: Callable[[str, float], None] | None = None):
    """Findings as dicts, each when it is known: what needs no torch comes first, the timing last. While it
    times, on_row gets the experiment and the share of its steps that is done.
    """
    yield {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_gb": memory_gb(),
        "cpu_flags": flags(),
        "busy": busy(),
    }
    yield {"versions": {p: installed(p) for p in LIBRARIES}}
    folder = paths.writable(paths.cache())
    yield {"cache": str(folder), "free_gb": round(shutil.disk_usage(folder).free / 2**30, 1)}
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    yield {"torch_threads": torch.get_num_threads(), "gpu": gpu}
    yield {"checkpoints": {name: current(name) for name in paths.LAB}}
    if time_experiments:
        yield from timing(on_row)


def add(found: dict, finding: dict) -> None:
    """Put a finding to those before it; what is told by name is kept for each name."""
    for key, value in finding.items():
        found[key] = found.get(key, {}) | value if isinstance(value, dict) else value


def timing(on_row: Callable[[str, float], None] | None = None) -> Iterator[dict]:
    """The times of TIMED, then the speed that they show and an estimate for every default run. A busy machine
    gets its estimates too, but they are not kept.
    """
    shipped, found = {n: t["seconds"] for n, t in times.read(paths.data()).items()}, {}
    was_busy = busy()
    yield {"timing": list(TIMED)}
    until = time.monotonic() + BUDGET
    for i, name in enumerate(TIMED):
        budget = max(0.0, until - time.monotonic()) / (len(TIMED) - i)
        try:
            seconds, whole = measure(name, budget, on_row)
        except UserError as e:
            yield {"not_timed": {name: str(e)}}
            continue
        if seconds is None:
            yield {"not_timed": {name: f"its first step takes more than {budget:.0f} s"}}
            continue
        found[name] = (seconds, whole)
        yield {"timed": {name: {"seconds": seconds, "whole": whole, "shipped": shipped.get(name)}}}
    both = [name for name in found if name in shipped]
    if not both:
        return
    slower = sum(found[n][0] for n in both) / sum(shipped[n] for n in both)
    seconds = {n: round(s * slower, 1) for n, s in shipped.items() if n in registry.NAMES}
    seconds |= {n: s for n, (s, _) in found.items()}
    if not was_busy:
        remember(seconds, whole={n for n, (_, whole) in found.items() if whole})
    yield {"slower": round(slower, 2), "seconds": seconds}


def remember(seconds: dict[str, float], whole: set[str]) -> None:
    """Keep the times for `llmlab run`: those of whole runs, and estimates where none was timed whole."""
    own = times.read(paths.cache())
    times.note_all(
        {
            n: (s, times.HERE if n in whole else times.ESTIMATED)
            for n, s in seconds.items()
            if n in whole or own.get(n, {}).get("where") != times.HERE
        }
    )


def measure(
    name: str, budget: float, on_row: Callable[[str, float], None] | None = None
) -> tuple[float | None, bool]:
    """(Seconds that the default run of an experiment takes here, was it run to its end?). When the budget is
    spent, the rest is extrapolated from the steps done; None where not one was.
    """
    from ..models.load import load

    experiment = registry.get(name)()
    load(experiment.default_model)  # what is imported and read for the first time does not count
    began, prepared, done = time.monotonic(), None, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in experiment.rows(load(experiment.default_model), 0):
            took, done = time.monotonic() - began, row["step"]
            prepared = took if prepared is None else prepared
            if on_row:
                on_row(name, min(1.0, done / max(1, experiment.steps)))
            if took > budget and done < experiment.steps:
                break
        else:
            return round(time.monotonic() - began, 1), True
    return (round(prepared + (took - prepared) * experiment.steps / done, 1) if done else None), False


def installed(package: str) -> str | None:
    """The installed version of a package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def current(checkpoint: str) -> bool:
    """Was the shipped checkpoint made by today's code?"""
    from ..lab import checkpoints

    try:
        return checkpoints.is_current(checkpoint)
    except (ValueError, KeyError, OSError):  # missing or broken
        return False


def memory_gb() -> float | None:
    """Physical memory, where the system tells."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def busy() -> bool:
    """Is something else at work? Two PyTorch processes at once slow each other down up to twentyfold."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.7 * (os.cpu_count() or 1)


def flags() -> list[str]:
    """Processor features that matter here."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    return [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {f} " in text.replace("\n", " ")]


def lines(found: dict) -> Iterator[str]:
    """A finding as sentences."""
    if "python" in found:
        memory = f", {found['memory_gb']} GB of memory" if found["memory_gb"] else ""
        yield f"Python {found['python']}, {found['cores']} cores{memory}"
        if "avx512_bf16" in found["cpu_flags"]:
            yield (
                "This processor has AVX512-BF16: after an evaluation, 4-bit layers of bitsandbytes repack"
                " themselves and then train wrongly; llmlab guards them."
            )
        if found["busy"]:
            yield (
                "The machine is busy, so the times below will be too long. Close other notebooks: on few"
                " cores, two PyTorch processes can slow each other down twentyfold."
            )
    if "versions" in found:
        yield ", ".join(f"{p} {v or 'not installed'}" for p, v in found["versions"].items())
    if "cache" in found:
        yield f"cache {found['cache']}, {found['free_gb']} GB free"
    if "torch_threads" in found:
        yield f"{found['torch_threads']} torch threads, {found['gpu'] or 'no GPU'}"
    for name, is_current in found.get("checkpoints", {}).items():
        yield f"checkpoint {name}: " + (
            "current" if is_current else f"stale or missing; run: llmlab build {name}"
        )
    if "timing" in found:
        yield f"timing {' and '.join(found['timing'])}, for at most about {BUDGET:.0f} s …"
    for name, why in found.get("not_timed", {}).items():
        yield f"{name} could not be timed: {why}"
    for name, t in found.get("timed", {}).items():
        there = f"; {t['shipped']:.1f} s on the machine of the shipped times" if t["shipped"] else ""
        how = "" if t["whole"] else ", extrapolated from its first steps"
        yield f"{name}: {t['seconds']:.1f} s{how}{there}"
    if "seconds" in found:
        yield f"This machine takes {found['slower']:.2f} times as long. Estimated times of the default runs:"
        for name, seconds in found["seconds"].items():
            yield f"llmlab run {name:10} about {seconds:.0f} s"


def command(argv: list[str]) -> int:
    """`llmlab doctor`: this machine, and the time of each experiment on it."""
    options = parse(
        "doctor",
        [
            ("quick", bool, False, "do not time the experiments"),
            ("json", bool, False, "print one JSON object as the last line"),
        ],
        argv,
    )
    found, bar = {}, progress()
    task = bar.add_task("timing", total=len(TIMED), last="")

    def timed(name: str, share: float) -> None:
        bar.start()
        bar.update(task, completed=TIMED.index(name) + share, last=name)

    try:
        for finding in examine(not options.quick, timed):
            bar.stop()  # while it is shown, prints would go to its console, stderr
            add(found, finding)
            for line in lines(finding):
                print(line, flush=True)
    except KeyboardInterrupt:
        bar.stop()
        print("llmlab: stopped; llmlab doctor --quick leaves the timing out", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(found))
    return 0
