"""Exact claims about verifiers and self-training: each function proves its claim, or raises AssertionError;
it returns what it found in words.
"""

from itertools import product


def one_of_k() -> str:
    """C120: the chance that at least one of K samples is right is 1 − (1−p)^K; it never falls with K, and
    over problems its mean is below that of the mean p.
    """
    from ...methods.scaling import pass_at_k

    for p in (0.05, 0.3, 0.9):
        for k in range(1, 9):
            exact = sum(
                p ** sum(draw) * (1 - p) ** (k - sum(draw)) for draw in product((0, 1), repeat=k) if any(draw)
            )
            assert abs(exact - (1 - (1 - p) ** k)) < 1e-12
    mixed, alike = (pass_at_k(10, 1, 5) + pass_at_k(10, 9, 5)) / 2, pass_at_k(10, 5, 5)
    assert mixed < alike, (mixed, alike)
    return (
        f"for every K up to 8 equal to the sum over all outcomes; problems of 10 and 90 % give {mixed:.0%} at"
        f" K = 5, two of 50 % {alike:.0%}"
    )


def odds_of_a_round() -> str:
    """C153: a round of perfect imitation multiplies the odds of right by TPR / FPR: the sign of J decides
    where it ends, that ratio how fast; a systematic false positive of mass q stays.
    """
    from ...methods.scaling import imitated

    ended = {}
    for tpr, fpr in ((0.9, 0.3), (0.6, 0.5), (0.5, 0.6), (0.5, 0.5)):
        ended[tpr - fpr] = imitated(0.3, tpr, fpr, 60)
    assert ended[0.9 - 0.3] > 0.999 and ended[0.6 - 0.5] > 0.999, ended
    assert ended[0.5 - 0.6] < 0.001 and abs(ended[0.0] - 0.3) < 1e-9, ended
    quick, slow = (
        next(n for n in range(99) if imitated(0.3, t, f, n) > 0.9) for t, f in ((0.9, 0.3), (0.6, 0.5))
    )
    right, hole = 0.3, 0.1  # shares of the samples: right, and wrong with a form that always passes
    for _ in range(60):
        right, hole = right / (right + hole), hole / (right + hole)
    assert abs(right - 0.75) < 1e-9, right
    assert imitated(0.1, 0.5, 0.01, 1) > imitated(0.1, 1.0, 0.1, 1), "J = .49 is faster than J = .9"
    return (
        f"from 30 %: J = .6 passes 90 % after {quick} rounds, J = .1 after {slow}, J = 0 stays, J = −.1 goes"
        f" to 0; with a hole that a tenth of the samples use it ends at {right:.0%}"
    )


def centred_is_scaled_leave_one_out() -> str:
    """C128: r − mean(r) is (G−1)/G of the leave-one-out advantage, sums to 0 over the group, and is 0 where
    all rewards are equal.
    """
    import torch

    from ...methods.advantages import ADVANTAGES

    r, group = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]), torch.zeros(8, dtype=torch.long)
    mean, rloo = (ADVANTAGES[n](r, group).flatten() for n in ("group_mean", "leave_one_out"))
    assert torch.allclose(mean, rloo * 7 / 8) and abs(float(mean.sum())) < 1e-6
    assert not ADVANTAGES["group_mean"](torch.ones(8), group).any()
    return "eight rewards: each is 7/8 of the leave-one-out advantage, their sum is 0; equal ones give 0"
