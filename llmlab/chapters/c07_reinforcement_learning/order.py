"""order: the same number of steps, spent on SFT, DPO and reinforcement learning in this order or that."""

from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import ClassVar, Iterator

from ...lab.experiment import Experiment, knob
from ...methods import advantages, objectives
from ...models.frozen import frozen_copy
from ...tokens import chat
from ...tokens.batch import Batch, pad
from ...tokens.pairs import pair_batch
from ...tokens.special import TEMPLATE
from ...train import loop, probes
from ...train.rollout import evaluate, on_policy
from ...world import corpora, talk
from ...world.base import Problem, Score, rng, say
from ...world.lessons import Lessons
from ...world.sums import Sums
from ...world.talk import Talk

ORDERS = ("sft", "sft-dpo", "sft-rl", "sft-dpo-rl", "sft-rl-dpo", "rl")
HELD = 96  # problems a probe
LONGEST = 24  # tokens that a sum takes at most
POLITE = "Gladly: "
PREFER = partial(objectives.weighted_sum, terms=((1.0, objectives.dpo), (0.5, objectives.nll_chosen)))


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
    rl   GRPO: three-digit sums, paid for right answers
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
    probe: int = knob(40, 1, 500, unit="steps", help="steps between two readings of the probes")

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
        return Batch(
            pad([ids for ids, _ in rows], tok.pad_token_id or 0), pad([mask for _, mask in rows], 0).float()
        )

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
        while True:
            stage, _, n = self.place(start)
            batches = {"sft": self.shown, "dpo": self.compared, "rl": self.tried}[stage](
                model, tok, seed, start
            )
            yield from (next(batches).to(model.device) for _ in range(n))
            start += n

    def shown(self, model, tok, seed, start):
        """SFT's batches."""
        return (self.shown_at(tok, seed, step) for step in count(start))

    def compared(self, model, tok, seed, start):
        """DPO's batches; the reference is the model as it is when the stage begins."""
        reference = frozen_copy(model)
        for step in count(start):
            pairs = talk.pairs(self.batch, split="train", seed=seed * 100_003 + step, kinds="style")
            yield loop.add_logprobs(reference, pair_batch(tok, pairs).to(model.device), "ref_logprobs")

    def tried(self, model, tok, seed, start):
        """Batches of samples."""
        settings = dict(
            prompts=self.prompts, group=self.group, advantage=advantages.group_norm, max_new=LONGEST
        )
        return on_policy(model, tok, SUMS, seed=seed, start=start, **settings)

    def objective(self, out, batch):
        """What the batch is for."""
        if "advantages" in batch.given:
            loss, info = objectives.grpo(out, batch)
            return loss, info | {"reward": batch["rewards"].mean()}
        return (PREFER if "pair" in batch.given else objectives.nll)(out, batch)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The recipe, top to bottom."""
        model, tok = loaded.model, loaded.tok
        if not tok.chat_template and loaded.is_lab:
            tok.chat_template = TEMPLATE
        yield from loop.train(
            model,
            partial(self.stream, model, tok, seed),
            self.objective,
            n=self.steps,
            lr=self.rate,
            final=1.0,
            opts=loop.optimizers(model, "adamw", self.lr),
            probe=prober(model, tok),
            every=self.probe,
            checkpoint=checkpoint,
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
