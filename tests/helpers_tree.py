"""Does the test session leave the working tree as it found it?"""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def status() -> list[str] | None:
    """The lines of git status, or None where there is no git or no repository."""
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(ROOT),
        "status",
        "--porcelain",
        "--untracked-files=all",
    ]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.splitlines() if told.returncode == 0 else None


def changes(before: list[str] | None, after: list[str] | None) -> list[str]:
    """What is in one list and not in the other; nothing where either is unknown."""
    if before is None or after is None:
        return []
    return [f"was    {line}" for line in before if line not in after] + [
        f"is now {line}" for line in after if line not in before
    ]
