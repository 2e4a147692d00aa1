"""serving: many adapters on one base, asked all at once: mixed in one batch, one adapter after the other, or
one request at a time.
"""

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

from ...lab.experiment import Experiment, knob
from ...serve.batcher import BATCHING, Batcher
from ...serve.requests import Request
from ...serve.store import AdapterStore
from ...serve.tenants import new_adapter
from ...world.base import rng
from ...world.census import Census


@dataclass(frozen=True)
class Serving(Experiment):
    """The same requests by the three ways to batch, in turns; nothing is learnt, so adapters are random
    ones.
    """

    name: ClassVar[str] = "serving"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "many tenants: tokens a second and bytes of one base with many adapters, by how requests are batched"
    )
    along: ClassVar[str] = "round"
    curves: ClassVar[dict[str, str]] = {
        "mixed_rate": "adapters mixed in a batch (tokens/s)",
        "sorted_rate": "one adapter after the other (tokens/s)",
        "single_rate": "one request at a time (tokens/s)",
        "mixed_passes": "adapters mixed (passes for 100 tokens)",
        "sorted_passes": "one by one (passes for 100 tokens)",
        "bytes_share": "bytes, of those of separate models (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(adapters=2, requests=4, tokens=4, uneven=0.5, steps=1),
        values=dict(adapters=(4,), rank=(1,), requests=(8,), tokens=(8,), steps=(2,)),
        clock=("mixed_rate", "sorted_rate", "single_rate"),
    )

    adapters: int = knob(8, 1, 64, help="tenants, each with an adapter")
    rank: int = knob(4, 1, 64, scale="log", help="rank of the adapters")
    requests: int = knob(64, 2, 512, help="requests that come at once, the tenants in turn")
    tokens: int = knob(16, 2, 128, unit="tokens", help="longest answer")
    uneven: float = knob(
        0.0, 0.0, 1.0, unit="share", help="how much shorter than the longest an answer may be"
    )
    steps: int = knob(
        3, 1, 50, unit="rounds", help="rounds; in each all three ways of batching answer all requests"
    )

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """A row a round; the first one, in which caches are filled, has the number 0."""
        with tempfile.TemporaryDirectory() as folder:
            store, questions = random_tenants(loaded, folder, self.adapters, self.rank), self.ask(seed)
            whole, one = (
                sum(p.numel() * p.element_size() for p in loaded.model.parameters()),
                store.load("t00").bytes,
            )
            for step in range(self.steps + 1):
                row = {"step": step, "bytes_share": (whole + self.adapters * one) / (self.adapters * whole)}
                for batching in BATCHING:
                    row |= {
                        f"{batching}_{what}": value
                        for what, value in served(loaded, store, questions, batching).items()
                    }
                yield row

    def ask(self, seed: int) -> list[Request]:
        """The requests, in an order and with lengths that are a function of the seed."""
        r, problems = rng("serving", seed), Census().problems(self.requests, seed=seed)
        least = max(1, round(self.tokens * (1 - self.uneven)))
        return [
            Request(f"t{i % self.adapters:02}", p.messages, r.randint(least, self.tokens))
            for i, p in enumerate(problems)
        ]


def random_tenants(loaded, folder: str, adapters: int, rank: int) -> AdapterStore:
    """A store with tenants t00, t01, … in the folder, all with the same fresh adapter: what it says is of no
    account here.
    """
    store = AdapterStore(folder)
    with tempfile.TemporaryDirectory() as source:
        new_adapter(loaded.model, rank=rank).save_pretrained(source)
        for i in range(adapters):
            store.publish(f"t{i:02}", source)
    return store


def served(loaded, store: AdapterStore, requests: list[Request], batching: str) -> dict[str, float]:
    """rate: generated tokens a second · passes: passes through the model for 100 tokens. Every answer is as
    long as it may be.

    The adapters are in their slots when the clock starts, as they are in a server that runs.
    """
    batcher = Batcher(loaded, store, batching=batching)
    batcher.stops = set()
    batcher.answer([replace(r, max_tokens=1) for r in {r.tenant: r for r in requests}.values()])
    with counted(loaded.model) as passes:
        began = time.perf_counter()
        tokens = sum(len(a.ids) for a in batcher.answer(requests))
        seconds = time.perf_counter() - began
    batcher.close()
    return {"rate": tokens / seconds, "passes": 100 * len(passes) / tokens}


@contextmanager
def counted(model):
    """A list that grows by one at every pass through the model."""
    passes = []
    hook = model.register_forward_hook(lambda *_: passes.append(1))
    try:
        yield passes
    finally:
        hook.remove()
