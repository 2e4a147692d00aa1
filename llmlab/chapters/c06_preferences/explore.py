"""explore: an answer that no pair contains: who finds it, and how likely must it be at the start?"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import preferences
from ...methods.parts import detached, token_mean
from ...methods.policy import Dials
from ...models.forward import forward_trained
from ...models.frozen import frozen_copy
from ...tokens import chat, pairs
from ...tokens.batch import Batch, Row
from ...train import loop, probes
from ...train.collect import Collector
from ...train.recipe import Read, Recipe
from ...train.reference import Reference
from ...train.rollout import Episode, evaluate
from ...world.base import Problem
from ...world.tastes import Graded

METHODS = ("offline", "online", "grpo")
ASKED = Graded("identity")
LONGEST = 18  # tokens that an answer may take
BETA, NLL = 0.1, 0.2  # of DPO, as chapter 06 has them for a model's own samples
PRIMED = dict(n=60, lr=1e-3, warmup=5)  # the steps that give the model its habit


@dataclass(frozen=True)
class Explore(Experiment):
    """Questions about who the model is. The reward is 1 for a new name, Nova, a half for the one that the
    model goes by, Lumo, and 0 for anything else.

    Before the run, SFT gives it the habit of saying Nova with probability `mass`. Then

    offline  DPO on given pairs, Lumo against a refusal: Nova is in none of them
    online   DPO on the model's own samples: of each group the best against the worst
    grpo     GRPO on the same samples
    """

    name: ClassVar[str] = "explore"
    summary: ClassVar[str] = "exploration: offline DPO, online DPO and GRPO, by the best answer's chance"
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "sampled": "samples with the best answer (share)",
        "best_prob": "probability of the best answer (share)",
        "usual_prob": "probability of the usual answer (share)",
        "skill": "best answer given, greedy (share)",
        "paid": "samples with one of both answers (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("method", "mass", "lr")
    presets: ClassVar[dict[str, dict]] = {
        "online DPO": {},
        "offline DPO": dict(method="offline"),
        "GRPO": dict(method="grpo"),
        "online DPO, never said before (break it)": dict(mass=0.0),
        "GRPO, never said before (break it)": dict(method="grpo", mass=0.0),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=6, warmup=1, probe=3, prompts=4, group=4, held=8, mass=0.3, lr=1e-3),
        values=dict(prompts=(2,), group=(2,), held=(16,), probe=(2,), mass=(0.1,)),
        phases=[dict(method="grpo", mass=0.1)],
        small=dict(PRIMED=PRIMED | dict(n=8)),
    )

    method: str = knob("online", choices=METHODS, help="pairs that are given, pairs of own samples, or GRPO")
    mass: float = knob(
        0.01, 0.0, 0.5, unit="share", help="chance of the best answer at the start, by SFT before"
    )
    prompts: int = knob(16, 2, 128, help="questions a step; offline: one pair each")
    group: int = knob(8, 2, 32, help="samples a question")
    lr: float = knobs.lr(3e-4)
    warmup: int = knobs.warmup(3)
    steps: int = knobs.steps(40, low=5, high=1000)
    held: int = knobs.held(64, low=8)
    probe: int = knobs.probe(10)

    def habit(self, tok, seed: int, step: int) -> Batch:
        """Questions with both answers: the likelihood of a mixture of them, the best with weight `mass`."""
        asked = ASKED.problems(self.prompts, split="train", seed=("habit", seed, step))
        batch = Batch.of_rows(tok, [answered(tok, p, which) for p in asked for which in ("best", "usual")])
        return batch.add(rewards=torch.tensor([self.mass, 1 - self.mass] * len(asked)))

    def primed(self, model, tok, seed: int):
        """The model with its habit, in place."""
        stream = (self.habit(tok, seed, step).to(model.device) for step in count())
        for _ in loop.steps(model, stream, weighted_nll, **PRIMED):
            pass
        return model

    def given(self, tok, seed: int, step: int) -> Batch:
        """A step's pairs without the best answer."""
        asked = ASKED.problems(self.prompts, split="train", seed=("given", seed, step))
        return pairs.of_rows(tok, [answered(tok, p, which) for p in asked for which in ("usual", "worst")])

    def recipe(self, loaded, seed, texts=None):
        """The habit, then one of the three."""
        self.address(loaded)
        model, tok = self.primed(loaded.model, loaded.tok, seed), loaded.tok
        method = Dials()
        sampler = Collector(
            model, tok, ASKED, method, seed=seed, prompts=self.prompts, group=self.group, max_new=LONGEST
        )
        beside = Reference(frozen_copy(model))
        compared = {"offline": partial(self.given, tok, seed), "online": partial(self.own, sampler, seed)}
        dpo = preferences.objective("dpo", beta=BETA, nll=NLL)
        return Recipe(
            model,
            sampler if self.method == "grpo" else partial(referred, beside, compared[self.method]),
            method.objective(LONGEST) if self.method == "grpo" else dpo,
            Read(self.prober(model, tok)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )

    def own(self, sampler: Collector, seed: int, step: int) -> Batch:
        """A step's pairs: of each group of samples the best against the worst, where they differ."""
        episodes, _, info = sampler.chosen(seed * 1_000_003 + step, step)
        groups = [episodes[i : i + self.group] for i in range(0, len(episodes), self.group)]
        rows = [(e.ids, e.mask) for group in groups for e in best_and_worst(group)]
        return replace(pairs.of_rows(sampler.tok, rows), info=info)

    def prober(self, model, tok):
        """Held-out questions: what is sampled, and the probability of both answers."""
        held = ASKED.problems(self.held, split="test", seed=7)
        sets = {which: probes.batches([answered(tok, p, which) for p in held]) for which in ("best", "usual")}

        def read(step: int) -> dict[str, float]:
            """The readings after a step."""
            asked = dict(n=self.held, seed=7, k=4, temperature=1.0, max_new=LONGEST)
            rewards = evaluate(model, tok, ASKED, **asked).rows["reward"]
            return {
                "sampled": float((rewards == 1).mean()),
                "paid": float((rewards > 0).mean()),
                "skill": probes.exact(model, sets["best"]),
                "best_prob": probability(model, sets["best"]),
                "usual_prob": probability(model, sets["usual"]),
            }

        return read


def answered(tok, p: Problem, which: str) -> Row:
    """A question with its best, usual or worst answer."""
    return chat.example(tok, p.messages, [getattr(p.meta["choice"], which)])


def weighted_nll(out, batch: Batch):
    """The likelihood, each answer with its weight, from the column of rewards."""
    loss = -token_mean(out.logprobs * batch["rewards"][:, None], out.mask)
    return loss, detached(nll=loss)


def best_and_worst(group: list[Episode]) -> tuple[Episode, Episode]:
    """(chosen, rejected); where all are paid alike it is one and the same, which teaches no preference."""
    ranked = sorted(group, key=lambda e: e.score.reward)
    return (ranked[-1], ranked[0]) if ranked[-1].score.reward > ranked[0].score.reward else (ranked[0],) * 2


def referred(beside: Reference, batch_at, start: int):
    """Batches from number `start` on, with the reference's log-probs."""
    for step in count(start):
        yield beside(batch_at(step).to(beside.model.device))


@torch.no_grad()
def probability(model, prepared: list[Batch]) -> float:
    """Mean probability of whole answers."""
    found = []
    for batch in prepared:
        out = forward_trained(model, batch.to(model.device))
        found.append((out.logprobs * out.mask).sum(1).exp())
    return float(torch.cat(found).mean())
