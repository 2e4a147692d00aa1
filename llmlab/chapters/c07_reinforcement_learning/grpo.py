"""grpo: reinforcement learning from a verifier: the model samples answers, the world scores them, the group
is the baseline.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from ...lab.experiment import Experiment, knob
from ...methods import advantages, objectives
from ...train import loop, probes
from ...train.rollout import evaluate, on_policy
from ...world.census import Census
from ...world.sums import Sums
from ...world.talk import Talk


@dataclass(frozen=True)
class GRPO(Experiment):
    """Let the model try sums and learn from what the checker says."""

    name: ClassVar[str] = "grpo"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "group-relative policy optimisation on sums that the model gets right only sometimes"
    )
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "held-out sums right, greedy (share)",
        "reward": "mean reward of the samples (share right)",
        "general_recall": "known people recalled (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, prompts=8, group=8, lr=3e-3),
        values=dict(prompts=(4,), group=(4,)),
        under=dict(clip=dict(epochs=4, prompts=16)),
        phases=[dict(epochs=2, temperature=1.5)],
    )

    lr: float = knob(3e-4, 1e-6, 3e-3, scale="log", help="peak learning rate of AdamW")
    warmup: int = knob(3, 0, 100, unit="steps", help="steps of linear warm-up")
    steps: int = knob(60, 5, 1000, unit="steps", help="optimiser steps")
    prompts: int = knob(32, 2, 128, help="problems a step")
    group: int = knob(8, 2, 32, help="samples a problem")
    temperature: float = knob(1.0, 0.3, 2.0, help="sampling temperature")
    clip: float = knob(0.2, 0.01, 1.0, help="clip range of the probability ratio")
    epochs: int = knob(
        1, 1, 8, help="updates on each batch of samples; the ratio leaves 1 only from the second on"
    )
    op: str = knob("add", choices=("add", "subtract", "multiply"), help="kind of sum")
    digits: int = knob(3, 1, 4, help="digits of the numbers")
    probe: int = knob(10, 1, 500, unit="steps", help="steps between two readings of the probes")

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The recipe, top to bottom."""
        model, tok = loaded.model, loaded.tok
        world = Sums((self.op,), digits=self.digits)
        sets = {}
        facts = Talk(("fact",)) if tok.chat_template else Census()
        sets["general_recall"] = probes.batches(probes.question_rows(tok, facts, facts.problems(96, seed=7)))

        def probe(
            step,
        ):  # sampled and scored: rewards accept "82" and "82.", and the policy may come to prefer either
            return {
                "accuracy": evaluate(model, tok, world, n=128, seed=7, max_new=longest(self)).accuracy
            } | probes.read(model, sets)

        def objective(out, batch):
            loss, info = objectives.grpo(out, batch, low=self.clip, high=self.clip)
            return loss, info | {
                "reward": batch["rewards"].mean(),
                "no_signal": 1 - advantages.informative(batch["rewards"], batch["group"]).float().mean(),
            }

        yield from loop.train(
            model,
            partial(on_policy_from, model, tok, world, self, seed),
            objective,
            n=self.steps,
            lr=self.lr,
            opts=loop.optimizers(model, "adamw", self.lr),
            warmup=self.warmup,
            every=self.probe,
            checkpoint=checkpoint,
            unit=self.epochs,
            probe=probe,
        )


def on_policy_from(model, tok, world, knobs: GRPO, seed: int, start: int):
    """The experiment's stream from batch `start`."""
    return on_policy(
        model,
        tok,
        world,
        prompts=knobs.prompts,
        group=knobs.group,
        advantage=advantages.group_norm,
        seed=seed,
        epochs=knobs.epochs,
        temperature=knobs.temperature,
        max_new=longest(knobs),
        start=start,
    )


def longest(knobs: GRPO) -> int:
    """Tokens that an answer may take."""
    return 12 + 2 * knobs.digits
