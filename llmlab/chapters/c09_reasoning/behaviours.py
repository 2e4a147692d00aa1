"""behaviours: what a reasoner does on held-out problems: right at once, among several, by vote; how varied,
how sound, how well it knows; one level up, and in another guise.
"""

from statistics import fmean

from ...methods.calibration import area, brier, ece, risk_coverage
from ...methods.scaling import vote
from ...train.attempts import Attempt, attempts
from ...world.base import Problem, World
from ...world.reasoning import GUISES, Reasoning

K = 8  # samples per problem

Group = list[Attempt]


def behaviours(
    model, tok, world: World, held: int, longest: int, harder: Reasoning | None = None
) -> dict[str, float]:
    """The readings, on `held` problems, K samples each at temperature 1. Where the lab knows the family: one
    level up and in other guises too.
    """
    asked = world.problems(held, split="test", seed=7)
    groups = attempts(model, tok, world, asked, K, max_new=longest, seed=7)
    found = sampled(groups) | calibrated(groups)
    if harder is None:
        return found | {"faults": fmean(a.fault != "" for g in groups for a in g)}
    up = attempts(model, tok, harder, harder.problems(held, seed=7), K, max_new=longest, seed=7)
    return found | {"harder": share(up)} | robust(model, tok, world, asked, longest)


def sampled(groups: list[Group]) -> dict[str, float]:
    """Accuracy, variety and soundness of the samples."""
    every = [a for g in groups for a in g]
    right = [a for a in every if a.right]
    return {
        "pass_at_1": len(right) / len(every),
        "pass_at_k": fmean(any(a.right for a in g) for g in groups),
        "voted": fmean(voted(g).right for g in groups),
        "agreement": fmean(max(confidence(g)) for g in groups),
        "distinct": fmean(len({a.text for a in g}) / len(g) for g in groups),
        "entropy": -sum(a.logprob for a in every) / sum(a.tokens for a in every),
        "unsound": fmean(a.false_positive for a in right) if right else 0.0,
        "length": fmean(a.tokens for a in every),
    }


def calibrated(groups: list[Group]) -> dict[str, float]:
    """Does the share of samples that agree with an answer say how often it is right?"""
    sure = [c for g in groups for c in confidence(g)]
    right = [a.right for g in groups for a in g]
    return {
        "ece": ece(sure, right),
        "brier": brier(sure, right),
        "aurc": area(risk_coverage(sure, right)),
    }


def robust(model, tok, world: World, asked: list[Problem], longest: int) -> dict[str, float]:
    """Greedy accuracy, and what it loses on the same problems in another guise, paired."""
    plain = greedy(model, tok, world, asked, longest)
    found, lost = {"greedy": fmean(plain)}, []
    for name, guise in GUISES.items():
        changed = {i: q for i, q in enumerate(map(guise, asked)) if q is not None}
        if not changed:
            continue
        again = greedy(model, tok, world, list(changed.values()), longest)
        lost.append(fmean(plain[i] - now for i, now in zip(changed, again)))
        found[f"drop_{name.replace(' ', '_')}"] = lost[-1]
    return found | {"drop": fmean(lost)}


def greedy(model, tok, world: World, asked: list[Problem], longest: int) -> list[bool]:
    """Is the likeliest solution of each right?"""
    return [g[0].right for g in attempts(model, tok, world, asked, 1, max_new=longest, temperature=0.0)]


def voted(group: Group) -> Attempt:
    """The first attempt with the commonest answer."""
    common = vote([a.answer for a in group])
    return next(a for a in group if a.answer == common)


def confidence(group: Group) -> list[float]:
    """Of each attempt: the share of the group with the same answer."""
    answers = [a.answer for a in group]
    return [answers.count(a) / len(answers) for a in answers]


def share(groups: list[Group]) -> float:
    """Right samples."""
    return fmean(a.right for g in groups for a in g)
