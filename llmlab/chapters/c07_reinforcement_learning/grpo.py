"""grpo: reinforcement learning from a verifier, small: `lora` and `stages` train on it; notebook 07 shows
`policy`. The model samples answers, the world scores them, the group is the baseline.
"""

from dataclasses import dataclass
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods.policy import Dials
from ...train import probes
from ...train.collect import Collector
from ...train.recipe import Read, Recipe
from ...train.rollout import evaluate
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
        under=dict(epsilon=dict(epochs=4, prompts=16)),
        phases=[dict(epochs=2, temperature=1.5)],
    )

    lr: float = knobs.lr(3e-4, high=3e-3)
    warmup: int = knobs.warmup(3, high=100)
    steps: int = knobs.steps(60, low=5, high=1000)
    prompts: int = knob(32, 2, 128, help="problems a step")
    group: int = knob(8, 2, 32, help="samples a problem")
    temperature: float = knob(1.0, 0.3, 2.0, help="sampling temperature")
    epsilon: float = knob(0.2, 0.01, 1.0, help="clip range ε of the probability ratio")
    epochs: int = knob(
        1, 1, 8, help="updates on each batch of samples; the ratio leaves 1 only from the second on"
    )
    op: str = knob("add", choices=("add", "subtract", "multiply"), help="kind of sum")
    digits: int = knob(3, 1, 4, help="digits of the numbers")
    probe: int = knobs.probe(10)

    def recipe(self, loaded, seed, texts=None):
        """The policy family at GRPO's dials, without a KL penalty."""
        model, tok = loaded.model, loaded.tok
        world, method = Sums((self.op,), digits=self.digits), Dials(low=self.epsilon, high=self.epsilon)
        settings = dict(
            prompts=self.prompts, group=self.group, epochs=self.epochs, temperature=self.temperature
        )
        return Recipe(
            model,
            Collector(model, tok, world, method, seed=seed, max_new=longest(self), **settings),
            method.objective(longest(self)),
            Read(self.prober(model, tok, world)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
            unit=self.epochs,
        )

    def prober(self, model, tok, world):
        """Held-out sums, sampled and scored: rewards accept "82" and "82.", and the policy may come to prefer
        either; and what was known.
        """
        facts = Talk(("fact",)) if tok.chat_template else Census()
        sets = {
            "general_recall": probes.batches(probes.question_rows(tok, facts, facts.problems(96, seed=7)))
        }
        asked = dict(n=128, seed=7, max_new=longest(self))
        return lambda step: (
            {"accuracy": evaluate(model, tok, world, **asked).accuracy} | probes.read(model, sets)
        )


def longest(knobs: GRPO) -> int:
    """Tokens that an answer may take."""
    return 12 + 2 * knobs.digits
