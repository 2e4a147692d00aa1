"""Copies of the package with a change in their text, and what the rehearsal book says of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from llmlab import paths
from llmlab.lab import code

# replays rehearsals of one experiment; JSON: label -> (first difference, first one beyond the tolerance)
REPLAY = """
import json, sys
from llmlab.lab import registry, rehearsal
name, *labels = sys.argv[1:]
book, found = rehearsal.Book(name, rehearsal.plan(registry.get(name))), {}
before = book.read()["rows"]
samples = rehearsal.learns_from_samples(before.values())
for r in book.wanted:
    if r.label in labels:
        rows = rehearsal.perform(r)
        both = before[r.label], rows, book.clock
        ways = rehearsal.differences(*both), rehearsal.far(*both, samples)
        found[r.label] = [next(way, "") for way in ways]
print(json.dumps(found))
"""


def package(folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the package in which each (old text, new text) is changed, wherever the old one stands, which
    must be one place; the folder to import it from.
    """
    shutil.copytree(code.ROOT, folder / "llmlab")  # with what is compiled: only the changed file is again
    texts = {f: f.read_text(encoding="utf-8") for f in (folder / "llmlab").rglob("*.py")}
    for old, new in changes:
        places = [f for f, text in texts.items() for _ in range(text.count(old))]
        assert len(places) == 1, f"{len(places)} places have: {old}"
        texts[places[0]] = texts[places[0]].replace(old, new)
        places[0].write_text(texts[places[0]], encoding="utf-8")
    return folder


def call(script: str, *arguments: str, copy: Path, data: Path) -> dict:
    """What a script prints as JSON in its last line, run with a copy of the package and a data folder."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy), "LLMLAB_DATA": str(data), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def replay(name: str, labels: list[str], copy: Path) -> dict[str, list[str]]:
    """label -> (first difference to the shipped book, first one beyond the tolerance) with that copy."""
    return call(REPLAY, name, *labels, copy=copy, data=paths.data())
