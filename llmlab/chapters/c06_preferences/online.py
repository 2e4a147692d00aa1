"""online: pairs made of the model's own samples, drawn again at every step, every few steps, or only once,
before the first.
"""

from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import knob
from ...methods import preferences
from ...models.frozen import frozen_copy
from ...tokens import pairs
from ...tokens.batch import Row
from ...train import probes
from ...train.rollout import Episode, evaluate, play
from ...world.sums import Sums
from ...world.talk import Talk
from .pairwise import Pairwise

TASKS = {"sums": Sums(("add",), digits=3), "many": Talk(("many",))}
LONGEST = 18  # tokens that an answer may take
TRIES = 8  # times that new problems are drawn until a step has its pairs


@dataclass(frozen=True)
class Online(Pairwise):
    """DPO on right and wrong samples of the model itself: how old may the model be that wrote them?"""

    name: ClassVar[str] = "online"
    summary: ClassVar[str] = "online, semi-online and offline DPO on the model's own samples, at equal pairs"
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict[str, str]] = {
        "skill": "samples right at temperature 1 (share)",
        "greedy": "held-out problems right, greedy (share)",
        "facts": "known facts in plain chat form (share)",
        "mixed": "problems with samples of both kinds (share)",
        "chosen_logprob": "log-prob of chosen answers (nats)",
        "rejected_logprob": "log-prob of rejected answers (nats)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=16),
        values=dict(batch=(2,), samples=(2,), refresh=(0, 3), held=(32,)),
        under=dict(refresh=dict(batch=8, lr=3e-3)),
        phases=[dict(refresh=4, pairing="correction", task="many")],
    )

    task: str = knob(
        "sums",
        choices=tuple(TASKS),
        help="sums: three-digit ones; many: name anyone who lives there, works as that",
    )
    refresh: int = knob(
        1,
        0,
        1000,
        unit="steps",
        help="steps after which the model that writes the samples is renewed; 1: online; 0: never, offline",
    )
    pairing: str = knob(
        "best_worst",
        choices=("best_worst", "correction"),
        help="best_worst: a right and a wrong sample; correction: the given solution and a wrong sample",
    )
    samples: int = knob(8, 2, 32, help="samples a problem")
    temperature: float = knob(1.0, 0.3, 2.0, help="sampling temperature")
    beta: float = knob(0.1, 0.01, 5.0, scale="log", help="strength of the pull to the reference")
    nll: float = knob(0.2, 0.0, 2.0, help="weight of the likelihood of the chosen answer")
    lr: float = knobs.lr(3e-4)
    warmup: int = knobs.warmup(3)
    steps: int = knobs.steps(60, low=5, high=1000)
    batch: int = knob(16, 2, 64, unit="pairs", help="pairs a step")
    held: int = knobs.held(96)
    probe: int = knobs.probe(20)

    def loss(self):
        """DPO, and `nll` times the loss on the chosen answers."""
        return preferences.objective("dpo", beta=self.beta, nll=self.nll)

    @property
    def unit(self):
        """The model that writes is renewed after that many steps."""
        return max(1, self.refresh)

    def pairs_from(self, model, tok, reference, seed):
        """Pairs of samples of the model that writes: the present one, one of some steps ago, or the first."""
        world = TASKS[self.task]

        def stream(start):
            writer = model if self.refresh == 1 else reference
            for step in count(start):
                if self.refresh > 1 and step and step % self.refresh == 0:
                    writer = frozen_copy(model)
                rows, share = self.pairs_at(writer, tok, world, seed, step)
                # in 32 bits, as all that is read off a batch
                yield replace(pairs.of_rows(tok, rows), info={"mixed": float(torch.tensor(share))})

        return stream

    def prober(self, model, tok, reference):
        """Held-out problems, sampled and greedy; and what was known."""
        world, facts = TASKS[self.task], Talk(("fact",))
        known = {"facts": probes.batches(probes.question_rows(tok, facts, facts.problems(96, seed=7)))}

        def read(step):
            asked = dict(n=self.held, seed=7, max_new=LONGEST)
            return {
                "skill": evaluate(model, tok, world, k=4, temperature=1.0, **asked).accuracy,
                "greedy": evaluate(model, tok, world, **asked).accuracy,
            } | probes.read(model, known)

        return read

    def pairs_at(self, writer, tok, world, seed: int, step: int) -> tuple[list[Row], float]:
        """Rows of the step's pairs, chosen and rejected in turn, and the share of problems that gave one. A
        function of (writer, seed, step).
        """
        rows, asked, place = [], 0, (seed * 1_000_003 + step) * TRIES
        for attempt in range(place, place + TRIES):
            problems = world.problems(2 * self.batch, split="train", seed=attempt)
            generator = torch.Generator(next(writer.parameters()).device).manual_seed(attempt)
            settings = dict(
                k=self.samples, max_new=LONGEST, temperature=self.temperature, generator=generator
            )
            episodes = play(writer, tok, world, problems, **settings)
            groups = [episodes[i : i + self.samples] for i in range(0, len(episodes), self.samples)]
            found = [pair for group in groups if (pair := self.pair(tok, world, group))]
            rows, asked = rows + [row for pair in found for row in pair], asked + len(problems)
            if len(rows) >= 2 * self.batch:
                break
        got = len(rows) // 2
        while (
            rows and len(rows) < 2 * self.batch
        ):  # a model that is nearly always right, or never: the same pairs again
            rows = rows + rows
        if not rows:
            rows = [
                row
                for p in problems[: self.batch]
                for row in 2 * [pairs.row(tok, p.messages, world.solution(p)[-1])]
            ]
        return rows[: 2 * self.batch], got / asked

    def pair(self, tok, world, group: list[Episode]) -> tuple[Row, Row] | None:
        """A right and a wrong answer to one problem, if the samples hold what is needed."""
        right, wrong = ([e for e in group if (e.score.reward == 1.0) is side] for side in (True, False))
        if not wrong or (self.pairing == "best_worst" and not right):
            return None
        rejected = (wrong[0].ids, wrong[0].mask)
        if self.pairing == "best_worst":
            return (right[0].ids, right[0].mask), rejected
        problem = group[0].problem
        return pairs.row(tok, problem.messages, world.solution(problem)[-1]), rejected
