"""verify: a head learns to judge the reasoner's solutions, by their outcome or step by step, and picks one
of eight.
"""

import copy
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Callable, ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...lab.supervised import order
from ...methods.calibration import auc, ece
from ...methods.scaling import selected_at_k
from ...methods.verification import AGGREGATIONS, cross_entropy
from ...models.forward import forward_trained
from ...models.frozen import frozen_copy
from ...models.heads import Valued
from ...tokens import chat
from ...tokens.batch import Batch, Row
from ...train import loop
from ...train.attempts import attempts
from ...train.recipe import Read, Recipe, numbered
from ...train.sample import sample
from ...world.base import Problem, say
from ...world.reasoning import NAMES, Reasoning
from ...world.stepwise import follow
from ...world.verifiers import outcome
from .behaviours import voted

Solution = tuple[Problem, str]
K, LONGEST = 8, 150  # attempts at a problem; tokens of a solution
LABELS = ("outcome", "process", "rollouts")
SPLIT = ";"  # stands behind every step


@dataclass(frozen=True)
class Verify(Experiment):
    """The reasoner solves training problems; a copy with a value head learns whether they are right.

    outcome   at every step the label of the answer: ORM
    process   at every step whether it follows, at the end whether the answer is right: PRM, exact labels
    rollouts  at every step whether one of `rollouts` continuations ends right: PRM, labels as in
    Math-Shepherd
    """

    name: ClassVar[str] = "verify"
    summary: ClassVar[str] = (
        "learned verifiers: ORM, PRM with exact labels or by rollouts; min, sum, product, last; padding"
    )
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "selected": "right if it picks one of eight (share)",
        "exact": "right if an exact check picks (share)",
        "voted": "vote of eight right (share)",
        "pass_at_1": "right with one sample (share)",
        "auc": "right above wrong answers (probability)",
        "step_auc": "right above wrong steps (probability)",
        "ece": "calibration error of the answer (share)",
        "padded": "padding scores higher (share)",
        "by_length": "right if the shortest is picked (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("labels", "aggregation", "solutions")
    presets: ClassVar[dict[str, dict]] = {
        "outcome (ORM)": dict(labels="outcome", aggregation="last"),
        "process (PRM)": {},
        "process, summed (break it)": dict(aggregation="sum"),
        "process by rollouts": dict(labels="rollouts"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, batch=4, solutions=16, rollouts=2, held=6, lr=1e-3),
        values=dict(batch=(2,), solutions=(8,), rollouts=(1,), held=(4,), probe=(4,)),
        under=dict(rollouts=dict(labels="rollouts"), aggregation=dict(lr=1e-2)),
        phases=[dict(labels="rollouts", aggregation="product")],
    )

    labels: str = knob("process", choices=LABELS, help="what is learnt at every step")
    aggregation: str = knob("min", choices=tuple(AGGREGATIONS), help="from the scores of the steps to one")
    family: str = knob("columns", choices=NAMES, help="kind of problem")
    level: int = knob(3, 1, 4, help="difficulty")
    solutions: int = knob(256, 8, 4096, help="solutions with labels, eight of a problem")
    rollouts: int = knob(4, 1, 32, help="rollouts: continuations from every step")
    lr: float = knobs.lr(1e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, low=2)
    batch: int = knob(32, 2, 128, unit="rows", help="solutions a step")
    held: int = knobs.held(48, low=4)
    probe: int = knobs.probe(20)

    def world(self) -> Reasoning:
        """What is asked."""
        return Reasoning((self.family,), (self.level,))

    def labelled(self, model, tok, seed: int) -> list[tuple[Solution, list[float]]]:
        """Solutions of training problems, and the labels of their steps and of the answer."""
        asked = self.world().problems(self.solutions // K, split="train", seed=seed + 1)
        groups = attempts(model, tok, self.world(), asked, K, max_new=LONGEST, seed=seed)
        found = [(a.episode.problem, a.text) for g in groups for a in g]
        if self.labels == "rollouts":
            return list(zip(found, reached(model, tok, self.world(), found, self.rollouts, seed)))
        return [(s, truth(*s, self.labels)) for s in found]

    def recipe(self, loaded, seed, texts=None, read=True):
        """Cross-entropy of a value head, and of the model under it, on labelled solutions."""
        self.address(loaded)
        writer, judge, tok = frozen_copy(loaded.model), Valued(loaded.model), loaded.tok
        rows = [(marked(tok, *s), y) for s, y in self.labelled(writer, tok, seed)]

        def batch_at(step: int) -> Batch:
            numbers = range(step * self.batch, (step + 1) * self.batch)
            return labelled_batch(
                tok, [rows[order(seed, n // len(rows), len(rows))[n % len(rows)]] for n in numbers]
            )

        return Recipe(
            judge,
            numbered(batch_at, judge.device),
            cross_entropy,
            Read(self.prober(writer, judge, tok) if read else lambda step: {}),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )

    def trained(self, loaded, seed: int):
        """A judge of the model as it is now, trained without any reading; the model stays as it was."""
        twin = replace(loaded, model=copy.deepcopy(loaded.model))
        recipe = self.recipe(twin, seed, read=False)
        for _ in loop.train(recipe):
            pass
        return recipe.model.eval()

    def scorer(self, loaded, seed: int) -> Callable[[list[Solution]], list[float]]:
        """Solutions -> their scores by a trained judge."""
        judge, rule = self.trained(loaded, seed), AGGREGATIONS[self.aggregation]
        return lambda solutions: [rule(s) for s in judged(judge, loaded.tok, solutions)]

    def prober(self, writer, judge, tok):
        """The same held-out solutions at every reading."""
        asked = self.world().problems(self.held, seed=7)
        groups = attempts(writer, tok, self.world(), asked, K, max_new=LONGEST, seed=7)
        every, rule = [a for g in groups for a in g], AGGREGATIONS[self.aggregation]
        right, solutions = [a.right for a in every], [(a.episode.problem, a.text) for a in every]
        shortest = selected([-a.tokens for a in every], right)
        base = {
            "exact": fmean(any(a.right for a in g) for g in groups),
            "voted": fmean(voted(g).right for g in groups),
            "pass_at_1": fmean(right),
            "by_length": shortest,
        }

        def probe(step):
            """The readings after a step."""
            scores = judged(judge, tok, solutions)
            said = [rule(s) for s in scores]
            more = [rule(s) for s in judged(judge, tok, [(p, padded(t)) for p, t in solutions])]
            steps = [
                two for s, x in zip(solutions, scores) for two in list(zip(x, truth(*s, "process")))[:-1]
            ]
            return {
                "selected": selected(said, right),
                "auc": auc(said, right),
                "step_auc": auc([p for p, _ in steps], [y == 1.0 for _, y in steps]),
                "ece": ece([s[-1] for s in scores], right),
                "padded": fmean(m > s for m, s in zip(more, said)),
                **base,
            }

        return probe


def selected(scores: list[float], right: list[bool]) -> float:
    """Share right if the highest of each K scores is taken."""
    starts = range(0, len(right), K)
    return fmean(selected_at_k(scores[i : i + K], right[i : i + K], K) for i in starts)


def truth(problem: Problem, said: str, labels: str = "process") -> list[float]:
    """A label behind every ';' and one behind the answer: does the step follow, is the answer right?
    outcome: is the answer right, everywhere.
    """
    right, steps = outcome(problem, said), [s.strip() for s in said.split(SPLIT)[:-1]]
    if labels == "outcome":
        return [float(right)] * (len(steps) + 1)
    return [float(ok) for ok in [*follow(problem, steps), right]]


def reached(model, tok, world: Reasoning, solutions: list[Solution], n: int, seed: int) -> list[list[float]]:
    """Behind every ';': does one of n continuations end right? Behind the answer: is it right? The hard
    estimate of Wang et al. 2024 (Math-Shepherd)
    """
    starts = [
        (i, said[: at + 1])
        for i, (_, said) in enumerate(solutions)
        for at, c in enumerate(said)
        if c == SPLIT
    ]
    prompts = [open_row(tok, solutions[i][0], before) for i, before in starts]
    generator = torch.Generator(model.device).manual_seed(seed)
    settings: dict[str, Any] = dict(max_new=LONGEST, stop=chat.stop_ids(tok), generator=generator)
    done = sample(model, prompts, k=n, **settings) if prompts else None
    found: list[list[float]] = [[] for _ in solutions]
    for j, (i, before) in enumerate(starts):
        ends = [tok.decode(ids, skip_special_tokens=True) for ids in done.ids[j * n : (j + 1) * n]]
        found[i].append(float(any(world.score(solutions[i][0], before + e).reward == 1.0 for e in ends)))
    return [[*labels, float(outcome(p, t))] for labels, (p, t) in zip(found, solutions)]


def open_row(tok, problem: Problem, before: str) -> list[int]:
    """Ids of a question and of the beginning of its answer."""
    ids, mask = chat.example(tok, problem.messages, say(before))
    return ids[: len(mask) - mask[::-1].index(1) - 1]  # without the token that ends the turn


def padded(said: str) -> str:
    """The solution with its first step written once more in front of the answer: true, and of no use."""
    *steps, answer = said.split(SPLIT)
    return SPLIT.join([*steps, f" {steps[0].strip()}", answer]) if steps else said


def marked(tok, problem: Problem, said: str) -> Row:
    """ids, and 1 on the token behind every ';' of the answer and on the one that ends it: what a head says
    there it says having read the step.
    """
    ids, mask = chat.example(tok, problem.messages, say(said))
    (split,) = tok.encode(SPLIT, add_special_tokens=False)
    end = len(mask) - mask[::-1].index(1) - 1
    return ids, [int(t == end or (m and ids[t - 1] == split and mask[t - 1])) for t, m in enumerate(mask)]


def labelled_batch(tok, rows: list[tuple[Row, list[float]]]) -> Batch:
    """Marked rows and their labels, in the column returns, at the marks."""
    batch = Batch.of_rows(tok, [row for row, _ in rows])
    returns = torch.zeros_like(batch.mask)
    returns[batch.mask > 0] = torch.tensor([y for _, labels in rows for y in labels])
    return batch.add(returns=returns[:, 1:])


@torch.no_grad()
def judged(judge, tok, solutions: list[Solution]) -> list[list[float]]:
    """The head's chance of being right behind every step and behind the answer."""
    judge.eval()
    rows, found = [marked(tok, *s) for s in solutions], []
    for i in range(0, len(rows), 64):
        out = forward_trained(judge, Batch.of_rows(tok, rows[i : i + 64]).to(judge.device))
        found += [v[m > 0].sigmoid().tolist() for v, m in zip(out.values, out.mask)]
    return found
