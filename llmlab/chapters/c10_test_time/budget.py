"""budget: tokens spent once on training, or on samples at every request: what each gives, and from how many
requests on training is the cheaper one.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods.scaling import drawn_until_right, pass_at_k, voted_at_k
from ...train import loop
from ...train.attempts import Attempt, attempts
from ...train.recipe import Read
from ...world.reasoning import NAMES, Reasoning
from ..c09_reasoning.process import Process
from ..c09_reasoning.star import Star

Group = list[Attempt]
METHODS = ("star", "dpo", "grpo")
UPDATE = 3  # a token that is learnt costs a forward and a backward pass: three times one that is read
LONGEST = 150
NEVER = 1e6  # requests: training bought nothing that one sample has not


@dataclass(frozen=True)
class Budget(Experiment):
    """The training goes on for `steps`; compared are the first model's samples, as many of a request as
    the trained model's one answer is worth.

    trained     right with one sample of the trained model
    voted       vote of k of the first model; verified: one of k that an exact check accepts
    spent       tokens that the training took: sampled ones, and three times the learnt ones
    need_vote, need_check  k at which the first model is worth as much as one sample of the trained model, on
    the line between two whole k (one more than were tried where none is)
    break_even  requests from which on training is cheaper than drawing until an exact check accepts one, or
    need_check are drawn; a million: never
    """

    name: ClassVar[str] = "budget"
    summary: ClassVar[str] = "train (STaR, DPO, GRPO) or sample: tokens, accuracy, and break-even in requests"
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "trained": "trained, one sample (share)",
        "voted": "not trained, vote of k (share)",
        "verified": "not trained, k with an exact check (share)",
        "first": "not trained, one sample (share)",
        "need_check": "worth this many checked samples (samples)",
        "break_even": "training pays from here (requests)",
        "spent": "spent on training (tokens)",
    }
    front: ClassVar[tuple[str, ...]] = ("method", "k", "level")
    presets: ClassVar[dict[str, dict]] = {
        "STaR": {},
        "DPO": dict(method="dpo"),
        "GRPO": dict(method="grpo"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, prompts=6, k=4, held=6, level=2),
        values=dict(prompts=(4,), k=(2,), held=(4,), probe=(4,)),
        phases=[dict(method="grpo", level=1), dict(method="dpo", level=1)],
    )

    method: str = knob("star", choices=METHODS, help="how the tokens are spent on training")
    family: str = knob("reach", choices=NAMES, help="kind of problem")
    level: int = knob(1, 1, 4, help="difficulty")
    k: int = knob(8, 2, 64, help="samples of a problem: in training, and in place of it")
    prompts: int = knob(16, 2, 512, help="problems of a round, or of a step of GRPO")
    lr: float = knobs.lr(1e-4)
    warmup: int = knobs.warmup(3)
    steps: int = knobs.steps(24, low=2)
    held: int = knobs.held(64, low=4)
    probe: int = knobs.probe(8)

    @property
    def of_training(self) -> Experiment:
        """The experiment of chapter 09 that trains."""
        same = {n: getattr(self, n) for n in ("family", "level", "lr", "warmup", "steps", "probe")}
        if self.method == "grpo":
            return Process(prompts=self.prompts, group=self.k, **same)
        return Star(
            loss="dpo" if self.method == "dpo" else "sft",
            prompts=3 * self.prompts,
            k=self.k,
            each=8,
            **same,
        )

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The first model's samples, then the training, read with the same problems."""
        self.address(loaded)
        first = self.sampled(loaded)
        recipe = self.of_training.recipe(loaded, seed)
        probe = Read(lambda step: read_one(self.sampled(loaded)))
        spent = 0.0
        for row in loop.train(replace(recipe, probe=probe, every=self.probe), checkpoint):
            spent += UPDATE * row.get("tokens", 0) + row.get("sampled", 0.0)
            more = self.compared(row, first, spent) if "trained" in row else {}
            yield row | more

    def sampled(self, loaded) -> list[Group]:
        """Samples of held-out problems by the model as it is."""
        world = Reasoning((self.family,), (self.level,))
        asked = world.problems(self.held, seed=7)
        return attempts(loaded.model, loaded.tok, world, asked, 2 * self.k, max_new=LONGEST, seed=7)

    def compared(self, row: dict, first: list[Group], spent: float) -> dict[str, float]:
        """What the trained model is worth in samples of the first one, and from when on it is cheaper."""
        vote = [fmean(voted_at_k([a.answer for a in g], right(g), k) for g in first) for k in self.sizes]
        check = [fmean(pass_at_k(len(g), sum(right(g)), k) for g in first) for k in self.sizes]
        drawn = [fmean(drawn_until_right(len(g), sum(right(g)), k) for g in first) for k in self.sizes]
        need = reached(check, row["trained"])
        saved = at(drawn, need) * read_one(first)["length"] - row["length"]
        return {
            "first": check[0],
            "voted": vote[self.k - 1],
            "verified": check[self.k - 1],
            "spent": spent,
            "need_vote": reached(vote, row["trained"]),
            "need_check": need,
            "break_even": NEVER if need == 1 or saved <= 0 else min(NEVER, spent / saved),
        }

    @property
    def sizes(self) -> range:
        """Numbers of samples that are tried."""
        return range(1, 2 * self.k + 1)


def reached(worth: list[float], wanted: float) -> float:
    """The k from 1 on at which the line through what k samples are worth first has so much; one more than
    were tried where it never has.
    """
    if worth[0] >= wanted:
        return 1.0
    for k, (here, there) in enumerate(pairwise(worth), start=1):
        if there >= wanted:
            return k + (wanted - here) / (there - here)
    return len(worth) + 1.0


def at(values: list[float], k: float) -> float:
    """The line through values for 1, 2, … at k; its last value beyond them."""
    low = min(int(k), len(values))
    high = min(low + 1, len(values))
    return values[low - 1] + (k - low) * (values[high - 1] - values[low - 1])


def read_one(groups: list[Group]) -> dict[str, float]:
    """One sample per problem: right (share), and its length in tokens."""
    every = [a for g in groups for a in g]
    return {"trained": fmean(a.right for a in every), "length": fmean(a.tokens for a in every)}


def right(group: Group) -> list[bool]:
    """Which are right."""
    return [a.right for a in group]
