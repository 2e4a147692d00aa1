"""Copies of the package with a change in their text, and what the rehearsal book says of them."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
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

# imports the slow libraries once and nothing of llmlab; forks a process for each script that it is told
PARENT = """
import json, os, signal, sys, traceback
import bitsandbytes, pandas, peft, torch
torch.set_num_threads(1)
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if not pid:
        try:
            signal.alarm(300)
            torch.set_num_threads(1)  # torch mends its pool at the first call after a fork
            os.environ.update(asked["env"])
            os.chdir(asked["cwd"])
            for fd, file in ((1, asked["out"]), (2, asked["err"])):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), fd)
            sys.path.insert(0, asked["cwd"])
            sys.argv[1:] = asked["arguments"]
            exec(compile(asked["script"], "script", "exec"), {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    print(os.waitpid(pid, 0)[1], flush=True)
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


@cache
def parent() -> subprocess.Popen:
    """The process that all scripts are forked from; it ends with its input, which this process holds."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def call(script: str, *arguments: str, copy: Path, data: Path) -> dict:
    """What a script prints as JSON in its last line, run in its own process, with a copy of the package and a
    data folder.
    """
    out, err = copy / "stdout", copy / "stderr"
    env = {k: os.environ[k] for k in ("LLMLAB_HOME",)} | {"LLMLAB_DATA": str(data), "PYTHONPATH": str(copy)}
    asked = dict(script=script, arguments=arguments, env=env, cwd=str(copy), out=str(out), err=str(err))
    print(json.dumps(asked), file=parent().stdin, flush=True)
    status = parent().stdout.readline().strip() or "none, because the parent has ended"
    assert status == "0", f"status {status}: {err.read_text()[-3000:] if err.exists() else ''}"
    return json.loads(out.read_text().splitlines()[-1])


def replay(name: str, labels: list[str], copy: Path) -> dict[str, list[str]]:
    """label -> (first difference to the shipped book, first one beyond the tolerance) with that copy."""
    return call(REPLAY, name, *labels, copy=copy, data=paths.data())
