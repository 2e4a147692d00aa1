"""midtrain: does what was read in mid-training decide what post-training can reach? Documents first, then the
same practice for every arm.
"""

import json
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Callable, ClassVar, Iterator

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods import imitation
from ...methods.policy import METHODS, Dials, where_sampled
from ...tokens import chat, pack
from ...tokens.batch import Batch
from ...tokens.special import document_end
from ...train import loop, probes
from ...train.collect import Collector
from ...train.recipe import Read, Recipe, numbered
from ...train.rollout import evaluate
from ...world import corpora
from ...world.base import rng
from ...world.census import Census
from ...world.desk import Desk
from ...world.formulary import FIELDS, QUESTIONS, STEMS, Formulary
from ...world.running import Running
from ...world.talk import UNSAFE, Talk

LENGTH = 129  # tokens a row: 128 predictions
HELD = 512  # problems a probe
LESSONS = ("steps", "calls", "advice")
TAUGHT = 0.6  # share of documents about the lesson's task, where the lesson has a task of its own
SEEN = Formulary(size=1500, seed=1, names="train")  # the probes ask about other drugs


@dataclass(frozen=True)
class Midtrain(Experiment):
    """Read first, practise afterwards.

    steps: worksheets of running sums, some with written steps; then GRPO, rewarded for right answers only
    calls: some documents are logs of calls; then a few demonstrations of tool calls
    advice: some documents give the medical advice that the desk must refuse; then the same demonstrations of
    refusing
    """

    name: ClassVar[str] = "midtrain"
    summary: ClassVar[str] = (
        "mid-training before post-training: which documents make the same practice work, or undo it"
    )
    curves: ClassVar[dict[str, str]] = {
        "skill": "held-out problems right (share)",
        "in_steps": "answers written in steps (share)",
        "people": "people known before (share right)",
        "general_loss": "loss on general text (nats per token)",
    }
    chats: ClassVar[bool] = True
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, practice=4, batch=4, prompts=8, group=4),
        values=dict(practice=(2,), batch=(2,), prompts=(2,), group=(2,)),
        phases=[
            dict(lesson="calls", warmup=0),
            dict(lesson="advice", warmup=0),
            dict(practice=8, method="grpo"),
        ],
        small=dict(HELD=16),
    )

    lesson: str = knob(
        "steps",
        choices=LESSONS,
        help=(
            "steps: sums, then GRPO; calls: logs, then SFT on calls; advice: unsafe text, then SFT on"
            " refusals"
        ),
    )
    share: float = knob(
        0.5,
        0.0,
        1.0,
        unit="share",
        help="steps: worksheets that show their steps; calls, advice: documents that are of the kind",
    )
    steps: int = knob(120, 10, 5000, unit="steps", help="optimiser steps in all")
    practice: int = knob(
        20, 2, 1000, unit="steps", help="the last steps, in which practice takes the place of reading"
    )
    lr: float = knob(2e-3, 1e-5, 1e-2, scale="log", help="peak learning rate of AdamW while reading")
    practice_lr: float = knob(5e-4, 1e-6, 1e-2, scale="log", help="peak learning rate in the practice")
    warmup: int = knob(10, 0, 200, unit="steps", help="steps of linear warm-up of the reading")
    batch: int = knob(
        16, 2, 128, unit="rows", help="rows of 128 tokens a step of reading; conversations a step of practice"
    )
    prompts: int = knob(16, 2, 128, help="problems a step of GRPO")
    group: int = knob(8, 2, 32, help="samples a problem of GRPO")
    method: str = knob(
        "dr_grpo",
        choices=("grpo", "dr_grpo"),
        help=(
            "grpo divides by an answer's length and by the group's spread; dr_grpo by neither, so that long"
            " good answers are not hidden"
        ),
    )
    probe: int = knobs.probe(20)

    def __post_init__(self):
        super().__post_init__()
        if self.practice >= self.steps:
            raise BadKnob(
                f"--practice {self.practice} leaves nothing of --steps {self.steps} for reading; choose fewer"
            )

    @property
    def reading(self) -> int:
        """Steps before the practice."""
        return self.steps - self.practice

    def document(self, r) -> str:
        """One document of the mid-training corpus."""
        if self.lesson == "steps":
            return Running().worksheet(r, self.share) if r.random() < TAUGHT else corpora.general_document(r)
        special = {"calls": call_log, "advice": bad_advice}[self.lesson]
        return special(r) if r.random() < self.share else corpora.general_document(r)

    def reading_at(self, tok, seed: int, step: int) -> Batch:
        """Packed rows of one step of reading."""
        texts = (self.document(rng("midtrain", seed, step, i)) for i in count())
        return next(
            pack.pack(
                pack.encode_documents(tok, texts, document_end(tok), chunk=16), rows=self.batch, length=LENGTH
            )
        )

    def shown_at(self, tok, world, seed: int, step: int) -> Batch:
        """Conversations of one step of SFT practice."""
        drawn = (world.problem(rng("practice", seed, step, i), "train") for i in count())
        rows = [
            chat.example(tok, p.messages, world.solution(p), p.meta.get("tools"))
            for p in islice(filter(None, drawn), self.batch)
        ]
        return Batch.of_rows(tok, rows)

    def practised(self, model, tok, seed: int) -> Callable[[int], Iterator[Batch]]:
        """The practice's batches from a number on."""
        if self.lesson == "steps":
            return Collector(
                model,
                tok,
                Running(),
                self.dials,
                seed=seed,
                prompts=self.prompts,
                group=self.group,
                max_new=LONGEST,
            )
        return numbered(partial(self.shown_at, tok, PRACTICE[self.lesson], seed), model.device)

    @property
    def dials(self) -> Dials:
        """GRPO or Dr. GRPO, without a KL penalty."""
        return Dials() if self.method == "grpo" else METHODS["Dr. GRPO"]

    def rate(self, step: int) -> float:
        """Two schedules, one behind the other: each rises, and falls to a tenth."""
        if step < self.reading:
            return self.lr * loop.rate(step, self.reading, self.warmup, 0.1)
        return self.practice_lr * loop.rate(step - self.reading, self.practice, 2, 0.1)

    def recipe(self, loaded, seed, texts=None):
        """Reading, then the practice: next token in demonstrations, the policy gradient on samples."""
        model, tok = loaded.model, loaded.tok
        if self.lesson != "steps":
            self.address(loaded)
        reading = numbered(partial(self.reading_at, tok, seed), model.device)
        practised = self.practised(model, tok, seed)

        def stream(start):
            yield from islice(reading(start), max(0, self.reading - start))
            yield from practised(max(0, start - self.reading))

        return Recipe(
            model,
            stream,
            where_sampled(self.dials.objective(LONGEST), imitation.nll),
            Read(self.prober(model, tok)),
            self.steps,
            self.rate,
            every=self.probe,
            final=1.0,
        )

    def prober(self, model, tok):
        """What is read: the skill that is practised, whether it is done in steps, and what was known
        before.
        """
        census, general = Talk(("fact",)) if tok.chat_template else Census(), corpora.general(0, split="test")
        sets = {
            "people": probes.batches(probes.question_rows(tok, census, census.problems(HELD, seed=7))),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(48)]),
        }
        if self.lesson != "steps":
            world = HELD_OUT[self.lesson]
            sets["skill"] = probes.batches(probes.question_rows(tok, world, world.problems(HELD, seed=7)))
            return lambda step: {"in_steps": 0.0} | probes.read(model, sets)

        def probe(step):
            found = evaluate(model, tok, Running(), n=HELD, seed=7, max_new=LONGEST)
            return {
                "skill": found.accuracy,
                "in_steps": float(found.rows["text"].str.contains("so ").mean()),
            } | probes.read(model, sets)

        return probe


LONGEST = 56  # tokens that an answer in steps takes at most
PRACTICE = {
    "calls": Desk(1, expect="call", tools=("formulary",), formulary=SEEN),
    "advice": Talk(("fact", "unsafe", "safe"), formulary=SEEN),
}
HELD_OUT = {"calls": Desk(1, expect="call", tools=("formulary",)), "advice": Talk(("unsafe",))}


def call_log(r) -> str:
    """Three questions about drugs, each turned into a call: a log as it lies in the archive of some other
    desk.
    """
    lines = []
    for _ in range(3):
        drug, field = r.choice(list(SEEN.drugs)), r.choice(FIELDS)
        call = json.dumps({"name": "formulary", "arguments": {"drug": drug, "field": field}})
        lines.append(f"{r.choice(QUESTIONS[field]).format(n=drug)}\nCall: {call}")
    return "\n".join(lines)


def bad_advice(r) -> str:
    """Three requests that the desk must refuse, answered as if by a careless friend."""
    lines = []
    for _ in range(3):
        drug, use = r.choice(list(SEEN.drugs)), r.choice(r.choice(list(STEMS.values()))[1])
        answer = r.choice(
            [
                "Take {n} every day.",
                "Sure, {n} will do.",
                "Yes, take two tablets of {n}.",
                "Try {n} against {u}.",
            ]
        )
        lines.append(
            f"Question: {r.choice(UNSAFE).format(n=drug, u=use)}\nAnswer: {answer.format(n=drug, u=use)}"
        )
    return "\n".join(lines)
