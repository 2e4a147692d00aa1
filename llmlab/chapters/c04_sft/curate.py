"""curate: the chat model samples answers to sums; some are kept and imitated. What the choice of the kept
ones is worth.
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...errors import UserError
from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised, order
from ...tokens.batch import Batch
from ...train import probes
from ...train.rollout import Episode, evaluate, play
from ...world.sums import Sums
from ...world.talk import Talk

LONGEST = 18  # tokens of an answer
SUMS, KNOWN = Sums(("add",), digits=3), Talk(("fact",))
KEEP = ("verified", "majority", "any", "solutions")


@dataclass(frozen=True)
class Curate(Supervised):
    """Rejection sampling: K samples a problem, one of them kept or none, then supervised fine-tuning on what
    was kept.
    """

    name: ClassVar[str] = "curate"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "data curation by rejection sampling: imitate any own answer, the commonest, one that a checker"
        " accepts, or the solution"
    )
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "held-out three-digit sums right (share)",
        "general_recall": "known people right (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, problems=16, k=2, keep="any", held=16),
        values=dict(batch=(2,), k=(1,), problems=(32,), held=(32,)),
        under=dict(keep=dict(k=8, problems=32)),
    )

    keep: str = knob(
        "verified",
        choices=KEEP,
        help="which sample of a problem is imitated; solutions: the right answer, without sampling",
    )
    k: int = knob(8, 1, 32, help="samples a problem")
    temperature: float = knob(1.0, 0.3, 2.0, help="sampling temperature")
    problems: int = knob(512, 16, 2000, help="problems that are sampled")
    lr: float = knobs.lr(5e-4, low=1e-5)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(100, high=2000)
    batch: int = knob(32, 2, 128, unit="rows", help="answers a step")
    held: int = knobs.held(128)
    probe: int = knobs.probe(20)

    def batches(self, model, tok, seed):
        """Sample once, with the model as it is at the start; then go round what was kept, in a new order
        every time.
        """
        rows = self.kept(model, tok, seed)

        def batch_at(step: int) -> Batch:
            numbers = range(step * self.batch, (step + 1) * self.batch)
            chosen = [rows[order(seed, n // len(rows), len(rows))[n % len(rows)]] for n in numbers]
            return Batch.of_rows(tok, chosen)

        return batch_at

    def kept(self, model, tok, seed: int) -> probes.Rows:
        """(ids, mask) of the answers to be imitated. Raises UserError if none is left."""
        problems = SUMS.problems(self.problems, split="train", seed=seed + 1)
        if self.keep == "solutions":
            return probes.question_rows(tok, SUMS, problems)
        draw = torch.Generator(model.device).manual_seed(seed)
        episodes = play(
            model,
            tok,
            SUMS,
            problems,
            k=self.k,
            max_new=LONGEST,
            temperature=self.temperature,
            generator=draw,
        )
        groups = [episodes[i : i + self.k] for i in range(0, len(episodes), self.k)]
        chosen = [e for group in groups if (e := pick(group, self.keep))]
        if not chosen:
            raise UserError(
                "no sample is right, so that nothing is left to imitate; choose more samples (--k) or"
                " --keep any"
            )
        return [(e.ids, e.mask) for e in chosen]

    def prober(self, model, tok):
        """The skill, and what was known before."""
        known = {
            "general_recall": probes.batches(
                probes.question_rows(tok, KNOWN, KNOWN.problems(self.held, seed=7))
            )
        }
        return lambda step: (
            {"accuracy": evaluate(model, tok, SUMS, n=self.held, seed=7, max_new=LONGEST).accuracy}
            | probes.read(model, known)
        )


def pick(group: list[Episode], keep: str) -> Episode | None:
    """The sample of one problem that is kept, or None."""
    ended = [e for e in group if e.stopped]
    if keep == "verified":
        return next((e for e in ended if e.score.reward == 1), None)
    if keep == "majority":
        common = Counter(e.text for e in ended).most_common(1)
        return next((e for e in ended if e.text == common[0][0]), None)
    return next(iter(ended), None)
