"""The exercises of chapters 09 and 10 against the library: the reference of each is what the library does."""

import random

import pytest
import torch

from llmlab.learn.exercises import get


def test_reasoning_is_the_librarys():
    from llmlab.methods import calibration, scaling

    r = random.Random(9)
    for _ in range(50):
        n, bins = r.randint(1, 30), r.randint(1, 12)
        stated, right = [r.random() for _ in range(n)], [r.random() < 0.5 for _ in range(n)]
        ours = get("calibration_error").reference(stated, right, bins)
        assert ours == pytest.approx(calibration.ece(stated, right, bins))
        p, fpr, fnr = r.random(), r.random(), r.random()
        shares = get("share_right_by_round").reference(p, 0.0, fpr, fnr, 3)
        for before, after in zip(shares, shares[1:]):
            assert after == pytest.approx(scaling.precision(before, 1 - fnr, fpr))


def test_the_rules_for_steps_are_the_librarys():
    from llmlab.methods.verification import AGGREGATIONS

    r = random.Random(10)
    for _ in range(50):
        solutions = [[r.random() for _ in range(r.randint(1, 6))] for _ in range(r.randint(1, 8))]
        picked = get("picked_by_steps").reference(solutions)
        for name, i in picked.items():
            totals = [AGGREGATIONS[name](s) for s in solutions]
            assert totals.index(max(totals)) == i


def test_test_time_scaling_is_the_librarys():
    from llmlab.methods import scaling
    from llmlab.train.search import Node, back_up, select

    r = random.Random(11)
    for _ in range(50):
        n = r.randint(1, 9)
        k, c = r.randint(1, n), r.randint(0, n)
        ours = get("pass_rates").reference([c], n, k)
        assert ours == pytest.approx((scaling.pass_at_k(n, c, k), scaling.pass_hat_k(n, c, k)))
        scores, right = [r.randint(0, 4) for _ in range(n)], [r.random() < 0.5 for _ in range(n)]
        ours = get("selected_at_k").reference(scores, right, k)
        assert ours == pytest.approx(scaling.selected_at_k(scores, right, k))
        answers, weights = [r.choice("abc") for _ in range(n)], [r.randint(0, 4) / 4 for _ in range(n)]
        assert get("weighted_vote").reference(answers, weights) == scaling.vote(answers, weights)
        p, fpr, fnr = r.random(), r.random(), r.random()
        ours = get("verified_at_n").reference(p, n, fpr, fnr)
        theirs = scaling.best_of_n(p, n, 1 - fnr, fpr), scaling.precision(p, 1 - fnr, fpr)
        assert ours == pytest.approx(theirs)
        priors, values = [r.random() for _ in range(4)], [r.random() for _ in range(4)]
        root = Node(None, [])
        root.children = [Node(None, [], prior=q, parent=root) for q in priors]
        for _ in range(15):
            leaf = select(root, 1.3)
            back_up(leaf, values[root.children.index(leaf)])
        ours = get("puct_visits").reference(priors, values, 15, 1.3)
        assert ours == [child.visits for child in root.children]


def test_speculative_decoding_is_lossless():
    torch.manual_seed(12)
    for _ in range(20):
        target, draft = torch.randn(2, 7).mul(2).softmax(1)
        accept, instead = get("speculative_step").reference(target, draft)
        out = draft * accept + (1 - (draft * accept).sum()) * instead
        torch.testing.assert_close(out, target)
