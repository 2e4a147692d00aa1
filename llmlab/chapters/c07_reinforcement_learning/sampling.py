"""sampling: no training at all: what several samples of one model are worth, with a verifier and without."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...lab.experiment import Experiment, knob
from ...methods.scaling import vote
from ...train.rollout import play
from ...world.base import bare
from ...world.sums import Sums

OPS = ("add", "subtract", "multiply")


@dataclass(frozen=True)
class Sampling(Experiment):
    """Ask each problem k times; let the majority decide, or a verifier. The steps of this experiment are
    samples a problem.
    """

    name: ClassVar[str] = "sampling"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = "test-time scaling: samples, votes and a verifier on sums, without any training"
    along: ClassVar[str] = "samples a problem"
    curves: ClassVar[dict[str, str]] = {
        "verified": "right if a verifier picks (share)",
        "majority": "right if the samples vote (share)",
        "single": "right with one sample (share)",
        "greedy": "right with the likeliest answer (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=3, problems=32), values=dict(steps=(4,), problems=(16,))
    )

    steps: int = knob(16, 1, 256, unit="samples", help="samples a problem")
    temperature: float = knob(1.0, 0.1, 2.0, help="sampling temperature")
    problems: int = knob(512, 8, 4096, help="held-out problems")
    op: str = knob("add", choices=OPS, help="kind of sum")
    digits: int = knob(3, 1, 4, help="digits of the numbers")

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """Greedy answers first (step 0), then one more sample a problem and row."""
        model, tok = loaded.model, loaded.tok
        world, longest = Sums((self.op,), digits=self.digits), 12 + 2 * self.digits
        asked = world.problems(self.problems, seed=seed)
        greedy = share(
            e.score.reward for e in play(model, tok, world, asked, max_new=longest, temperature=0.0)
        )
        yield {"step": 0, "greedy": greedy, "verified": greedy, "majority": greedy, "single": greedy}
        generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
        texts_, rewards = [[] for _ in asked], [[] for _ in asked]
        for step in range(1, self.steps + 1):
            for e in play(
                model, tok, world, asked, max_new=longest, temperature=self.temperature, generator=generator
            ):
                texts_[e.group].append(bare(e.text))
                rewards[e.group].append(e.score.reward)
            yield {
                "step": step,
                "greedy": greedy,
                "verified": share(max(r) for r in rewards),
                "majority": share(world.score(p, vote(t)).reward for p, t in zip(asked, texts_)),
                "single": share(sum(r) / len(r) for r in rewards),
            }


def share(values) -> float:
    """Mean."""
    values = list(values)
    return sum(values) / len(values)
