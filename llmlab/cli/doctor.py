"""`llmlab doctor`: what this machine can do, and how long each experiment takes on it."""

import importlib.metadata
import os
import platform
import shutil
import time
from itertools import islice
from pathlib import Path

from .. import paths
from ..lab import registry, times


def examine(time_experiments: bool = True) -> dict:
    """Facts about machine, libraries, checkpoints and cache, and seconds of each default run (extrapolated
    from its first steps).
    """
    import torch

    found = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gb": memory_gb(),
        "busy": busy(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "cpu_flags": flags(),
        "versions": {
            p: importlib.metadata.version(p)
            for p in ("torch", "transformers", "trl", "peft", "bitsandbytes", "jupyterlab")
        },
        "cache": str(paths.cache()),
    }
    paths.writable(paths.cache())
    found["free_gb"] = round(shutil.disk_usage(paths.cache()).free / 2**30, 1)
    from ..lab import checkpoints

    found["checkpoints"] = {name: checkpoints.is_current(name) for name in ("base", "chat")}
    if time_experiments:
        found["seconds"] = {name: measure(name) for name in registry.NAMES}
    return found


def measure(name: str, steps: int = 6) -> float:
    """Seconds that the default run of an experiment takes here: the probes' and the steps' own times, counted
    out to its length.
    """
    from ..models.load import load

    experiment = registry.get(name)()
    began = time.perf_counter()
    rows = experiment.rows(load(experiment.default_model), 0)
    next(rows)
    prepared = time.perf_counter() - began  # loading, encoding and one reading of the probes
    marks = [time.perf_counter()]
    for _ in islice(rows, steps):
        marks.append(time.perf_counter())
    step = sorted(b - a for a, b in zip(marks, marks[1:]))[steps // 2]
    seconds = (
        prepared
        + experiment.steps * step
        + experiment.steps // getattr(experiment, "probe", experiment.steps) * prepared / 2
    )
    times.note(name, seconds, "estimated on this machine")
    return round(seconds, 1)


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


def lines(found: dict):
    """The findings as sentences."""
    yield (
        f"Python {found['python']}, {found['cores']} cores, {found['torch_threads']} torch threads, memory"
        f" {found['memory_gb']} GB, " + (found["gpu"] or "no GPU")
    )
    yield ", ".join(f"{p} {v}" for p, v in found["versions"].items())
    if "avx512_bf16" in found["cpu_flags"]:
        yield (
            "AVX512-BF16 here: bitsandbytes 4-bit layers repack themselves after an evaluation and then train"
            " wrongly, unless guarded."
        )
    yield f"cache {found['cache']}, {found['free_gb']} GB free"
    for name, current in found["checkpoints"].items():
        yield f"checkpoint {name}: " + (
            "current" if current else f"stale or missing; run: llmlab build {name}"
        )
    if found["busy"]:
        yield (
            "The machine is busy: close other notebooks; two PyTorch processes on few cores slow each other"
            " down up to twentyfold."
        )
    for name, seconds in found.get("seconds", {}).items():
        yield f"llmlab run {name:6} about {seconds:.0f} s"
