"""variance: no training: the policy gradient at one fixed policy: how much it differs from batch to batch,
and where it pushes the length.
"""

from dataclasses import dataclass
from typing import ClassVar, Iterator

import torch
from torch import Tensor

from ...lab.experiment import BadKnob, Experiment, knob
from ...methods import advantages as rules
from ...methods.policy import ADVANTAGES
from ...models.forward import forward
from ...models.heads import Valued
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import loop
from ...train.rollout import as_batch, play, scored
from ...world.arena import TASKS, Game

WEIGHTS = {
    "answer": lambda mask: mask,
    "mean": lambda mask: mask / mask.sum(1, keepdim=True),
}  # Dr. GRPO up to a factor; GRPO
PENALTY = 1.0  # ridge of the critic's fit: a sum of squares of as much as one token's


@dataclass(frozen=True)
class Variance(Experiment):
    """Sample batch after batch from the same policy, and compare the gradients. The steps of this experiment
    are batches, after the first two.
    """

    name: ClassVar[str] = "variance"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "the noise of the policy gradient: its variance over batches of samples, by advantage rule and group"
        " size"
    )
    along: ClassVar[str] = "batch"
    curves: ClassVar[dict[str, str]] = {
        "agreement": "cosine of two batches' gradients (ratio)",
        "variance": "trace of the covariance (nats squared)",
        "signal": "squared length of the mean (nats squared)",
        "pass_at_1": "samples right (share)",
        "wrong_push": "push on wrong answers to go on (std)",
        "right_push": "push on right answers to go on (std)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(prompts=2, group=8, fit=2, steps=3),
        values=dict(prompts=(1,), group=(2,), fit=(1,), steps=(4,)),
        under=dict(
            lam=dict(advantage="critic"),
            task=dict(size=1, prompts=8),
            offset=dict(advantage="no_baseline"),
            fit=dict(advantage="critic"),
        ),
    )

    advantage: str = knob(
        "group_mean", choices=ADVANTAGES, help="how much better than expected: the rule, or a critic with GAE"
    )
    weight: str = knob(
        "answer",
        choices=tuple(WEIGHTS),
        help="of a token: 1, so that an answer's are summed; or 1 / length of its answer: their mean",
    )
    task: str = knob("sums", choices=tuple(TASKS), help="what is asked")
    size: int = knob(
        3,
        1,
        4,
        help=(
            "difficulty: digits of numbers, functions inside each other, calls in a chain; many has one size"
        ),
    )
    offset: float = knob(
        0.0,
        -5.0,
        5.0,
        unit="rewards",
        help="added to every reward: 0 gives 0 or 1, -0.5 gives -0.5 or 0.5",
    )
    prompts: int = knob(8, 1, 64, help="problems a batch")
    group: int = knob(8, 1, 32, help="samples a problem")
    lam: float = knob(0.95, 0.0, 1.0, help="GAE of the critic: 0 trusts its values, 1 the reward that came")
    fit: int = knob(
        16, 1, 64, unit="batches", help="batches of samples that the critic's head is fitted to beforehand"
    )
    steps: int = knob(40, 1, 500, unit="batches", help="batches of samples, after the first two")

    def __post_init__(self):
        super().__post_init__()
        try:
            TASKS[self.task](self.size)
        except ValueError as e:
            raise BadKnob(f"--size {self.size} does not fit --task {self.task}: {e}") from None
        if self.group == 1 and self.advantage not in ("no_baseline", "critic"):
            raise BadKnob(
                "one sample has no group to compare with: choose --group 2 or more, or --advantage critic"
                f" instead of {self.advantage}"
            )

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """Two batches first (step 0), then one a row. The samples are the same under every rule."""
        game, model = TASKS[self.task](self.size), loaded.model
        if self.advantage == "critic":
            model = Valued(model)
            fit_critic(model, [self.batch(loaded, game, "fit", seed, i) for i in range(self.fit)])
        stops, total, norms, rewards, pushed = (
            torch.tensor(sorted(chat.stop_ids(loaded.tok))),
            0.0,
            0.0,
            [],
            [],
        )
        for number in range(self.steps + 2):
            batch = self.batch(loaded, game, "measure", seed, number)
            weights = self.advantages(model, batch) * WEIGHTS[self.weight](batch.mask[:, 1:])
            gradient, push = policy_gradient(model, batch, weights, stops.to(batch.ids.device))
            total, norms = total + gradient, norms + float(gradient.square().sum())
            rewards, pushed = rewards + (batch["rewards"] - self.offset).tolist(), pushed + push.tolist()
            if number:
                yield (
                    {"step": number - 1}
                    | moments(total, norms, number + 1)
                    | pushes(torch.tensor(rewards), torch.tensor(pushed))
                )

    def batch(self, loaded, game: Game, use: str, seed: int, number: int) -> Batch:
        """Batch `number` of those for a use (fit, measure), a function of (model, seed, number)."""
        key = (seed * 1_000_003 + number) * 2 + (use == "fit")
        asked = game.world.problems(self.prompts, split="train", seed=key)
        generator = torch.Generator(loaded.model.device).manual_seed(key)
        episodes = play(
            loaded.model,
            loaded.tok,
            game.world,
            asked,
            k=self.group,
            max_new=game.turn,
            generator=generator,
            turns=game.turns,
        )
        batch = as_batch(loaded.tok, episodes, rewards=scored(episodes) + self.offset)
        return batch.to(loaded.model.device)

    def advantages(self, model, batch: Batch) -> Tensor:
        """[B,1], or [B,T-1] with a critic."""
        if self.advantage != "critic":
            return rules.ADVANTAGES[self.advantage](batch["rewards"], batch["group"])
        mask = batch.mask[:, 1:]
        values = loop.add_values(model, batch)["old_values"]
        return rules.gae(rules.token_rewards(batch["rewards"], mask), values, mask, lam=self.lam)[0]


def policy_gradient(model, batch: Batch, weights: Tensor, stops: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of mean over rows of sum_t w_t · log pi_t, as one vector in float64; and how hard each row
    pushes to go on, [B].

    The push is the row's derivative with respect to one number that is added to the logits of all tokens but
    the stops:
    sum_t w_t · (P(stop) - [t is a stop]). Rows whose weights are 0 have neither and are left out.
    """
    kept, push = (weights != 0).any(1).nonzero()[:, 0], torch.zeros(len(batch), device=weights.device)
    policy = model.model if isinstance(model, Valued) else model
    policy.zero_grad()
    if len(kept):
        out = forward(policy, batch.pick(kept))
        ((weights[kept] * out.logprobs * out.mask).sum() / len(batch)).backward()
        ends = (
            out.logits.detach().softmax(-1)[..., stops].sum(-1)
            - torch.isin(batch.ids[kept, 1:], stops).float()
        )
        push[kept] = (weights[kept] * ends * out.mask).sum(1)
    gradient = torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in policy.parameters()]
    ).double()
    return gradient, push


def pushes(rewards: Tensor, pushed: Tensor) -> dict[str, float]:
    """Mean push of the right and of the wrong answers, in standard deviations (about 0) of one answer's push;
    and the share of right ones.
    """
    scale, right = pushed.square().mean().sqrt().clamp(min=1e-30), rewards == 1
    means = {
        name: float(pushed[rows].mean() / scale) if rows.any() else 0.0
        for name, rows in (("wrong_push", ~right), ("right_push", right))
    }
    return {"pass_at_1": float(rewards.mean())} | means


def moments(total: Tensor, norms: float, n: int) -> dict[str, float]:
    """Of n gradients with this sum and this sum of squared lengths, both without bias: trace of the
    covariance, squared length of the mean; and their share, signal / (signal + variance): the expected
    product of two batches' gradients over that of one with itself.
    """
    squared = float(total.square().sum())
    signal = (squared - norms) / (n * (n - 1))
    variance = (norms - squared / n) / (n - 1)
    return {"agreement": signal / max(signal + variance, 1e-30), "variance": variance, "signal": signal}


@torch.no_grad()
def fit_critic(model: Valued, batches: Iterator[Batch]) -> None:
    """Least squares of the reward on the last hidden state at every token of the answers: the best linear
    critic of a fixed policy.
    """
    width = model.head.in_features + 1
    left, side = torch.eye(width, dtype=torch.float64) * PENALTY, torch.zeros(width, dtype=torch.float64)
    for batch in batches:
        states = model.model(input_ids=batch.ids[:, :-1], output_hidden_states=True).hidden_states[-1]
        acts = batch.mask[:, 1:] > 0
        x = states[acts].double().cpu()
        x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
        y = batch["rewards"][:, None].expand(acts.shape)[acts].double().cpu()
        left, side = left + x.T @ x, side + x.T @ y
    found = torch.linalg.solve(left, side).to(model.head.weight)
    model.head.weight.copy_(found[None, :-1])
    model.head.bias.copy_(found[-1:])
