"""Kills (SIGKILL) a process that brings an index up to date, at random moments; one JSON line tells how it
ended: helpers_index.py FOLDER. Each update is a forked child of a process that has imported LanceDB and never
used it.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np

with warnings.catch_warnings(action="ignore"):
    import lancedb  # noqa: F401

from llmlab.retrieval import index as indices
from llmlab.retrieval.chunks import cut

WIDTH, KILLS = 8, 20
SIZES = {100: 240, 101: 60}  # document -> chunks: far more than a batch, so that a lost beginning shows
indices.BATCH = 16
QUESTIONS = [f"w{i} w{i + 3}" for i in range(0, 40, 4)]


def text(number: int) -> str:
    """25 chunks of 8 words, or what SIZES says."""
    r = random.Random(number)
    return "\n".join(
        " ".join(f"w{r.randrange(60)}" for _ in range(4)) for _ in range(2 * SIZES.get(number, 25))
    )


def documents(numbers=tuple(SIZES)) -> dict:
    """Mark -> its chunks."""
    return {f"{i:032x}": partial(cut, str(i), text(i), 8) for i in numbers}


def vectors(texts: list[str]) -> np.ndarray:
    """A function of each text alone."""
    found = np.zeros((len(texts), WIDTH), np.float32)
    for row, t in zip(found, texts):
        for w in t.split():
            row += np.random.default_rng(sum(map(ord, w)) * 31 + len(w)).standard_normal(WIDTH)
    return found / np.maximum(1e-9, np.linalg.norm(found, axis=1, keepdims=True))


def noted(log: Path, texts: list[str]) -> np.ndarray:
    """Slowly, and written down."""
    with log.open("a") as f:
        f.write(f"{len(texts)}\n")
    time.sleep(0.02)
    return vectors(texts)


def answers(folder: Path) -> list:
    """What the index in a folder says, brought up to date."""
    index = indices.Index(folder, documents(), vectors, WIDTH)
    index.update()
    return [[*map(tuple, index.search(q, 5, way))] for q in QUESTIONS for way in ("bm25", "states", "hybrid")]


def child(work) -> int:
    """Process id of a fork that does the work."""
    with warnings.catch_warnings(action="ignore"):  # its support of forks is new
        if pid := os.fork():
            return pid
    try:
        work()
        os._exit(0)
    except BaseException as e:
        print(repr(e), file=sys.stderr, flush=True)
        os._exit(1)


def update(folder: Path, log: Path, begun: Path) -> None:
    """As a user does."""
    index = indices.Index(folder, documents(), partial(noted, log), WIDTH)
    begun.touch()
    index.update()
    (log.parent / "mended").write_text(index.mended)


def kill_often(place: Path) -> dict:
    """KILLS kills spread over the time that an update takes. Where one ends before the last kill, the folder
    begins anew. embedded: [texts in all, kills] of each folder.
    """
    r, found = random.Random(0), {"kills": 0, "ended": 0, "failed": 0, "embedded": [], "mended": []}
    before = 0
    folder, log, begun = place / "index", place / "log", place / "begun"
    while found["kills"] < KILLS or found["ended"] == 0:
        begun.unlink(missing_ok=True)
        pid = child(partial(update, folder, log, begun))
        while not begun.exists():
            time.sleep(0.001)
        moment = time.monotonic() + (r.uniform(0, 0.4) if found["kills"] < KILLS else 60)
        while not (done := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < moment:
            time.sleep(0.001)
        if done[0]:
            found["ended"] += done[1] == 0
            found["failed"] += done[1] != 0
            found["mended"].append((place / "mended").read_text())
            found["embedded"].append([sum(map(int, log.read_text().split())), found["kills"] - before])
            before = found["kills"]
            if found["kills"] < KILLS:
                shutil.rmtree(folder)
                log.unlink()
        else:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            found["kills"] += 1
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1])
    found = kill_often(place)
    found["same"] = answers(place / "index") == answers(place / "fresh")
    print(json.dumps(found))
