"""The learner's notebooks: those of the clone, or copies. A new version of the package never overwrites
a copy that was changed. No torch.
"""

import json
from pathlib import Path

from .. import paths
from ..errors import UserError

NOTED = ".llmlab.json"  # in the folder of the copies: name -> hash of the notebook as it was copied


def chapter(number: str) -> str:
    """The file name of the first notebook whose name begins so. Raises UserError where there is none."""
    names = sorted(p.name for p in paths.shipped("notebooks").glob("*.ipynb"))
    found = [name for name in names if name.startswith(number)]
    if not found:
        known = ", ".join(name[:2] if name[0].isdigit() else name.removesuffix(".ipynb") for name in names)
        raise UserError(f"there is no chapter '{number}'; choose one of {known}")
    return found[0]


def place(folder: str = "") -> tuple[Path, list[str]]:
    """(The folder that `llmlab lab` opens, what to tell the user). In a clone, the notebooks are opened where
    they are, unless a folder is named.
    """
    if not folder and not paths.installed():
        return paths.shipped("notebooks"), []
    target = Path(folder).expanduser().resolve() if folder else paths.state() / "notebooks"
    if target.exists() and not target.is_dir():
        raise UserError(f"'{target}' is a file; name a folder for the notebooks")
    return target, [f"your notebooks are in {target}", *copy(target)]


def copy(target: Path) -> list[str]:
    """Put the shipped notebooks into the folder: those that are missing there, and those that are unchanged
    copies of an older version. A line for each newer notebook that was held back.
    """
    paths.writable(target)
    noted, held = _noted(target), []
    for book in sorted(paths.shipped("notebooks").glob("*.ipynb")):
        body, own = book.read_bytes(), target / book.name
        new = paths.hash_bytes(body)
        if own.exists():
            now = paths.hash_bytes(own.read_bytes())
            if now not in (new, noted.get(book.name)):
                if noted.get(book.name) != new:
                    held.append(
                        f"{book.name}: your own version is kept; to get the new one, rename or delete yours"
                        " and start llmlab lab again"
                    )
                continue
        if not own.exists() or now != new:
            paths.write_atomic(own, body)
        noted[book.name] = new
    paths.write_atomic(target / NOTED, json.dumps(noted, indent=1).encode())
    return held


def _noted(target: Path) -> dict[str, str]:
    try:
        found = json.loads((target / NOTED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # nothing was copied yet, or the note is broken: then every notebook counts as changed
    return found if isinstance(found, dict) else {}
