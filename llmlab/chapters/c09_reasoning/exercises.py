"""Chapter 09: what self-training keeps, what becomes of a verifier's errors round by round, choosing by the
scores of steps, calibration, rewards for steps, pairs for DPO, and leaked test questions.
"""

import itertools
import math
import random
import re

from ...learn.exercise import Exercise, case

# ---- what self-training keeps ----


def keep_samples(texts, right, luck, fpr, fnr):
    """texts: the samples of one problem. right: for each, whether it is right. luck: for each, a random
    number from 0 to 1. A verifier checks each sample by itself: it rejects a right one if its number is
    below fnr (false negative), and accepts a wrong one if its number is below fpr (false positive). Returns
    the places, from 0, of the samples to train on: the accepted ones, each text once, where it was first
    accepted.
    """
    kept = {}
    for i, (text, is_right, number) in enumerate(zip(texts, right, luck)):
        accepted = number >= fnr if is_right else number < fpr
        if accepted:
            kept.setdefault(text, i)
    return list(kept.values())


def _keep_samples_two_steps(texts, right, luck, fpr, fnr):
    wrong_verdict = [number < (fnr if ok else fpr) for ok, number in zip(right, luck)]
    passed = [i for i, ok in enumerate(right) if bool(ok) != wrong_verdict[i]]
    return [i for n, i in enumerate(passed) if texts[i] not in [texts[j] for j in passed[:n]]]


def the_truth_is_known(texts, right, luck, fpr, fnr):
    """You keep what is right. Training never sees that: it sees the verdict, errors included. That is why
    wrong samples get into the data.
    """
    return keep_samples(texts, right, luck, 0.0, 0.0)


def rates_exchanged(texts, right, luck, fpr, fnr):
    """You exchange the two rates. A false positive is a wrong sample that was accepted, so fpr belongs to
    wrong samples and fnr to right ones.
    """
    return keep_samples(texts, right, luck, fnr, fpr)


def copies_kept(texts, right, luck, fpr, fnr):
    """You keep every copy of a text. The model is then trained most on what it writes most already, and its
    samples become more and more alike.
    """
    return [i for i, ok in enumerate(right) if (luck[i] >= fnr if ok else luck[i] < fpr)]


def first_copy_decides(texts, right, luck, fpr, fnr):
    """You remove copies before you check. If the verifier rejects the first copy by mistake, the text is
    lost, though a later copy passed. Check first, then remove copies.
    """
    first = [i for i, text in enumerate(texts) if text not in texts[:i]]
    return [i for i in first if (luck[i] >= fnr if right[i] else luck[i] < fpr)]


def one_a_problem(texts, right, luck, fpr, fnr):
    """You keep the first accepted sample and no other. The other ways to the answer are lost, and with them
    the variety that the next round draws from. Here, each different text is kept.
    """
    return keep_samples(texts, right, luck, fpr, fnr)[:1]


def _keep_cases():
    r = random.Random(901)

    def group(k):
        """Texts, their truth, and luck."""
        texts = [r.choice("abcdef") for _ in range(k)]
        truth = {t: r.random() < 0.5 for t in "abcdef"}
        return texts, [truth[t] for t in texts], [round(r.random(), 3) for _ in range(k)]

    return [
        case("no errors", ["a", "b", "c"], [True, False, True], [0.5, 0.5, 0.5], 0.0, 0.0),
        case(
            "a wrong one accepted, a right one rejected",
            ["a", "b", "c", "d"],
            [True, False, True, False],
            [0.1, 0.05, 0.9, 0.8],
            0.1,
            0.2,
        ),
        case("three copies", ["a", "b", "a", "a"], [True, True, True, True], [0.5, 0.6, 0.7, 0.8], 0.1, 0.2),
        case("the first copy rejected", ["a", "b", "a"], [True, False, True], [0.1, 0.9, 0.6], 0.3, 0.4),
        case("nothing accepted", ["a", "b"], [False, False], [0.4, 0.9], 0.2, 0.1),
        *(case(f"{k} samples", *group(k), fpr, fnr) for k, fpr, fnr in ((6, 0.3, 0.1), (8, 0.1, 0.4))),
        *(case(f"{k} samples", *group(k), fpr, fnr) for k, fpr, fnr in ((12, 0.5, 0.2), (16, 0.2, 0.5))),
    ]


KEEP_SAMPLES = Exercise(
    keep_samples,
    "Choose the samples that self-training learns from, with a verifier that makes mistakes.",
    _keep_cases,
    (
        "Two questions for each sample: did the verifier accept it? And has its text been kept already?",
        "A right sample is accepted if its number is at least fnr, a wrong one if its number is below fpr.",
        "Collect in a dict: if accepted, kept.setdefault(text, i). Its values are the answer.",
    ),
    (_keep_samples_two_steps,),
    (the_truth_is_known, rates_exchanged, copies_kept, first_copy_decides, one_a_problem),
)

# ---- round by round ----


def share_right_by_round(p, hole, fpr, fnr, rounds):
    """p: the share of a model's samples that are right. hole: the share with one kind of mistake that the
    verifier always accepts. All other samples are wrong too, and each is accepted with chance fpr; a right
    one is accepted with chance 1 - fnr. After a round the model writes each of the three kinds as often as
    it occurred among the accepted samples. Returns a list of rounds + 1 numbers: the share that is right at
    the start and after each round.
    """
    right, trick, other = p, hole, 1 - p - hole
    shares = [right]
    for _ in range(rounds):
        right, other = right * (1 - fnr), other * fpr
        accepted = right + trick + other
        right, trick, other = right / accepted, trick / accepted, other / accepted
        shares.append(right)
    return shares


def _share_right_by_odds(p, hole, fpr, fnr, rounds):
    shares = []
    for n in range(rounds + 1):
        right, wrong = p * (1 - fnr) ** n, hole + (1 - p - hole) * fpr**n
        shares.append(right / (right + wrong))
    return shares


def the_first_round_again(p, hole, fpr, fnr, rounds):
    """You compute every round from the first model. The next samples come from the model that this round
    trained: in each round the right samples gain on the wrong ones, or lose to them, once more.
    """
    return [share_right_by_round(p, hole, fpr, fnr, min(n, 1))[-1] for n in range(rounds + 1)]


def share_multiplied(p, hole, fpr, fnr, rounds):
    """You multiply the share by (1 - fnr) / fpr, so it can exceed 1. Without a hole, this ratio multiplies
    the odds, right against wrong; the share is odds / (1 + odds).
    """
    return [p * ((1 - fnr) / fpr) ** n for n in range(rounds + 1)]


def hole_taken_for_chance(p, hole, fpr, fnr, rounds):
    """You let the hole pass with chance fpr. A mistake that is accepted at random gets rarer with each
    round; one that is always accepted is never removed. The share that is right cannot get past p / (p +
    hole).
    """
    return share_right_by_round(p, 0.0, fpr, fnr, rounds)


def false_negatives_ignored(p, hole, fpr, fnr, rounds):
    """You leave out fnr. Right samples that are rejected make all wrong ones more frequent among the
    accepted: self-training gets slower, and a hole gains on the right answers.
    """
    return share_right_by_round(p, hole, fpr, 0.0, rounds)


def not_of_the_accepted(p, hole, fpr, fnr, rounds):
    """You forget to divide. The model learns from the accepted samples only, so what counts is the right
    ones' share of these.
    """
    return [p * (1 - fnr) ** n for n in range(rounds + 1)]


def _round_cases():
    r = random.Random(902)
    cases = [
        case("one in ten right, one wrong sample in ten accepted", 0.1, 0.0, 0.1, 0.0, 3),
        case("the same with a small hole", 0.1, 0.02, 0.1, 0.0, 5),
        case("an exact verifier that misses half", 0.2, 0.0, 0.0, 0.5, 2),
        case("it accepts wrong as often as right", 0.3, 0.0, 0.4, 0.6, 3),
        case("worse than chance", 0.4, 0.0, 0.5, 0.7, 4),
        case("a hole, and right ones rejected", 0.3, 0.1, 0.2, 0.4, 4),
        case("no round", 0.5, 0.2, 0.3, 0.1, 0),
    ]
    for n in (2, 3, 5, 6):
        p, hole = round(r.uniform(0.05, 0.5), 3), round(r.uniform(0.0, 0.3), 3)
        fpr, fnr = round(r.uniform(0.05, 0.5), 3), round(r.uniform(0.0, 0.6), 3)
        cases.append(case(f"{n} rounds", p, hole, fpr, fnr, n))
    return cases


SHARE_RIGHT_BY_ROUND = Exercise(
    share_right_by_round,
    "Follow self-training over its rounds: random errors of the verifier, and a hole in it.",
    _round_cases,
    (
        "Three kinds of samples: right, the hole, and other wrong ones. Which part of each is accepted?",
        "Multiply the three shares by 1 - fnr, by 1 and by fpr. Divide each by the sum of the three.",
        "right, other = right * (1 - fnr), other * fpr; accepted = right + hole + other; then divide all"
        " three by accepted, in every round.",
    ),
    (_share_right_by_odds,),
    (
        the_first_round_again,
        share_multiplied,
        hole_taken_for_chance,
        false_negatives_ignored,
        not_of_the_accepted,
    ),
)

# ---- from the scores of steps to a choice ----


def picked_by_steps(solutions):
    """solutions: a list; each solution is a list of step scores, the chance from 0 to 1 that a process
    reward model gives each step of being right. Returns a dict: for each of the rules "min" (the lowest step
    score), "product" (of all step scores) and "last" (the score of the last step) the place, from 0, of the
    solution that scores highest; of equal ones the first.
    """
    rules = {"min": min, "product": math.prod, "last": lambda scores: scores[-1]}
    picked = {}
    for name, rule in rules.items():
        totals = [rule(scores) for scores in solutions]
        picked[name] = totals.index(max(totals))
    return picked


def _picked_by_steps_loop(solutions):
    best, picked = {}, {}
    for i, scores in enumerate(solutions):
        lowest, product = 1.0, 1.0
        for score in scores:
            lowest, product = min(lowest, score), product * score
        for name, value in (("min", lowest), ("product", product), ("last", scores[-1])):
            if name not in best or value > best[name]:
                best[name], picked[name] = value, i
    return picked


def _first_best(solutions, rule):
    totals = [rule(scores) for scores in solutions]
    return totals.index(max(totals))


def steps_added_up(solutions):
    """You add the scores where the product is asked for. Each further step then earns something, so a padded
    solution wins. A product never grows with another step.
    """
    return picked_by_steps(solutions) | {"product": _first_best(solutions, sum)}


def steps_averaged(solutions):
    """You take the mean for the minimum. One wrong step makes a solution wrong; the mean hides it among many
    good ones.
    """
    return picked_by_steps(solutions) | {"min": _first_best(solutions, lambda s: sum(s) / len(s))}


def product_by_length(solutions):
    """You correct the product for length. The geometric mean of the steps is another rule: the product is
    the chance that every step is right, and that falls with each step that is in doubt.
    """
    mean = lambda s: math.prod(s) ** (1 / len(s))
    return picked_by_steps(solutions) | {"product": _first_best(solutions, mean)}


def only_the_end_judged(solutions):
    """You use the last score for every rule. Then you have an outcome reward model: an answer that looks
    right behind a wrong step passes. "min" and "product" look at all steps.
    """
    return dict.fromkeys(("min", "product", "last"), _first_best(solutions, lambda s: s[-1]))


def later_of_equals(solutions):
    """Of solutions with the same score you take the last. The first is wanted: compare with >, not >=."""
    picked = picked_by_steps(solutions[::-1])
    return {name: len(solutions) - 1 - i for name, i in picked.items()}


def _step_cases():
    r = random.Random(903)

    def some(n, least, most):
        """n solutions, scored in hundredths."""
        return [[r.randint(30, 99) / 100 for _ in range(r.randint(least, most))] for _ in range(n)]

    return [
        case("one bad step, and a good end", [[0.9, 0.2, 0.95], [0.7, 0.7, 0.7]]),
        case("padded", [[0.9, 0.9], [0.9, 0.85, 0.9, 0.9, 0.9]]),
        case("long and careful, short and doubtful", [[0.8], [0.9, 0.9, 0.9]]),
        case("short, longer, longest", [[0.8], [0.9, 0.75], [0.6, 0.6, 0.6, 0.6]]),
        case("all the same", [[0.5, 0.8], [0.5, 0.8], [0.5, 0.8]]),
        case("a mean that hides a mistake", [[0.9, 0.9, 0.9, 0.9, 0.1], [0.6, 0.6]]),
        case("one solution", [[0.3, 0.4]]),
        *(case(f"{n} solutions", some(n, 1, most)) for n, most in ((3, 3), (4, 5), (6, 4), (8, 6))),
    ]


PICKED_BY_STEPS = Exercise(
    picked_by_steps,
    "Pick a solution by the scores of its steps: the lowest, the product, the last.",
    _step_cases,
    (
        "How much may a single bad step cost? And what does another good step add?",
        "For each rule: a list with one number per solution; then the place of the highest.",
        "totals.index(max(totals)) is the first of the highest. math.prod multiplies a list.",
    ),
    (_picked_by_steps_loop,),
    (steps_added_up, steps_averaged, product_by_length, only_the_end_judged, later_of_equals),
)

# ---- calibration ----


def calibration_error(confidence, right, bins):
    """confidence: for each of n answers the chance of being right that the model states, from 0 to 1. right:
    for each, whether it was right. bins: into how many equal bins 0 to 1 is cut; a bin holds its lower end
    but not its upper end, and the last bin holds 1.0 as well. Returns the expected calibration error: the
    sum over the bins that are not empty of the gap |share right - mean confidence|, weighted by the bin's
    share of all n answers.
    """
    parts = {}
    for c, ok in zip(confidence, right):
        parts.setdefault(min(int(c * bins), bins - 1), []).append((c, ok))
    error = 0.0
    for part in parts.values():
        stated, share = sum(c for c, _ in part) / len(part), sum(ok for _, ok in part) / len(part)
        error += len(part) / len(right) * abs(share - stated)
    return error


def _calibration_error_sums(confidence, right, bins):
    off = [0.0] * bins
    for c, ok in zip(confidence, right):
        off[min(int(c * bins), bins - 1)] += ok - c
    return sum(map(abs, off)) / len(right)


def _parts(confidence, right, bins):
    """Number of the bin -> its pairs."""
    parts = {}
    for c, ok in zip(confidence, right):
        parts.setdefault(min(int(c * bins), bins - 1), []).append((c, ok))
    return parts


def every_bin_the_same(confidence, right, bins):
    """You take the plain mean over the bins. A bin with two answers then counts like one with two hundred:
    weight each by its number of answers.
    """
    parts = _parts(confidence, right, bins).values()
    return sum(abs(sum(ok - c for c, ok in part)) / len(part) for part in parts) / len(parts)


def over_and_under_cancel(confidence, right, bins):
    """You compare the mean confidence with the share right over all answers. Overconfidence in one bin and
    underconfidence in another then cancel. Take the gap in each bin first.
    """
    return abs(sum(right) - sum(confidence)) / len(right)


def middle_of_the_bin(confidence, right, bins):
    """You compare with the middle of each bin. ECE uses the mean of the confidences inside it: with few
    bins, the middle is far from what the model said.
    """
    error = 0.0
    for number, part in _parts(confidence, right, bins).items():
        error += abs(sum(ok - (number + 0.5) / bins for _, ok in part))
    return error / len(right)


def the_brier_score(confidence, right, bins):
    """You compute the Brier score, the mean of (confidence - right) squared. It is not 0 even if every
    stated chance holds: an honest 0.5 costs 0.25. ECE asks only whether the chances hold.
    """
    return sum((c - ok) ** 2 for c, ok in zip(confidence, right)) / len(right)


def the_surest_left_out(confidence, right, bins):
    """Answers with a confidence of 1.0 are in none of your bins. The last bin holds its upper end as well:
    an answer that is given with certainty and is wrong has the largest gap of all.
    """
    error = 0.0
    for b in range(bins):
        error += abs(sum(ok - c for c, ok in zip(confidence, right) if int(c * bins) == b))
    return error / len(right)


def _calibration_cases():
    r = random.Random(904)

    def some(n, skill):
        """Confidences, and answers that are right with another chance."""
        stated = [round(r.uniform(0.02, 0.98), 3) + 0.0003 for _ in range(n)]
        return stated, [r.random() < c**skill for c in stated]

    return [
        case("sure and right", [1.0, 1.0], [True, True], 10),
        case("sure, and wrong half of the time", [1.0, 1.0, 0.93, 0.93], [True, False, True, False], 10),
        case("too modest and too sure", [0.25, 0.25, 0.75, 0.75], [True, True, False, False], 2),
        case("an honest half", [0.5, 0.5, 0.5, 0.5], [True, False, True, False], 5),
        case("a full bin and a small one", [0.61] * 5 + [0.15], [True, True, True, False, True, True], 4),
        case("one bin", [0.2, 0.9, 0.6], [False, True, False], 1),
        *(case(f"{n} answers, {b} bins", *some(n, s), b) for n, b, s in ((8, 4, 1.0), (12, 5, 2.5))),
        *(case(f"{n} answers, {b} bins", *some(n, s), b) for n, b, s in ((20, 10, 0.4), (30, 10, 2.0))),
    ]


CALIBRATION_ERROR = Exercise(
    calibration_error,
    "Measure whether stated chances hold: the expected calibration error (ECE).",
    _calibration_cases,
    (
        "Of all answers given with about 80 % confidence, how many should be right?",
        "The bin of a confidence c is min(int(c * bins), bins - 1). In each bin, compare two means.",
        "Add (answers in the bin) / n * abs(share right - mean confidence) over the bins that are not empty.",
    ),
    (_calibration_error_sums,),
    (
        every_bin_the_same,
        over_and_under_cancel,
        middle_of_the_bin,
        the_brier_score,
        the_surest_left_out,
    ),
)

# ---- rewards for steps ----


def shaped_returns(potentials, outcome, gamma):
    """potentials: for each of T steps the potential before it, that is how good the unfinished solution
    looks there. outcome: the reward for the answer, paid with the last step. gamma: the discount. In
    addition, each step is paid gamma times the potential after it, less the potential before it; the
    finished solution has the potential 0. Returns the T returns: for each step its own reward plus gamma
    times the return of the next step.
    """
    after = [*potentials[1:], 0.0]
    rewards = [gamma * new - old for old, new in zip(potentials, after)]
    rewards[-1] += outcome
    returns, ahead = [], 0.0
    for reward in reversed(rewards):
        ahead = reward + gamma * ahead
        returns.append(ahead)
    return returns[::-1]


def _shaped_returns_closed(potentials, outcome, gamma):
    last = len(potentials) - 1
    return [gamma ** (last - t) * outcome - potential for t, potential in enumerate(potentials)]


def _returns(rewards, gamma):
    """Each reward plus what comes after it, discounted."""
    returns = list(rewards)
    for t in range(len(returns) - 2, -1, -1):
        returns[t] += gamma * returns[t + 1]
    return returns


def potential_paid(potentials, outcome, gamma):
    """You pay the potential itself. A solution then earns more the longer it stays where it looks good, and
    the policy learns to add steps. Pay the change of the potential: over a whole solution the changes add up
    to the same, whatever the way.
    """
    return _returns([*potentials[:-1], potentials[-1] + outcome], gamma)


def end_keeps_its_potential(potentials, outcome, gamma):
    """You let the finished solution keep the last potential. A solution is then paid for its looks on top of
    its outcome, and the best policy may become another one. At the end the potential is 0.
    """
    after = [*potentials[1:], potentials[-1]]
    rewards = [gamma * new - old for old, new in zip(potentials, after)]
    return _returns([*rewards[:-1], rewards[-1] + outcome], gamma)


def change_not_discounted(potentials, outcome, gamma):
    """You leave gamma out of the change. The potential after a step is one step later: without gamma the
    terms of neighbouring steps do not cancel, and the best policy may change.
    """
    rewards = [new - old for old, new in zip(potentials, [*potentials[1:], 0.0])]
    return _returns([*rewards[:-1], rewards[-1] + outcome], gamma)


def steps_back_are_free(potentials, outcome, gamma):
    """You pay progress and charge nothing for a step back. A policy can then go back and forth and earn each
    time. A fall of the potential must cost what a rise has earned.
    """
    rewards = [max(0.0, gamma * new - old) for old, new in zip(potentials, [*potentials[1:], 0.0])]
    return _returns([*rewards[:-1], rewards[-1] + outcome], gamma)


def rewards_not_returns(potentials, outcome, gamma):
    """You return the reward of each step. A step also gets credit for what comes after it: add gamma times
    the return of the next step, from the end to the beginning.
    """
    rewards = [gamma * new - old for old, new in zip(potentials, [*potentials[1:], 0.0])]
    return [*rewards[:-1], rewards[-1] + outcome]


def _shaping_cases():
    r = random.Random(905)
    some = lambda n: [round(r.random(), 2) for _ in range(n)]
    return [
        case("three steps, better and better", [0.2, 0.5, 0.9], 1.0, 1.0),
        case("a step back", [0.2, 0.8, 0.3, 0.9], 1.0, 1.0),
        case("wrong in the end", [0.5, 0.9], 0.0, 0.5),
        case("no potential: the plain return", [0.0, 0.0, 0.0], 1.0, 0.5),
        case("one step", [0.4], 1.0, 0.9),
        *(case(f"{n} steps", some(n), o, g) for n, o, g in ((3, 1.0, 0.9), (5, 0.0, 1.0), (6, 1.0, 0.8))),
    ]


SHAPED_RETURNS = Exercise(
    shaped_returns,
    "Reward steps by the change of a potential, and see what is left of it in the return.",
    _shaping_cases,
    (
        "What a step gains in potential, the next one has to pay back. What is left at the end?",
        "The potentials after the steps are [*potentials[1:], 0.0]. A reward is gamma * after - before, the"
        " last one plus outcome.",
        "Go from the end: ahead = reward + gamma * ahead. (It comes to gamma ** (T - 1 - t) * outcome -"
        " potentials[t]: the potential acts as a baseline does, so the best step stays the best.)",
    ),
    (_shaped_returns_closed,),
    (
        potential_paid,
        end_keeps_its_potential,
        change_not_discounted,
        steps_back_are_free,
        rewards_not_returns,
    ),
)

# ---- pairs for DPO ----


def verified_pairs(groups):
    """groups: for each problem a list of (text, accepted), its samples in order with the verifier's verdict.
    Returns pairs for DPO, a list of (number of the problem, chosen, rejected) in the order of the problems.
    Within a problem, each text is used at most once, and a text that was accepted and rejected not at all.
    The first accepted text is paired with the first rejected one, the second with the second, until one of
    the two lists ends.
    """
    pairs = []
    for number, group in enumerate(groups):
        passed = list(dict.fromkeys(text for text, ok in group if ok))
        failed = list(dict.fromkeys(text for text, ok in group if not ok))
        chosen = [text for text in passed if text not in failed]
        rejected = [text for text in failed if text not in passed]
        pairs += [(number, good, bad) for good, bad in zip(chosen, rejected)]
    return pairs


def _verified_pairs_verdicts(groups):
    pairs = []
    for number, group in enumerate(groups):
        verdicts = {}
        for text, ok in group:
            verdicts.setdefault(text, set()).add(bool(ok))
        chosen = [text for text, found in verdicts.items() if found == {True}]
        while chosen and (rejected := [text for text, found in verdicts.items() if found == {False}]):
            pairs.append((number, chosen.pop(0), rejected[0]))
            del verdicts[rejected[0]]
    return pairs


def _sides(group):
    """The usable texts of a problem: (chosen, rejected)."""
    passed = list(dict.fromkeys(text for text, ok in group if ok))
    failed = list(dict.fromkeys(text for text, ok in group if not ok))
    return [t for t in passed if t not in failed], [t for t in failed if t not in passed]


def across_problems(groups):
    """You pair answers to different problems. DPO compares two answers to the same prompt: across problems
    it learns which answer belongs to which prompt, not which answer is right.
    """
    sides = [_sides(group) for group in groups]
    chosen = [(i, text) for i, (good, _) in enumerate(sides) for text in good]
    rejected = [text for _, bad in sides for text in bad]
    return [(i, good, bad) for (i, good), bad in zip(chosen, rejected)]


def every_combination(groups):
    """You pair every accepted text with every rejected one. A problem that is solved half of the time then
    gives the most pairs by far, and each text is used many times.
    """
    return [(i, *pair) for i, group in enumerate(groups) for pair in itertools.product(*_sides(group))]


def copies_paired(groups):
    """You use copies of a text. What the model writes often already then gets the most pairs; each text is
    wanted once.
    """
    pairs = []
    for i, group in enumerate(groups):
        good, bad = _sides(group)
        passed, failed = [t for t, _ in group if t in good], [t for t, _ in group if t in bad]
        pairs += [(i, g, b) for g, b in zip(passed, failed)]
    return pairs


def on_both_sides(groups):
    """You use texts that were accepted once and rejected once. One of the two verdicts is an error, and you
    do not know which: such a text can end up as chosen and as rejected at the same time.
    """
    pairs = []
    for i, group in enumerate(groups):
        passed, failed = (dict.fromkeys(t for t, ok in group if bool(ok) is side) for side in (True, False))
        pairs += [(i, good, bad) for good, bad in zip(passed, failed)]
    return pairs


def partners_repeated(groups):
    """When one side ends you begin it again. A problem with one right sample among many then pushes that one
    text up many times. Stop at the end of the shorter side.
    """
    pairs = []
    for i, group in enumerate(groups):
        good, bad = _sides(group)
        n = max(len(good), len(bad)) if good and bad else 0
        pairs += [(i, good[j % len(good)], bad[j % len(bad)]) for j in range(n)]
    return pairs


def _pair_cases():
    r = random.Random(906)
    some = lambda k: [(r.choice("abcdefg"), r.random() < 0.5) for _ in range(k)]
    yes, no = True, False
    return [
        case("one problem, two of each", [[("a", yes), ("b", no), ("c", yes), ("d", no)]]),
        case("a problem always solved, one never", [[("a", yes), ("b", yes)], [("c", no), ("d", no)]]),
        case("one right sample among four", [[("a", no), ("b", yes), ("c", no), ("d", no)]]),
        case("copies", [[("a", yes), ("a", yes), ("b", no), ("c", no)]]),
        case("a text with both verdicts", [[("a", yes), ("a", no), ("b", yes), ("c", no)]]),
        case("no samples", [[]]),
        *(case(f"{n} problems", [some(k) for _ in range(n)]) for n, k in ((2, 5), (3, 6), (4, 8), (3, 10))),
    ]


VERIFIED_PAIRS = Exercise(
    verified_pairs,
    "Make pairs for DPO from samples that a verifier has accepted or rejected.",
    _pair_cases,
    (
        "Which problems give no pair at all? Which texts tell you nothing?",
        "For each problem: the accepted texts and the rejected ones, each once (dict.fromkeys keeps the"
        " order), without those that are in both lists.",
        "zip(chosen, rejected) ends with the shorter list; put the number of the problem in front.",
    ),
    (_verified_pairs_verdicts,),
    (across_problems, every_combination, copies_paired, on_both_sides, partners_repeated),
)

# ---- leaked questions ----


def leaked_questions(questions, training, n):
    """questions: test questions, a list of texts. training: the training texts. A word is a run of letters
    or digits (a to z, 0 to 9); case, spaces and punctuation do not count. A question has leaked if it shares
    an n-gram, that is n successive words, with one training text; a question with fewer than n words has
    leaked if all its words follow one another in one training text. Returns the places, from 0, of the
    questions that have leaked.
    """

    def runs(text, length):
        words = re.findall("[a-z0-9]+", text.lower())
        return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}

    leaked = []
    for place, question in enumerate(questions):
        length = min(n, len(re.findall("[a-z0-9]+", question.lower())))
        if any(runs(question, length) & runs(text, length) for text in training):
            leaked.append(place)
    return leaked


def _leaked_questions_strings(questions, training, n):
    plain = lambda text: " ".join(re.findall("[a-z0-9]+", text.lower()))
    seen = [f" {plain(text)} " for text in training]

    def has_leaked(words):
        starts = range(max(1, len(words) - n + 1))
        return any(f" {' '.join(words[s : s + n])} " in text for s in starts for text in seen)

    return [i for i, question in enumerate(questions) if has_leaked(plain(question).split())]


def whole_text_only(questions, training, n):
    """You look for a training text that equals the whole question. A question that is part of a longer text,
    or has another sentence in front of it, has leaked as well.
    """
    plain = lambda text: re.findall("[a-z0-9]+", text.lower())
    seen = [plain(text) for text in training]
    return [i for i, question in enumerate(questions) if plain(question) in seen]


def raw_words_compared(questions, training, n):
    """You compare words as they are written. A capital letter or a comma is then enough to hide a leak: put
    both texts in lower case and drop the punctuation first.
    """
    escaped = lambda text: " ".join("".join(f"{ord(c):x}q" for c in word) for word in text.split())
    return leaked_questions([escaped(q) for q in questions], [escaped(t) for t in training], n)


def in_any_order(questions, training, n):
    """You ask whether the words occur, in any order. Questions of one kind share most of their words, so you
    report leaks that are none. The n words have to follow one another.
    """
    plain = lambda text: re.findall("[a-z0-9]+", text.lower())
    leaked = []
    for i, question in enumerate(questions):
        words = plain(question)
        runs = [words[s : s + n] for s in range(max(1, len(words) - n + 1))]
        if any(set(run) <= set(plain(text)) for run in runs for text in training):
            leaked.append(i)
    return leaked


def short_ones_pass(questions, training, n):
    """You never report a question of fewer than n words: it has no run of n words. Such a question leaks as
    a whole: look for all of its words in a row.
    """
    plain = lambda text: re.findall("[a-z0-9]+", text.lower())
    return [i for i in leaked_questions(questions, training, n) if len(plain(questions[i])) >= n]


def texts_joined(questions, training, n):
    """You join the training texts into one. A run that begins in one text and ends in the next never
    occurred in training: look at each text by itself.
    """
    return leaked_questions(questions, [" ".join(training)], n)


def _leak_cases():
    r = random.Random(907)
    vocabulary = ["What", "is", "the", "sum", "of", "7", "12", "and", "3", "Tell", "me"]

    def text(least, most):
        """A few words with marks between them."""
        words = r.choices(vocabulary, k=r.randint(least, most))
        return " ".join(w.lower() if r.random() < 0.5 else w for w in words) + r.choice(("?", ".", ""))

    return [
        case("the same question in other letters", ["What is 7 + 12?"], ["what is 7, 12?"], 4),
        case("inside a longer text", ["The sum of 3 and 7"], ["Now: the sum of 3 and 7 is 10."], 5),
        case("other numbers", ["What is 12 plus 3?", "What is 12 plus 4?"], ["What is 12 plus 4?"], 5),
        case("1 is not 12", ["this is 1"], ["this is 12"], 3),
        case("the other way round", ["from a to b", "from b to a"], ["go from b to a now"], 4),
        case("two short questions", ["who won", "who lost"], ["nobody knows who won", "who lost"], 4),
        case("over the boundary of two texts", ["the sum of 3"], ["Tell me the sum", "of 3 and 7"], 3),
        *(
            case(
                f"{q} questions, {n} words",
                [text(3, 7) for _ in range(q)],
                [text(4, 12) for _ in range(t)],
                n,
            )
            for q, t, n in ((4, 3, 2), (6, 6, 2), (6, 9, 3))
        ),
    ]


LEAKED_QUESTIONS = Exercise(
    leaked_questions,
    "Find the test questions that the model has seen in training.",
    _leak_cases,
    (
        "Which differences between two texts should not hide a leak? Which ones make another question?",
        're.findall("[a-z0-9]+", text.lower()) gives the words. Compare runs of n words, text by text.',
        "For each question: length = min(n, number of its words). It has leaked if the set of its runs of"
        " that length and the set of some training text have one in common.",
    ),
    (_leaked_questions_strings,),
    (whole_text_only, raw_words_compared, in_any_order, short_ones_pass, texts_joined),
)

EXERCISES = (
    KEEP_SAMPLES,
    SHARE_RIGHT_BY_ROUND,
    PICKED_BY_STEPS,
    CALIBRATION_ERROR,
    SHAPED_RETURNS,
    VERIFIED_PAIRS,
    LEAKED_QUESTIONS,
)
