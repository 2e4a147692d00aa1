"""policy: reinforcement learning from a verifier, every method of the family as a setting of its dials."""

from dataclasses import dataclass
from functools import partial
from math import lcm
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods.advantages import overlong_penalty
from ...methods.policy import ADVANTAGES, AGGREGATIONS, CLIPS, KL_PENALTIES, RATIOS, BadDial, Dials
from ...models.heads import Valued
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import loop
from ...train.collect import GROUPS, Collector
from ...train.recipe import Recipe
from ...train.rollout import Episode
from ...world.arena import REWARD_FUNCS, TASKS, Game
from .reader import Reader

ROUNDS = 6  # dynamic sampling asks at most so often before it takes what it has
# the upper clip range in units of the lower one: DAPO's 0.28 / 0.2, GSPO's 4e-4 / 3e-4
HIGHER = {"higher": 1.4, "gspo": 4 / 3}


@dataclass(frozen=True)
class Policy(Experiment):
    """Let the model try, reward it, and turn one dial at a time."""

    name: ClassVar[str] = "policy"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "policy gradients by their dials: ratio, clip, aggregation, KL, advantage rule; several tasks, honest"
        " and flawed rewards"
    )
    presets: ClassVar[dict[str, dict]] = {  # methods.policy.METHODS, all without a KL penalty, as TRL's are
        "GRPO": {},
        "Dr. GRPO": {"advantage": "group_mean", "aggregation": "fixed_length"},
        "DAPO": {"clip": "higher", "aggregation": "token_mean", "groups": "resampled"},
        "GSPO": {"ratio": "sequence", "clip": "gspo", "epsilon": 3e-4},
        "CISPO": {"clip": "capped", "epsilon": 4.0, "aggregation": "token_mean"},
        "PPO": {"advantage": "critic", "aggregation": "token_mean"},
        "REINFORCE": {
            "advantage": "no_baseline",
            "ratio": "none",
            "clip": "none",
            "aggregation": "token_mean",
        },
        "RLOO": {
            "advantage": "leave_one_out",
            "ratio": "none",
            "clip": "none",
            "aggregation": "fixed_length",
        },
        "hackable verifier (break it)": {"reward_func": "crash"},
        "KL in the reward": {"kl_penalty": "reward"},
    }
    later: ClassVar[tuple[str, ...]] = ("frac_reward_zero_std_mean",)
    front: ClassVar[tuple[str, ...]] = ("group", "lr", "beta")
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "held-out problems right, greedy (share)",
        "pass_at_1": "pass@1: samples right (share)",
        "pass_at_k": "pass@k: one of k samples right (share)",
        "distinct": "different answers among samples (share)",
        "held_reward": "reward in use, held out (share)",
        "length": "length of answers (tokens)",
        "held_entropy": "entropy, held out (nats per token)",
        "held_kl": "KL to the start, held out (nats per token)",
        "general_recall": "known people recalled (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, prompts=8, group=8, lr=3e-3, held=8, k=4),
        values=dict(
            prompts=(4,),
            group=(4,),
            reset=(1,),
            staleness=(1,),
            epochs=(2,),
            held=(12,),
            k=(8,),
            epsilon=(0.01,),
        ),
        under=dict(
            reward_func=dict(temperature=2.0),
            task=dict(size=1, prompts=2, group=4),
            source=dict(advantage="no_baseline", ratio="none", clip="none"),
            lam=dict(advantage="critic"),
            overlong=dict(task="filler"),
            groups=dict(group=2),
            clip=dict(epochs=5, prompts=16),
            epsilon=dict(epochs=5, prompts=16),
            ratio=dict(epochs=5, clip="none"),
            kl_penalty=dict(kl_penalty="k3", beta=1.0),
            beta=dict(kl_penalty="k3", beta=1.0),
            reset=dict(kl_penalty="k3", beta=1.0),
        ),
        phases=[
            dict(epochs=2, staleness=1, kl_penalty="k3", reset=4, beta=1.0, temperature=1.5),
            dict(advantage="critic", kl_penalty="reward", reset=2, groups="resampled", epochs=2),
            dict(clip="higher", ratio="sequence", epochs=2, aggregation="token_mean"),
            dict(
                clip="capped",
                epochs=2,
                aggregation="fixed_length",
                overlong="on",
                reward_func="length",
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
    reward_func: str = knob(
        "strict",
        choices=tuple(REWARD_FUNCS),
        help="strict: right answers; crash: unreadable ones too (a bug); format, length: how it looks",
    )
    advantage: str = knob(
        "group_norm",
        choices=ADVANTAGES,
        help=(
            "how much better than expected: group_norm is GRPO's rule, group_mean Dr. GRPO's, leave_one_out"
            " RLOO's; critic: PPO's value head with GAE"
        ),
    )
    lam: float = knob(0.95, 0.0, 1.0, help="GAE of the critic: 0 trusts its values, 1 the reward that came")
    ratio: str = knob(
        "token",
        choices=("none", *RATIOS),
        help="importance ratio π/π_old: of each token, or of the answer (TRL: importance_sampling_level)",
    )
    clip: str = knob(
        "symmetric",
        choices=(*CLIPS, "gspo"),
        help="1 ± ε; above: higher 1.4 × ε (DAPO), gspo 4/3 ×; capped: the weight, at 1 + ε",
    )
    epsilon: float = knob(0.2, 1e-4, 10.0, scale="log", help="clip range ε of the ratio")
    aggregation: str = knob(
        "sequence_mean",
        choices=tuple(AGGREGATIONS),
        help="from tokens to one number; TRL's loss_type grpo, dapo (token_mean), dr_grpo (fixed_length)",
    )
    kl_penalty: str = knob(
        "none",
        choices=("none", "reward", *KL_PENALTIES),
        help="KL to the reference, in the reward or the loss: k2 pulls along KL(π‖ref), k3 along KL(ref‖π)",
    )
    beta: float = knob(0.04, 0.0, 5.0, help="weight β of the KL penalty")
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
    staleness: int = knob(
        0,
        0,
        16,
        unit="batches",
        help="batches sampled ahead from the same weights: the last is that many batches old",
    )
    groups: str = knob(
        "all",
        choices=GROUPS,
        help="groups of equal rewards: kept, dropped, or replaced by new ones (DAPO's dynamic sampling)",
    )
    overlong: str = knob(
        "off",
        choices=("off", "on"),
        help="DAPO's soft overlong penalty, over the second half of the length allowed",
    )
    prompts: int = knob(32, 2, 128, help="problems a step")
    group: int = knob(8, 1, 32, help="samples a problem")
    temperature: float = knob(1.0, 0.3, 2.0, help="temperature of the samples in training")
    lr: float = knobs.lr(5e-4)
    warmup: int = knobs.warmup(10, high=100)
    steps: int = knobs.steps(60, low=5, high=1000)
    held: int = knob(48, 8, 1024, help="held-out problems that are sampled at a reading")
    k: int = knob(16, 2, 64, help="samples of each of them, the k of pass@k")
    probe: int = knobs.probe(20)

    def __post_init__(self):
        super().__post_init__()
        try:
            self.dials()
        except BadDial as e:
            raise BadKnob(str(e)) from None
        if self.group == 1 and self.advantage not in ("no_baseline", "critic"):
            raise BadKnob(
                "one sample has no group to compare with: choose --group 2 or more, or --advantage critic"
                f" instead of {self.advantage}"
            )
        if self.group == 1 and self.groups != "all":
            raise BadKnob(f"--groups {self.groups} drops every group of one sample; choose --group 2 or more")
        if self.task == "many" and self.reward_func in ("crash", "format"):
            raise BadKnob(
                f"--task many has no format that --reward_func {self.reward_func} could reward; choose"
                " --reward_func strict or length"
            )
        if self.source == "gold" and (self.advantage, self.ratio) != ("no_baseline", "none"):
            raise BadKnob(
                "--source gold has one answer a problem and nobody sampled it; choose --advantage no_baseline"
                " --ratio none --clip none"
            )
        if self.source == "gold" and (self.groups, self.overlong, self.kl_penalty) != ("all", "off", "none"):
            raise BadKnob(
                "--source gold samples nothing; choose --groups all, --overlong off and --kl_penalty none"
            )
        if self.reset and self.kl_penalty == "none":
            raise BadKnob(
                "--reset moves the reference, which nothing reads without a KL penalty; choose"
                " --kl_penalty reward or k3"
            )
        if self.reset % self.block:
            raise BadKnob(
                f"--reset {self.reset} is not a multiple of epochs × (staleness + 1) = {self.block} steps,"
                " for which samples are used"
            )

    @property
    def block(self) -> int:
        """Steps on samples of the same weights."""
        return self.epochs * (self.staleness + 1)

    def game(self) -> Game:
        """The task at its size."""
        return TASKS[self.task](self.size)

    def dials(self) -> Dials:
        """The method."""
        high, clip = self.epsilon * HIGHER.get(self.clip, 1.0), "higher" if self.clip in HIGHER else self.clip
        return Dials(
            self.ratio,
            clip,
            self.epsilon,
            high,
            self.aggregation,
            self.kl_penalty,
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
            for k in ("prompts", "group", "temperature", "epochs", "staleness", "groups", "reset")
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
            rewards=partial(rewarded, game, REWARD_FUNCS[self.reward_func], self.overlong == "on"),
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
    """One right answer to each problem as the data have it, rewarded in full: with no baseline and no ratio
    this is supervised fine-tuning.
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
        info = {"reward": 1.0, "frac_reward_zero_std": 0.0, "drawn": 0.0, "broken_rewards": 0.0}
        batch = Batch.of_rows(self.tok, rows, given, info=info).to(self.model.device)
        return loop.add_logprobs(self.model, batch, "old_logprobs")


def rewarded(game: Game, rule, overlong: bool, episodes: list[Episode]) -> torch.Tensor:
    """The reward of each answer [B], with the penalty on long ones."""
    lengths, longest = torch.tensor([float(sum(e.mask)) for e in episodes]), game.longest
    rewards = torch.tensor([rule(e.problem, e.score, float(n) / longest) for e, n in zip(episodes, lengths)])
    return rewards + (overlong_penalty(lengths, longest, longest // 2) if overlong else 0.0)
