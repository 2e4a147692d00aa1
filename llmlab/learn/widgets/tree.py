"""Tree: the tree of an MCTS over steps on one problem, drawn round by round: what it visits, what it thinks
of it, and which solution it finds.
"""

import base64
import html
import os

import ipywidgets as w
import torch

from ...errors import UserError
from ...train.search import Grower, Scorer, growth
from ...world.base import Problem
from .. import figures, trees


class Tree:
    """MCTS on one problem, drawn while it grows. score: nodes -> how good each looks, such as
    `Search().scorer(loaded, 0)`; width: samples of a next step; explore: the weight of what was hardly tried.

    Step grows one round, Run all that are left, Again a new tree from other samples; the slider goes back.
    `picture()` is the round that is shown, str() the same as text.
    """

    def __init__(
        self,
        loaded,
        problem,
        score: Scorer,
        rounds: int = 16,
        width: int = 4,
        explore: float = 1.0,
        seed: int = 0,
    ):
        if rounds < 1 or width < 1:
            raise UserError(f"rounds and width are 1 or more, not {rounds} and {width}")
        if not isinstance(problem, Problem):
            raise UserError('problem is one of a world, such as Reasoning(("reach",)).problems(1)[0]')
        if not callable(score):
            raise UserError("score is a function of nodes, such as Search().scorer(loaded, 0)")
        self.loaded, self.problem, self.score, self.seed = loaded, problem, score, seed
        self.rounds, self.width, self.explore = rounds, width, explore
        self._build()
        self._plant()

    def _build(self) -> None:
        """The widgets, once."""
        does = {"Step": self.step, "Run": self.run, "Again": self.again}
        self.buttons = {name: w.Button(description=name) for name in does}
        for name, button in self.buttons.items():
            button.on_click(lambda _, act=does[name]: act())
        self.slider, self.view = w.IntSlider(max=0, description="round"), w.HTML()
        self.slider.observe(lambda _: self._show(), names="value")
        self.widget = w.VBox([w.HBox([*self.buttons.values(), self.slider]), self.view])

    def _plant(self) -> None:
        """A root, of which nothing has grown."""
        generator = torch.Generator(self.loaded.model.device).manual_seed(self.seed)
        self.grower = Grower(self.loaded.model, self.loaded.tok, 1.0, generator)
        (self.root,) = self.grower.roots([self.problem])
        self._growth = growth(self.grower, [self.root], self.score, self.rounds, self.width, self.explore)
        self.past: list[tuple[trees.Seen, int]] = [(trees.seen_now(self.root), 0)]  # a round, tokens so far
        self.slider.value = self.slider.max = 0
        self._show()

    def step(self) -> None:
        """One more round, if one is left."""
        if next(self._growth, None):
            self.past.append((trees.seen_now(self.root), self.grower.tokens))
            self.slider.max = len(self.past) - 1
            self.slider.value = self.slider.max

    def run(self) -> None:
        """All rounds that are left."""
        while len(self.past) <= self.rounds:
            self.step()

    def again(self) -> None:
        """A new tree, from other samples."""
        self.seed += 1
        self._plant()

    @property
    def seen(self) -> trees.Seen:
        """The round that is shown."""
        return self.past[self.slider.value][0]

    def head(self) -> str:
        """Round, nodes and tokens."""
        seen, tokens = self.past[self.slider.value]
        return f"round {self.slider.value} of {self.rounds}: {len(seen)} nodes, {tokens} tokens sampled"

    def picture(self) -> figures.Drawing:
        """The round that is shown."""
        return trees.drawing(self.root, self.seen, self.head())

    def __str__(self) -> str:
        return f"{self.head()}\n{trees.text(self.seen)}"

    def _show(self) -> None:
        self.buttons["Step"].disabled = self.buttons["Run"].disabled = len(self.past) > self.rounds
        tree, lines = trees.svg(self.picture(), self.seen), map(html.escape, trees.found(self.seen))
        self.view.value = (
            f"<div class='llmlab-tree' style='overflow-x: auto'>{tree}</div><p>{'</p><p>'.join(lines)}</p>"
            f"<details><summary>the tree as text</summary><pre>{html.escape(str(self))}</pre></details>"
        )

    def _repr_mimebundle_(self, **options):
        if os.environ.get("LLMLAB_PRINTED"):  # a reader without a kernel gets the whole search
            self.run()
        still = base64.b64encode(figures.png(self.picture())).decode()
        return {"image/png": still} | self.widget._repr_mimebundle_(**options) | {"text/plain": str(self)}
