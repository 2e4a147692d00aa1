"""`llmlab bench`: how fast the lab is, as ratios measured side by side in one process on this machine."""

import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Callable, Sequence

from .. import paths
from ..errors import UserError
from ..lab import registry, times
from .bench_search import at_once, search, speculate
from .bench_steps import ROUNDS, alternate, distill, dpo, matrix_rate, seconds_per_step, sft
from .options import nearest, parse

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch

from ..chapters.c05_lora.serving import Serving, random_tenants
from ..chapters.c07_reinforcement_learning.policy import Policy
from ..methods import imitation
from ..models.frozen import frozen_copy
from ..models.load import load
from ..tokens import chat
from ..tokens.batch import Batch, pad
from ..train import loop
from ..trl.engine import TRL
from ..world import Sums


def grpo() -> dict:
    """Time until 80 % of held-out three-digit sums are right, with the same knobs by our loop and by
    GRPOTrainer, without the readings' own time.
    """
    knobs = Policy(steps=100, probe=5)
    runs = [(reached(knobs, seed), reached(TRL(knobs), seed)) for seed in range(ROUNDS)]
    (steps, step), (their_steps, their_step) = (
        [statistics.median(r[side][i] for r in runs) for i in (0, 1)] for side in (0, 1)
    )
    ours, theirs = (statistics.median(math.prod(r[side]) for r in runs) for side in (0, 1))
    figures = {
        "ours_ms": 1e3 * step,
        "theirs_ms": 1e3 * their_step,
        "ours_steps": float(steps),
        "theirs_steps": float(their_steps),
    }
    figures |= {"ours_s": ours, "theirs_s": theirs, "ratio": theirs / ours, "goal": 3.5}
    return figures | {
        "what": "GRPO against GRPOTrainer: time until 80 % of held-out sums are right, 32 × 8 answers a step"
    }


def reached(experiment, seed: int, accuracy: float = 0.8) -> tuple[int, float]:
    """(steps until a reading shows the accuracy, median seconds of a step without a reading)."""
    times, began = [], time.perf_counter()
    with closing(experiment.rows(load(experiment.default_model), seed)) as rows:
        for row in rows:
            if "accuracy" not in row:
                times.append(time.perf_counter() - began)
            elif row["accuracy"] >= accuracy:
                return row["step"], statistics.median(times)
            began = time.perf_counter()
    raise RuntimeError(
        f"{experiment.name} with seed {seed} has not reached {accuracy:.0%} in {experiment.steps} steps"
    )


def sampling() -> dict:
    """A rollout workload: 32 prompts × 8 samples, answers of 4 to 48 tokens."""
    from ..train.sample import sample

    loaded = load("chat")
    loaded.model.eval()
    problems = Sums(("add", "subtract"), digits=2, scratchpad=True).problems(16, split="train") + Sums(
        ("add",), digits=2
    ).problems(16, split="train")
    prompts, stops = [chat.prompt(loaded.tok, p.messages) for p in problems], chat.stop_ids(loaded.tok)

    def ours():
        """Seconds of our sampler."""
        began = time.perf_counter()
        sample(loaded.model, prompts, k=8, max_new=48, stop=stops, generator=torch.Generator().manual_seed(0))
        return time.perf_counter() - began

    def theirs():
        """Seconds of `generate`."""
        ids = pad(prompts, loaded.tok.pad_token_id, side="left")
        mask = pad([[1] * len(p) for p in prompts], 0, side="left")
        began = time.perf_counter()
        with torch.no_grad():
            loaded.model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                top_k=0,
                num_return_sequences=8,
                max_new_tokens=48,
                eos_token_id=sorted(stops),
                pad_token_id=loaded.tok.pad_token_id,
            )
        return time.perf_counter() - began

    ours(), theirs()
    return alternate(ours, theirs, rounds=5) | {
        "goal": 2.0,
        "what": "sampling against transformers.generate, 32 × 8 answers",
    }


def training_rate() -> dict:
    """Useful matrix products per second of a training step, as a share of the machine's own rate at the same
    shapes.
    """
    loaded = load("base")
    model, rows = loaded.model, []
    ids = torch.randint(0, model.config.vocab_size, (32, 129))
    batch = Batch(ids, torch.ones(ids.shape))
    tokens = 32 * 128
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    attention = (
        model.config.num_hidden_layers * 2 * 128 * model.config.num_attention_heads * model.config.head_dim
    )  # scores and mixing, all 128 keys
    flop = 6 * tokens * (linear + attention)
    for _ in range(ROUNDS):
        step = seconds_per_step(
            loop.steps(
                frozen_copy(model).requires_grad_(True),
                iter(lambda: batch, None),
                imitation.nll,
                n=10**6,
                lr=1e-4,
            )
        )
        rows.append((flop / step, matrix_rate(tokens, model)))
    rate, peak = (statistics.median(r[i] for r in rows) for i in (0, 1))
    return {
        "gflops": rate / 1e9,
        "matrix_gflops": peak / 1e9,
        "ratio": rate / peak,
        "goal": 0.75,
        "what": "training step against the fp32 matrix-product rate at its own shapes",
    }


def live() -> dict:
    """The default run of cpt in a fresh process: seconds in all, seconds to the first point, peak memory,
    import time.
    """
    code = """
import time, pathlib, re, resource; t = time.perf_counter()
def peak():  # of this process alone: ru_maxrss starts at what the parent had
    status = pathlib.Path('/proc/self/status')
    if status.exists():
        return int(re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
import llmlab.cli; light = time.perf_counter() - t
import sys; assert 'torch' not in sys.modules
from llmlab.learn.widgets import Panel
panel = Panel('cpt', seed=99); first = []  # no shipped run has this seed
draw = panel._draw
def seen(): first or first.append(time.perf_counter()); draw()
panel._draw = seen
t = time.perf_counter(); panel.start(); panel.wait()
print(light, first[0] - t, panel.last.seconds, peak() / 2**20)
"""
    with tempfile.TemporaryDirectory() as home:
        out = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"LLMLAB_HOME": home},
        ).stdout
    light, first, seconds, memory = map(float, out.split()[-4:])
    return {
        "import_s": light,
        "first_point_s": first,
        "run_s": seconds,
        "peak_gb": memory,
        "ratio": 30 / seconds,
        "goal": 1.0,
        "what": "default cpt run: 30 s / its seconds (first point ≤ 3 s, import < 0.5 s, memory < 2 GB)",
    }


def ledger() -> dict:
    """The ledger's page in a fresh process, imports included."""
    code = "from llmlab.learn.widgets.ledger import LedgerPage; LedgerPage()._repr_mimebundle_()"
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    seconds = time.perf_counter() - began
    return {
        "open_s": seconds,
        "ratio": 2 / seconds,
        "goal": 1.0,
        "what": "opening the ledger's page: 2 s / its seconds",
    }


def defaults(names: Sequence[str] = registry.NAMES) -> dict:
    """The default run of every experiment, or of these, in this process, probes included."""
    seconds = {}
    for name in names:
        experiment = registry.get(name)()
        began = time.perf_counter()
        for _ in experiment.rows(load(experiment.default_model), seed=0):
            pass
        seconds[f"{name}_s"] = time.perf_counter() - began
    return slowest(seconds) | {"goal": 1.0, "what": "default runs: 60 s / the slowest one's seconds"}


def slowest(seconds: dict[str, float]) -> dict[str, float]:
    """The seconds, and the ratio that they make."""
    return seconds | {"ratio": 60 / max(seconds.values())}


def serving() -> dict:
    """64 requests at once for 1, 8 and 32 adapters: mixed batches, one adapter after the other, one request
    after the other; and bytes.
    """
    figures = {}
    for adapters in (1, 8, 32):
        rows = list(Serving(adapters=adapters).rows(load("chat"), seed=0))[1:]
        figures |= {
            f"{way}_{adapters}_tokens_per_s": statistics.median(r[f"{way}_rate"] for r in rows)
            for way in ("mixed", "sorted", "single")
        }
        figures[f"share_of_full_models_bytes_{adapters}"] = rows[0]["bytes_share"]
    ratio = figures["mixed_8_tokens_per_s"] / figures["sorted_8_tokens_per_s"]
    return figures | {
        "ratio": ratio,
        "goal": 3.0,
        "what": "serving 64 requests of 8 adapters: mixed batches against one adapter after the other",
    }


def serving_peft() -> dict:
    """The same 64 requests of 8 adapters in one batch: our batcher against PEFT's `adapter_names` in
    `generate`.
    """
    from ..serve.batcher import Batcher

    with tempfile.TemporaryDirectory() as folder:
        loaded, knobs = load("chat"), Serving()
        store, requests = random_tenants(loaded, folder, knobs.adapters, knobs.rank), knobs.ask(seed=0)
        model = peft_model(loaded, store.folder, sorted({r.tenant for r in requests}))
        batcher = Batcher(loaded, store)
        batcher.stops = set()
        ours = partial(batcher_seconds, batcher, requests)
        theirs = partial(peft_seconds, model, loaded.tok, requests, knobs.tokens)
        ours(), theirs()
        figures = alternate(ours, theirs)
        batcher.close()
    return figures | {
        "goal": 1.0,
        "what": "serving 64 requests of 8 adapters: mixed batches against PEFT's adapter_names",
    }


def peft_model(loaded, folder: Path, names: list[str]):
    """A frozen copy of the model with the first version of each named tenant's adapter, as PEFT loads it."""
    from peft import PeftModel

    first, *others = names
    model = PeftModel.from_pretrained(
        frozen_copy(loaded.model), str(folder / first / "1"), adapter_name=first
    ).eval()
    for name in others:
        model.load_adapter(str(folder / name / "1"), adapter_name=name)
    return model


def batcher_seconds(batcher, requests: list) -> float:
    """Seconds in which our batcher answers the requests."""
    began = time.perf_counter()
    batcher.answer(requests)
    return time.perf_counter() - began


def peft_seconds(model, tok, requests: list, tokens: int) -> float:
    """Seconds in which PEFT and transformers write as many tokens for each request; tokenization included, as
    on our side.
    """
    began = time.perf_counter()
    prompts = [chat.prompt(tok, r.messages) for r in requests]
    ids, mask = pad(prompts, 0, side="left"), pad([[1] * len(p) for p in prompts], 0, side="left")
    with torch.no_grad():
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            adapter_names=[r.tenant for r in requests],
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=0,
        )
    return time.perf_counter() - began


BENCHES = {
    "sft": sft,
    "dpo": dpo,
    "distill": distill,
    "grpo": grpo,
    "sampling": sampling,
    "search": search,
    "at_once": at_once,
    "speculate": speculate,
    "serving": serving,
    "serving_peft": serving_peft,
    "training_rate": training_rate,
    "live": live,
    "ledger": ledger,
    "defaults": defaults,
}


def run(benches: dict[str, Callable[[], dict]]) -> dict[str, dict]:
    """Run the benchmarks, a line each."""
    figures = {}
    for name, bench in benches.items():
        figures[name] = f = bench()
        detail = "  ".join(
            f"{k} {v:.3g}" for k, v in f.items() if isinstance(v, float) and k not in ("ratio", "goal")
        )
        print(
            f"{name:14} {f['ratio']:5.2f}  (goal {f['goal']:g}:"
            f" {'reached' if f['ratio'] >= f['goal'] else 'MISSED'})  {f['what']}\n{'':15}{detail}",
            flush=True,
        )
    return figures


def machine() -> str:
    """The machine in a few words."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return (
        f"{os.cpu_count()} cores of {named[1] if named else platform.machine()}, {torch.get_num_threads()}"
        f" threads, torch {torch.__version__}"
    )


def chosen(only: str, of: str) -> dict[str, Callable[[], dict]]:
    """The benchmarks to run. Raises UserError for `of` without --only defaults, or an unknown experiment."""
    if not of:
        return {only: BENCHES[only]} if only else BENCHES
    if only != "defaults":
        raise UserError("--of names experiments whose default runs are timed; add --only defaults")
    return {"defaults": partial(defaults, [registry.get(name).name for name in of.split(",")])}


def keep(figures: dict[str, dict]) -> None:
    """Into data/bench.json, for the README; the seconds of default runs into data/times.json too. What was
    not measured now stays as it was.
    """
    file = paths.data() / "bench.json"
    kept = json.loads(file.read_text())["figures"] if file.exists() else {}
    timed = {n.removesuffix("_s"): s for n, s in figures.get("defaults", {}).items() if n.endswith("_s")}
    if timed:
        seconds = {n: s for n, s in kept.get("defaults", {}).items() if n.endswith("_s")}
        seconds |= {f"{n}_s": s for n, s in timed.items()}
        figures = figures | {"defaults": figures["defaults"] | slowest(seconds)}
    content = {"machine": machine(), "figures": kept | figures}
    paths.write_atomic(file, json.dumps(content, indent=1).encode())
    times.note_all({name: (s, machine()) for name, s in timed.items()}, folder=paths.data())


def command(argv: list[str]) -> int:
    """`llmlab bench`: ratios measured side by side in this process."""
    options = parse(
        "bench",
        [
            ("only", str, "", "one of the benchmarks by name"),
            ("of", str, "", "defaults: the experiments that are timed, as name,name (empty: all)"),
            ("save", bool, False, "keep the figures in data/bench.json, for the README"),
            ("json", bool, False, "print one JSON object as the last line"),
        ],
        argv,
    )
    if options.only and options.only not in BENCHES:
        raise UserError(f"there is no benchmark '{options.only}'{nearest(options.only, BENCHES)}")
    if options.save:
        paths.clone("llmlab bench --save")
    figures = run(chosen(options.only, options.of))
    if options.save:
        keep(figures)
    if options.json:
        print(json.dumps(figures))
    return 0
