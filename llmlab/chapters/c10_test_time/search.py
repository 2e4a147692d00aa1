"""search: best of n, beams, lookahead and MCTS over steps, at equal tokens per problem, under one score."""

from dataclasses import dataclass
from math import log2
from statistics import fmean
from typing import Callable, ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...train.search import SPLIT, Grower, Node, Scorer, ahead, beam, best_of, mcts
from ...world.reasoning import NAMES, Reasoning
from ...world.stepwise import written
from ...world.verifiers import outcome, value
from ..c09_reasoning.verify import Verify, judged

SCORES = ("exact", "outcome", "likelihood", "learned")
SIZES = (1, 2, 4, 8, 16)  # how much of each way is tried
WAYS: dict[str, Callable[[Grower, list, Scorer, int], list[Node]]] = {
    "best_of_n": best_of,
    "beam": lambda g, asked, score, n: beam(g, asked, score, keep=max(1, n // 4), width=min(n, 4)),
    "lookahead": lambda g, asked, score, n: beam(g, asked, ahead(g, score), keep=1, width=n),
    "mcts": lambda g, asked, score, n: mcts(g, asked, score, rounds=2 * n, width=4),
}


@dataclass(frozen=True)
class Search(Experiment):
    """The steps of this experiment are tokens sampled per problem. Each way is run in five sizes; what it
    gets right at a number of tokens lies on the line between the two sizes around it, over the logarithm of
    the tokens.

    exact       of the due steps, the share that is right and leads on: a perfect PRM
    outcome     finished and right, else nothing: a perfect verifier of answers
    likelihood  mean log-prob of a token
    learned     the least step score of a PRM that is trained first
    """

    name: ClassVar[str] = "search"
    summary: ClassVar[str] = "beam search, lookahead and MCTS over steps against best of n, at equal tokens"
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    along: ClassVar[str] = "tokens per problem"
    curves: ClassVar[dict[str, str]] = {name: f"{name.replace('_', ' ')}, right (share)" for name in WAYS}
    front: ClassVar[tuple[str, ...]] = ("score", "family", "level")
    presets: ClassVar[dict[str, dict]] = {
        "a perfect score of steps": {},
        "only answers are checked": dict(score="outcome"),
        "a learned score": dict(score="learned"),
        "likelihood": dict(score="likelihood"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=128, held=4, judged=3),
        values=dict(steps=(256,), held=(6,), judged=(2,)),
        under=dict(judged=dict(score="learned")),
    )

    score: str = knob("exact", choices=SCORES, help="how good a beginning looks")
    family: str = knob("reach", choices=NAMES, help="kind of problem")
    level: int = knob(2, 1, 4, help="difficulty")
    temperature: float = knob(1.0, 0.1, 2.0, help="sampling temperature")
    judged: int = knob(40, 1, 1000, unit="steps", help="learned: steps of training of the verifier")
    steps: int = knob(1024, 64, 8192, scale="log", unit="tokens", help="most tokens per problem")
    held: int = knobs.held(24, low=4)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """A row for each doubling of the tokens."""
        self.address(loaded)
        world = Reasoning((self.family,), (self.level,))
        asked, score = world.problems(self.held, seed=seed), self.scorer(loaded, seed)
        lines = {name: self.line(loaded, way, asked, score, world, seed) for name, way in WAYS.items()}
        budget = 32
        while budget <= self.steps:
            yield {"step": budget} | {name: between(line, budget) for name, line in lines.items()}
            budget *= 2

    def line(
        self, loaded, way, asked, score: Scorer, world: Reasoning, seed: int
    ) -> list[tuple[float, float]]:
        """(tokens per problem, share right) of each size."""
        found = []
        for size in SIZES:
            generator = torch.Generator(loaded.model.device).manual_seed(seed)
            grower = Grower(loaded.model, loaded.tok, self.temperature, generator)
            ended = way(grower, asked, score, size)
            found.append(
                (grower.tokens / len(asked), fmean(world.score(n.problem, n.text).reward for n in ended))
            )
        return found

    def scorer(self, loaded, seed: int) -> Scorer:
        """The score by its name."""
        if self.score == "exact":
            return lambda nodes: [exact(n) for n in nodes]
        if self.score == "outcome":
            return lambda nodes: [float(n.done and outcome(n.problem, n.text)) for n in nodes]
        if self.score == "likelihood":
            return lambda nodes: [n.logprob / max(1, n.depth) for n in nodes]
        judge = Verify(family=self.family, level=self.level, steps=self.judged).trained(loaded, seed)
        return lambda nodes: [
            min(s[:-1] or s) if not n.done else min(s)
            for n, s in zip(nodes, judged(judge, loaded.tok, [(n.problem, n.text) for n in nodes]))
        ]


def exact(node: Node) -> float:
    """1 for a right answer; below it what a perfect judge of steps says."""
    if node.done and outcome(node.problem, node.text):
        return 1.0
    steps = written(node.text)[0] if node.done else [s.strip() for s in node.text.split(SPLIT)[:-1]]
    return 0.9 * value(node.problem, steps)


def between(line: list[tuple[float, float]], tokens: float) -> float:
    """What the line has at that number of tokens, linear in their logarithm; the ends go on level."""
    line = sorted(line)
    for (x0, y0), (x1, y1) in zip(line, line[1:]):
        if x0 <= tokens <= x1 and x1 > x0:
            return y0 + (y1 - y0) * (log2(tokens) - log2(x0)) / (log2(x1) - log2(x0))
    return line[0][1] if tokens < line[0][0] else line[-1][1]
