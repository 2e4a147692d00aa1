"""How long a default run takes: measured on this machine where it has been, else the figure of the 2-core
machine the workbook was built on. No torch.
"""

import json

from .. import paths

HERE = "this machine"
ESTIMATED = "estimated on this machine"


def _file(folder):
    return folder / "times.json"


def read(*folders) -> dict[str, dict]:
    """experiment -> {seconds, where}; this machine's own figures win over the shipped ones."""
    found: dict[str, dict] = {}
    for folder in folders or (paths.data(), paths.cache()):
        try:
            found |= {n: t for n, t in json.loads(_file(folder).read_text()).items() if _sound(t)}
        except (OSError, ValueError, AttributeError, RecursionError):
            continue  # not measured there yet, or damaged
    return found


def _sound(time) -> bool:
    """Is it a figure as `note_all` writes it?"""
    return isinstance(time, dict) and isinstance(time.get("seconds"), (int, float)) and "where" in time


def note(experiment: str, seconds: float, where: str = HERE, folder=None) -> None:
    """Remember the time of a default run."""
    note_all({experiment: (seconds, where)}, folder)


def note_all(found: dict[str, tuple[float, str]], folder=None) -> None:
    """Remember several: experiment -> (seconds, where)."""
    folder = folder or paths.cache()
    try:
        kept = json.loads(_file(folder).read_text())
        kept = kept if isinstance(kept, dict) else {}
    except (OSError, ValueError, RecursionError):
        kept = {}
    new = {name: {"seconds": round(seconds, 1), "where": where} for name, (seconds, where) in found.items()}
    paths.write_atomic(_file(folder), json.dumps(kept | new, indent=1).encode())
