"""process: GRPO for the outcome, for every step, or for both; by exact checks or by a learned verifier that
can be hacked.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods.policy import Dials
from ...methods.verification import AGGREGATIONS
from ...train.collect import Collector
from ...train.recipe import Recipe
from ...train.rollout import Episode
from ...train.since import Since
from ...world.reasoning import NAMES, Reasoning
from ...world.stepwise import written
from ...world.verifiers import dense, outcome
from .behaviours import behaviours
from .verify import LONGEST, Verify

MEANS = {
    "train_reward": "reward",
    "frac_reward_zero_std_mean": "frac_reward_zero_std",
    "checks_mean": "checks",
}
REWARDS = ("outcome", "dense", "both", "hard", "learned")


@dataclass(frozen=True)
class Process(Experiment):
    """The same samples under other rewards.

    outcome  1 for a right answer
    dense    the share of the due steps and the answer that are right before the first mistake
    both     the mean of the two
    hard     the outcome; dense only in groups in which no answer is right
    learned  what a verifier says that was trained before the first step, its step scores aggregated
    """

    name: ClassVar[str] = "process"
    summary: ClassVar[str] = (
        "GRPO with outcome or process rewards, exact or by a learned verifier (PRM), at equal samples"
    )
    default_model: ClassVar[str] = "reasoner"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "pass_at_1": "pass@1: samples right (share)",
        "pass_at_k": "pass@8: one of eight right (share)",
        "train_reward": "reward of the samples (points)",
        "frac_reward_zero_std_mean": "groups of equal rewards (share)",
        "checks_mean": "checks of a sample (checks)",
        "unsound": "right through wrong steps (share)",
        "length": "length of solutions (tokens)",
        "ece": "calibration error of the agreement (share)",
        "harder": "pass@1 one level up (share)",
    }
    later: ClassVar[tuple[str, ...]] = ("train_reward", "frac_reward_zero_std_mean", "checks_mean")
    front: ClassVar[tuple[str, ...]] = ("reward_func", "aggregation", "lr")
    presets: ClassVar[dict[str, dict]] = {
        "outcome": {},
        "every step": dict(reward_func="dense"),
        "both": dict(reward_func="both"),
        "steps where nothing is right": dict(reward_func="hard"),
        "learned, minimum": dict(reward_func="learned"),
        "learned, summed (break it)": dict(reward_func="learned", aggregation="sum"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, prompts=6, group=4, held=4, judged=3),
        values=dict(prompts=(4,), group=(8,), held=(6,), probe=(4,), judged=(2,)),
        under=dict(
            aggregation=dict(reward_func="learned", judged=12, family="columns", level=1),
            judged=dict(reward_func="learned"),
        ),
        phases=[dict(reward_func="learned", aggregation="sum"), dict(reward_func="hard", level=1)],
    )

    reward_func: str = knob("outcome", choices=REWARDS, help="what a sample is rewarded for")
    aggregation: str = knob(
        "min", choices=tuple(AGGREGATIONS), help="learned: from the scores of the steps to one"
    )
    family: str = knob("products", choices=NAMES, help="kind of problem")
    level: int = knob(2, 1, 4, help="difficulty")
    judged: int = knob(40, 1, 1000, unit="steps", help="learned: steps of training of the verifier")
    prompts: int = knob(16, 2, 128, help="problems a step")
    group: int = knob(8, 2, 64, help="samples per problem")
    lr: float = knobs.lr(1e-4)
    warmup: int = knobs.warmup(3)
    steps: int = knobs.steps(20, low=2, high=1000)
    held: int = knobs.held(32, low=4)
    probe: int = knobs.probe(10)

    def scorer(self, loaded, seed: int):
        """A verifier with exact step labels, trained on solutions of the model as it is now; None: not
        needed.
        """
        if self.reward_func != "learned":
            return None
        knobs_ = dict(family=self.family, level=self.level, steps=self.judged, aggregation=self.aggregation)
        return Verify(**knobs_).scorer(loaded, seed)

    def rewards(self, scorer, episodes: list[Episode]) -> torch.Tensor:
        """Of each sample [B]."""
        if scorer is not None:
            return torch.tensor(scorer([(e.problem, e.text) for e in episodes]))
        right = torch.tensor([float(outcome(e.problem, e.text)) for e in episodes])
        if self.reward_func == "outcome":
            return right
        steps = torch.tensor([dense(e.problem, e.text) for e in episodes])
        if self.reward_func == "hard":
            solved = {e.group for e, r in zip(episodes, right) if r}
            return torch.where(torch.tensor([e.group in solved for e in episodes]), right, steps)
        return steps if self.reward_func == "dense" else (right + steps) / 2

    def recipe(self, loaded, seed, texts=None):
        """GRPO on these rewards."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        world = Reasoning((self.family,), (self.level,))
        harder = Reasoning((self.family,), (min(self.level + 1, 4),))
        return Recipe(
            model,
            Checked(
                model,
                tok,
                world,
                Dials(),
                seed=seed,
                prompts=self.prompts,
                group=self.group,
                max_new=LONGEST,
                rewards=partial(self.rewards, self.scorer(loaded, seed)),
                skip=True,
                reward_func=self.reward_func,
            ),
            Dials().objective(LONGEST),
            Since(lambda step: behaviours(model, tok, world, self.held, LONGEST, harder), MEANS),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )


@dataclass
class Checked(Collector):
    """The samples with what checking them took: one check an answer; where steps count, one a step more."""

    reward_func: str = "outcome"

    def chosen(self, draw: int, number: int):
        """As ever, and `checks`, the mean a sample, and the tokens that were sampled."""
        episodes, rewards, info = super().chosen(draw, number)
        solved = {e.group for e in episodes if outcome(e.problem, e.text)}
        by_step = {"outcome": [], "hard": [e for e in episodes if e.group not in solved]}
        stepped = by_step.get(self.reward_func, episodes)
        steps = sum(len(written(e.text)[0]) for e in stepped)
        took = {"checks": 1 + steps / len(episodes), "sampled": float(sum(sum(e.mask) for e in episodes))}
        return episodes, rewards, info | took
