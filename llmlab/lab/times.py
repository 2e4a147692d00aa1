"""How long a default run takes: measured on this machine where it has been, else the figure of the 2-core
machine the workbook was built on. No torch.
"""

import json

from .. import paths


def _file(folder):
    return folder / "times.json"


def read(*folders) -> dict[str, dict]:
    """experiment -> {seconds, where}; this machine's own figures win over the shipped ones."""
    found = {}
    for folder in folders or (paths.data(), paths.cache()):
        try:
            found |= json.loads(_file(folder).read_text())
        except (OSError, ValueError):
            continue  # not measured there yet
    return found


def note(experiment: str, seconds: float, where: str = "this machine", folder=None) -> None:
    """Remember the time of a default run."""
    folder = folder or paths.cache()
    try:
        kept = json.loads(_file(folder).read_text())
    except (OSError, ValueError):
        kept = {}
    paths.write_atomic(
        _file(folder),
        json.dumps(kept | {experiment: {"seconds": round(seconds, 1), "where": where}}, indent=1).encode(),
    )
