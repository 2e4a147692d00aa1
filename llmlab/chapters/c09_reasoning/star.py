"""star: sample, verify, keep, train, and again: self-training with a verifier that may err."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from statistics import fmean
from typing import ClassVar, Iterator

from ...errors import UserError
from ...lab import knobs
from ...lab.experiment import knob
from ...lab.own import Own
from ...lab.own_problems import judged_elsewhere
from ...lab.supervised import order
from ...methods import imitation, preferences
from ...methods.scaling import vote
from ...models.frozen import frozen_copy
from ...tokens import pairs
from ...tokens.batch import Batch
from ...train import loop
from ...train.attempts import Attempt, attempts
from ...train.recipe import GaveUp, Recipe
from ...train.since import Since
from ...world.base import World
from ...world.given import Given
from ...world.reasoning import NAMES, Reasoning
from ...world.verifiers import CHECKS, ERRORS, Verifier
from .behaviours import behaviours, confidence

LABELS = (*CHECKS, "majority", "none")
KEEP = ("all", "distinct", "shortest")
CURRICULA = ("none", "mixed", "easy_first", "hard_first")
BETA, NLL = 0.1, 0.2
MEANS = {"precision": "round_precision", "kept": "round_kept", "asked_faults": "round_faults"}


@dataclass(frozen=True)
class Star(Own):
    """Rounds of: K attempts per problem, those that the verifier accepts are kept, `each` steps on them. STaR
    without rationalisation, ReST; RFT is one round.

    sft  imitate what was kept
    dpo  what was kept against what was rejected, problem by problem
    """

    name: ClassVar[str] = "star"
    summary: ClassVar[str] = (
        "self-training in rounds: sample, verify, keep, imitate (STaR, ReST) or prefer; verifiers that err"
    )
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    takes_texts: ClassVar[bool] = False
    takes_problems: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "pass_at_1": "pass@1: samples right (share)",
        "pass_at_k": "pass@8: one of eight right (share)",
        "voted": "vote of eight right (share)",
        "agreement": "samples that agree with the vote (share)",
        "precision": "right among what was kept (share)",
        "distinct": "different solutions of eight (share)",
        "unsound": "right through wrong steps (share)",
        "ece": "calibration error of the agreement (share)",
    }
    later: ClassVar[tuple[str, ...]] = ("precision",)
    front: ClassVar[tuple[str, ...]] = ("check", "fpr", "k")
    presets: ClassVar[dict[str, dict]] = {
        "exact verifier": {},
        "no verifier": dict(check="none"),
        "majority as label": dict(check="majority"),
        "a hole: the last letter (break it)": dict(check="last_character"),
        "half of the wrong ones pass": dict(fpr=0.5),
        "old samples": dict(writer="first"),
        "shortest only": dict(keep="shortest"),
        "DPO": dict(loss="dpo"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(
            each=2, steps=4, warmup=1, prompts=6, k=4, level=1, family="products", batch=4, held=4, probe=2
        ),
        values=dict(
            each=(1,),
            prompts=(4,),
            k=(8,),
            batch=(2,),
            held=(6,),
            probe=(4,),
            stop=(0.5,),
            longest=(48,),
            level=(2,),
            fnr=(0.5,),
        ),
        under=dict(
            errors=dict(checkers=3, fpr=0.4, fnr=0.4),
            checkers=dict(fpr=0.4, fnr=0.4),
            check=dict(level=2, prompts=24, k=8, longest=56),  # some samples without an answer, some unsound
            keep=dict(family="reach", level=2, prompts=12, k=8),  # several right solutions of a problem
            curriculum=dict(level=2),
            rank=dict(method="lora"),
            targets=dict(method="lora"),
        ),
        phases=[
            dict(loss="dpo", keep="distinct"),
            dict(method="lora", check="majority"),
            dict(curriculum="easy_first", writer="first"),
        ],
    )

    family: str = knob("strings", choices=NAMES, help="kind of problem")
    level: int = knob(3, 1, 4, help="difficulty")
    loss: str = knob("sft", choices=("sft", "dpo"), help="imitate what was kept, or prefer it to the rest")
    check: str = knob(
        "outcome", choices=LABELS, help="what accepts a sample; ending, last_character, form: holes"
    )
    fpr: float = knob(0.0, 0.0, 1.0, unit="share", help="wrong samples that a checker accepts at random")
    fnr: float = knob(0.0, 0.0, 1.0, unit="share", help="right samples that a checker rejects at random")
    checkers: int = knob(1, 1, 15, help="checkers whose majority decides")
    errors: str = knob("independent", choices=ERRORS, help="do the checkers err at the same samples?")
    keep: str = knob(
        "all", choices=KEEP, help="of the accepted: all, each text once, or the shortest of a problem"
    )
    writer: str = knob(
        "fresh", choices=("fresh", "first"), help="who samples: the present model, or the first one"
    )
    curriculum: str = knob(
        "none",
        choices=CURRICULA,
        help="levels of the problems: this one; or all up to it, mixed or in an order",
    )
    stop: float = knob(
        1.0, 0.5, 1.0, unit="share", help="majority: agreement of the samples that ends it; 1: never"
    )
    k: int = knob(8, 2, 64, help="samples per problem")
    temperature: float = knob(1.0, 0.3, 2.0, help="sampling temperature")
    prompts: int = knob(64, 2, 512, help="problems a round")
    each: int = knob(10, 1, 200, unit="steps", help="steps a round")
    lr: float = knobs.lr(2e-4)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(40, low=1)
    batch: int = knob(32, 2, 128, unit="rows", help="samples a step; dpo: two a pair")
    longest: int = knob(150, 8, 4096, unit="tokens", help="tokens of a solution at most")
    held: int = knobs.held(32, low=2)
    probe: int = knobs.probe(20)

    def world(self, round_: int) -> Reasoning:
        """What the lab asks in a round."""
        rounds, levels = -(-self.steps // self.each), list(range(1, self.level + 1))
        if self.curriculum == "none":
            return Reasoning((self.family,), (self.level,))
        if self.curriculum == "mixed":
            return Reasoning((self.family,), tuple(levels))
        ordered = levels if self.curriculum == "easy_first" else levels[::-1]
        return Reasoning((self.family,), (ordered[min(round_ * self.level // rounds, self.level - 1)],))

    def accepted(self, group: list[Attempt], seed: int, round_: int) -> list[bool | None]:
        """Which attempts at one problem pass; None: nothing could be said."""
        if self.check in ("majority", "none"):
            common = vote([a.answer for a in group])
            return [self.check == "none" or a.answer == common for a in group]
        if "family" not in group[0].episode.problem.meta:
            return [None if a.fault else a.right for a in group]
        verifier = Verifier(self.check, self.fpr, self.fnr, self.checkers, self.errors)
        return [verifier.accepts(a.episode.problem, a.text, seed, round_, i) for i, a in enumerate(group)]

    def collected(self, writer, tok, seed: int, round_: int, own: Given | None) -> tuple[list, dict]:
        """(rows, or pairs of rows, that a round learns from; what happened). A function of (writer, seed,
        round).
        """
        world: World = own or self.world(round_)
        draw = seed * 1_000_003 + round_
        asked = world.problems(self.prompts, split="train", seed=draw)
        settings = dict(max_new=self.longest, temperature=self.temperature, seed=draw)
        groups = attempts(writer, tok, world, asked, self.k, **settings)
        found, passed, agreed = [], [], fmean(max(confidence(g)) for g in groups)
        if self.stop < 1 and agreed >= self.stop:
            raise GaveUp(
                f"round {round_ + 1}: {agreed:.0%} of the samples agree with the vote: --stop ends it"
            )
        for group in groups:
            verdicts = self.accepted(group, seed, round_)
            good = [a for a, ok in zip(group, verdicts) if ok]
            passed += good
            bad = [a for a, ok in zip(group, verdicts) if ok is False]
            kept = chosen(good, self.keep)
            found += [(row(a), row(b)) for a, b in zip(kept, bad)] if self.loss == "dpo" else map(row, kept)
        if not found:
            why = (
                f"round {round_ + 1} keeps none of {len(asked) * self.k} samples, so there is nothing to"
                " learn from; choose easier problems, more samples (--k) or another check"
            )
            raise GaveUp(why) if round_ else UserError(why)
        every = [a for g in groups for a in g]
        return found, {
            "round_kept": len(passed) / len(every),
            "round_precision": fmean(a.right for a in passed),
            "round_faults": fmean(a.fault != "" for a in every),
            "sampled": float(sum(a.tokens for a in every)),
        }

    def stream(self, model, tok, seed: int, first, own: Given | None, start: int) -> Iterator[Batch]:
        """Batches from number `start`, which begins a round."""
        found: list = []
        for step in count(start):
            if step % self.each == 0:
                found, info = self.collected(first or model, tok, seed, step // self.each, own)
            size = self.batch // 2 if self.loss == "dpo" else self.batch
            numbers = range((step % self.each) * size, (step % self.each + 1) * size)
            rows = [
                found[order(seed, step - step % self.each + n // len(found), len(found))[n % len(found)]]
                for n in numbers
            ]
            if self.loss == "dpo":
                batch = pairs.of_rows(tok, [r for two in rows for r in two])
            else:
                batch = Batch.of_rows(tok, rows)
            yield replace(batch.to(model.device), info=info)
            info = info | {"sampled": 0.0}  # tokens that a round takes are told once

    def recipe(self, loaded, seed, texts=None):
        """The likelihood of what was kept, or DPO against the first model. Raises UserError where a knob is
        about the lab's problems, and these are the user's.
        """
        if texts is not None:
            judged_elsewhere(self, ("check", "fpr", "fnr", "checkers", "family", "level", "curriculum"))
        ready = self.ready(loaded, seed)
        self.address(ready)
        model, tok = ready.model, ready.tok
        first = frozen_copy(model) if self.writer == "first" or self.loss == "dpo" else None
        writer = first if self.writer == "first" else None
        stream = partial(self.stream, model, tok, seed, writer, texts)
        objective = imitation.nll
        if self.loss == "dpo":
            stream = partial(beside, first, stream)
            objective = preferences.objective("dpo", beta=BETA, nll=NLL)
        return Recipe(
            model,
            stream,
            objective,
            Rounds(self.prober(model, tok, texts), MEANS),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
            unit=self.each,
            partly=self.method != "full",
        )

    def prober(self, model, tok, own: Given | None):
        """step -> behaviours."""
        if own is not None:
            return lambda step: behaviours(model, tok, own, self.held, self.longest)
        world, harder = (Reasoning((self.family,), (n,)) for n in (self.level, min(self.level + 1, 4)))
        return lambda step: behaviours(model, tok, world, self.held, self.longest, harder)


class Rounds(Since):
    """Behaviours, and what the rounds since the last reading kept; before the first one nothing is chosen."""

    def __call__(self, step):
        """The readings after a step."""
        found = super().__call__(step)
        return found if step else found | {"precision": found["pass_at_1"], "kept": 1.0}


def beside(first, stream, start: int) -> Iterator[Batch]:
    """The same batches with the first model's log-probs."""
    return (loop.add_logprobs(first, batch, "ref_logprobs") for batch in stream(start))


def chosen(good: list[Attempt], keep: str) -> list[Attempt]:
    """Of the accepted attempts at one problem, those that are learnt from."""
    if keep == "shortest":
        return sorted(good, key=lambda a: a.tokens)[:1]
    return list({a.text: a for a in good}.values()) if keep == "distinct" else good


def row(a: Attempt) -> tuple[list[int], list[int]]:
    """The ids that were sampled, and which of them are learnt."""
    return a.episode.ids, a.episode.mask
