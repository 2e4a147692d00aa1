"""variance: no training: how much the policy gradient differs from batch to batch, under each advantage rule, at one fixed policy."""

from dataclasses import dataclass
from typing import ClassVar, Iterator

import torch
from torch import Tensor

from .. import advantages as rules
from .. import loop
from ..arena import TASKS, Game
from ..dials import ADVANTAGES
from ..models.forward import forward
from ..models.heads import Valued
from ..rollout import as_batch, play
from ..tokens.batch import Batch
from .base import BadKnob, Experiment, knob

PENALTY = 1.0  # ridge of the critic's fit: a sum of squares of as much as one token's


@dataclass(frozen=True)
class Variance(Experiment):
    """Sample batch after batch from the same policy, and compare the gradients. The steps of this experiment are batches, after the first two."""

    name: ClassVar[str] = "variance"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = "the noise of the policy gradient: its variance over batches of samples, by advantage rule and group size"
    curves: ClassVar[dict[str, str]] = {
        "agreement": "cosine of two batches' gradients (ratio)",
        "variance": "trace of the covariance (nats squared)",
        "signal": "squared length of the mean (nats squared)",
        "sampled": "samples right (share)",
    }

    advantage: str = knob("group_mean", choices=ADVANTAGES, help="how much better than expected: the rule, or a critic with GAE")
    task: str = knob("sums", choices=tuple(TASKS), help="what is asked")
    size: int = knob(3, 1, 4, help="difficulty: digits of numbers, functions inside each other, calls in a chain; many has one size")
    offset: float = knob(0.0, -5.0, 5.0, unit="rewards", help="added to what every answer is paid: 0 pays 0 or 1, -0.5 pays as much as it takes")
    prompts: int = knob(8, 1, 64, help="problems a batch")
    group: int = knob(8, 1, 32, help="samples a problem")
    lam: float = knob(0.95, 0.0, 1.0, help="GAE of the critic: 0 trusts its values, 1 the reward that came")
    fit: int = knob(16, 1, 64, unit="batches", help="batches of samples that the critic's head is fitted to beforehand")
    steps: int = knob(40, 1, 500, unit="batches", help="batches of samples, after the first two")

    def __post_init__(self):
        super().__post_init__()
        try:
            TASKS[self.task](self.size)
        except ValueError as e:
            raise BadKnob(f"--size {self.size} does not fit --task {self.task}: {e}") from None
        if self.group == 1 and self.advantage not in ("no_baseline", "critic"):
            raise BadKnob(f"one sample has no group to compare with: choose --group 2 or more, or --advantage critic instead of {self.advantage}")

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """Two batches first (step 0), then one a row. The samples are the same under every rule."""
        game, model = TASKS[self.task](self.size), loaded.model
        if self.advantage == "critic":
            model = Valued(model)
            fit_critic(model, [self.batch(loaded, game, "fit", seed, i) for i in range(self.fit)])
        total = norms = right = 0.0
        for number in range(self.steps + 2):
            batch = self.batch(loaded, game, "measure", seed, number)
            gradient = policy_gradient(model, batch, self.advantages(model, batch))
            total, norms = total + gradient, norms + float(gradient.square().sum())
            right += float(batch["rewards"].mean()) - self.offset
            if number:
                yield {"step": number - 1} | moments(total, norms, number + 1) | {"sampled": right / (number + 1)}

    def batch(self, loaded, game: Game, use: str, seed: int, number: int) -> Batch:
        """Batch `number` of those for a use (fit, measure), a function of (model, seed, number)."""
        key = (seed * 1_000_003 + number) * 2 + (use == "fit")
        asked = game.world.problems(self.prompts, split="train", seed=key)
        generator = torch.Generator(loaded.model.device).manual_seed(key)
        episodes = play(loaded.model, loaded.tok, game.world, asked, k=self.group, max_new=game.turn, generator=generator, turns=game.turns)
        return as_batch(loaded.tok, episodes, step=0, temperature=1.0, reward=lambda score: score.reward + self.offset).to(loaded.model.device)

    def advantages(self, model, batch: Batch) -> Tensor:
        """[B,1], or [B,T-1] with a critic."""
        if self.advantage != "critic":
            return rules.ADVANTAGES[self.advantage](batch["rewards"], batch["group"])
        mask = batch.mask[:, 1:]
        values = loop.add_values(model, batch)["old_values"]
        return rules.gae(rules.token_rewards(batch["rewards"], mask), values, mask, lam=self.lam)[0]


def policy_gradient(model, batch: Batch, advantages: Tensor) -> Tensor:
    """Gradient of mean over rows of sum_t A · log pi, as one vector in float64. Rows whose advantage is 0 have none and are left out."""
    kept = (advantages != 0).any(1).nonzero()[:, 0]
    policy = model.model if isinstance(model, Valued) else model
    policy.zero_grad()
    if len(kept):
        out = forward(policy, batch.pick(kept))
        ((advantages[kept] * out.logprobs * out.mask).sum() / len(batch)).backward()
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in policy.parameters()]).double()


def moments(total: Tensor, norms: float, n: int) -> dict[str, float]:
    """Of n gradients with this sum and this sum of squared lengths, both without bias: trace of the covariance, squared length of the mean; and
    their share, signal / (signal + variance): the expected product of two batches' gradients over that of one with itself.
    """
    squared = float(total.square().sum())
    signal = (squared - norms) / (n * (n - 1))
    variance = (norms - squared / n) / (n - 1)
    return {"agreement": signal / max(signal + variance, 1e-30), "variance": variance, "signal": signal}


@torch.no_grad()
def fit_critic(model: Valued, batches: Iterator[Batch]) -> None:
    """Least squares of the reward on the last hidden state at every token of the answers: the best linear critic of a fixed policy."""
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
