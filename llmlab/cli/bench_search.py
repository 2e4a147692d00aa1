"""Benchmarks of sampling at test time: a tree grown in batches against a loop over `generate`, many samples
of one prompt at once against one after the other, and speculative decoding against plain decoding.
"""

import statistics
import time

import torch

from ..chapters.c10_test_time.search import exact
from ..models.load import load
from ..tokens import chat
from ..train.sample import sample
from ..train.search import SPLIT, STEP, Grower, Node, beam
from ..train.speculate import speculate as continued
from ..world.reasoning import Reasoning

PROBLEMS, KEEP, WIDTH = 8, 2, 4
LONGEST, SIZES = 96, (1, 4, 16, 64)
DRAFTS, GAMMA, ASKED = ("student_l", "student_m"), 4, 16


class Noted(Grower):
    """A grower that notes what it was asked to grow."""

    def grow(self, nodes, width, whole=False):
        self.asked: list[list[Node]] = [*getattr(self, "asked", []), [n for n in nodes if not n.done]]
        return super().grow(nodes, width, whole)


def search() -> dict:
    """The same nodes of a beam search over steps, each with `WIDTH` children."""
    loaded, world = load("reasoner"), Reasoning(("reach",), (2,))
    loaded.model.eval()
    grower = Noted(loaded.model, loaded.tok, 1.0, torch.Generator().manual_seed(0))
    beam(grower, world.problems(PROBLEMS, seed=1), lambda nodes: [exact(n) for n in nodes], KEEP, WIDTH)
    waves = [wave for wave in grower.asked if wave]
    batched(loaded, waves), looped(loaded, waves)  # warm
    pairs = [(batched(loaded, waves), looped(loaded, waves)) for _ in range(3)]
    mine, other = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    nodes = sum(map(len, waves))
    return {
        "ours_ms": 1e3 * mine,
        "theirs_ms": 1e3 * other,
        "ratio": other / mine,
        "nodes": float(nodes),
        "goal": 3.0,
        "what": f"beam search over steps against a loop over generate, {nodes} nodes × {WIDTH}",
    }


def batched(loaded, waves: list[list[Node]]) -> float:
    """Seconds with all open nodes in one batch."""
    plain = Grower(loaded.model, loaded.tok, 1.0, torch.Generator().manual_seed(0))
    began = time.perf_counter()
    for wave in waves:
        plain.grow(wave, WIDTH)
    return time.perf_counter() - began


def looped(loaded, waves: list[list[Node]]) -> float:
    """Seconds with one call of `generate` a node."""
    (split,) = loaded.tok.encode(SPLIT, add_special_tokens=False)
    ends = [*chat.stop_ids(loaded.tok), split]
    began = time.perf_counter()
    for node in (n for wave in waves for n in wave):
        ids = torch.tensor([node.ids])
        with torch.no_grad():
            loaded.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=0,
                num_return_sequences=WIDTH,
                max_new_tokens=STEP,
                eos_token_id=ends,
                pad_token_id=loaded.tok.pad_token_id,
            )
    return time.perf_counter() - began


def at_once() -> dict:
    """Seconds until all N samples of one problem are there, by N, with the prompt shared; against N calls."""
    loaded, world = load("reasoner"), Reasoning(("products",), (2,))
    loaded.model.eval()
    prompt = chat.prompt(loaded.tok, world.problems(1, seed=1)[0].messages)
    stop = chat.stop_ids(loaded.tok)

    def seconds(n: int, calls: int = 1) -> float:
        began = time.perf_counter()
        for i in range(calls):
            generator = torch.Generator().manual_seed(i)
            sample(loaded.model, [prompt], k=n, max_new=LONGEST, stop=stop, generator=generator)
        return time.perf_counter() - began

    seconds(4)
    by_n = {n: statistics.median(seconds(n) for _ in range(3)) for n in SIZES}
    apart = seconds(1, calls=SIZES[-1])
    return {
        **{f"n{n}_s": by_n[n] for n in SIZES},
        "apart_s": apart,
        "ratio": apart / by_n[SIZES[-1]],
        "goal": 3.0,
        "what": f"{SIZES[-1]} samples of one problem at once against one after the other",
    }


def speculate() -> dict:
    """Tokens a forward of the reasoner where a student drafts for it, at temperature 1; one without drafts.
    Leviathan et al., arXiv 2211.17192
    """
    loaded, world = load("reasoner"), Reasoning(("strings",), (1, 2))
    prompts = [chat.prompt(loaded.tok, p.messages) for p in world.problems(ASKED, seed=1)]
    how = dict(gamma=GAMMA, max_new=LONGEST, stop=chat.stop_ids(loaded.tok))
    figures: dict[str, float] = {}
    for name in DRAFTS:
        draft, generator = load(name).model, torch.Generator().manual_seed(0)
        found = [continued(loaded.model, draft, p, generator=generator, **how) for p in prompts]
        figures[f"{name}_accepted_share"] = sum(s.accepted for s in found) / sum(s.drafted for s in found)
        figures[f"{name}_tokens_per_forward"] = sum(len(s.ids) for s in found) / sum(
            s.forwards for s in found
        )
    return {
        **figures,
        "ratio": max(figures[f"{name}_tokens_per_forward"] for name in DRAFTS),
        "goal": 2.0,
        "what": f"tokens a forward of the reasoner, {GAMMA} drafted by a student, against one a forward",
    }
