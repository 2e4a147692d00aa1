"""Search: with a writer of known quality and an exact score, every way finds what it should, and counts its
tokens.
"""

import random
from statistics import fmean

import pytest
import torch

from llmlab.models.load import load
from llmlab.train import search
from llmlab.train.search import SPLIT, Grower, Node, ahead, back_up, beam, best_of, mcts, select
from llmlab.world.reasoning import Reasoning
from llmlab.world.stepwise import family_of, written
from llmlab.world.verifiers import dense

WORLD = Reasoning(("links", "columns"), (2,))
SLIPS = 0.35  # steps that go wrong


@pytest.fixture(scope="module")
def tok():
    return load("chat").tok


class Written:
    """What `sample` gives back."""

    def __init__(self, ids):
        self.ids = ids
        self.logprobs = [[-0.5] * len(i) for i in ids]


@pytest.fixture
def grower(tok, monkeypatch):
    """A grower whose model writes the next step, wrong with a chance of SLIPS."""
    r, asked = random.Random(5), WORLD.problems(24, seed=2)
    known = {tuple(n.ids): p for p, n in zip(asked, Grower(None, tok, 1.0, torch.Generator()).roots(asked))}

    def next_piece(problem, text):
        steps = [s.strip() for s in text.split(SPLIT)[:-1]]
        due = family_of(problem).due(problem, steps)
        if not due:
            return f" so {family_of(problem).concluded(problem, steps)}."
        slip = r.random() < SLIPS
        step = r.choice(list(family_of(problem).slips(r, problem, steps).values())) if slip else due[0]
        return f" {step}{SPLIT}"

    def sample(model, prompts, *, k, stop, **settings):
        (split,) = tok.encode(SPLIT, add_special_tokens=False)
        rows = []
        for ids in prompts:
            start = next(n for n in range(len(ids), 0, -1) if tuple(ids[:n]) in known)
            problem, text = known[tuple(ids[:start])], tok.decode(ids[start:])
            for _ in range(k):
                piece = next_piece(problem, text)
                while split not in stop and not piece.rstrip().endswith("."):
                    piece += next_piece(problem, text + piece)
                ended = [tok.eos_token_id] if piece.endswith(".") else []
                rows.append(tok.encode(piece, add_special_tokens=False) + ended)
        return Written(rows)

    monkeypatch.setattr(search, "sample", sample)
    made = Grower(None, tok, 1.0, torch.Generator())
    monkeypatch.setattr(search.chat, "stop_ids", lambda t: {t.eos_token_id})
    made.asked = asked
    return made


def exact(nodes: list[Node]) -> list[float]:
    """Of what is written, the share of the way that is right."""
    return [dense(n.problem, n.text if n.done else n.text + " x") for n in nodes]


def accuracy(nodes: list[Node]) -> float:
    return fmean(WORLD.score(n.problem, n.text).reward for n in nodes)


def test_an_exact_score_of_steps_finds_what_samples_miss_at_fewer_tokens(grower):
    one = accuracy(best_of(grower, grower.asked, exact, 1))
    grower.tokens = 0
    many = accuracy(best_of(grower, grower.asked, exact, 8))
    spent, grower.tokens = grower.tokens, 0
    stepwise = accuracy(beam(grower, grower.asked, exact, keep=1, width=6))
    assert one < many < stepwise and stepwise > 0.9
    assert grower.tokens < spent


def test_a_score_that_knows_nothing_finds_nothing(grower):
    blind = accuracy(beam(grower, grower.asked, lambda nodes: [0.0] * len(nodes), keep=1, width=6))
    assert blind < 0.45


def test_a_wider_beam_is_no_worse_and_lookahead_needs_only_the_outcome(grower):
    def outcome(nodes):
        return [WORLD.score(n.problem, n.text).reward for n in nodes]

    blind = accuracy(beam(grower, grower.asked, outcome, keep=1, width=4))
    looked = accuracy(beam(grower, grower.asked, ahead(grower, outcome, 6), keep=1, width=4))
    assert looked > blind + 0.2


def test_mcts_finds_it_with_an_exact_value_and_spends_more_with_more_rounds(grower):
    few = accuracy(mcts(grower, grower.asked, exact, rounds=4, width=4))
    spent, grower.tokens = grower.tokens, 0
    many = accuracy(mcts(grower, grower.asked, exact, rounds=40, width=4))
    assert many > 0.85 and many > few and grower.tokens > spent


def test_every_node_continues_its_parent_and_what_is_done_grows_no_more(grower):
    roots = grower.roots(grower.asked[:3])
    for children in grower.grow(roots, 5):
        assert len({c.text for c in children}) == len(children)
        assert sum(c.prior for c in children) == pytest.approx(1.0)
        for c in children:
            assert c.ids[: len(c.parent.ids)] == c.parent.ids and c.text.endswith(SPLIT) and not c.done
    (whole,) = grower.grow(roots[:1], 1, whole=True)
    assert whole[0].done and written(whole[0].text)[1] is not None
    before = grower.tokens
    assert grower.grow([whole[0]], 4) == [[whole[0]]] and grower.tokens == before


def test_select_follows_value_and_curiosity_and_a_value_reaches_the_root():
    root = Node(None, [])
    root.children = [Node(None, [], prior=p, parent=root) for p in (0.6, 0.4)]
    assert select(root, 1.0) is root.children[0], "before any visit the first of equals"
    back_up(root.children[0], 0.2)
    assert (root.visits, root.value) == (1, 0.2)
    assert select(root, 0.0) is root.children[0], "what was never visited counts as its parent"
    back_up(root.children[0], 0.0)
    assert select(root, 0.5) is root.children[1]
    back_up(root.children[1], 1.0)
    assert select(root, 0.0) is root.children[1]
    assert root.value == pytest.approx(0.4)
