"""Chapter 10: one of k and all of k, selection by a score, votes, a verifier that errs and its ceiling, what
a round of revision gains and loses, how a tree search divides its visits, and speculative decoding.
"""

import itertools
import math
import random

import torch

from ...learn.exercise import Exercise, case

# ---- one of k, all of k ----


def pass_rates(right, n, k):
    """right: for each problem, how many of its n samples are right. Returns (pass@k, pass^k): the chance
    that at least one of k samples is right, and the chance that all k are, where the k are drawn from the n
    without replacement; each is the mean over the problems. 1 ≤ k ≤ n.
    """
    one = [1 - math.comb(n - c, k) / math.comb(n, k) for c in right]
    every = [math.comb(c, k) / math.comb(n, k) for c in right]
    return sum(one) / len(one), sum(every) / len(every)


def _pass_rates_one_by_one(right, n, k):
    one, every = 0.0, 0.0
    for c in right:
        all_wrong, all_right = 1.0, 1.0
        for drawn in range(k):
            all_wrong *= max(n - c - drawn, 0) / (n - drawn)
            all_right *= max(c - drawn, 0) / (n - drawn)
        one, every = one + 1 - all_wrong, every + all_right
    return one / len(right), every / len(right)


def with_replacement(right, n, k):
    """You draw with replacement: 1 - (1 - c/n)^k and (c/n)^k. With few samples, that is on average too low
    for pass@k and too high for pass^k. The estimates by binomial coefficients are unbiased.
    """
    one, every = sum(1 - (1 - c / n) ** k for c in right), sum((c / n) ** k for c in right)
    return one / len(right), every / len(right)


def problems_pooled(right, n, k):
    """You pool the samples of all problems. A second try at an easy problem does not help a hard one:
    compute both chances for each problem, then take the mean.
    """
    return pass_rates([sum(right)], n * len(right), k)


def all_is_the_rest(right, n, k):
    """You take 1 - pass@k for pass^k. That is the chance that none of the k is right. The chance that all
    are is C(c, k) / C(n, k).
    """
    one = pass_rates(right, n, k)[0]
    return one, 1 - one


def chances_added(right, n, k):
    """For pass@k you add the chance of a right sample k times. Two right samples of one problem count once:
    take 1 minus the chance that all k are wrong.
    """
    return sum(min(1.0, k * c / n) for c in right) / len(right), pass_rates(right, n, k)[1]


def any_of_all(right, n, k):
    """You ask whether one, or all, of the n samples are right, and ignore k. The n samples are there to
    estimate what k of them would give.
    """
    return sum(c > 0 for c in right) / len(right), sum(c == n for c in right) / len(right)


def _rate_cases():
    r = random.Random(911)
    return [
        case("one problem, half right, two drawn", [2], 4, 2),
        case("never, sometimes, always", [0, 3, 10], 10, 5),
        case("one sample: both are the share that is right", [1, 4], 5, 1),
        case("all samples drawn", [0, 1, 6], 6, 6),
        case("an easy problem and a hard one", [8, 0], 8, 2),
        *(
            case(f"{m} problems, {k} of {n}", [r.randint(0, n) for _ in range(m)], n, k)
            for m, n, k in ((3, 8, 3), (5, 16, 4), (6, 20, 10))
        ),
    ]


PASS_RATES = Exercise(
    pass_rates,
    "Estimate pass@k and pass^k from n samples of each problem.",
    _rate_cases,
    (
        "In how many ways can k of n samples be drawn? In how many of them is none right? In how many all?",
        "math.comb(n - c, k) of math.comb(n, k) draws have no right sample; math.comb(c, k) have only right"
        " ones.",
        "1 - comb(n - c, k) / comb(n, k), and comb(c, k) / comb(n, k); then the mean over the problems.",
    ),
    (_pass_rates_one_by_one,),
    (with_replacement, problems_pooled, all_is_the_rest, chances_added, any_of_all),
)

# ---- selected by a score ----


def selected_at_k(scores, right, k):
    """scores: the scores of n samples of one problem. right: for each, whether it is right. Draw k of the n
    without replacement and take the one with the highest score; among equal highest scores, take one at
    random. Returns the chance that it is right, over all possible draws. 1 ≤ k ≤ n.
    """
    n, chance, above = len(scores), 0.0, 0
    for level in sorted(set(scores), reverse=True):
        equal = [ok for score, ok in zip(scores, right) if score == level]
        left = n - above - len(equal)
        top = (math.comb(n - above, k) - math.comb(left, k)) / math.comb(n, k)
        chance += top * sum(equal) / len(equal)
        above += len(equal)
    return chance


def _selected_at_k_draws(scores, right, k):
    found = []
    for drawn in itertools.combinations(range(len(scores)), k):
        highest = max(scores[i] for i in drawn)
        best = [right[i] for i in drawn if scores[i] == highest]
        found.append(sum(best) / len(best))
    return sum(found) / len(found)


def top_of_all(scores, right, k):
    """You take the highest of all n samples. Only k of them are drawn, and often the highest is not among
    them: average over the draws.
    """
    return selected_at_k(scores, right, len(scores))


def right_if_any(scores, right, k):
    """You count a draw as right if any of its samples is right. That is pass@k, which a perfect selector
    reaches; this one goes by the score.
    """
    n, c = len(right), sum(right)
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def ties_by_place(scores, right, k):
    """Among equal scores you take the first. With a verifier that says only yes or no nearly everything is
    equal, and the result depends on the order of the samples. Equal ones share the chance.
    """
    n, order = len(scores), sorted(range(len(scores)), key=lambda i: -scores[i])
    return sum(right[i] * math.comb(n - 1 - rank, k - 1) / math.comb(n, k) for rank, i in enumerate(order))


def draws_with_replacement(scores, right, k):
    """You draw with replacement. Here, the k samples of a draw are all different: the sample of rank i, from
    1, is the highest in C(n - i, k - 1) of C(n, k) draws.
    """
    n, chance = len(scores), 0.0
    for level in set(scores):
        equal = [ok for score, ok in zip(scores, right) if score == level]
        up_to, below = sum(s <= level for s in scores), sum(s < level for s in scores)
        chance += ((up_to / n) ** k - (below / n) ** k) * sum(equal) / len(equal)
    return chance


def the_first_draw(scores, right, k):
    """You look at the first k samples. That is one draw of many, and its result is a matter of luck: the n
    samples give the mean over all draws.
    """
    return selected_at_k(scores[:k], right[:k], k)


def _selection_cases():
    r = random.Random(912)
    some = lambda n, levels: (
        [r.randint(1, levels) / 8 for _ in range(n)],
        [r.random() < 0.5 for _ in range(n)],
    )
    return [
        case("the best score is right", [0.9, 0.5, 0.1], [True, False, False], 2),
        case("the best score is wrong", [0.9, 0.5, 0.1], [False, True, True], 2),
        case("all scores equal", [1.0, 1.0, 1.0, 1.0], [True, False, False, False], 3),
        case("a verifier that says yes or no", [1.0, 0.0, 1.0, 0.0], [True, False, False, True], 2),
        case("one drawn: the share that is right", [0.2, 0.8, 0.4], [True, False, True], 1),
        case("all drawn", [0.2, 0.8, 0.4], [True, False, True], 3),
        *(
            case(f"{k} of {n}", *some(n, levels), k)
            for n, levels, k in ((5, 8, 2), (6, 3, 3), (7, 8, 4), (8, 2, 3))
        ),
    ]


SELECTED_AT_K = Exercise(
    selected_at_k,
    "What is a selector worth? The chance that the best of k by a score is right, from n samples.",
    _selection_cases,
    (
        "When is the sample with the third-highest score the one that is taken?",
        "It must be drawn, and nothing above it: C(n - 3, k - 1) of C(n, k) draws. Equal scores share their"
        " chances.",
        "itertools.combinations(range(n), k) lists all draws. In each: the mean of `right` among the samples"
        " with the highest score.",
    ),
    (_selected_at_k_draws,),
    (top_of_all, right_if_any, ties_by_place, draws_with_replacement, the_first_draw),
)

# ---- a vote ----


def weighted_vote(answers, weights):
    """answers: of each sample its final answer, or None where none was found. weights: of each sample, from
    0 upwards. Returns the answer with the largest sum of weights, of equal ones the one that came first;
    None if no sample has an answer.
    """
    total = {}
    for answer, weight in zip(answers, weights):
        if answer is not None:
            total[answer] = total.get(answer, 0.0) + weight
    return max(total, key=total.get, default=None)


def _weighted_vote_sorted(answers, weights):
    given = [a for a in answers if a is not None]
    if not given:
        return None
    summed = lambda answer: sum(w for a, w in zip(answers, weights) if a == answer)
    return min(given, key=lambda a: (-summed(a), given.index(a)))


def _summed(answers, weights):
    total = {}
    for answer, weight in zip(answers, weights):
        total[answer] = total.get(answer, 0.0) + weight
    return total


def weights_ignored(answers, weights):
    """You count heads. That is the plain majority; here each sample has as many votes as its weight, so two
    samples that are trusted can beat three that are not.
    """
    return weighted_vote(answers, [1.0] * len(answers))


def heaviest_sample(answers, weights):
    """You take the answer of the sample with the largest weight. That is best-of-n: one overrated sample
    decides. In a vote the weights of equal answers are added.
    """
    given = [(w, -i) for i, (a, w) in enumerate(zip(answers, weights)) if a is not None]
    return answers[-max(given)[1]] if given else None


def mean_weight(answers, weights):
    """You compare mean weights. How often an answer was found then counts for nothing, and that is what a
    vote is about. Add the weights.
    """
    total = _summed(answers, weights)
    given = [a for a in total if a is not None]
    return max(given, key=lambda a: total[a] / answers.count(a), default=None)


def no_answer_votes(answers, weights):
    """You let samples without an answer vote. They agree on nothing: leave None out before you add."""
    total = _summed(answers, weights)
    return max(total, key=total.get, default=None)


def last_of_equals(answers, weights):
    """Of equal sums you take the answer that came last. The first is wanted: replace it only if another sum
    is larger.
    """
    total = _summed(answers, weights)
    best = None
    for answer in total:
        if answer is not None and (best is None or total[answer] >= total[best]):
            best = answer
    return best


def _vote_cases():
    r = random.Random(913)
    some = lambda n: [r.choice(["12", "15", "21", None]) for _ in range(n)]
    load = lambda n: [r.randint(0, 8) / 4 for _ in range(n)]
    return [
        case("three doubtful ones against two sure ones", ["5", "5", "5", "7", "7"], [0.25] * 3 + [1.0] * 2),
        case("one sure one against three others", ["5", "7", "7", "7"], [1.0, 0.5, 0.5, 0.5]),
        case("the heaviest sample has little company", ["5", "5", "7", "7", "7"], [1.0, 0.0, 0.5, 0.5, 0.75]),
        case("equal sums", ["8", "3", "3", "8"], [1.0, 1.0, 0.5, 0.5]),
        case("most have no answer", [None, "4", None, None], [1.0, 0.5, 1.0, 1.0]),
        case("no answer at all", [None, None], [1.0, 0.5]),
        case("all weights are 0", ["2", "1", "1"], [0.0, 0.0, 0.0]),
        *(case(f"{n} samples", some(n), load(n)) for n in (4, 5, 6, 8, 8, 10, 12)),
    ]


WEIGHTED_VOTE = Exercise(
    weighted_vote,
    "Let samples vote, each with its weight.",
    _vote_cases,
    (
        "Two samples say 7 and one says 5. When should 5 win?",
        "A dict from answer to the sum of its weights. Skip None.",
        "max(total, key=total.get, default=None): max returns the first of equals, a dict keeps its order.",
    ),
    (_weighted_vote_sorted,),
    (weights_ignored, heaviest_sample, mean_weight, no_answer_votes, last_of_equals),
)

# ---- a verifier that errs ----


def verified_at_n(p, n, fpr, fnr):
    """p: the chance that a sample is right. A verifier rejects a right sample with chance fnr and accepts a
    wrong one with chance fpr, each time independently. Up to n samples are drawn: the first that is accepted
    is the answer; if none is, the last one is. Returns (chance that the answer is right, its limit as n
    grows).
    """
    accepted = p * (1 - fnr) + (1 - p) * fpr
    found = sum((1 - accepted) ** i * p * (1 - fnr) for i in range(n))
    none_passed = (1 - accepted) ** (n - 1) * p * fnr
    return found + none_passed, p * (1 - fnr) / accepted if accepted else p


def _verified_at_n_closed(p, n, fpr, fnr):
    accepted = p * (1 - fnr) + (1 - p) * fpr
    if accepted == 0:
        return p, p
    limit, none = p * (1 - fnr) / accepted, (1 - accepted) ** n
    among_rejected = p * fnr / (1 - accepted) if accepted < 1 else 0.0
    return (1 - none) * limit + none * among_rejected, limit


def perfect_verifier(p, n, fpr, fnr):
    """You compute with a verifier that never errs: 1 - (1 - p)^n goes to 1. With false positives more
    samples also give more wrong ones that pass, and the curve ends at the share of right ones among the
    accepted.
    """
    return 1 - (1 - p) ** n, 1.0


def none_accepted_is_wrong(p, n, fpr, fnr):
    """You count it as wrong when no sample is accepted. Then the last sample is the answer, and it may be
    right: the verifier also rejects right ones.
    """
    accepted = p * (1 - fnr) + (1 - p) * fpr
    found = sum((1 - accepted) ** i * p * (1 - fnr) for i in range(n))
    return found, verified_at_n(p, n, fpr, fnr)[1]


def rejected_like_any(p, n, fpr, fnr):
    """If none is accepted you call the last one right with chance p. But it was rejected, and that changes
    its chance: it is p * fnr / (1 - share accepted).
    """
    accepted = p * (1 - fnr) + (1 - p) * fpr
    found = none_accepted_is_wrong(p, n, fpr, fnr)[0]
    return found + (1 - accepted) ** n * p, verified_at_n(p, n, fpr, fnr)[1]


def always_at_the_limit(p, n, fpr, fnr):
    """You return the limit for every n. It holds once something is accepted; with few samples often nothing
    is. With n = 1 the verifier changes nothing, and the chance is p.
    """
    limit = verified_at_n(p, n, fpr, fnr)[1]
    return limit, limit


def wrong_ones_of_all(p, n, fpr, fnr):
    """You add fpr as a share of all samples. It is the share of the wrong ones that pass: (1 - p) * fpr of
    all.
    """
    accepted = p * (1 - fnr) + fpr
    found = sum((1 - accepted) ** i * p * (1 - fnr) for i in range(n))
    return found + (1 - accepted) ** (n - 1) * p * fnr, p * (1 - fnr) / accepted if accepted else p


def _verifier_cases():
    r = random.Random(914)
    some = lambda: (
        round(r.uniform(0.05, 0.6), 2),
        round(r.uniform(0.0, 0.4), 2),
        round(r.uniform(0.0, 0.5), 2),
    )
    cases = [
        case("a verifier without errors", 0.2, 4, 0.0, 0.0),
        case("false positives: a ceiling of one half", 0.1, 16, 0.1, 0.1),
        case("it misses half of the right ones", 0.3, 2, 0.0, 0.5),
        case("one sample: nothing to choose", 0.3, 1, 0.2, 0.4),
        case("it accepts everything", 0.4, 5, 1.0, 0.0),
        case("it accepts nothing", 0.4, 5, 0.0, 1.0),
        case("worse than chance: more samples hurt", 0.5, 8, 0.6, 0.7),
    ]
    for n in (2, 3, 6, 12):
        p, fpr, fnr = some()
        cases.append(case(f"{n} samples", p, n, fpr, fnr))
    return cases


VERIFIED_AT_N = Exercise(
    verified_at_n,
    "What do n samples give with a verifier that errs, and where is the ceiling?",
    _verifier_cases,
    (
        "Of 100 samples, how many are right and accepted? How many wrong and accepted?",
        "Accepted are p * (1 - fnr) + (1 - p) * fpr of all. The answer is sample i if the i before it were"
        " rejected and it passes; the last one, if all were rejected.",
        "Sum (1 - accepted) ** i * p * (1 - fnr) for i from 0 to n - 1, plus (1 - accepted) ** (n - 1) * p *"
        " fnr. The limit is p * (1 - fnr) / accepted, or p if nothing is ever accepted.",
    ),
    (_verified_at_n_closed,),
    (perfect_verifier, none_accepted_is_wrong, rejected_like_any, always_at_the_limit, wrong_ones_of_all),
)

# ---- critique and revision ----


def revision_rates(before, after):
    """before, after: for each of n answers, whether it was right before a round of critique and revision,
    and after it. Returns a dict: wrong_to_right, the share of the wrong ones that became right;
    right_to_wrong, the share of the right ones that became wrong (0 where there are none); steady, the share
    of right answers that further rounds with these two rates would not change: where gains equal losses. If
    both rates are 0, steady is the share that was right before.
    """
    wrong = [b for a, b in zip(before, after) if not a]
    right = [b for a, b in zip(before, after) if a]
    gain = sum(wrong) / len(wrong) if wrong else 0.0
    loss = 1 - sum(right) / len(right) if right else 0.0
    steady = gain / (gain + loss) if gain + loss else len(right) / len(before)
    return {"wrong_to_right": gain, "right_to_wrong": loss, "steady": steady}


def _revision_rates_counts(before, after):
    count = {(a, b): 0 for a in (False, True) for b in (False, True)}
    for pair in zip(before, after):
        count[pair] += 1
    stayed_wrong, gained, lost, kept = count.values()
    gain, loss = gained / max(stayed_wrong + gained, 1), lost / max(lost + kept, 1)
    share = (lost + kept) / len(before)
    for _ in range(5000):  # the mean of old and new share: it settles even where all answers change
        share = (share + (1 - share) * gain + share * (1 - loss)) / 2
    return {"wrong_to_right": gain, "right_to_wrong": loss, "steady": share}


def shares_of_all(before, after):
    """You divide both counts by all answers. Then the rates depend on how many were right before, and you
    cannot carry them over to the next round. Divide by the wrong ones, and by the right ones.
    """
    n = len(before)
    gain = sum(b and not a for a, b in zip(before, after)) / n
    loss = sum(a and not b for a, b in zip(before, after)) / n
    steady = gain / (gain + loss) if gain + loss else sum(before) / n
    return {"wrong_to_right": gain, "right_to_wrong": loss, "steady": steady}


def only_the_difference(before, after):
    """You look at the change of accuracy only. If it is 0, many answers may still have changed, as many for
    the better as for the worse. Count the two directions by themselves.
    """
    n, change = len(before), (sum(after) - sum(before)) / len(before)
    gain, loss = max(0.0, change), max(0.0, -change)
    return {"wrong_to_right": gain, "right_to_wrong": loss, "steady": sum(after) / n}


def seen_from_the_end(before, after):
    """You ask of the answers that are right now how many were wrong. The rates go forwards: of those that
    were wrong before, how many became right?
    """
    right, wrong = [a for a, b in zip(before, after) if b], [a for a, b in zip(before, after) if not b]
    gain = 1 - sum(right) / len(right) if right else 0.0
    loss = sum(wrong) / len(wrong) if wrong else 0.0
    steady = gain / (gain + loss) if gain + loss else sum(before) / len(before)
    return {"wrong_to_right": gain, "right_to_wrong": loss, "steady": steady}


def right_ones_left_alone(before, after):
    """You revise wrong answers only. To know which ones are wrong takes a verifier; a model that checks
    itself also changes right answers, and that loss belongs in the measure.
    """
    found = revision_rates(before, after)
    gain = found["wrong_to_right"]
    return found | {"right_to_wrong": 0.0, "steady": 1.0 if gain else sum(before) / len(before)}


def one_round_is_all(before, after):
    """You take the share after this round for the steady one. The next round changes answers too: gains and
    losses are equal where (1 - share) * wrong_to_right = share * right_to_wrong.
    """
    return revision_rates(before, after) | {"steady": sum(after) / len(after)}


def _revision_cases():
    r = random.Random(915)

    def round_of(n, p, gain, loss):
        """Answers before and after."""
        before = [r.random() < p for _ in range(n)]
        return before, [r.random() >= loss if a else r.random() < gain for a in before]

    yes, no = True, False
    return [
        case("one gained, one lost", [yes, yes, yes, no], [yes, yes, no, yes]),
        case("all right, one lost", [yes, yes, yes], [yes, yes, no]),
        case("nothing changes", [yes, no, no, no], [yes, no, no, no]),
        case("gains only", [no, no, yes, yes], [yes, no, yes, yes]),
        case("as many gained as lost", [yes, yes, no, no, no, no], [no, yes, yes, no, no, no]),
        *(
            case(f"{n} answers", *round_of(n, p, gain, loss))
            for n, p, gain, loss in ((8, 0.5, 0.4, 0.3), (12, 0.7, 0.5, 0.2), (20, 0.3, 0.2, 0.3))
        ),
    ]


REVISION_RATES = Exercise(
    revision_rates,
    "Measure what a round of revision gains and what it loses, and where further rounds lead.",
    _revision_cases,
    (
        "Accuracy did not change. Does that mean that no answer changed?",
        "Split by `before`: of the wrong ones, the share that is right now; of the right ones, the share that"
        " is wrong now.",
        "steady solves (1 - s) * gain = s * loss: s = gain / (gain + loss), unless both are 0.",
    ),
    (_revision_rates_counts,),
    (
        shares_of_all,
        only_the_difference,
        seen_from_the_end,
        right_ones_left_alone,
        one_round_is_all,
    ),
)

# ---- a tree search ----


def puct_visits(priors, values, rounds, explore):
    """priors: for each child of a node, its share among the steps that the model wrote. values: for each
    child, the value that a visit returns. Each of `rounds` rounds visits the child with the highest score,
    of equal ones the first: its mean value so far + explore · prior · √(visits of all children) / (1 + its
    own visits). A child without visits has the mean value of all visits so far, or 0 before the first.
    Returns the visits of each child.
    """
    visits, totals = [0] * len(priors), [0.0] * len(priors)
    for _ in range(rounds):
        n = sum(visits)
        mean = sum(totals) / n if n else 0.0
        scores = [
            (total / v if v else mean) + explore * prior * math.sqrt(n) / (1 + v)
            for prior, total, v in zip(priors, totals, visits)
        ]
        best = scores.index(max(scores))
        visits[best], totals[best] = visits[best] + 1, totals[best] + values[best]
    return visits


def _puct_visits_path(priors, values, rounds, explore):
    path = []

    def score(i):
        known = [values[j] for j in path]
        if i in path:
            value = values[i]
        else:
            value = sum(known) / len(known) if known else 0.0
        return value + explore * priors[i] * len(path) ** 0.5 / (1 + path.count(i))

    for _ in range(rounds):
        path.append(max(range(len(priors)), key=score))
    return [path.count(i) for i in range(len(priors))]


def _puct(priors, values, rounds, explore, unknown=None, summed=False, shrink=True):
    """PUCT with a part of it changed."""
    visits = [0] * len(priors)
    for _ in range(rounds):
        n = sum(visits)
        mean = sum(v * x for v, x in zip(visits, values)) / n if n else 0.0
        scores = []
        for prior, value, v in zip(priors, values, visits):
            known = (value * v if summed else value) if v else mean if unknown is None else unknown
            scores.append(known + explore * prior * math.sqrt(n) / (1 + v if shrink else 1))
        visits[scores.index(max(scores))] += 1
    return visits


def never_explores(priors, values, rounds, explore):
    """You go by the mean value alone. The child that was tried first can then keep all visits, however bad
    it is: nothing ever sends the search to the others.
    """
    return _puct(priors, values, rounds, 0.0)


def unknown_is_worthless(priors, values, rounds, explore):
    """You count a child without visits as 0. Next to a child with any value it looks bad before it was
    tried. It counts as the mean of the visits so far.
    """
    return _puct(priors, values, rounds, explore, unknown=0.0)


def values_summed(priors, values, rounds, explore):
    """You add up the values of the visits. A child then looks better with each visit, whatever it is worth.
    Divide by its visits.
    """
    return _puct(priors, values, rounds, explore, summed=True)


def priors_forgotten(priors, values, rounds, explore):
    """You explore all children alike. Before a visit, the share that the model itself gives a step is the
    best guess; without it a search over many steps wastes its visits.
    """
    return _puct([1 / len(priors)] * len(priors), values, rounds, explore)


def bonus_never_shrinks(priors, values, rounds, explore):
    """Your bonus does not fall with the child's own visits. The likeliest child is then explored again and
    again: divide by 1 + its visits.
    """
    return _puct(priors, values, rounds, explore, shrink=False)


def _puct_cases():
    r = random.Random(916)

    def some(k):
        """Priors and values."""
        shares = [r.uniform(0.1, 1.0) for _ in range(k)]
        return [round(s / sum(shares), 3) for s in shares], [round(r.random(), 3) for _ in range(k)]

    return [
        case("a likely child that is bad", [0.7, 0.3], [0.1, 0.9], 8, 1.0),
        case("an unlikely child that is good", [0.1, 0.6, 0.3], [1.0, 0.4, 0.3], 12, 1.0),
        case("equal values: the prior decides", [0.23, 0.77], [0.5, 0.5], 10, 1.0),
        case("the first visit", [0.3, 0.7], [0.9, 0.1], 1, 1.0),
        case("no round", [0.5, 0.5], [0.2, 0.3], 0, 1.0),
        *(
            case(f"{k} children, {n} rounds", *some(k), n, c)
            for k, n, c in ((3, 10, 1.0), (4, 16, 0.5), (5, 20, 2.0))
        ),
    ]


PUCT_VISITS = Exercise(
    puct_visits,
    "Spread the visits of a tree search by PUCT: to children of known value, and to those hardly tried.",
    _puct_cases,
    (
        "Which child should be visited next: the best so far, or one that was hardly tried?",
        "Keep visits and totals of each child. A round: scores, the highest one, its visit and its value.",
        "(total / v if v else mean) + explore * prior * math.sqrt(n) / (1 + v); n and mean: of all children.",
    ),
    (_puct_visits_path,),
    (never_explores, unknown_is_worthless, values_summed, priors_forgotten, bonus_never_shrinks),
)

# ---- speculative decoding ----


def speculative_step(target, draft):
    """target, draft [V]: the probabilities of the next token by a large model and by a small one. The small
    model draws a token; it is accepted with a chance that depends on the token; if it is rejected, another
    token is drawn from a second distribution. Returns (accept, instead), [V] each: these chances, as high as
    possible, and this distribution, such that the token that comes out is distributed exactly as target. For
    a token with draft ≤ target, accept is 1; where nothing is ever rejected, instead is all zeros.
    """
    accept = torch.where(draft > target, target / draft, torch.ones_like(target))
    missing = (target - draft).clamp(min=0.0)
    return accept, missing / missing.sum().clamp(min=1e-30)


def _speculative_step_loop(target, draft):
    pairs = list(zip(target.tolist(), draft.tolist()))
    accept = [min(1.0, p / q) if q else 1.0 for p, q in pairs]
    missing = [p - min(p, q) for p, q in pairs]
    return torch.tensor(accept), torch.tensor([m / (sum(missing) or 1.0) for m in missing])


def accepted_by_target(target, draft):
    """You accept a token with the chance that the large model gives it. It was drawn by the small model
    already: what counts is the ratio target / draft, at most 1. Your rule rejects far too much.
    """
    return target.clone(), speculative_step(target, draft)[1]


def only_its_favourite(target, draft):
    """You accept only the large model's likeliest token. That is greedy decoding: at temperature 1 the less
    likely tokens have to come out too, each with its probability.
    """
    accept = (torch.arange(len(target)) == target.argmax()).to(target.dtype)
    return accept, speculative_step(target, draft)[1]


def ratio_upside_down(target, draft):
    """Your ratio is upside down. A token that the small model likes too much has to be rejected at times:
    target / draft.
    """
    return speculative_step(draft, target)[0], speculative_step(target, draft)[1]


def redrawn_from_target(target, draft):
    """After a rejection you draw from target. Tokens of which the draft has enough then come out too often.
    Draw from what is missing: target - draft where it is positive, divided by its sum.
    """
    return speculative_step(target, draft)[0], target.clone()


def missing_both_ways(target, draft):
    """You take the absolute difference. Tokens that the draft has too much of then get still more: below 0,
    nothing is missing. Cut at 0 before you divide.
    """
    off = (target - draft).abs()
    return speculative_step(target, draft)[0], off / off.sum().clamp(min=1e-30)


def _speculative_cases():
    generator = torch.Generator().manual_seed(917)

    def row(v):
        """Probabilities."""
        x = torch.rand(v, generator=generator) + 0.05
        return x / x.sum()

    return [
        case("too sure of the first token", torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])),
        case("the same model", torch.tensor([0.25, 0.75]), torch.tensor([0.25, 0.75])),
        case(
            "a token that the draft never writes",
            torch.tensor([0.5, 0.3, 0.2]),
            torch.tensor([0.6, 0.4, 0.0]),
        ),
        case("a token that must not come out", torch.tensor([0.0, 0.4, 0.6]), torch.tensor([0.5, 0.3, 0.2])),
        *(case(f"{v} tokens", row(v), row(v)) for v in (3, 4, 6)),
    ]


SPECULATIVE_STEP = Exercise(
    speculative_step,
    "Speculative decoding: draft a token with a small model, and keep the large model's distribution.",
    _speculative_cases,
    (
        "Token i comes out if it is drafted and accepted, or drawn after a rejection. Both together must give"
        " target[i].",
        "draft * accept can be at most the smaller of target and draft. What is still missing of target?",
        "accept = target / draft, at most 1. instead = (target - draft).clamp(min=0), divided by its sum.",
    ),
    (_speculative_step_loop,),
    (accepted_by_target, only_its_favourite, ratio_upside_down, redrawn_from_target, missing_both_ways),
)

EXERCISES = (
    PASS_RATES,
    SELECTED_AT_K,
    WEIGHTED_VOTE,
    VERIFIED_AT_N,
    REVISION_RATES,
    PUCT_VISITS,
    SPECULATIVE_STEP,
)
