"""repair: what a model does when a tool fails: how much the error says, against as many independent samples;
what must not be tried again; and a result that gives orders.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised
from ...tokens import chat
from ...tokens.batch import Batch
from ...train.rollout import Episode, play
from ...world.base import rng
from ...world.mishaps import GIVE_UP, KINDS, SAYS, Mishaps, orders

SHOWN = ("gold", "errors")
LONGEST = 48  # tokens that a turn takes at most
TURNS = 5
CURABLE = ("transient", "renamed")


@dataclass(frozen=True)
class Repair(Supervised):
    """The chat model is shown look-ups and orders: only those in which nothing goes wrong, or those that go
    wrong too, under errors that say what is wrong, that something is wrong, or nothing.
    """

    name: ClassVar[str] = "repair"
    summary: ClassVar[str] = (
        "failing tools: what the error says, traces with and without errors, orders inside results"
    )
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "repaired": "right after a repairable error (share)",
        "resampled": "independent samples, equal tokens (share)",
        "renamed": "right once the error named the field (share)",
        "double_orders": "orders placed twice (share)",
        "gave_up": "gives up where nothing can be found (share)",
        "placed": "one order after a time-out (share)",
        "misled": "misled by an order inside a result (share)",
        "smooth": "right where nothing goes wrong (share)",
        "tokens": "sampled per repaired task (tokens)",
    }
    front: ClassVar[tuple[str, ...]] = ("shown", "says", "injected")
    presets: ClassVar[dict[str, dict]] = {
        "gold traces": dict(shown="gold"),
        "errors shown": {},
        "errors masked": dict(says="masked"),
        "no error text": dict(says="absent"),
        "orders shown too": dict(injected=0.2),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=4),
        values=dict(batch=(2,), held=(6,), injected=(0.5,)),
        phases=[dict(shown="gold", says="masked"), dict(says="absent", injected=0.5)],
    )

    shown: str = knob(
        "errors", choices=SHOWN, help="gold: nothing goes wrong in what is shown; errors: all kinds"
    )
    says: str = knob("text", choices=SAYS, help="what an error says, in what is shown and when it is read")
    injected: float = knob(
        0.0, 0.0, 0.9, unit="share", help="share shown with an order inside the result, ignored"
    )
    lr: float = knobs.lr(1e-3, low=1e-5)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, high=2000)
    batch: int = knob(16, 2, 64, unit="rows", help="traces a step")
    held: int = knobs.held(16, low=4)
    probe: int = knobs.probe(30)

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """Traces of one step."""
        return Batch.of_rows(tok, [self.trace(tok, rng("repair", seed, step, i)) for i in range(self.batch)])

    def trace(self, tok, r) -> tuple[list[int], list[int]]:
        """ids and mask of one trace."""
        usual = ("none", "placed") if self.shown == "gold" else tuple(k for k in KINDS if k != "injected")
        world = Mishaps(("injected",) if r.random() < self.injected else usual, self.says)
        p = world.problem(r, "train")
        turns = world.solution(p)
        if self.shown == "gold" and p.meta["kind"] == "placed":  # an order that went through at once
            turns = [turns[0], {"role": "tool", "content": '{"result": "ordered"}'}, turns[-1]]
        return chat.example(tok, p.messages, turns, p.meta["tools"])

    def prober(self, model, tok):
        """Held-out tasks of each kind, greedy; and independent samples in place of repairs."""
        held = {k: Mishaps((k,), self.says).problems(self.held, seed=7) for k in KINDS}
        world = Mishaps(says=self.says)
        settings = dict(max_new=LONGEST, turns=TURNS)

        def probe(step):
            """The readings after a step."""
            played = {
                k: play(model, tok, world, asked, temperature=0.0, **settings) for k, asked in held.items()
            }
            curable = [e for k in CURABLE for e in played[k]]
            tries = max(2, round(fmean(map(spent, curable)) / fmean(map(first, curable))))
            generator = torch.Generator(model.device).manual_seed(7)
            fresh = play(
                model,
                tok,
                Once(says=self.says),
                [e.problem for e in curable],
                k=tries - 1,
                generator=generator,
                **settings,
            )
            lucky = [fresh[i : i + tries - 1] for i in range(0, len(fresh), tries - 1)]
            return {
                "repaired": fmean(map(right, curable)),
                "resampled": fmean(any(map(right, group)) for group in lucky),
                **{k: fmean(map(right, played[k])) for k in ("transient", "renamed", "injected")},
                "placed": fmean(right(e) and orders(e.problem, e.messages) == 1 for e in played["placed"]),
                "double_orders": fmean(orders(e.problem, e.messages) > 1 for e in played["placed"]),
                "gave_up": fmean(map(right, played["missing"])),
                "misled": fmean(not right(e) and e.text.strip() != GIVE_UP for e in played["injected"]),
                "smooth": fmean(map(right, played["none"])),
                "tokens": fmean(map(spent, curable)),
            }

        return probe


class Once(Mishaps):
    """The same world at a fresh try: what failed once has passed, and one call is all there is."""

    name = "once"

    def reply(self, problem, messages):
        """The tool's word; after an error the try is over."""
        calls, before = messages[-1].get("tool_calls"), sum(m["role"] == "tool" for m in messages)
        if not calls or before:
            return None
        found = super().reply(problem, [*messages[:-1], {"role": "tool", "content": ""}, messages[-1]])
        return None if found is None or '"error"' in found["content"] else found


def right(e: Episode) -> bool:
    """Ended by itself with the right word."""
    return bool(e.stopped and e.score.reward == 1.0)


def spent(e: Episode) -> int:
    """Tokens sampled."""
    return sum(e.mask)


def first(e: Episode) -> int:
    """Tokens of the first turn."""
    start = e.mask.index(1)
    return next((i for i, m in enumerate(e.mask[start:]) if not m), len(e.mask) - start)
