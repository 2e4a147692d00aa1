"""agent: several calls until the task is done: imitation of single calls, of whole traces, of traces with a
mended fault, or a reward at the end.
"""

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import ClassVar, Iterator

import torch

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods import imitation
from ...methods.policy import Dials, where_sampled
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import loop
from ...train.collect import Collector
from ...train.recipe import Read, Recipe, numbered
from ...train.rollout import Episode, evaluate, play
from ...world.base import Problem, rng
from ...world.desk import Desk
from ...world.lessons import SEEN
from ...world.talk import Talk

METHODS = ("sft_single", "sft_gold", "sft_retry", "grpo")
TOOLS = ("formulary", "census")  # what a task of one call looks up
HELD = 32  # tasks a probe
LONGEST = 40  # tokens that a turn takes at most
NARROW = 1e-3  # peak learning rate of the lessons on single calls


@dataclass(frozen=True)
class Agent(Experiment):
    """Tasks of one to three calls, in some of which a call fails once; practised in one of four ways.

    sft_single  imitate tasks of one call, whatever the task asks for
    sft_gold    imitate whole traces in which nothing fails
    sft_retry   imitate whole traces in which the call that failed is made again
    grpo        whole trajectories of the model's own, rewarded at the end if the task is done
    """

    name: ClassVar[str] = "agent"
    summary: ClassVar[str] = (
        "tasks of several calls: imitation of single calls, of traces, of mended faults, or a reward at"
        " the end"
    )
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict[str, str]] = {
        "success": "success: tasks done, nothing fails (share)",
        "success_sampled": "success, sampled: nothing fails (share)",
        "recovery": "recovery: done, a call fails once (share)",
        "recovery_sampled": "recovery, sampled: a call fails once (share)",
        "retried": "failed calls made again (share)",
        "general_recall": "known facts (share right)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, prompts=4, group=4, batch=4, lr=3e-3),
        values=dict(batch=(2,), prompts=(2,), group=(2,), cold_start=(2,), chained=(1.0,)),
        under=dict(
            batch=dict(method="sft_gold"),
            chained=dict(cold_start=3, calls=2),
            method=dict(calls=2, faults=1.0),
        ),
        phases=[dict(cold_start=4, chained=0.5, calls=2), dict(method="sft_retry", calls=2, faults=1.0)],
        small=dict(HELD=4),
    )

    method: str = knob(
        "grpo",
        choices=METHODS,
        help=(
            "sft_single, sft_gold, sft_retry: imitate single calls, traces, traces with a mended fault; or"
            " GRPO"
        ),
    )
    calls: int = knob(1, 1, 3, unit="calls", help="calls that a task needs")
    faults: float = knob(
        0.5, 0.0, 1.0, unit="share", help="share of the tasks in which a call fails once; gold never sees one"
    )
    cold_start: int = knob(
        0, 0, 1000, unit="steps", help="the first steps: imitation of single calls, before the practice"
    )
    chained: float = knob(0.0, 0.0, 1.0, unit="share", help="share of whole tasks among those first lessons")
    lr: float = knob(3e-4, 1e-6, 1e-2, scale="log", help="peak learning rate of the practice")
    warmup: int = knob(2, 0, 100, unit="steps", help="steps of linear warm-up of the practice")
    steps: int = knob(12, 2, 1000, unit="steps", help="optimiser steps in all")
    batch: int = knob(16, 2, 64, unit="rows", help="traces a step of imitation")
    prompts: int = knob(6, 2, 64, help="tasks a step of GRPO")
    group: int = knob(6, 2, 32, help="trajectories a task")
    probe: int = knobs.probe(6)

    def __post_init__(self):
        super().__post_init__()
        if self.cold_start >= self.steps:
            raise BadKnob(
                f"--cold_start {self.cold_start} leaves nothing of --steps {self.steps} for the practice;"
                " choose fewer"
            )

    def desk(self, calls: int, faults: float) -> Desk:
        """Tasks to learn from."""
        return Desk(calls, faults, tools=TOOLS, formulary=SEEN)

    def lesson(self, r, practice: bool) -> tuple[Desk, Problem]:
        """One task whose trace is imitated."""
        whole = self.method != "sft_single" if practice else r.random() < self.chained
        mended = practice and self.method == "sft_retry"
        desk, problem = self.desk(self.calls if whole else 1, self.faults if mended else 0.0), None
        while problem is None:
            problem = desk.problem(r, "train")
        return desk, problem

    def shown_at(self, tok, seed: int, step: int) -> Batch:
        """Traces of one step of imitation."""
        found = [self.lesson(rng("agent", seed, step, i), step >= self.cold_start) for i in range(self.batch)]
        rows = [chat.example(tok, p.messages, desk.solution(p), p.meta["tools"]) for desk, p in found]
        return Batch.of_rows(tok, rows)

    @property
    def turns(self) -> int:
        """Turns that a task takes: its calls, one of them again, and the answer."""
        return self.calls + 2

    def rate(self, step: int) -> float:
        """Two schedules, one behind the other: each rises, and falls to a tenth."""
        if step < self.cold_start:
            return NARROW * loop.rate(step, self.cold_start, min(5, self.cold_start // 4), 0.1)
        return self.lr * loop.rate(step - self.cold_start, self.steps - self.cold_start, self.warmup, 0.1)

    def stream(self, model, tok, seed: int, start: int) -> Iterator[Batch]:
        """Batches from number `start`: lessons first; then samples, or what is shown. A task at which all
        samples end alike teaches nothing and is left out.
        """
        shown = numbered(partial(self.shown_at, tok, seed), model.device)
        if self.method != "grpo":
            yield from shown(start)
        yield from islice(shown(start), max(0, self.cold_start - start))
        world = self.desk(self.calls, self.faults)
        settings = dict(prompts=self.prompts, group=self.group, max_new=LONGEST, turns=self.turns)
        tried = Collector(
            model, tok, world, Dials(), seed=seed, groups="filtered", fallback=self.group, **settings
        )
        yield from tried(max(start, self.cold_start))

    def recipe(self, loaded, seed, texts=None):
        """The policy gradient on trajectories, the likelihood of traces."""
        model, tok = loaded.model, loaded.tok
        return Recipe(
            model,
            partial(self.stream, model, tok, seed),
            where_sampled(Dials().objective(LONGEST), imitation.nll),
            Read(self.prober(model, tok)),
            self.steps,
            self.rate,
            every=self.probe,
            final=1.0,
        )

    def prober(self, model, tok):
        """Held-out tasks without a fault and with one in each, greedy and sampled; and what was known."""
        hard, easy, facts = Desk(self.calls, 1.0, tools=TOOLS), Desk(self.calls, tools=TOOLS), Talk(("fact",))

        def ask(world, temperature: float = 0.0) -> list[Episode]:
            """The held-out tasks of a world, played to their end; temperature 0 is greedy."""
            generator = torch.Generator(model.device).manual_seed(7)
            held = world.problems(HELD, split="test", seed=7)
            return play(
                model,
                tok,
                world,
                held,
                max_new=LONGEST,
                temperature=temperature,
                generator=generator,
                turns=self.turns,
            )

        def probe(step):
            """The readings after a step."""
            greedy = ask(hard)
            failed = [e for e in greedy if fault(e) is not None]
            return {
                "success": done(ask(easy)),
                "success_sampled": done(ask(easy, 1.0)),
                "recovery": done(greedy),
                "recovery_sampled": done(ask(hard, 1.0)),
                "retried": sum(map(again, failed)) / max(1, len(failed)),
                "general_recall": evaluate(model, tok, facts, n=3 * HELD, seed=7, max_new=12).accuracy,
            }

        return probe


def done(episodes: list[Episode]) -> float:
    """Share of the tasks that were done."""
    return sum(e.score.reward for e in episodes) / len(episodes)


def fault(e: Episode) -> int | None:
    """Place of the tool's error in a conversation; None if no call failed."""
    return next(
        (i for i, m in enumerate(e.messages) if m["role"] == "tool" and '"fault"' in m["content"]), None
    )


def again(e: Episode) -> bool:
    """Was the call that failed made again, as it was?"""
    i = fault(e)
    return any(m.get("tool_calls") == e.messages[i - 1]["tool_calls"] for m in e.messages[i + 1 :])
