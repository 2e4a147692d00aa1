"""reward: a reward model from comparisons: what it learns first, how sure it is, and the habits of its
labellers that it takes over.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import calibration, preferences
from ...methods.advantages import last_token
from ...models.forward import forward
from ...models.heads import Valued
from ...tokens import chat, pairs
from ...tokens.batch import Batch
from ...train.recipe import Read, Recipe, numbered
from ...world import talk
from ...world.base import rng, say
from ...world.census import Census
from ...world.talk import Pair

BINS = 10  # of the calibration error, from even chances to certainty


@dataclass(frozen=True)
class Reward(Experiment):
    """Train a Bradley-Terry head on pairs whose gold reward is known, and compare the two."""

    name: ClassVar[str] = "reward"
    summary: ClassVar[str] = (
        "a reward model from pairs: accuracy on content and on manner, calibration, planted biases found"
    )
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "held-out pairs ordered as gold (share)",
        "content": "right above wrong, same manner (share)",
        "manner": "polite above blunt, same content (share)",
        "calibration": "calibration error (share)",
        "held_loss": "loss on held-out pairs (nats per pair)",
        "length_pull": "reward of padding (std deviations)",
        "format_pull": "reward of the polite lead (std deviations)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=16),
        values=dict(batch=(2,), labels=(8,), held=(32,)),
        under=dict(
            bias=dict(planted="length", batch=16),
            planted=dict(batch=16, bias=1.0),
            noise=dict(batch=16),
            held=dict(probe=1),
        ),
        phases=[dict(labels=12, planted="format", noise=0.3, probe=1)],
    )

    labels: int = knob(
        0, 0, 5000, unit="pairs", help="different labelled pairs, read again and again; 0: every one is new"
    )
    noise: float = knob(0.0, 0.0, 0.5, unit="share", help="share of the labels that are swapped")
    planted: str = knob(
        "none",
        choices=("none", "length", "format"),
        help="habit of the labellers: the longer answer wins, or the one without the polite lead",
    )
    bias: float = knob(
        0.5, 0.0, 1.0, unit="share", help="share of the labels that the habit decides, where one is planted"
    )
    lr: float = knobs.lr(1e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(80, low=5, high=2000)
    batch: int = knob(16, 2, 64, unit="pairs", help="pairs a step")
    held: int = knob(32, 16, 256, help="held-out questions, each with eight answers, that a reading scores")
    probe: int = knobs.probe(20)

    def labelled(self, seed: int, n: int) -> tuple[Pair, str, str]:
        """Pair number n with its label: (pair, chosen, rejected)."""
        which = n % self.labels if self.labels else n
        pair, r = talk.pairs(1, split="train", seed=("reward", seed, which))[0], rng("label", seed, which)
        texts = pair.chosen, pair.rejected
        if (
            self.planted != "none"
            and r.random() < self.bias
            and HABITS[self.planted](texts[1]) > HABITS[self.planted](texts[0])
        ):
            texts = texts[::-1]
        return pair, *(texts[::-1] if r.random() < self.noise else texts)

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """The labelled pairs of one step."""
        found = [self.labelled(seed, n) for n in range(step * self.batch, (step + 1) * self.batch)]
        return pairs.contrast(tok, [(p.messages, *say(w), *say(r), None) for p, w, r in found])

    def recipe(self, loaded, seed, texts=None):
        """Bradley-Terry on the labelled pairs."""
        judge, tok = Valued(loaded.model), loaded.tok
        return Recipe(
            judge,
            numbered(partial(self.batch_at, tok, seed), judge.device),
            preferences.bradley_terry,
            Read(prober(judge, tok, self.held)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )


HABITS = {"length": len, "format": lambda text: not text.startswith("Gladly: ")}  # type: ignore[attr-defined]


@torch.no_grad()
def scores(judge, batch: Batch) -> Tensor:
    """The reward of every row: the value where the model is about to write the answer's last token. [B]"""
    was = judge.training
    judge.eval()
    out = forward(judge, batch.to(judge.device))
    judge.train(was)
    return out.values.gather(1, last_token(out.mask)[:, None])[:, 0]


def answers(tok, n: int) -> tuple[list[Batch], Tensor]:
    """n held-out questions with their eight answers (right or wrong × blunt or polite × bare or padded), and
    their gold rewards [n,2,2,2].
    """
    problems, people, rows, gold = (
        Census().problems(n, split="test", seed=7),
        Census().people.values(),
        [],
        [],
    )
    for i, p in enumerate(problems):
        others = sorted({getattr(q, p.meta["attribute"]) for q in people} - {p.answer})
        texts = talk.candidates(None, p, others[i % len(others)])
        rows += [chat.example(tok, p.messages, say(text)) for text in texts]
        gold += [talk.gold(p, text) for text in texts]
    parts = [rows[i : i + 64] for i in range(0, len(rows), 64)]
    batches = [Batch.of_rows(tok, part) for part in parts]
    return batches, torch.tensor(gold).view(n, 2, 2, 2)


def prober(judge, tok, n: int):
    """step -> how the model's rewards stand to gold's."""
    batches, gold = answers(tok, n)

    def probe(step):
        reward = torch.cat([scores(judge, batch) for batch in batches]).view(n, 2, 2, 2).cpu()
        return compared(reward, gold) | {
            "content": share(reward[:, 0] - reward[:, 1]),
            "manner": share(reward[:, :, 1] - reward[:, :, 0]),
            "length_pull": pull(reward, reward[..., 1] - reward[..., 0]),
            "format_pull": pull(reward, reward[:, :, 1] - reward[:, :, 0]),
        }

    return probe


def share(difference: Tensor) -> float:
    """Share of the differences above 0; one of 0 counts half."""
    return float((difference > 0).float().mean() + (difference == 0).float().mean() / 2)


def pull(reward: Tensor, difference: Tensor) -> float:
    """Mean difference in standard deviations of all rewards; 0 where all are alike."""
    return float(difference.mean() / reward.std().clamp(min=1e-6))


def compared(reward: Tensor, gold: Tensor) -> dict[str, float]:
    """Over all pairs of answers to one question whose gold differs: accuracy, loss (nats), and the expected
    calibration error.

    reward, gold [n,2,2,2]. The model's probability that the better answer wins is sigmoid(difference of
    rewards).
    """
    r, g = reward.flatten(1), gold.flatten(1)
    better = g[:, :, None] > g[:, None, :] + 1e-6
    margin = (r[:, :, None] - r[:, None, :])[better]
    sure = torch.sigmoid(margin.abs())
    right = (margin > 0).float() + (margin == 0).float() / 2
    return {
        "accuracy": float(right.mean()),
        "calibration": calibration.ece(sure, right, 2 * BINS),
        "held_loss": float(-torch.nn.functional.logsigmoid(margin).mean()),
    }
