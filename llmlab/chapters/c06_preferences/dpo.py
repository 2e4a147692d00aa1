"""dpo: preference optimisation of the chat model from pairs, small: `lora` and `stages` train on it; notebook
06 shows `prefer`. What moved the right way, and the log-probs of chosen and rejected separately.
"""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...methods import preferences
from ...tokens import chat, pairs
from ...train import loop, probes
from ...world import talk
from ...world.base import say
from ...world.talk import Talk
from .pairwise import Pairwise, readings


@dataclass(frozen=True)
class DPO(Pairwise):
    """Teach the chat model to prefer polite answers, from pairs alone."""

    name: ClassVar[str] = "dpo"
    summary: ClassVar[str] = "direct preference optimisation: polite answers preferred to blunt ones"
    default_model: ClassVar[str] = "chat"
    curves: ClassVar[dict[str, str]] = {
        "preferred": "pairs that moved the right way (share)",
        "polite": "polite and right answers (share)",
        "chosen_logprob": "log-prob of chosen answers (nats)",
        "rejected_logprob": "log-prob of rejected answers (nats)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4),
        values=dict(batch=(2,)),
        phases=[dict(nll=0.0, task="all")],
    )

    beta: float = knob(0.1, 0.01, 2.0, scale="log", help="strength of the pull to the reference")
    nll: float = knob(
        0.5,
        0.0,
        2.0,
        help=(
            "weight of the likelihood of the chosen answer; 0 is plain DPO, which only pushes the rejected"
            " one away here"
        ),
    )
    lr: float = knobs.lr(1e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, low=5, high=1000)
    batch: int = knob(16, 2, 64, unit="pairs", help="pairs a step")
    task: str = knob(
        "style",
        choices=("style", "all"),
        help="style: right answers, polite or blunt; all: also wrong and padded ones",
    )
    probe: int = knobs.probe(10)

    def loss(self):
        """dpo + nll · nll_chosen (as in RPO, arXiv 2404.19733)."""
        return preferences.objective("dpo", beta=self.beta, nll=self.nll)

    def pairs_from(self, model, tok, reference, seed):
        """New pairs at every step."""
        settings = dict(split="train", kinds=self.task)
        return lambda start: (
            pairs.answers(tok, talk.pairs(self.batch, seed=seed * 100_003 + step, **settings))
            for step in count(start)
        )

    def prober(self, model, tok, reference):
        """step -> what became of held-out pairs, and how facts are answered."""
        held = talk.pairs(96, split="test", seed=7, kinds=self.task)
        judged = [loop.add_logprobs(reference, pairs.answers(tok, held).to(model.device), "ref_logprobs")]
        polite = [chat.example(tok, p.messages, say(f"Gladly: {p.problem.answer}.")) for p in held]
        facts = Talk(("fact",))
        sets = {
            "polite": probes.batches(polite),
            "blunt": probes.batches(probes.question_rows(tok, facts, facts.problems(96, seed=7))),
        }
        return lambda step: (
            readings(model, judged) | {name: probes.exact(model, rows) for name, rows in sets.items()}
        )
