"""Search: solutions grown step by step, all open nodes of all problems in one batch: beam search, lookahead,
MCTS. What was sampled is counted, so that ways can be compared at equal tokens.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Iterator, Sequence

import torch

from ..tokens import chat
from ..world.base import Problem
from .sample import sample

SPLIT = ";"  # stands behind every step
STEP = 48  # tokens that a step takes at most

Scorer = Callable[[list["Node"]], list[float]]  # nodes -> from 0 to 1: how good does it look?


@dataclass(eq=False)
class Node:
    """A beginning of a solution. ids: prompt and what was written; logprob: of what was written, in nats;
    done: the turn ended, or ran too long.
    """

    problem: Problem
    ids: list[int]
    text: str = ""
    logprob: float = 0.0
    depth: int = 0
    done: bool = False
    prior: float = 1.0
    parent: "Node | None" = None
    children: list["Node"] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0

    @property
    def value(self) -> float:
        """Mean of what was backed up; 0 before."""
        return self.total / self.visits if self.visits else 0.0


@dataclass
class Grower:
    """Writes steps with a model; `tokens` counts what it sampled."""

    model: Any
    tok: Any
    temperature: float
    generator: torch.Generator
    deepest: int = 16  # steps of a solution at most
    tokens: int = 0

    def roots(self, problems: Iterable[Problem]) -> list[Node]:
        """An empty solution of each problem."""
        return [Node(p, chat.prompt(self.tok, p.messages, p.meta.get("tools"))) for p in problems]

    def grow(self, nodes: Sequence[Node], width: int, whole: bool = False) -> list[list[Node]]:
        """`width` children of each node, a step longer (whole: finished solutions), equal ones once: its
        prior is the share that wrote it. A node that is done is its own only child.
        """
        open_ = [n for n in nodes if not n.done]
        (split,) = self.tok.encode(SPLIT, add_special_tokens=False)
        ends = set(chat.stop_ids(self.tok))
        stop, longest = (ends, STEP * 4) if whole else (ends | {split}, STEP)
        grown: dict[int, list[Node]] = {}
        if open_:
            done = sample(
                self.model,
                [n.ids for n in open_],
                k=width,
                max_new=longest,
                temperature=self.temperature,
                stop=stop,
                generator=self.generator,
            )
            self.tokens += sum(map(len, done.ids))
            for i, node in enumerate(open_):
                rows = range(i * width, (i + 1) * width)
                grown[id(node)] = self._children(
                    node, [(done.ids[r], sum(done.logprobs[r])) for r in rows], ends
                )
        return [grown.get(id(n), [n]) for n in nodes]

    def _children(self, node: Node, written: list[tuple[list[int], float]], ends: set[int]) -> list[Node]:
        found: dict[tuple[int, ...], Node] = {}
        for ids, logprob in written:
            if tuple(ids) in found:
                found[tuple(ids)].prior += 1 / len(written)
                continue
            end = ids[-1] in ends
            text = node.text + self.tok.decode(ids[:-1] if end else ids)
            closed = end or not text.endswith(SPLIT) or node.depth + 1 >= self.deepest
            found[tuple(ids)] = Node(
                node.problem,
                node.ids + ids,
                text,
                node.logprob + logprob,
                node.depth + 1,
                closed,
                1 / len(written),
                node,
            )
        return list(found.values())


def beam(grower: Grower, problems: Sequence[Problem], score: Scorer, keep: int, width: int) -> list[Node]:
    """Beam search over steps: of keep × width continuations the best `keep` go on. The best finished
    solution of each problem. lookahead and tree of thoughts (BFS, Yao et al. 2023) are this with another
    score.
    """
    beams = [[root] for root in grower.roots(problems)]
    while any(not n.done for b in beams for n in b):
        flat = [n for b in beams for n in b]
        grown = iter(grower.grow(flat, width))
        pools = [[child for _ in b for child in next(grown)] for b in beams]
        scores = iter(score([n for pool in pools for n in pool]))
        ranked = [sorted(((next(scores), -i) for i in range(len(pool))), reverse=True) for pool in pools]
        beams = [[pool[-i] for _, i in order[:keep]] for pool, order in zip(pools, ranked)]
    return [b[0] for b in beams]


def best_of(grower: Grower, problems: Sequence[Problem], score: Scorer, n: int) -> list[Node]:
    """The best of n whole solutions."""
    grown = grower.grow(grower.roots(problems), n, whole=True)
    scores = iter(score([c for children in grown for c in children]))
    scored = [[(next(scores), -i) for i in range(len(children))] for children in grown]
    return [children[-max(order)[1]] for children, order in zip(grown, scored)]


def ahead(grower: Grower, score: Scorer, rollouts: int = 1) -> Scorer:
    """Lookahead: a node is as good as the mean of its finished continuations."""

    def look(nodes: list[Node]) -> list[float]:
        grown = grower.grow(nodes, rollouts, whole=True)
        scores = iter(score([c for children in grown for c in children]))
        return [
            sum(c.prior * next(scores) for c in children) if not n.done else next(scores)
            for n, children in zip(nodes, grown)
        ]

    return look


def mcts(
    grower: Grower,
    problems: Sequence[Problem],
    score: Scorer,
    rounds: int,
    width: int,
    explore: float = 1.0,
) -> list[Node]:
    """Monte-Carlo tree search, `rounds` rounds: of each problem the finished solution of highest value, or
    one that is finished from its best leaf.
    """
    roots = grower.roots(problems)
    finished: list[list[tuple[float, int, Node]]] = [[] for _ in roots]
    for round_, tried in enumerate(growth(grower, roots, score, rounds, width, explore)):
        for i, (node, value) in enumerate(tried):
            if node.done:
                finished[i].append((value, -round_, node))
    ended = [max(f)[2] if f else None for f in finished]
    open_ = [max(leaves_of(r), key=lambda n: (n.value, n.visits)) for r, e in zip(roots, ended) if e is None]
    rest = iter(c[0] for c in grower.grow(open_, 1, whole=True))
    return [e if e is not None else next(rest) for e in ended]


def growth(
    grower: Grower, roots: list[Node], score: Scorer, rounds: int, width: int, explore: float = 1.0
) -> Iterator[list[tuple[Node, float]]]:
    """The trees grow in place, one leaf of each a round and all of them in one batch: the leaf gets `width`
    children, the likeliest of them is scored, and its score is backed up. Yields (what was scored, its score)
    of every tree. PUCT: Silver et al. 2017; over steps: Feng et al. 2023
    """
    for _ in range(rounds):
        leaves = [select(root, explore) for root in roots]
        for leaf, children in zip(leaves, grower.grow(leaves, width)):
            leaf.children = [] if leaf.done else children
        tried = [max(leaf.children, key=lambda c: c.prior) if leaf.children else leaf for leaf in leaves]
        values = score(tried)
        for node, value in zip(tried, values):
            back_up(node, value)
        yield list(zip(tried, values))


def select(node: Node, explore: float) -> Node:
    """Down the tree to a leaf, by value + explore · prior · √visits of the parent / (1 + visits). What was
    never visited counts as its parent does, so that a wrong first child does not hide its siblings.
    """
    while node.children:
        here, root = node.value, math.sqrt(node.visits)
        node = max(
            node.children,
            key=lambda c: (c.value if c.visits else here) + explore * c.prior * root / (1 + c.visits),
        )
    return node


def back_up(node: Node | None, value: float) -> None:
    """The value reaches every node on the way to the root."""
    while node is not None:
        node.visits, node.total, node = node.visits + 1, node.total + value, node.parent


def leaves_of(node: Node) -> list[Node]:
    """All nodes without children."""
    return [leaf for c in node.children for leaf in leaves_of(c)] if node.children else [node]
