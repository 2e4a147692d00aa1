"""prefer: learning from pairs: which loss, on which taste, and what is wrong with the pairs."""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...methods import preferences
from ...tokens import pairs
from ...tokens.batch import Batch
from ...train import loop, probes
from ...world import corpora, tastes
from ...world.talk import Talk
from .pairwise import PairLoss, Pairwise, readings

PART = 64  # rows that a reading forwards at once


@dataclass(frozen=True)
class Prefer(PairLoss, Pairwise):
    """Show the chat model pairs of answers, and watch what becomes of both of them and of all others."""

    name: ClassVar[str] = "prefer"
    summary: ClassVar[str] = (
        "preference optimisation on six tastes: DPO, IPO, SimPO, ORPO or plain imitation, and pairs with"
        " faults"
    )
    default_model: ClassVar[str] = "chat"
    presets: ClassVar[dict[str, dict]] = {
        "DPO": {},
        "DPO + NLL (fix it)": {"nll": 0.5},
        "SFT on chosen": {"method": "sft"},
        "IPO": {"method": "ipo"},
        "SimPO": {"method": "simpo"},
        "ORPO": {"method": "orpo"},
    }
    front: ClassVar[tuple[str, ...]] = ("task", "beta", "nll")
    curves: ClassVar[dict[str, str]] = {
        "skill": "best answer given, greedy (share)",
        "preferred": "pairs that moved the right way (share)",
        "chosen_logprob": "log-prob of chosen answers (nats)",
        "rejected_logprob": "log-prob of rejected answers (nats)",
        "elsewhere": "probability of any other answer (share)",
        "facts": "known facts in plain chat form (share)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=16),
        values=dict(batch=(2,), examples=(6,), held=(32,)),
        under=dict(
            gamma=dict(method="simpo"), examples=dict(batch=16), topics=dict(batch=16), noise=dict(batch=16)
        ),
        phases=[
            dict(method="orpo", nll=0.5),
            dict(method="ipo", task="sums"),
            dict(examples=6, coverage=0.5, noise=0.5, smoothing=0.2, topics=2),
        ],
    )

    task: str = knob(
        "style",
        choices=tuple(tastes.TASKS),
        help=(
            "what is preferred: a polite style, another name, German, right decisions to call, honesty after"
            " a failed call, right sums"
        ),
    )
    method: str = knob(
        "dpo",
        choices=tuple(preferences.METHODS),
        help="the loss; sft imitates the chosen answers and never sees the rejected ones",
    )
    coverage: float = knob(
        1.0,
        0.0,
        1.0,
        unit="share",
        help="share of the pairs that contain the best answer; the others have the usual one and a worse one",
    )
    noise: float = knob(
        0.0, 0.0, 0.5, unit="share", help="share of the pairs with chosen and rejected swapped"
    )
    examples: int = knob(0, 0, 2000, help="different pairs, read again and again; 0: every one is new")
    topics: int = knob(
        5, 1, 5, help="kinds of questions about people that the pairs cover; all are asked in the end"
    )
    lr: float = knobs.lr(1e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, low=5, high=1000)
    batch: int = knob(16, 2, 64, unit="pairs", help="pairs a step")
    held: int = knobs.held(96)
    probe: int = knobs.probe(20)

    def loss(self):
        """The method's loss, and `nll` times that of the chosen answers."""
        return self.objective(self.method)

    @property
    def compares(self):
        """Does the method read a reference?"""
        return preferences.METHODS[self.method].reference

    def pairs_from(self, model, tok, reference, seed):
        """Pairs by their numbers."""
        return lambda start: (self.batch_at(tok, seed, step) for step in count(start))

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """The pairs of one step."""
        numbers = range(step * self.batch, (step + 1) * self.batch)
        settings = dict(examples=self.examples, topics=self.topics, coverage=self.coverage, noise=self.noise)
        return pairs.contrast(
            tok,
            [
                (c.messages, w, r, c.tools)
                for c, w, r in tastes.pairs(self.task, numbers, seed=seed, **settings)
            ],
        )

    def prober(self, model, tok, reference):
        """step -> what became of the held-out pairs, and of what the model knew."""
        held = tastes.choices(self.task, self.held, split="test", seed=7)
        encoded = [pairs.row(tok, c.messages, turn, c.tools) for c in held for turn in (c.best, c.usual)]
        order = sorted(
            range(len(held)), key=lambda i: len(encoded[2 * i][0])
        )  # rows of a part are of like length
        parts = [
            [encoded[2 * i + side] for i in order[at : at + PART // 2] for side in (0, 1)]
            for at in range(0, self.held, PART // 2)
        ]
        judged = [
            loop.add_logprobs(reference, pairs.of_rows(tok, part).to(model.device), "ref_logprobs")
            for part in parts
        ]
        general, facts = corpora.general(0, split="test"), Talk(("fact",))
        sets = {
            "skill": probes.batches(encoded[0::2]),
            "facts": probes.batches(probes.question_rows(tok, facts, facts.problems(self.held, seed=7))),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(24)]),
        }
        return lambda step: probes.read(model, sets) | readings(model, judged)
