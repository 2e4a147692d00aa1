"""policy: reinforcement learning from a verifier, every method of the family as a setting of its dials."""

from dataclasses import dataclass
from functools import partial
from math import lcm
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods.advantages import overlong_penalty
from ...methods.policy import ADVANTAGES, AGGREGATIONS, CLIPS, LEASHES, RATIOS, BadDial, Dials
from ...models.heads import Valued
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import loop
from ...train.collect import GROUPS, Collector
from ...train.recipe import Recipe
from ...train.rollout import Episode
from ...world.arena import PAID, TASKS, Game
from .reader import Reader

ROUNDS = 6  # dynamic sampling asks at most so often before it takes what it has
# the upper clip range in units of the lower one: DAPO's 0.28 / 0.2, GSPO's 4e-4 / 3e-4
HIGHER = {"higher": 1.4, "gspo": 4 / 3}


@dataclass(frozen=True)
class Policy(Experiment):
    """Let the model try, pay it, and turn one dial at a time."""

    name: ClassVar[str] = "policy"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "policy gradients by their dials: ratio, clip, aggregation, KL, advantage rule; several tasks, honest"
        " and flawed pay"
    )
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "held-out problems right, greedy (share)",
        "sampled": "samples right (share)",
        "covered": "problems right in one sample (share)",
        "distinct": "different answers among samples (share)",
        "paid": "what the verifier in use pays (share)",
        "length": "length of answers (tokens)",
        "surprise": "entropy of the samples (nats per token)",
        "kl": "KL from the starting model (nats per token)",
        "known": "known people recalled (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, prompts=8, group=8, lr=3e-3, held=8, tries=4),
        values=dict(
            prompts=(4,),
            group=(4,),
            reset=(1,),
            stale=(1,),
            epochs=(2,),
            held=(12,),
            tries=(8,),
            range=(0.01,),
        ),
        under=dict(
            paid=dict(temperature=2.0),
            task=dict(size=1, prompts=2, group=4),
            source=dict(advantage="no_baseline", ratio="none", clip="none"),
            lam=dict(advantage="critic"),
            overlong=dict(task="filler"),
            groups=dict(group=2),
            clip=dict(epochs=5, prompts=16),
            range=dict(epochs=5, prompts=16),
            ratio=dict(epochs=5, clip="none"),
            leash=dict(leash="k3", beta=1.0),
            beta=dict(leash="k3", beta=1.0),
            reset=dict(leash="k3", beta=1.0),
        ),
        phases=[
            dict(epochs=2, stale=1, leash="k3", reset=4, beta=1.0, temperature=1.5),
            dict(advantage="critic", leash="reward", reset=2, groups="resampled", epochs=2),
            dict(clip="higher", ratio="sequence", epochs=2, aggregation="token_mean"),
            dict(
                clip="capped",
                epochs=2,
                aggregation="fixed_length",
                overlong="on",
                paid="long",
                temperature=1.5,
            ),
        ],
        small={"reader.GREEDY": 16},
    )

    task: str = knob(
        "sums",
        choices=tuple(TASKS),
        help="filler: a sum, then dots; many: any right answer; chain, faults: tool calls, one fails",
    )
    size: int = knob(
        3,
        1,
        4,
        help=(
            "difficulty: digits of numbers, functions inside each other, calls in a chain; many has one size"
        ),
    )
    paid: str = knob(
        "strict",
        choices=tuple(PAID),
        help="strict: right answers; crash: unreadable ones too (a bug); form, long: how it looks",
    )
    advantage: str = knob(
        "group_norm",
        choices=ADVANTAGES,
        help="how much better than expected: the rule, or a critic with GAE (PPO)",
    )
    lam: float = knob(0.95, 0.0, 1.0, help="GAE of the critic: 0 trusts its values, 1 the reward that came")
    ratio: str = knob(
        "token",
        choices=("none", *RATIOS),
        help="likelihood ratio to the policy that sampled: of each token, or of the answer",
    )
    clip: str = knob(
        "symmetric",
        choices=(*CLIPS, "gspo"),
        help="1 ± range; above: higher 1.4 × range (DAPO), gspo 4/3 ×; capped: the weight, at 1 + range",
    )
    range: float = knob(0.2, 1e-4, 10.0, scale="log", help="clip range of the ratio")
    aggregation: str = knob("sequence_mean", choices=tuple(AGGREGATIONS), help="from tokens to one number")
    leash: str = knob(
        "none",
        choices=("none", "reward", *LEASHES),
        help="KL to the reference: inside the reward, or an estimate in the loss",
    )
    beta: float = knob(0.04, 0.0, 5.0, help="weight of the KL leash")
    source: str = knob(
        "own",
        choices=("own", "gold"),
        help="answers to learn from: the policy's samples, or those of the data (that is SFT)",
    )
    reset: int = knob(
        0, 0, 500, unit="steps", help="steps after which the policy becomes its own reference; 0 is never"
    )
    epochs: int = knob(
        1, 1, 8, help="updates on each batch of samples; the ratio leaves 1 only from the second on"
    )
    stale: int = knob(
        0,
        0,
        16,
        unit="batches",
        help="batches sampled ahead from the same weights: the last is so many batches old",
    )
    groups: str = knob(
        "all",
        choices=GROUPS,
        help="groups of equal rewards: kept, dropped, or replaced by new ones",
    )
    overlong: str = knob(
        "off", choices=("off", "on"), help="a penalty that grows over the second half of the length allowed"
    )
    prompts: int = knob(32, 2, 128, help="problems a step")
    group: int = knob(8, 1, 32, help="samples a problem")
    temperature: float = knob(1.0, 0.3, 2.0, help="temperature of the samples in training")
    lr: float = knobs.lr(5e-4)
    warmup: int = knobs.warmup(10, high=100)
    steps: int = knobs.steps(60, low=5, high=1000)
    held: int = knob(48, 8, 256, help="held-out problems that are sampled at a reading")
    tries: int = knob(16, 2, 64, help="samples of each of them")
    probe: int = knobs.probe(20)

    def __post_init__(self):
        super().__post_init__()
        try:
            self.dials(), self.game()
        except BadDial as e:
            raise BadKnob(str(e)) from None
        except ValueError as e:
            raise BadKnob(f"--size {self.size} does not fit --task {self.task}: {e}") from None
        if self.group == 1 and self.advantage not in ("no_baseline", "critic"):
            raise BadKnob(
                "one sample has no group to compare with: choose --group 2 or more, or --advantage critic"
                f" instead of {self.advantage}"
            )
        if self.group == 1 and self.groups != "all":
            raise BadKnob(f"--groups {self.groups} drops every group of one sample; choose --group 2 or more")
        if self.task == "many" and self.paid in ("crash", "form"):
            raise BadKnob(
                f"--task many has no form that --paid {self.paid} could pay for; choose --paid strict or long"
            )
        if self.source == "gold" and (self.advantage, self.ratio) != ("no_baseline", "none"):
            raise BadKnob(
                "--source gold has one answer a problem and nobody sampled it; choose --advantage no_baseline"
                " --ratio none --clip none"
            )
        if self.source == "gold" and (self.groups, self.overlong, self.leash) != ("all", "off", "none"):
            raise BadKnob(
                "--source gold samples nothing; choose --groups all, --overlong off and --leash none"
            )
        if self.reset and self.leash == "none":
            raise BadKnob(
                "--reset moves the reference, which nothing reads without a leash; choose --leash reward"
                " or k3"
            )
        if self.reset % self.block:
            raise BadKnob(
                f"--reset {self.reset} is not a multiple of epochs × (stale + 1) = {self.block} steps, for"
                " which samples are used"
            )

    @property
    def block(self) -> int:
        """Steps on samples of the same weights."""
        return self.epochs * (self.stale + 1)

    def game(self) -> Game:
        """The task at its size."""
        return TASKS[self.task](self.size)

    def dials(self) -> Dials:
        """The method."""
        high, clip = self.range * HIGHER.get(self.clip, 1.0), "higher" if self.clip in HIGHER else self.clip
        return Dials(
            self.ratio,
            clip,
            self.range,
            high,
            self.aggregation,
            self.leash,
            self.beta,
            self.advantage,
            self.lam,
        )

    def recipe(self, loaded, seed, texts=None):
        """The policy family at its dials: samples of the policy, or right answers as the data have them."""
        game, method, tok = self.game(), self.dials(), loaded.tok
        model = Valued(loaded.model) if self.advantage == "critic" else loaded.model
        source = partial(Demonstrations, game) if self.source == "gold" else Collector
        settings = {
            k: getattr(self, k)
            for k in ("prompts", "group", "temperature", "epochs", "stale", "groups", "reset")
        }
        stream = source(
            model,
            tok,
            game.world,
            method,
            seed=seed,
            max_new=game.turn,
            turns=game.turns,
            rounds=ROUNDS,
            rewards=partial(paid, game, PAID[self.paid], self.overlong == "on"),
            skip=True,
            **settings,
        )
        return Recipe(
            model,
            stream,
            method.objective(game.longest),
            Reader(loaded.model, tok, game, self),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
            unit=lcm(self.block, self.reset or 1),
        )


class Demonstrations(Collector):
    """One right answer to each problem as the data have it, paid in full: with no baseline and no ratio this
    is supervised fine-tuning.
    """

    def __init__(self, game: Game, *args, **settings):
        super().__init__(*args, **settings)
        self.game = game

    def sampled(self, step, number):
        """What is shown, in the shape of samples."""
        asked = self.problems(self.seed * 1_000_003 + number, number, 0)
        rows = [chat.example(self.tok, p.messages, self.game.label(p), p.meta.get("tools")) for p in asked]
        order = torch.arange(len(rows))
        given = {"rewards": torch.ones(len(rows)), "group": order, "step": torch.full_like(order, step)}
        info = {"reward": 1.0, "no_signal": 0.0, "drawn": 0.0}
        batch = Batch.of_rows(self.tok, rows, given, info=info).to(self.model.device)
        return loop.add_logprobs(self.model, batch, "old_logprobs")


def paid(game: Game, rule, overlong: bool, episodes: list[Episode]) -> torch.Tensor:
    """What the verifier in use pays for each answer [B], with the penalty on long ones."""
    lengths, longest = torch.tensor([float(sum(e.mask)) for e in episodes]), game.longest
    rewards = torch.tensor([rule(e.problem, e.score, float(n) / longest) for e, n in zip(episodes, lengths)])
    return rewards + (overlong_penalty(lengths, longest, longest // 2) if overlong else 0.0)
