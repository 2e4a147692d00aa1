"""Chapter 00: which lever, what it costs, whether anything broke, and whether a difference is one."""

import math
import random
import statistics
from itertools import product

import numpy as np
import scipy.stats

from ...learn.exercise import Exercise, case

# ---- which lever? ----


def which_lever(diagnosis):
    """diagnosis: {'facts_known', 'format_right', 'preferred', 'fast_enough', 'prompt_helps', 'checkable'},
    True or False each. Returns 'prompt', 'cpt', 'sft', 'rl', 'dpo', 'distill' or 'ship'.
    """
    if diagnosis["facts_known"] and diagnosis["format_right"] and diagnosis["preferred"]:
        return "ship" if diagnosis["fast_enough"] else "distill"
    if diagnosis["prompt_helps"]:
        return "prompt"
    if not diagnosis["facts_known"]:
        return "cpt"
    if not diagnosis["format_right"]:
        return "sft"
    return "rl" if diagnosis["checkable"] else "dpo"


def _which_lever_table(diagnosis):
    d = diagnosis
    good = d["facts_known"] and d["format_right"] and d["preferred"]
    flow = [
        (good and d["fast_enough"], "ship"),
        (good, "distill"),
        (d["prompt_helps"], "prompt"),
        (not d["facts_known"], "cpt"),
        (not d["format_right"], "sft"),
        (d["checkable"], "rl"),
        (True, "dpo"),
    ]
    return next(lever for holds, lever in flow if holds)


def facts_by_examples(diagnosis):
    """You teach missing facts with examples of answers. SFT shows how to say what is known; of what is
    unknown it teaches to make something up. Facts come from reading: 'cpt'.
    """
    lever = which_lever(diagnosis)
    return "sft" if lever == "cpt" else lever


def speed_first(diagnosis):
    """You distil a model that is not right yet: a small model would copy its faults. First right, then
    fast.
    """
    return which_lever(diagnosis) if diagnosis["fast_enough"] else "distill"


def pairs_always(diagnosis):
    """You collect preference pairs although a checker can score every answer. A verifier is cheaper than
    judges and cannot be talked round: 'rl'.
    """
    lever = which_lever(diagnosis)
    return "dpo" if lever == "rl" else lever


def no_prompt(diagnosis):
    """You train although a prompt would do. The cheapest lever that works comes first: 'prompt'."""
    return which_lever(diagnosis | {"prompt_helps": False})


def _lever_cases():
    right = dict(
        facts_known=True,
        format_right=True,
        preferred=True,
        fast_enough=True,
        prompt_helps=False,
        checkable=False,
    )
    told = {
        "nothing is missing": {},
        "the model does not know the facts": {"facts_known": False},
        "it knows the facts and answers in the wrong format": {"format_right": False},
        "format right, but of two answers it gives the worse one; nobody can check them by program": {
            "preferred": False
        },
        "the same, and a program can check an answer": {"preferred": False, "checkable": True},
        "all right, but too slow": {"fast_enough": False},
        "wrong format, and a better prompt mends it": {"format_right": False, "prompt_helps": True},
        "wrong facts and too slow": {"facts_known": False, "fast_enough": False},
        "neither facts nor format": {"facts_known": False, "format_right": False},
    }
    return [case(about, right | change) for about, change in told.items()] + [
        case("one of all 64 diagnoses", dict(zip(right, values)))
        for values in product((True, False), repeat=6)
    ]


WHICH_LEVER = Exercise(
    which_lever,
    "Name the lever. A gap is a fact that is not known, a format that is wrong, or answers that are not the"
    " preferred ones. No gap: ship, or distil if it is too slow. A gap that a prompt closes (looked-up"
    " passages count as a prompt): prompt. Otherwise the first gap in the order facts, format, preference; a"
    " preference that a program can check is a matter for RL.",
    _lever_cases,
    (
        "Which questions have nothing to do with a gap? Speed is asked only when there is none.",
        "Order: no gap (ship or distill) → prompt → cpt → sft → rl or dpo.",
        "`if facts_known and format_right and preferred: …`, then four more lines, each returning one lever.",
    ),
    (_which_lever_table,),
    (facts_by_examples, speed_first, pairs_always, no_prompt),
)

# ---- when does training pay? ----


def break_even(train, sample, k):
    """train: cost of training, once. sample: cost of one answer. k: samples a question without training;
    after training one is enough. All whole numbers, in cents. Returns the smallest number of questions at
    which training costs no more, math.inf if there is none.
    """
    if k == 1:
        return math.inf
    return -(-train // (sample * (k - 1)))


def _break_even_by_bisection(train, sample, k):
    low, high = 0, 1
    while train + high * sample > high * sample * k:
        low, high = high, high * 2
        if high > 10**15:
            return math.inf
    while low < high:
        middle = (low + high) // 2
        if train + middle * sample <= middle * sample * k:
            high = middle
        else:
            low = middle + 1
    return low


def own_sample_forgotten(train, sample, k):
    """The trained model must answer too: it saves k − 1 samples a question, not k."""
    return math.inf if k == 1 else -(-train // (sample * k))


def rounded_down(train, sample, k):
    """At that number training still costs more: no part of a question can be asked, so round up."""
    return math.inf if k == 1 else train // (sample * (k - 1))


def k_of_one(train, sample, k):
    """With k = 1 training saves nothing, however many questions there are: math.inf. Your division has no
    answer there.
    """
    return -(-train // (sample * (k - 1)))


def _break_even_cases():
    r = random.Random(0)
    return [
        case("4 samples become 1: 3 cents saved a question", 300, 1, 4),
        case("the last part of a question counts as one", 100, 1, 4),
        case("one sample was enough before", 500, 2, 1),
        case("training for nothing", 0, 1, 8),
        *(
            case("random costs", r.randrange(1, 10**7), r.randrange(1, 9), r.randrange(1, 65))
            for _ in range(20)
        ),
    ]


BREAK_EVEN = Exercise(
    break_even,
    "Without training every question costs k samples (the best of k is taken); with training one. From how"
    " many questions on does training cost no more?",
    _break_even_cases,
    (
        "Write both bills for V questions: train + V·sample, and V·k·sample.",
        "They are equal at V = train / (sample·(k − 1)). What if that is no whole number? What if k is 1?",
        "Rounding up with whole numbers: -(-a // b).",
    ),
    (_break_even_by_bisection,),
    (own_sample_forgotten, rounded_down, k_of_one),
)

# ---- did anything break? ----


def regression_gate(baseline, new, tolerance):
    """baseline, new: {skill: share right}. tolerance: the drop that is let pass. Returns the skills that
    dropped by more, in the baseline's order. A skill that was not measured again has failed. An empty list
    means: promote.
    """
    return [skill for skill, score in baseline.items() if skill not in new or score - new[skill] > tolerance]


def _regression_gate_loop(baseline, new, tolerance):
    failed = []
    for skill in baseline:
        if baseline[skill] - new.get(skill, -math.inf) > tolerance:
            failed.append(skill)
    return failed


def gate_on_mean(baseline, new, tolerance):
    """You compare means: a skill that was gained hides a skill that was lost. Every skill must pass alone."""
    mean = statistics.fmean
    good = mean(baseline.values()) - mean(new.values()) <= tolerance
    return [] if good else regression_gate(baseline, new, tolerance)


def gate_on_any_change(baseline, new, tolerance):
    """You take the size of the change: a skill that *improved* is reported as broken."""
    return [s for s, score in baseline.items() if s not in new or abs(score - new[s]) > tolerance]


def gate_relative(baseline, new, tolerance):
    """You measure the drop as a part of the old score; the tolerance is meant in points: 0.9 → 0.8 is a drop
    of 0.1.
    """
    return [s for s, score in baseline.items() if s not in new or (score - new[s]) > tolerance * score]


def gate_blind(baseline, new, tolerance):
    """A skill that nobody measured again is not a skill that held: what is missing in `new` has failed."""
    return [s for s, score in baseline.items() if score - new.get(s, score) > tolerance]


def _gate_cases():
    r = random.Random(1)
    eighths = lambda: {s: r.randrange(9) / 8 for s in ("people", "sums", "refusals", "formats")}
    return [
        case(
            "one skill lost, two gained",
            {"people": 1.0, "sums": 0.75, "json": 0.25},
            {"people": 1.0, "sums": 0.25, "json": 1.0},
            0.125,
        ),
        case(
            "a drop of exactly the tolerance passes",
            {"people": 1.0, "sums": 0.5},
            {"people": 0.875, "sums": 0.5},
            0.125,
        ),
        case("everything improved", {"people": 0.5, "sums": 0.25}, {"people": 1.0, "sums": 1.0}, 0.125),
        case("a skill was not measured again", {"people": 1.0, "sums": 0.75}, {"people": 1.0}, 0.125),
        case("a small score fell by a small drop", {"people": 0.25}, {"people": 0.1875}, 0.125),
        *(case("random scores", eighths(), eighths(), r.choice((0.0625, 0.25))) for _ in range(20)),
    ]


REGRESSION_GATE = Exercise(
    regression_gate,
    "A gate before release. It compares a new model's scores with the baseline's, skill by skill, and names"
    " those that fell by more than the tolerance.",
    _gate_cases,
    (
        "What would a mean over the skills hide?",
        "For every skill of the baseline: old − new > tolerance. A gain makes that negative.",
        "Treat a missing skill as failed: `skill not in new or baseline[skill] - new[skill] > tolerance`.",
    ),
    (_regression_gate_loop,),
    (gate_on_mean, gate_on_any_change, gate_relative, gate_blind),
)

# ---- is a difference one? ----


def interval(before, after):
    """before, after: lists of one figure a seed, the same seeds in the same order. Returns (low, high): the
    95 % t-interval of the mean difference.
    """
    differences = np.subtract(after, before)
    half = (
        scipy.stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / math.sqrt(len(differences))
    )
    return float(differences.mean() - half), float(differences.mean() + half)


def _interval_by_test(before, after):
    found = scipy.stats.ttest_rel(after, before).confidence_interval(0.95)
    return float(found.low), float(found.high)


def _interval_plain(before, after):
    d = [b - a for a, b in zip(before, after)]
    half = scipy.stats.t.ppf(0.975, len(d) - 1) * statistics.stdev(d) / len(d) ** 0.5
    return statistics.fmean(d) - half, statistics.fmean(d) + half


def _around(centre, half):
    return float(centre - half), float(centre + half)


def interval_unpaired(before, after):
    """You treat the two lists as strangers. They share their seeds: take the difference seed by seed, and
    what the seeds have in common cancels.
    """
    n = len(before)
    spread = math.sqrt((np.var(before, ddof=1) + np.var(after, ddof=1)) / n)
    return _around(np.mean(after) - np.mean(before), scipy.stats.t.ppf(0.975, 2 * n - 2) * spread)


def interval_z(before, after):
    """1.96 is for many seeds. With few of them the spread is itself uncertain: take Student's t with n − 1
    degrees of freedom.
    """
    d = np.subtract(after, before)
    return _around(d.mean(), scipy.stats.norm.ppf(0.975) * d.std(ddof=1) / math.sqrt(len(d)))


def interval_ddof(before, after):
    """Your spread divides by n, which is too small a spread when the mean comes from the same numbers: divide
    by n − 1 (ddof=1; numpy's default is 0).
    """
    d = np.subtract(after, before)
    return _around(d.mean(), scipy.stats.t.ppf(0.975, len(d) - 1) * d.std() / math.sqrt(len(d)))


def interval_of_one(before, after):
    """That is the spread of single seeds. The mean of n of them is surer: divide the standard deviation by
    √n.
    """
    d = np.subtract(after, before)
    return _around(d.mean(), scipy.stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1))


def interval_reversed(before, after):
    """The sign is the wrong way round: the difference is after − before."""
    return interval(after, before)


def _interval_cases():
    r = random.Random(2)

    def seeds(n):
        common = [r.gauss(0.6, 0.1) for _ in range(n)]
        return common, [c + r.gauss(0.05, 0.02) for c in common]

    return [
        case("three seeds that all gain", [0.50, 0.60, 0.70], [0.55, 0.66, 0.77]),
        case("two seeds", [0.2, 0.4], [0.3, 0.4]),
        *(case(f"{n} seeds", *seeds(n)) for n in (3, 5, 5, 8, 20)),
    ]


INTERVAL = Exercise(
    interval,
    "Two settings, the same seeds. How large is the difference, and how sure is that? Give the 95 % interval"
    " of the mean difference.",
    _interval_cases,
    (
        ("The same seed is in both lists. What should be subtracted from what, before anything is averaged?"),
        "mean ± t · s / √n, where s is the standard deviation of the differences with n − 1.",
        "t is `scipy.stats.t.ppf(0.975, n - 1)`; for 3 seeds it is 4.3, not 1.96.",
    ),
    (_interval_by_test, _interval_plain),
    (interval_unpaired, interval_z, interval_ddof, interval_of_one, interval_reversed),
)

EXERCISES = (WHICH_LEVER, BREAK_EVEN, REGRESSION_GATE, INTERVAL)
