"""The tree of a search: it is the search itself that is drawn, no two nodes lie on one another, every node
stands in the picture and tells its step, and the buttons do what they say.
"""

import base64
import random
import re
from types import SimpleNamespace

import pytest
import torch

from llmlab.errors import UserError
from llmlab.learn import figures, trees
from llmlab.learn.widgets import Tree
from llmlab.models.load import load
from llmlab.train import search
from llmlab.train.search import SPLIT, Grower, Node, mcts
from llmlab.world.reasoning import Reasoning
from llmlab.world.stepwise import family_of
from llmlab.world.verifiers import outcome

WORLD, ROUNDS = Reasoning(("reach",), (2,)), 12
PROBLEM = WORLD.problems(1, seed=4)[0]


def score(nodes: list[Node]) -> list[float]:
    """Half for a beginning, 1 for a right solution."""
    return [float(outcome(n.problem, n.text)) if n.done else 0.5 for n in nodes]


@pytest.fixture
def loaded(monkeypatch):
    """A model that writes a step that is due, any of them."""
    tok = load("chat").tok
    start = len(Grower(None, tok, 1.0, torch.Generator()).roots([PROBLEM])[0].ids)

    def piece(ids: list[int], r: random.Random) -> list[int]:
        steps = [s.strip() for s in tok.decode(ids[start:]).split(SPLIT)[:-1]]
        due = family_of(PROBLEM).due(PROBLEM, steps)
        said = f" {r.choice(due)}{SPLIT}" if due else f" so {family_of(PROBLEM).concluded(PROBLEM, steps)}."
        return tok.encode(said, add_special_tokens=False) + [tok.eos_token_id] * (not due)

    def sample(model, prompts, *, k, generator, **settings):
        r = random.Random(int(torch.randint(1_000_000, (1,), generator=generator)))
        ids = [piece(p, r) for p in prompts for _ in range(k)]
        return SimpleNamespace(ids=ids, logprobs=[[-0.5] * len(i) for i in ids])

    monkeypatch.setattr(search, "sample", sample)
    monkeypatch.setattr(search.chat, "stop_ids", lambda tok: {tok.eos_token_id})
    return SimpleNamespace(model=SimpleNamespace(device="cpu"), tok=tok)


@pytest.fixture
def tree(loaded):
    return Tree(loaded, PROBLEM, score, rounds=ROUNDS)


def grown(r: random.Random, depth: int = 0) -> Node:
    """Any tree."""
    node = Node(PROBLEM, [], depth=depth)
    for _ in range(r.choice((0, 1, 1, 2, 4)) if 0 < depth < 5 else 3 * (depth == 0)):
        child = grown(r, depth + 1)
        child.parent = node
        node.children.append(child)
    return node


# ---- where a node lies ----


@pytest.mark.parametrize("seed", range(20))
def test_no_two_nodes_lie_on_one_another_and_a_parent_is_in_the_middle(seed):
    root = grown(random.Random(seed))
    at = trees.places(root)
    columns: dict[int, list[float]] = {}
    for node in trees.below(root):
        columns.setdefault(at[node][0], []).append(at[node][1])
        assert at[node][0] == node.depth
        if node.children:
            rows = [at[c][1] for c in node.children]
            assert at[node][1] == pytest.approx((rows[0] + rows[-1]) / 2) and rows == sorted(rows)
    for rows in columns.values():
        assert all(b - a >= 1 for a, b in zip(rows, rows[1:])), "from top to bottom, a row apart or more"


# ---- it is the search that is drawn ----


def test_it_is_the_search_of_the_same_seed(tree, loaded):
    tree.run()
    grower = Grower(loaded.model, loaded.tok, 1.0, torch.Generator().manual_seed(0))
    (found,) = mcts(grower, [PROBLEM], score, ROUNDS, 4)
    told = trees.found(tree.seen)[1]
    assert found.done and told.startswith(f"Best finished solution, value {score([found])[0]:.2f}: ")
    assert found.text in {n.text for n in tree.seen if n.done} and tree.past[-1][1] == grower.tokens


def test_visits_and_values_are_those_that_were_backed_up(tree):
    tree.run()
    assert tree.root.visits == sum(c.visits for c in tree.root.children) == ROUNDS
    for node in [n for n in trees.below(tree.root) if n.children and n.parent]:
        assert node.visits - sum(c.visits for c in node.children) in (0, 1), "a node was scored once itself"
    for visits, (seen, _) in enumerate(tree.past):
        assert seen[tree.root][0] == visits


def test_the_most_visited_path_is_taken_from_the_round_that_is_shown(tree):
    tree.run()
    path = trees.most_visited(tree.seen)
    assert path[0] is tree.root and all(b.parent is a for a, b in zip(path, path[1:]))
    for node, child in zip(path, path[1:]):
        assert tree.seen[child][0] == max(tree.seen[c][0] for c in node.children)
    tree.slider.value = 0
    assert trees.most_visited(tree.seen) == [tree.root] and "nothing yet" in str(tree)


# ---- the picture ----


def test_the_still_picture_contains_every_node(tree):
    tree.run()
    picture = tree.picture()
    drawn = {line.get_gid() for line in picture.axes[0].lines} - {None}
    assert len(drawn) == len(tree.seen) == len([*trees.below(tree.root)])
    steps = {t.get_text() for t in picture.axes[0].texts}
    assert {trees.written(n) for n in tree.seen if n.parent} <= steps
    assert isinstance(picture, figures.Drawing) and picture._repr_png_().startswith(b"\x89PNG")


def test_every_node_tells_its_step_where_one_points_at_it(tree):
    tree.run()
    told = re.findall(r'<g id="node\d+"><title>(.*?) visits (\d+), value ([\d.]+)</title>', tree.view.value)
    assert [(t, int(v), x) for t, v, x in told] == [
        (trees.written(n), visits, f"{value:.2f}") for n, (visits, value) in tree.seen.items()
    ]
    assert "<style" not in tree.view.value and 'role="img"' in tree.view.value
    assert all(trees.written(n) in str(tree) for n in tree.seen)


def test_a_step_is_text_and_never_markup(tree):
    child = Node(PROBLEM, [], text="<b onclick=x> $a_b$;", depth=1, parent=tree.root, visits=1)
    tree.root.children.append(child)
    tree.past.append((trees.seen_now(tree.root), 0))
    tree.slider.max = tree.slider.value = 1
    assert "<b onclick" not in tree.view.value and "&lt;b onclick=x&gt;" in tree.view.value
    assert tree.picture()._repr_png_()


def test_scores_below_zero_are_shaded_too(loaded):
    tree = Tree(loaded, PROBLEM, lambda nodes: [-0.1 * n.depth for n in nodes], rounds=6)
    tree.run()
    assert tree.picture()._repr_png_() and min(value for _, value in tree.seen.values()) < 0


def test_a_saved_notebook_shows_the_finished_tree(tree, monkeypatch):
    tree._repr_mimebundle_()
    assert len(tree.past) == 1, "with a kernel nothing runs before a click"
    monkeypatch.setenv("LLMLAB_PRINTED", "1")
    data = tree._repr_mimebundle_()
    assert data.keys() == {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"}
    assert base64.b64decode(data["image/png"]) == figures.png(tree.picture())
    assert data["text/plain"].startswith(f"round {ROUNDS} of {ROUNDS}")


# ---- the buttons ----


def test_step_run_again_and_the_slider(tree):
    step, run, again = tree.buttons.values()
    step.click()
    assert tree.slider.value == 1 and "round 1 of" in str(tree) and tree.past[1][1] > 0
    run.click()
    assert tree.slider.value == tree.slider.max == ROUNDS and step.disabled and run.disabled
    tree.step()
    assert len(tree.past) == ROUNDS + 1, "no round is left"
    whole, nodes = tree.view.value, len(tree.seen)
    tree.slider.value = 2
    assert len(tree.seen) < nodes and tree.view.value != whole
    tree.slider.value = ROUNDS
    assert tree.head().startswith(f"round {ROUNDS}")
    first = str(tree)
    again.click()
    assert (tree.slider.value, tree.slider.max, len(tree.seen)) == (0, 0, 1) and not run.disabled
    run.click()
    assert str(tree) != first, "other samples"


WRONG = {
    "no rounds": (dict(rounds=0), "rounds and width are 1 or more, not 0 and 4"),
    "no width": (dict(width=0), "rounds and width are 1 or more"),
    "a score by its name": (dict(score="exact"), "score is a function of nodes"),
    "a question": (dict(problem="What is 2 + 2?"), "problem is one of a world"),
}


@pytest.mark.parametrize("given, fix", WRONG.values(), ids=WRONG)
def test_bad_input_is_a_sentence(given, fix, loaded):
    with pytest.raises(UserError, match=fix):
        Tree(**dict(loaded=loaded, problem=PROBLEM, score=score) | given)
