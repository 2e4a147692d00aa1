"""order: the same number of steps, spent on SFT, DPO and reinforcement learning in this order or that."""

from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import ClassVar, Iterator

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import imitation, preferences
from ...methods.policy import Dials, where_sampled
from ...models.frozen import frozen_copy
from ...tokens import chat, pairs
from ...tokens.batch import Batch
from ...train import loop, probes
from ...train.collect import Collector
from ...train.recipe import Read, Recipe, numbered
from ...train.rollout import evaluate
from ...world import corpora, talk
from ...world.base import Problem, Score, rng, say
from ...world.lessons import Lessons
from ...world.sums import Sums
from ...world.talk import Talk

ORDERS = ("sft", "sft-dpo", "sft-rl", "sft-dpo-rl", "sft-rl-dpo", "rl")
HELD = 96  # problems a probe
LONGEST = 24  # tokens that a sum takes at most
POLITE = "Gladly: "
PREFER = preferences.objective("dpo", beta=0.1, nll=0.5)


@dataclass(frozen=True)
class Polite(Sums):
    """Sums whose right answer is right politely too."""

    def score(self, problem: Problem, text: str) -> Score:
        """That of the answer without its polite beginning."""
        return super().score(problem, text.strip().removeprefix(POLITE))


LESSONS, SUMS = Lessons(), Polite(("add",), digits=3)


@dataclass(frozen=True)
class Order(Experiment):
    """A base model becomes an assistant that is to be polite and right: each stage gets the same share of the
    steps.

    sft  imitate: lessons about people, formats, refusals, and three-digit sums
    dpo  pairs: polite answers preferred to blunt ones
    rl   GRPO: three-digit sums, rewarded for right answers
    """

    name: ClassVar[str] = "order"
    summary: ClassVar[str] = (
        "SFT, DPO and reinforcement learning in this order or that, or not at all, in equal steps"
    )
    curves: ClassVar[dict[str, str]] = {
        "sums": "three-digit sums right, greedy (share)",
        "polite": "polite and right answers (share)",
        "facts": "facts right, politely or not (share)",
        "refused": "dangerous requests refused (share)",
        "general_loss": "loss on general text (nats per token)",
    }
    chats: ClassVar[bool] = True
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=12, stages="sft-dpo-rl", batch=4, prompts=4, group=4, probe=4),
        values=dict(batch=(2,), prompts=(8,), group=(8,), steps=(9,)),
        under=dict(
            prompts=dict(stages="rl"),
            group=dict(stages="rl"),
            tune_lr=dict(stages="sft-dpo", steps=4),
            steps=dict(stages="sft"),
        ),
        phases=[dict(stages="sft-rl-dpo", steps=13)],
        small=dict(HELD=16),
    )

    stages: str = knob(
        "sft-dpo-rl", choices=ORDERS, help="the stages in their order; each gets the same share of the steps"
    )
    lr: float = knob(2e-3, 1e-5, 1e-2, scale="log", help="peak learning rate of SFT")
    tune_lr: float = knob(
        5e-4, 1e-6, 1e-2, scale="log", help="peak learning rate of DPO and of reinforcement learning"
    )
    steps: int = knob(120, 3, 5000, unit="steps", help="optimiser steps in all")
    batch: int = knob(16, 2, 64, unit="rows", help="conversations or pairs a step")
    sums: float = knob(0.5, 0.0, 1.0, unit="share", help="share of sums among the conversations of SFT")
    prompts: int = knob(8, 2, 128, help="problems a step of reinforcement learning")
    group: int = knob(8, 2, 32, help="samples a problem")
    probe: int = knobs.probe(40)

    @property
    def parts(self) -> list[str]:
        """The stages by name."""
        return self.stages.split("-")

    @property
    def length(self) -> int:
        """Steps of a stage; the last one takes what is left over."""
        return self.steps // len(self.parts)

    def place(self, step: int) -> tuple[str, int, int]:
        """(stage, its step, its length) of a step."""
        i = min(step // self.length, len(self.parts) - 1)
        begin, last = i * self.length, i == len(self.parts) - 1
        return self.parts[i], step - begin, self.steps - begin if last else self.length

    def rate(self, step: int) -> float:
        """A schedule a stage: it rises, and falls to a tenth."""
        stage, at, n = self.place(step)
        return (self.lr if stage == "sft" else self.tune_lr) * loop.rate(at, n, min(5, n // 4), 0.1)

    def shown_at(self, tok, seed: int, step: int) -> Batch:
        """Conversations of one step of SFT."""
        rows = [chat.example(tok, *self.conversation(rng("order", seed, step, i))) for i in range(self.batch)]
        return Batch.of_rows(tok, rows)

    def conversation(self, r) -> tuple:
        """(messages, answer, tools): a sum, or a lesson."""
        if r.random() >= self.sums:
            lesson = LESSONS.lesson(r)
            return lesson.problem.messages, list(lesson.answer), lesson.tools
        problem = None
        while problem is None:
            problem = SUMS.problem(r, "train")
        return problem.messages, SUMS.solution(problem), None

    def stream(self, model, tok, seed: int, start: int) -> Iterator[Batch]:
        """Batches from number `start`, which is the first of a stage."""
        settings = dict(prompts=self.prompts, group=self.group, max_new=LONGEST)
        stages = {
            "sft": numbered(partial(self.shown_at, tok, seed), model.device),
            "dpo": partial(self.compared, model, tok, seed),
            "rl": Collector(model, tok, SUMS, Dials(), seed=seed, **settings),
        }
        while True:
            stage, _, n = self.place(start)
            yield from islice(stages[stage](start), n)
            start += n

    def compared(self, model, tok, seed: int, start: int) -> Iterator[Batch]:
        """DPO's batches; the reference is the model as it is when the stage begins."""
        reference = frozen_copy(model)
        for step in count(start):
            shown = talk.pairs(self.batch, split="train", seed=seed * 100_003 + step, kinds="style")
            yield loop.add_logprobs(reference, pairs.answers(tok, shown).to(model.device), "ref_logprobs")

    @staticmethod
    def objective(out, batch):
        """What the batch is for."""
        if "pair" in batch.given:
            return PREFER(out, batch)
        return where_sampled(Dials().objective(LONGEST), imitation.nll)(out, batch)

    def recipe(self, loaded, seed, texts=None):
        """The stages one behind the other."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        return Recipe(
            model,
            partial(self.stream, model, tok, seed),
            self.objective,
            Read(prober(model, tok)),
            self.steps,
            self.rate,
            every=self.probe,
            final=1.0,
            unit=self.length,  # in the middle of a stage its reference would have to be kept too
        )


def prober(model, tok):
    """What each stage is to give: sums, politeness, refusals, facts; and what all should leave alone."""
    asked, general, refuse = (
        talk.pairs(HELD, split="test", seed=7, kinds="style"),
        corpora.general(0, split="test"),
        Talk(("unsafe",)),
    )
    sets = {
        "polite": probes.batches(
            [chat.example(tok, p.messages, say(f"{POLITE}{p.problem.answer}.")) for p in asked]
        ),
        "blunt": probes.batches([chat.example(tok, p.messages, say(f"{p.problem.answer}.")) for p in asked]),
        "refused": probes.batches(probes.question_rows(tok, refuse, refuse.problems(HELD, seed=7))),
        "general_loss": probes.text_rows(tok, [next(general) for _ in range(24)]),
    }

    def probe(step):
        found = probes.read(model, sets)
        solved = evaluate(model, tok, SUMS, n=HELD, seed=7, max_new=LONGEST).accuracy
        return {"sums": solved, "facts": found["polite"] + found.pop("blunt")} | found

    return probe
