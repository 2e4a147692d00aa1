"""Chapter 06: the chance that one answer beats another, DPO's loss and its weight, odds, pairs from samples,
and the price of best-of-n.
"""

import math
import random

import torch
import torch.nn.functional as F

from ...learn.exercise import Exercise, case


def _draws(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


# ---- Bradley-Terry ----


def win_probability(chosen, rejected):
    """chosen, rejected: rewards [n] of two answers to the same n questions. Returns [n]: the chance, by
    Bradley and Terry, that the first one is preferred.
    """
    return torch.sigmoid(chosen - rejected)


def _win_softmax(chosen, rejected):
    return torch.stack([chosen, rejected], 1).softmax(1)[:, 0]


def a_ratio_of_rewards(chosen, rejected):
    """You divide the rewards themselves. They may be negative; it is their exponentials that compete, e^a /
    (e^a + e^b).
    """
    return chosen / (chosen + rejected)


def the_other_wins(chosen, rejected):
    """That is the chance that the *second* answer is preferred."""
    return torch.sigmoid(rejected - chosen)


def a_hard_decision(chosen, rejected):
    """You return who wins. Wanted is the chance: close rewards are close to one half."""
    return (chosen > rejected).float()


def _win_cases():
    draw = _draws(61)
    return [
        case("one decided, one open", torch.tensor([2.0, 0.0]), torch.tensor([0.0, 0.0])),
        case("negative rewards", torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -1.0])),
        *(case(f"{n} questions", draw(n), draw(n)) for n in (3, 5, 8)),
    ]


WIN_PROBABILITY = Exercise(
    win_probability,
    "Turn two rewards into the chance that the first answer is preferred.",
    _win_cases,
    (
        "Only the difference of the rewards counts: adding 5 to both changes nothing.",
        "The chance is e^a / (e^a + e^b).",
        "Divide by e^a: that is the sigmoid of a - b.",
    ),
    (_win_softmax,),
    (a_ratio_of_rewards, the_other_wins, a_hard_decision),
)

# ---- DPO ----


def dpo_loss(policy, ref, beta):
    """policy, ref [n, 2]: log-probs of whole answers under policy and reference; column 0 chosen, column 1
    rejected. Returns DPO's loss, a scalar: the mean over the n pairs.
    """
    reward = beta * (policy - ref)
    return -F.logsigmoid(reward[:, 0] - reward[:, 1]).mean()


def _dpo_cross_entropy(policy, ref, beta):
    return F.cross_entropy(beta * (policy - ref), torch.zeros(len(policy), dtype=torch.long))


def without_reference(policy, ref, beta):
    """The reference is missing: DPO compares how far each answer has moved from it."""
    return -F.logsigmoid(beta * (policy[:, 0] - policy[:, 1])).mean()


def beta_outside(policy, ref, beta):
    """beta multiplies the log-ratios *inside* the sigmoid; outside it would only scale the learning rate."""
    d = policy - ref
    return -beta * F.logsigmoid(d[:, 0] - d[:, 1]).mean()


def rejected_first(policy, ref, beta):
    """The sign of the margin is turned: this loss raises the rejected answer."""
    d = beta * (policy - ref)
    return -F.logsigmoid(d[:, 1] - d[:, 0]).mean()


def summed(policy, ref, beta):
    """You add the pairs up. Wanted is their mean."""
    d = beta * (policy - ref)
    return -F.logsigmoid(d[:, 0] - d[:, 1]).sum()


def _pair_cases():
    draw = _draws(62)
    start = torch.tensor([[-4.0, -2.0], [-7.0, -1.0]])
    return [
        case("at the start: ln 2", start, start.clone(), 0.1),
        case("the chosen answer has risen", torch.tensor([[-2.0, -2.0], [-3.0, -1.0]]), start, 0.5),
        *(
            case(f"{n} pairs, beta {b}", draw(n, 2) - 5, draw(n, 2) - 5, b)
            for n, b in ((3, 0.1), (4, 1.0), (6, 0.3))
        ),
    ]


DPO_LOSS = Exercise(
    dpo_loss,
    "Write DPO's loss from the log-probs of whole answers.",
    _pair_cases,
    (
        "The implied reward of an answer is beta times its log-ratio, log policy minus log reference.",
        "The loss is that of Bradley and Terry on the two implied rewards.",
        (
            "-log sigmoid(reward of chosen - reward of rejected), mean over pairs; F.logsigmoid is exact"
            " where sigmoid underflows."
        ),
    ),
    (_dpo_cross_entropy,),
    (without_reference, beta_outside, rejected_first, summed),
)


def dpo_weights(policy, ref, beta):
    """The same columns. Returns [n]: the factor with which each pair's gradient (log-prob of chosen less
    log-prob of rejected) goes into DPO's step, before the mean over pairs.
    """
    d = beta * (policy - ref)
    return beta * torch.sigmoid(d[:, 1] - d[:, 0])


def _dpo_weights_by_autograd(policy, ref, beta):
    moved = policy.clone().requires_grad_(True)
    d = beta * (moved - ref)
    (slope,) = torch.autograd.grad(-F.logsigmoid(d[:, 0] - d[:, 1]).sum(), moved)
    return slope[:, 1]


def sure_pairs_count_most(policy, ref, beta):
    """Reversed: a pair that is ordered correctly already, with a wide margin, hardly counts."""
    d = beta * (policy - ref)
    return beta * torch.sigmoid(d[:, 0] - d[:, 1])


def without_beta(policy, ref, beta):
    """The chain rule gives another factor: the derivative of the margin with respect to a log-prob is
    beta.
    """
    d = beta * (policy - ref)
    return torch.sigmoid(d[:, 1] - d[:, 0])


def all_alike(policy, ref, beta):
    """That is the weight at the start only, where every margin is 0."""
    return torch.full((len(policy),), beta / 2)


DPO_WEIGHTS = Exercise(
    dpo_weights,
    "How strongly does each pair pull?",
    _pair_cases,
    (
        "Derive -log sigmoid(m) with respect to m.",
        "The derivative is -sigmoid(-m): wrong pairs (m very negative) have weight 1, settled ones 0.",
        "Times beta, since m = beta · (log-ratio of chosen - log-ratio of rejected).",
    ),
    (_dpo_weights_by_autograd,),
    (sure_pairs_count_most, without_beta, all_alike),
)

# ---- ORPO ----


def log_odds(logprobs, mask):
    """logprobs, mask [n, T]: log-probs of the tokens, and 1 where a token belongs to the answer. Returns [n]:
    the log of the odds p / (1 - p) of each answer, where p is the geometric mean of its tokens' probabilities
    (ORPO).
    """
    s = (logprobs * mask).sum(1) / mask.sum(1)
    return s - torch.log(-torch.expm1(s))


def _log_odds_logit(logprobs, mask):
    return torch.logit(((logprobs * mask).sum(1) / mask.sum(1)).exp())


def whole_answer(logprobs, mask):
    """You take the probability of the whole answer. ORPO takes the mean over tokens, else a long answer
    always has tiny odds.
    """
    s = (logprobs * mask).sum(1)
    return s - torch.log(-torch.expm1(s))


def padding_counted(logprobs, mask):
    """The mean runs over the padding too: divide by the number of the answer's tokens."""
    s = (logprobs * mask).mean(1)
    return s - torch.log(-torch.expm1(s))


def only_log_p(logprobs, mask):
    """That is log p. The odds divide by 1 - p."""
    return (logprobs * mask).sum(1) / mask.sum(1)


def _odds_cases():
    draw, r = _draws(63), random.Random(63)
    logprobs, mask = (
        torch.tensor([[-0.5, -1.5, -9.0], [-0.1, -0.1, -0.1]]),
        torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]),
    )
    cases = [case("two answers, one padded", logprobs, mask)]
    for n, t in ((2, 4), (3, 6), (4, 5), (5, 3)):
        lengths = torch.tensor([r.randint(1, t) for _ in range(n)])
        cases.append(
            case(f"{n} answers", -draw(n, t).abs() - 0.05, (torch.arange(t)[None] < lengths[:, None]).float())
        )
    return cases


LOG_ODDS = Exercise(
    log_odds,
    "Compute the odds on which ORPO's second term rests.",
    _odds_cases,
    (
        "First the mean log-prob s of the answer's own tokens.",
        "p = e^s, and the odds are p / (1 - p).",
        "log odds = s - log(1 - e^s); -torch.expm1(s) is 1 - e^s without rounding.",
    ),
    (_log_odds_logit,),
    (whole_answer, padding_counted, only_log_p),
)

# ---- pairs from samples ----


def best_and_worst(rewards):
    """rewards: a list of numbers, those of the samples of one problem. Returns (best, worst): the places of
    the highest and of the lowest reward, the first such place each, or None where the samples hold no
    preference.
    """
    if max(rewards) == min(rewards):
        return None
    return rewards.index(max(rewards)), rewards.index(min(rewards))


def _best_and_worst_sorted(rewards):
    order = sorted(range(len(rewards)), key=lambda i: (-rewards[i], i))
    last = min(i for i in order if rewards[i] == rewards[order[-1]])
    return (order[0], last) if rewards[order[0]] > rewards[last] else None


def always_a_pair(rewards):
    """Where all rewards are equal there is nothing to prefer: such a pair teaches noise. Return None."""
    return rewards.index(max(rewards)), rewards.index(min(rewards))


def the_values(rewards):
    """Wanted are the places of the two samples, not their rewards."""
    return None if max(rewards) == min(rewards) else (max(rewards), min(rewards))


def best_and_second(rewards):
    """You pair the best with the second best. Best against worst is the clearest comparison that the samples
    allow.
    """
    if max(rewards) == min(rewards):
        return None
    order = sorted(range(len(rewards)), key=lambda i: (-rewards[i], i))
    return order[0], order[1]


def _samples_cases():
    r = random.Random(64)
    return [
        case("right and wrong", [0.0, 1.0, 1.0, 0.0]),
        case("all right", [1.0, 1.0, 1.0]),
        case("graded", [0.5, 1.5, -0.5, 1.0]),
        *(case(f"{n} samples", [float(r.randint(0, 3)) for _ in range(n)]) for n in (4, 6, 8)),
    ]


BEST_AND_WORST = Exercise(
    best_and_worst,
    "Make an on-policy pair of the samples of one problem.",
    _samples_cases,
    (
        "What if every sample is right, or every one wrong?",
        "Then return None; else the places of the maximum and of the minimum.",
        "rewards.index(max(rewards)) is the first place of the maximum.",
    ),
    (_best_and_worst_sorted,),
    (always_a_pair, the_values, best_and_second),
)

# ---- best of n ----


def best_of_n(rewards, n):
    """rewards: a list of N rewards of samples of one problem, n ≤ N. Returns (expected, kl): the expected
    highest reward of n samples drawn from them without putting back, and an upper bound of the KL divergence
    of best-of-n from the policy in nats, ln n - (n - 1) / n.
    """
    ranked, ways = sorted(rewards), math.comb(len(rewards), n)
    expected = sum(value * math.comb(i, n - 1) / ways for i, value in enumerate(ranked))
    return expected, math.log(n) - (n - 1) / n


def _best_of_n_listed(rewards, n):
    from itertools import combinations

    drawn = [max(c) for c in combinations(rewards, n)]
    return sum(drawn) / len(drawn), math.log(n) - (n - 1) / n


def the_first_n(rewards, n):
    """You look at the first n samples only. Average over all ways to draw n of the N: the same samples, far
    less noise.
    """
    return max(rewards[:n]), math.log(n) - (n - 1) / n


def best_of_all(rewards, n):
    """That is the best of all N, whatever n is."""
    return max(rewards), math.log(n) - (n - 1) / n


def kl_is_log_n(rewards, n):
    """The divergence is smaller than ln n: the best sample is still one that the policy writes. Take (n - 1)
    / n off.
    """
    return _best_of_n_listed(rewards, n)[0], math.log(n)


def _best_of_n_cases():
    r = random.Random(65)
    return [
        case("n = 1 is the mean", [0.0, 1.0, 2.0, 3.0], 1),
        case("n = N is the maximum", [0.0, 1.0, 2.0, 3.0], 4),
        case("in between", [3.0, 1.0, 2.0, 0.0], 2),
        *(
            case(f"{n} of {big}", [round(r.uniform(-1, 1), 2) for _ in range(big)], n)
            for n, big in ((2, 6), (3, 7), (5, 8))
        ),
    ]


BEST_OF_N = Exercise(
    best_of_n,
    "How much reward does best-of-n buy, and how far does it move the policy?",
    _best_of_n_cases,
    (
        "Sort the rewards. When is the i-th smallest (i from 0) the highest of n drawn ones?",
        "When the other n - 1 are among the i smaller ones: comb(i, n - 1) of comb(N, n) ways.",
        "Sum reward · chance over the sorted rewards; math.comb(i, n - 1) is 0 for i < n - 1.",
    ),
    (_best_of_n_listed,),
    (the_first_n, best_of_all, kl_is_log_n),
)

EXERCISES = (WIN_PROBABILITY, DPO_LOSS, DPO_WEIGHTS, LOG_ODDS, BEST_AND_WORST, BEST_OF_N)
