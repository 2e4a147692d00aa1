"""burst: continued pretraining during which bad data comes through for a while, with the gate and without."""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from ...lab.experiment import knob
from ...tokens import pack
from ...tokens.batch import Batch
from ...tokens.special import document_end
from ...world.base import rng
from ...world.corpora import CENSUS
from .cpt import CPT, LENGTH


@dataclass(frozen=True)
class Burst(CPT):
    """The data pipeline breaks at step `at`: for `length` steps every row holds false biographies of known
    people.
    """

    name: ClassVar[str] = "burst"
    takes_texts: ClassVar[bool] = False
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, at=4, length=3),
        values=dict(batch=(2,), gate=(2,), drugs=(12,), tolerance=(0.5,), fresh=(2,)),
        under=dict(
            anneal=dict(replay=0.5),
            gate=dict(probe=1, replay=0.0, lr=1e-2),
            tolerance=dict(probe=1, gate=1, replay=0.0, lr=3e-3),
        ),
        phases=[dict(gate=4, probe=2, lr=1e-2, replay=0.0)],
    )
    summary: ClassVar[str] = (
        "a burst of bad data in continued pretraining, and what a regression gate with rollback saves"
    )

    at: int = knob(60, 0, 1000, unit="steps", help="step after which the bad data comes")
    length: int = knob(20, 0, 1000, unit="steps", help="steps that it lasts; 0: it never comes")

    def batch_at(self, tok, seed, step, replay, weights, texts) -> Batch:
        """The step's batch as in cpt, or, during the burst, rows of false biographies."""
        if not self.at <= step < self.at + self.length:
            return super().batch_at(tok, seed, step, replay, weights, texts)
        end = document_end(tok)
        false = (false_biography(rng("burst", seed, step, i)) for i in count())
        return next(
            pack.pack(
                pack.encode_documents(tok, false, end, chunk=16),
                rows=self.batch,
                length=LENGTH,
                how=self.packing,
                fill=end,
            )
        )


def false_biography(r) -> str:
    """A biography under another person's name."""
    text = CENSUS.biography(r)
    name = min((n for n in CENSUS.people if n in text), key=text.find)
    return text.replace(name, r.choice([n for n in CENSUS.people if n != name]))
