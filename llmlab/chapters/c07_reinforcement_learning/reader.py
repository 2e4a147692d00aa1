"""reader: what a policy can do, read on held-out problems: greedy, pass@1, pass@k, how varied, how long,
and how far from where it began.
"""

import torch

from ...methods import parts
from ...models.forward import forward_trained
from ...models.frozen import frozen_copy
from ...train import probes
from ...train.rollout import as_batch, evaluate, play
from ...train.since import Since
from ...world.arena import REWARD_FUNCS, Game
from ...world.census import Census
from ...world.talk import Talk

SINCE = {
    "clip_fraction_mean": "clip_fraction",
    "approx_kl_mean": "approx_kl",
    "frac_reward_zero_std_mean": "frac_reward_zero_std",
}  # reading -> the step's figure of which it is the mean since the last reading
GREEDY, JUDGED = 128, 256  # problems answered greedily; samples on which entropy and KL are taken


class Reader(Since):
    """A probe for loop.train: judged by the strict checker, whatever is rewarded in training."""

    def __init__(self, model, tok, game: Game, knobs):
        super().__init__(self.readings, SINCE, {"samples": "drawn"})
        self.model, self.tok, self.game, self.knobs = model, tok, game, knobs
        self.start = frozen_copy(model)
        facts = Talk(("fact",)) if tok.chat_template else Census()
        self.known = {
            "general_recall": probes.batches(probes.question_rows(tok, facts, facts.problems(96, seed=7)))
        }

    def readings(self, step: int) -> dict[str, float]:
        """The readings after a step."""
        n = GREEDY if self.game.turns == 1 else self.knobs.held  # conversations take their time
        found = {
            "accuracy": (
                evaluate(self.model, self.tok, self.game.world, n=n, seed=7, max_new=self.game.turn).accuracy
            )
        }
        return (
            found
            | self.sampled()
            | {"train_accuracy": self.train_accuracy()}
            | probes.read(self.model, self.known)
        )

    def sampled(self) -> dict[str, float]:
        """`k` samples of each of `held` problems, at temperature 1."""
        game, asked = self.game, self.game.world.problems(self.knobs.held, split="test", seed=7)
        generator = torch.Generator(self.model.device).manual_seed(7)
        episodes = play(
            self.model,
            self.tok,
            game.world,
            asked,
            k=self.knobs.k,
            max_new=game.turn,
            generator=generator,
            turns=game.turns,
        )
        right = torch.tensor([e.score.reward for e in episodes])
        length = torch.tensor([float(sum(e.mask)) for e in episodes])
        groups = [episodes[i : i + self.knobs.k] for i in range(0, len(episodes), self.knobs.k)]
        rule = REWARD_FUNCS[self.knobs.reward_func]
        return {
            "pass_at_1": mean(right),
            "pass_at_k": mean(right.view(len(groups), -1).amax(1)),
            "distinct": sum(len({e.text.strip() for e in g}) for g in groups) / len(episodes),
            "length": mean(length),
            "right_length": mean(length[right == 1] if (right == 1).any() else length),
            "wrong_length": mean(length[right < 1] if (right < 1).any() else length),
            "held_reward": (
                sum(rule(e.problem, e.score, float(n) / game.longest) for e, n in zip(episodes, length))
                / len(episodes)
            ),
        } | self.drift(episodes[:: -(-len(episodes) // JUDGED)])

    def train_accuracy(self) -> float:
        """Share right among samples of problems that training may ask, a quarter as many."""
        k, game = self.knobs, self.game
        asked = game.world.problems(k.held // 2, split="train", seed=7)
        generator = torch.Generator(self.model.device).manual_seed(7)
        episodes = play(
            self.model,
            self.tok,
            game.world,
            asked,
            k=k.k // 2,
            max_new=game.turn,
            generator=generator,
            turns=game.turns,
        )
        return sum(e.score.reward for e in episodes) / len(episodes)

    @torch.no_grad()
    def drift(self, episodes) -> dict[str, float]:
        """Entropy of the policy, and its exact KL from where it began, at the tokens of its own samples."""
        batch = as_batch(self.tok, episodes).to(self.model.device)
        out, before = forward_trained(self.model, batch), forward_trained(self.start, batch)
        now, then = (parts.trained(o.logits, o.mask).log_softmax(-1) for o in (out, before))
        return {
            "held_entropy": float(parts.entropy(out)),
            "held_kl": float(parts.trained_mean(parts.kl(now, then))),
        }


def mean(x: torch.Tensor) -> float:
    """Mean as a number."""
    return float(x.double().mean())
