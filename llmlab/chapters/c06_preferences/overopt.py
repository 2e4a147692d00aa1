"""overopt: what happens to the gold reward while a learned one is pushed up, by best-of-n or by reinforcement
learning.
"""

import math
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import ClassVar

import torch
from torch import Tensor

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import imitation, preferences
from ...methods.policy import Dials
from ...models.frozen import frozen_copy
from ...models.heads import Valued
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import loop
from ...train.collect import Collector
from ...train.recipe import Read, Recipe
from ...train.rollout import Episode, play
from ...world import talk
from ...world.base import Score, rng, say
from ...world.census import Census
from .reward import Reward, scores

LONGEST = 40  # tokens that an answer may take
POOL = 64  # answers to a question of which the best is taken
STYLES = 40  # steps in which the policy learns to answer in every manner


@dataclass(frozen=True)
class Overopt(Experiment):
    """A policy that answers in every manner, a reward model of a few labels, and the pressure of one on the
    other.
    """

    name: ClassVar[str] = "overopt"
    summary: ClassVar[str] = (
        "over-optimisation: gold against learned reward along KL, for best-of-n and for RL"
    )
    default_model: ClassVar[str] = "chat"
    along: ClassVar[str] = "step of RL, or answers drawn"
    curves: ClassVar[dict[str, str]] = {
        "gold": "gold reward (points)",
        "proxy": "learned reward (points)",
        "held_kl": "KL to the start (nats per answer)",
        "right": "right answers (share)",
        "polite": "polite answers (share)",
        "words": "length of an answer (words)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, fit=5, prompts=4, group=4, held=16),
        values=dict(fit=(8,), labels=(16,), prompts=(2,), group=(2,), held=(32,)),
        under=dict(bias=dict(planted="length")),
        phases=[dict(method="best_of_n", planted="format"), dict(beta=0.5, probe=2)],
        small=dict(STYLES=5),
    )

    method: str = knob(
        "rl",
        choices=("rl", "best_of_n"),
        help=(
            "rl: GRPO on the learned reward; best_of_n: step i takes the best of i + 1 samples, nothing is"
            " trained"
        ),
    )
    labels: int = knob(200, 16, 5000, unit="pairs", help="labelled pairs that the reward model learns from")
    fit: int = knob(40, 5, 500, unit="steps", help="steps of the reward model, of 16 pairs each")
    planted: str = knob(
        "none",
        choices=("none", "length", "format"),
        help="habit of the labellers that the reward model takes over",
    )
    bias: float = knob(
        0.5, 0.0, 1.0, unit="share", help="share of the labels that the habit decides, where one is planted"
    )
    beta: float = knob(0.0, 0.0, 1.0, help="weight of the KL to the starting policy in the loss of rl")
    lr: float = knob(5e-4, 1e-6, 1e-2, scale="log", help="peak learning rate of AdamW in rl")
    warmup: int = knobs.warmup(3, high=100)
    steps: int = knob(
        30,
        5,
        POOL - 1,
        unit="steps",
        help="steps of rl, or answers beside the first that best_of_n chooses from",
    )
    prompts: int = knob(8, 2, 64, help="questions a step")
    group: int = knob(8, 2, 32, help="samples a question")
    held: int = knob(32, 16, 256, help="held-out questions that a reading asks")
    probe: int = knobs.probe(10)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The policy in all manners, the reward model, then the pressure."""
        judge = self.judge(loaded, seed)
        for _ in loop.steps(
            loaded.model,
            mannered(loaded.tok, seed, loaded.model.device),
            imitation.nll,
            n=STYLES,
            lr=1e-3,
            warmup=5,
        ):
            pass
        if self.method == "best_of_n":
            yield from self.best_of_n(loaded.model, judge, loaded.tok, seed)
        else:
            yield from loop.train(self.pressure(loaded.model, judge, loaded.tok, seed), checkpoint)

    def judge(self, loaded, seed: int) -> Valued:
        """The reward model, which never moves again."""
        judge = Valued(frozen_copy(loaded.model).requires_grad_(True))
        data = Reward(labels=self.labels, planted=self.planted, bias=self.bias)
        stream = (data.batch_at(loaded.tok, seed, step).to(judge.device) for step in count())
        for _ in loop.steps(judge, stream, preferences.bradley_terry, n=self.fit, lr=1e-3, warmup=5):
            pass
        return judge.eval().requires_grad_(False)

    def best_of_n(self, model, judge, tok, seed):
        """A row for each n: what the best of n by the learned reward is worth; KL = ln n − (n − 1)/n."""
        episodes = sampled(model, tok, self.held, POOL, seed)
        read = torch.tensor([list(marks(e).values()) for e in episodes]).view(self.held, POOL, -1)
        proxy = rewards(judge, tok, episodes).view(self.held, POOL)
        order = proxy.argsort(1)
        for step in range(self.steps + 1):
            n = step + 1
            weight = chances(n)
            best = (read.gather(1, order[..., None].expand_as(read)) * weight[:, None]).sum(1).mean(0)
            worth = float((proxy.gather(1, order) * weight).sum(1).mean())
            yield {"step": step, "proxy": worth, "held_kl": math.log(n) - (n - 1) / n} | dict(
                zip(MARKS, best.tolist())
            )

    def pressure(self, model, judge, tok, seed) -> Recipe:
        """GRPO on the learned reward, with a KL penalty if asked for."""
        start, method = frozen_copy(model), Dials(kl_penalty="k3" if self.beta else "none", beta=self.beta)

        def ask(step):
            return Census().problems(self.prompts, split="train", seed=("overopt", seed, step))

        def read(step):
            episodes = sampled(model, tok, self.held, 4, 7)
            found = torch.tensor([list(marks(e).values()) for e in episodes]).mean(0)
            worth = float(rewards(judge, tok, episodes).mean())
            return {"proxy": worth, "held_kl": distance(start, tok, episodes)} | dict(
                zip(MARKS, found.tolist())
            )

        return Recipe(
            model,
            Collector(
                model,
                tok,
                Judged(),
                method,
                seed=seed,
                prompts=self.prompts,
                group=self.group,
                max_new=LONGEST,
                rewards=partial(rewards, judge, tok),
                ask=ask,
            ),
            method.objective(LONGEST),
            Read(read),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )


MARKS = ("gold", "right", "polite", "words")


class Judged(Census):
    """The people; the one who asks judges the answers."""

    def score(self, problem, text):
        """The gold reward, for no one to see in training."""
        return Score({"gold": talk.gold(problem, text.strip())})


def marks(episode: Episode) -> dict[str, float]:
    """What is really known of an answer."""
    text = episode.text.strip()
    polite = text.startswith("Gladly: ")
    bare = text.removeprefix("Gladly: ")
    return {
        "gold": talk.gold(episode.problem, text),
        "right": float(bare.startswith(f"{episode.problem.answer}.")),
        "polite": float(polite),
        "words": float(len(text.split())),
    }


def mannered(tok, seed: int, device):
    """Batches of right answers in all four manners, equally often."""
    for step in count():
        r = rng("manners", seed, step)
        rows = []
        for p in Census().problems(16, split="train", seed=("manners", seed, step)):
            text = r.choice(talk.candidates(None, p, p.answer)[:4])
            rows.append(chat.example(tok, p.messages, say(text)))
        yield Batch.of_rows(tok, rows).to(device)


def sampled(model, tok, n: int, k: int, seed: int) -> list[Episode]:
    """k samples to each of n held-out questions."""
    asked = Census().problems(n, split="test", seed=7)
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    return play(model, tok, Judged(), asked, k=k, max_new=LONGEST, generator=generator)


def of_episodes(tok, episodes: list[Episode]) -> Batch:
    """Sampled answers as rows to be read."""
    return Batch.of_rows(tok, [(e.ids, e.mask) for e in episodes])


def rewards(judge, tok, episodes: list[Episode]) -> Tensor:
    """The learned reward of every sampled answer. [B]"""
    parts = [episodes[i : i + 256] for i in range(0, len(episodes), 256)]
    return torch.cat([scores(judge, of_episodes(tok, part)) for part in parts]).cpu()


def distance(start, tok, episodes: list[Episode]) -> float:
    """KL(pi || start) per answer, in nats: the mean over samples of pi of the sum of log(pi/start)."""
    batch = loop.add_logprobs(start, of_episodes(tok, episodes).to(start.device), "ref_logprobs")
    own = torch.tensor([sum(e.logprobs) for e in episodes])
    return float((own - (batch["ref_logprobs"].cpu() * batch.mask[:, 1:].cpu()).sum(1)).mean())


def chances(n: int) -> Tensor:
    """Chance that answer i of POOL, in ascending order, is the best of n drawn without putting back: C(i,
    n−1) / C(POOL, n). [POOL]
    """
    return torch.tensor([math.comb(i, n - 1) / math.comb(POOL, n) for i in range(POOL)])
