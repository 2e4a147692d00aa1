"""scale: what k samples of a problem are worth, by every way of picking one, on one axis: tokens per problem.
Nothing is trained but the verifiers, where they are wanted.
"""

import random
from dataclasses import dataclass
from math import exp
from statistics import fmean
from typing import Callable, ClassVar

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...lab.own_problems import judged_elsewhere
from ...methods.scaling import (
    best_of_n,
    first_of_margin,
    pass_at_k,
    pass_hat_k,
    selected_at_k,
    voted_at_k,
)
from ...train.attempts import Attempt, attempts
from ...world.base import World
from ...world.reasoning import NAMES, Reasoning
from ...world.verifiers import CHECKS, Verifier
from ..c09_reasoning.verify import Verify

Group = list[Attempt]
LEARNED = {"orm": dict(labels="outcome", aggregation="last"), "prm": dict(labels="process")}
MARGIN, ORDERS = 3, 128  # votes ahead at which a vote stops early; random orders that it is tried in


@dataclass(frozen=True)
class Scale(Experiment):
    """Many attempts at every problem, and from these the expectation for each k. The steps of this
    experiment are samples per problem: 1, 2, 4 and so on; 0 is the greedy answer.

    single    one sample, whatever k is
    verified  one of those that the verifier accepts, any of the k where it accepts none
    expected  the same by the formula, from each problem's share of right samples
    orm, prm  the one of highest score by a learned verifier: its answer, or its least step
    adaptive  a vote that stops once one answer leads, at k samples per problem in the mean
    modal     problems whose commonest answer is right: where votes end
    """

    name: ClassVar[str] = "scale"
    summary: ClassVar[str] = (
        "samples per problem: pass@k, pass^k, votes, likelihood, verifiers that err, on one axis of tokens"
    )
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    takes_problems: ClassVar[bool] = True
    along: ClassVar[str] = "samples per problem (k; 0: greedy)"
    curves: ClassVar[dict[str, str]] = {
        "pass_at_k": "pass@k: one of k right (share)",
        "verified": "one that the verifier accepts (share)",
        "expected": "the same by the formula (share)",
        "voted": "vote of k (share)",
        "adaptive": "adaptive self-consistency (share)",
        "adaptive_samples": "samples that it takes (samples per problem)",
        "likeliest": "likeliest of k (share)",
        "pass_hat_k": "pass^k: all k right (share)",
        "tokens": "sampled per problem (tokens)",
    }
    front: ClassVar[tuple[str, ...]] = ("family", "fpr", "temperature")
    presets: ClassVar[dict[str, dict]] = {
        "products, exact check": {},
        "some wrong ones pass": dict(fpr=0.3),
        "verifier with a hole (break it)": dict(check="last_character"),
        "a search": dict(family="reach"),
        "hotter": dict(temperature=1.5),
        "learned verifiers": dict(judged=60),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, held=6, samples=8),
        values=dict(steps=(2,), held=(4,), samples=(6,), judged=(12,), longest=(24,)),
        under=dict(judged=dict(judged=2)),
        phases=[dict(check="form", fpr=0.3, fnr=0.3, temperature=1.5)],
    )

    family: str = knob("products", choices=NAMES, help="kind of problem")
    level: int = knob(2, 1, 4, help="difficulty")
    temperature: float = knob(1.0, 0.1, 2.0, help="sampling temperature")
    check: str = knob(
        "outcome", choices=tuple(CHECKS), help="what picks; ending, last_character, form: holes"
    )
    fpr: float = knob(0.0, 0.0, 1.0, unit="share", help="wrong samples that it accepts at random")
    fnr: float = knob(0.0, 0.0, 1.0, unit="share", help="right samples that it rejects at random")
    judged: int = knob(0, 0, 1000, unit="steps", help="training of an ORM and a PRM that pick too; 0: none")
    samples: int = knob(32, 2, 1024, help="samples per problem from which every k is estimated")
    steps: int = knob(16, 1, 512, unit="samples", help="most samples k that a way may pick from")
    longest: int = knob(150, 8, 4096, unit="tokens", help="tokens of a solution at most")
    held: int = knobs.held(48, low=4)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The greedy answers, then a row for each k."""
        if texts is not None:
            judged_elsewhere(self, ("check", "fpr", "fnr", "judged", "family", "level"))
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        world: World = texts or Reasoning((self.family,), (self.level,))
        asked = world.problems(self.held, split="test", seed=seed)
        settings = dict(max_new=self.longest, seed=seed)
        greedy = [g[0] for g in attempts(model, tok, world, asked, 1, temperature=0.0, **settings)]
        n = max(self.samples, self.steps)
        groups = attempts(model, tok, world, asked, n, temperature=self.temperature, **settings)
        picked = self.scores(loaded, groups, seed, texts is not None)
        always = {
            "single": fmean(a.right for g in groups for a in g),
            "modal": fmean(modal(g) for g in groups),
            "faults": fmean(a.fault != "" for g in groups for a in g),
        } | dict(zip(("tpr", "fpr"), rates(groups, picked["verified"])))
        share = dict.fromkeys((*WAYS, *picked, "expected", "adaptive"), fmean(a.right for a in greedy))
        yield {"step": 0, "tokens": fmean(a.tokens for a in greedy), "adaptive_samples": 1.0} | share | always
        k = 1
        while k <= self.steps:
            yield {"step": k} | self.at(k, groups, picked) | always
            k *= 2

    def scores(self, loaded, groups: list[Group], seed: int, own: bool) -> dict[str, list[list[float]]]:
        """Who picks by a score -> the score of every sample: the verdicts, and what learned verifiers say."""
        verifier = Verifier(self.check, self.fpr, self.fnr)

        def verdict(a: Attempt, i: int) -> float:
            return float(a.right if own else verifier.accepts(a.episode.problem, a.text, seed, i))

        found = {"verified": [[verdict(a, i) for i, a in enumerate(g)] for g in groups]}
        if self.judged and not own:
            for name, labels in LEARNED.items():
                learned = Verify(family=self.family, level=self.level, steps=self.judged, **labels)
                score = learned.scorer(loaded, seed)
                found[name] = [score([(a.episode.problem, a.text) for a in g]) for g in groups]
        return found

    def at(self, k: int, groups: list[Group], picked: dict[str, list[list[float]]]) -> dict[str, float]:
        """Every way of picking one of k, and what it costs."""
        found = {name: fmean(way(g, k) for g in groups) for name, way in WAYS.items()}
        for name, scores in picked.items():
            found[name] = fmean(selected_at_k(s, right(g), k) for s, g in zip(scores, groups))
        tpr, fpr = rates(groups, picked["verified"])
        return found | {
            "expected": fmean(best_of_n(fmean(right(g)), k, tpr, fpr) for g in groups),
            **adaptive(groups, k),
            "tokens": k * fmean(a.tokens for g in groups for a in g),
        }


def rates(groups: list[Group], verdicts: list[list[float]]) -> tuple[float, float]:
    """TPR and FPR of the verdicts; 1 and 0 where there is nothing to be right or wrong about."""
    every = [(a.right, v) for g, vs in zip(groups, verdicts) for a, v in zip(g, vs)]
    of_right, of_wrong = ([v for r, v in every if r is side] for side in (True, False))
    return (fmean(of_right) if of_right else 1.0), (fmean(of_wrong) if of_wrong else 0.0)


def adaptive(groups: list[Group], k: int) -> dict[str, float]:
    """Share right of votes that stop MARGIN ahead, or at a cap: the largest that takes at most k samples per
    problem in the mean, so that easy problems leave theirs to hard ones; and how many it takes. Over random
    orders of the samples.
    """
    r = random.Random(k)
    every = [(g, r.sample(answers(g), len(g))) for g in groups for _ in range(ORDERS)]
    used = [first_of_margin(drawn, MARGIN)[1] for _, drawn in every]
    caps = range(k, len(groups[0]) + 1)
    cap = max(c for c in caps if fmean(min(u, c) for u in used) <= k)
    return {
        "adaptive": fmean(is_right(g, first_of_margin(drawn[:cap], MARGIN)[0]) for g, drawn in every),
        "adaptive_samples": fmean(min(u, cap) for u in used),
    }


def modal(group: Group) -> bool:
    """Is the commonest answer right?"""
    return is_right(group, first_of_margin(answers(group), len(group) + 1)[0])


def is_right(group: Group, answer) -> bool:
    """Is an answer of the group right?"""
    return next(a.right for a in group if a.answer == answer)


def likelihood(a: Attempt) -> float:
    """Mean log-prob of a token, in nats: the sum would prefer short ones."""
    return a.logprob / max(1, a.tokens)


def right(group: Group) -> list[bool]:
    """Which are right."""
    return [a.right for a in group]


def answers(group: Group) -> list[str]:
    """What votes are counted by."""
    return [a.answer for a in group]


WAYS: dict[str, Callable[[Group, int], float]] = {
    "pass_at_k": lambda g, k: pass_at_k(len(g), sum(right(g)), k),
    "pass_hat_k": lambda g, k: pass_hat_k(len(g), sum(right(g)), k),
    "voted": lambda g, k: voted_at_k(answers(g), right(g), k),
    "weighted": lambda g, k: voted_at_k(answers(g), right(g), k, [exp(likelihood(a)) for a in g]),
    "likeliest": lambda g, k: selected_at_k([likelihood(a) for a in g], right(g), k),
    "shortest": lambda g, k: selected_at_k([-a.tokens for a in g], right(g), k),
}
