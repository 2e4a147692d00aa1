"""Kills runs and builds (SIGKILL), at random moments and while they write; one JSON line tells how it ended:
helpers_faults.py WHAT FOLDER.

torch and what else is slow to import are imported once, and the code is hashed once; every run or build is a
forked child with one thread. Models, recipes and probes are tiny and checkpoints are taken several times a
second, so that kills hit the training, the writing of checkpoints and records, and the swap of finished
folders.
"""

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}

import jsonschema  # noqa: E402, F401
import pandas  # noqa: E402, F401
import peft  # noqa: E402, F401
import torch  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

torch.set_num_threads(1)

from llmlab import paths  # noqa: E402
from llmlab.lab import checkpoints, code, pool, registry, runs, sweeps  # noqa: E402
from llmlab.ledger import CLAIMS, results, runner  # noqa: E402
from llmlab.ledger.claims import Arm, Claim, contrast  # noqa: E402
from llmlab.models import load as models  # noqa: E402
from llmlab.train import loop  # noqa: E402

CPT, PAIRS = (registry.get(name) for name in ("cpt", "pairs"))
for experiment in (CPT(), PAIRS()):
    code.of(experiment)
RUN = CPT(steps=40, batch=2, probe=5)
SHORT = {"steps": 12, "batch": 2, "probe": 4}
GRID = sweeps.Grid("cpt", {"lr": (1e-3, 3e-3)} | {k: (v,) for k, v in SHORT.items()}, seeds=2)
ONE, TWO = (Arm(name, "cpt", SHORT | {"lr": lr}) for name, lr in (("one", 1e-3), ("two", 2e-3)))
CLAIM = Claim(
    "C999",
    "A higher rate is another run.",
    "A 0",
    "measured",
    "01",
    "none",
    matched="steps",
    contrasts=(contrast("a gap", "more", ONE("domain_loss"), TWO("domain_loss"), 0.01),),
)
EARLY = 9  # kills before the systematic ones, of which a sweep, the shortest, has three
AFTER_SAVES = 2  # the first of them in a folder: at the 20th change of a file, when a checkpoint is written
CHANGES = (
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "shutil.rmtree",
    "shutil.copytree",
    "shutil.copyfile",
)


class Checkpoint(loop.Checkpoint):
    """Every fourth step; and notes at which step each process began."""

    calls = 0

    def tick(self, model, opts, extra, now=False):
        self.calls += 1
        super().tick(model, opts, extra, now or self.calls % 4 == 0)

    def load(self, model, opts):
        found = super().load(model, opts)
        with open(paths.cache() / "began.txt", "a") as f:
            f.write(f"{found['rows'][-1]['step'] if found else 0}\n")
        return found


def shrink():
    """Everything small enough for a second or two."""
    loop.Checkpoint = Checkpoint
    sweeps.GRIDS = {"cpt": GRID}
    # one process, so that a kill hits the work itself; the pool's workers have tests of their own
    pool.run_all = lambda jobs: ((job, runs.run(*job)) for job in jobs)
    prepare = CPT.prepare
    CPT.prepare = lambda self, tok, texts: {
        name: [batches[0].pick(slice(0, 4))] for name, batches in prepare(self, tok, texts).items()
    }
    tok = AutoTokenizer.from_pretrained(
        models.resolve("base")
    )  # no model is loaded here: a fork must not inherit threads
    checkpoints.lab_tokenizer = lambda: tok
    sizes = dict(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=64,
    )
    models.SIZES.update(sizes)
    checkpoints.PLANS = {
        name: checkpoints.Plan(
            steps=60 if name == "pre" else 30,
            rows=2,
            lr=3e-3,
            length=65 if name in ("pre", "base") else 520,
        )
        for name in checkpoints.PLANS
    }
    checkpoints.SHAPES = dict.fromkeys(checkpoints.SHAPES, (2, 1, 32))
    checkpoints.measure = partial(checkpoints.measure, n=4)
    checkpoints.SKILLS = {name: dict(list(of.items())[:2]) for name, of in checkpoints.SKILLS.items()}


def do_run():
    runs.run(RUN, 0, "base")


def do_out():
    """As a user: who finds the folder filled is told so and does not run again."""
    out = paths.cache().parent / "mine"
    if not out.exists():
        runs.run(PAIRS(steps=12, batch=2, probe=4, method="lora", out=str(out)), 0, again=False)


def do_sweep():
    if not sweeps.is_current(GRID):
        list(sweeps.build(GRID))


def do_claims():
    CLAIMS.clear()
    CLAIMS.update({CLAIM.id: CLAIM})
    runner.run([CLAIM], executor=pool.run_all)


def do_build():
    for name in checkpoints.PLANS:
        if not checkpoints.is_current(name):
            for _ in checkpoints.build(name):
                pass


def child(work) -> int:
    """Process id of a fork that does the work."""
    pid = os.fork()
    if pid:
        return pid
    try:
        # torch mends its pool at the first call after a fork; from_pretrained's threads would race for it
        torch.set_num_threads(1)
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def wait(pid, seconds=1e9) -> int | None:
    """The child's exit status, or None if it is still at work after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done or time.monotonic() > end:
            return status if done else None
        time.sleep(0.002)


def die_writing(folder: Path, nth: int, size: int, work):
    """Works, and is killed just before its nth change of a file under the folder; if that is a write, after
    `size` bytes of it. A shorter one is followed by the kill before the next change, or after the work: who
    reaches the nth change never ends well.
    """
    signal.signal(
        signal.SIGXFSZ, signal.SIG_DFL
    )  # Python ignores it; the kernel sends it where a file grows beyond its limit
    left = nth

    def hook(event, args):
        nonlocal left
        writes = event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if (
            (writes or event in CHANGES)
            and str(args[0]).startswith(str(folder))
            and not str(args[0]).endswith("began.txt")
        ):
            left -= 1
            if left == 0 and writes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            elif left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work()
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


def outcome_run(home: Path, data: Path):
    """The rows of the stored run, or None."""
    found = list((home / "runs" / "cpt").glob("*.json"))
    return json.loads(found[0].read_bytes().split(b"\n", 1)[1])["rows"] if found else None


def outcome_out(home: Path, data: Path):
    """The adapters that were trained, and the rows; None where either is not there."""
    out, found = home.parent / "mine", list((home / "runs" / "pairs").glob("*.json"))
    if not out.exists() or not found:
        return None
    weights = paths.hash_files([out / "adapter_model.safetensors", out / "tokenizer.json"])
    return [weights, json.loads(found[0].read_bytes().split(b"\n", 1)[1])["rows"]]


def outcome_sweep(home: Path, data: Path):
    """The bytes of the sweep, or None."""
    return paths.hash_files([GRID.file]) if sweeps.is_current(GRID) else None


def outcome_claims(home: Path, data: Path):
    """What the ledger holds."""
    CLAIMS.clear()
    CLAIMS.update({CLAIM.id: CLAIM})
    found = results.load()
    return [found[CLAIM.id]["contrasts"], sorted(map(repr, results.load_curves().items()))] if found else None


def outcome_build(home: Path, data: Path):
    """Hash of all weights and tokenizers, and the measured skills, or None."""
    folders = [data / "checkpoints" / name for name in paths.LAB]
    if not all(f.exists() for f in folders):
        return None
    return [
        [
            paths.hash_files([f / "model.safetensors", f / "tokenizer.json"]),
            json.loads((f / "card.json").read_text())["skills"],
        ]
        for f in folders
    ]


def broken(home: Path, data: Path) -> list[str]:
    """Files under their final names that are not whole."""
    bad = []
    for file in (home / "runs").rglob("*.json"):
        head, body = file.read_bytes().split(b"\n", 1)
        bad += [file.name] if json.loads(head)["sha256"] != paths.hash_bytes(body) else []
    for file in home.rglob("*.state"):
        raw = file.read_bytes()
        whole = paths.hash_bytes(file.name.encode(), raw[16:]).encode()
        bad += [file.name] if raw[:16] != whole else []
    for folder in [
        f for place in (data / "checkpoints", home / "build") for f in place.glob("[!.]*") if f.is_dir()
    ]:
        try:
            raw = (folder / "model.safetensors").read_bytes()
            size = int.from_bytes(raw[:8], "little")
            end = max(
                t["data_offsets"][1] for n, t in json.loads(raw[8 : 8 + size]).items() if n != "__metadata__"
            )
            whole = (
                len(raw) == 8 + size + end
                and json.loads((folder / "card.json").read_text())["recipe"]
                and (folder / "config.json").exists()
            )
        except (OSError, ValueError, KeyError):
            whole = False
        bad += [] if whole else [folder.name]
    return bad


def place(folder: Path, what: str, shipped: Path) -> tuple[Path, Path]:
    """An empty cache and, for builds, an empty data folder."""
    home, data = folder / "home", shipped if what in ("run", "out") else folder / "data"
    home.mkdir(parents=True)
    if what in ("sweep", "claims"):
        data.mkdir()
        (data / "checkpoints").symlink_to(shipped / "checkpoints")
    os.environ |= {"LLMLAB_HOME": str(home), "LLMLAB_DATA": str(data)}
    return home, data


def kill_often(what: str, folder: Path) -> dict:
    """Until EARLY kills: in each folder two after a checkpoint, then in turn at a random time and at a random
    change of a file. Then one at every change of the folders that hold what is finished.
    """
    work, outcome = KINDS[what]
    shipped, r = paths.data(), random.Random(0)
    home, data = place(folder / "alone", what, shipped)
    began = time.monotonic()
    assert wait(child(work)) == 0
    expected, alone = outcome(home, data), time.monotonic() - began
    found = {"kills": 0, "broken": [], "began": [], "identical": []}
    while len(found["identical"]) < 50:
        home, data = place(folder / str(len(found["identical"])), what, shipped)
        systematic, nth, status = found["kills"] >= EARLY, 0, None
        while status != 0:
            nth, at_random = nth + 1, not systematic and nth % 2
            death = partial(
                die_writing, home.parent, r.randrange(1, 16), r.choice([0, 5_000, 1_000_000]), work
            )
            if not systematic and nth <= AFTER_SAVES:
                at_random, death = False, partial(die_writing, home.parent, 20, 1_000_000, work)
            if systematic:
                holds = {"run": home / "runs", "out": home.parent / "mine"}.get(what, data)
                death = partial(die_writing, holds, nth, r.choice([0, 200, 5_000]), work)
            pid = child(work if at_random else death)
            status = wait(pid, r.uniform(0.1, 0.5 * alone) if at_random else 1e9)
            if status is None:
                os.kill(pid, signal.SIGKILL)
                status = wait(pid)
            assert status == 0 or os.WIFSIGNALED(status), "a call after a kill failed"
            found["kills"] += status != 0
            found["broken"] += broken(home, data)
        found["identical"].append(outcome(home, data) == expected)
        found["began"].append([int(line) for line in (home / "began.txt").read_text().split()])
        if systematic:
            return found | {"left": [f.name for f in home.rglob("*.state")]}
    raise RuntimeError("every child was faster than its kill")


KINDS = {
    "run": (do_run, outcome_run),
    "out": (do_out, outcome_out),
    "sweep": (do_sweep, outcome_sweep),
    "claims": (do_claims, outcome_claims),
    "build": (do_build, outcome_build),
}


def two_at_once(folder: Path) -> dict:
    """The same run in two processes at the same time."""
    home, data = place(folder / "alone", "run", paths.data())
    assert wait(child(do_run)) == 0
    expected = outcome_run(home, data)
    home, data = place(folder / "both", "run", data)
    pids = [child(do_run), child(do_run)]
    status, records = [wait(pid) for pid in pids], list((home / "runs" / "cpt").glob("*.json"))
    return {
        "status": status,
        "broken": broken(home, data),
        "records": len(records),
        "identical": outcome_run(home, data) == expected,
    }


if __name__ == "__main__":
    shrink()
    what, folder = sys.argv[1], Path(sys.argv[2])
    print(json.dumps(two_at_once(folder) if what == "two" else kill_often(what, folder)))
