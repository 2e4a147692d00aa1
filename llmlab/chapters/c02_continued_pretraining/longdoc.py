"""longdoc: reading far apart: can the base model use what stands beyond the length it was trained on, and
which documents teach it?
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised
from ...tokens import pack
from ...tokens.batch import Batch
from ...tokens.special import document_end
from ...train import probes
from ...world import corpora
from ...world.archive import Archive
from ...world.base import rng
from ...world.census import Census

HELD = 512  # problems a probe
SHORT, LONG = (
    10,
    40,
)  # lines of the probes' lists: about 140 tokens, and 480 where the base was trained on rows of 256


@lru_cache
def mean_lengths(lines: int) -> tuple[float, float]:
    """Mean characters of a list and of a general document, over a hundred of each."""
    lists = [len(Archive(lines).document(rng("lengths", i))) for i in range(100)]
    return sum(lists) / 100, sum(len(corpora.general_document(rng("lengths", i))) for i in range(100)) / 100


@dataclass(frozen=True)
class LongDoc(Supervised):
    """Continued pretraining on lists with questions; the lists are short or long, the number of tokens is the
    same.
    """

    name: ClassVar[str] = "longdoc"
    summary: ClassVar[str] = (
        "long documents: look-ups at twice the trained length, after short lists or long ones"
    )
    curves: ClassVar[dict[str, str]] = {
        "far": "look-ups in lists of 40 lines right (share)",
        "near": "look-ups in lists of 10 lines right (share)",
        "people": "questions about known people right (share)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=1, length=256),
        values=dict(batch=(2,), length=(64,), lines=(10,)),
        under=dict(share=dict(lines=4)),
        small=dict(HELD=16),
    )

    lines: int = knob(
        40,
        4,
        60,
        unit="lines",
        help="length of the lists in the documents: 10 lines are about 140 tokens, 40 about 480",
    )
    share: float = knob(
        0.5, 0.05, 1.0, unit="share", help="share of the text that is lists; the rest is general text"
    )
    length: int = knob(
        1024,
        64,
        1024,
        unit="tokens",
        help="tokens a row; in shorter ones many a question is cut off from its list",
    )
    lr: float = knobs.lr(1e-3, low=1e-5)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(60)
    batch: int = knob(2, 1, 64, unit="rows", help="rows a step")
    probe: int = knobs.probe(60)

    def documents(self, seed: int, step: int):
        """Endless documents of one step, lists and general text, so that the lists have their share of the
        characters on average.
        """
        lists, others = mean_lengths(self.lines)
        chance = self.share * others / (self.share * others + (1 - self.share) * lists)
        for i in count():
            r = rng("longdoc", seed, step, i)
            yield Archive(self.lines).document(r) if r.random() < chance else corpora.general_document(r)

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """Packed rows of one step."""
        end = document_end(tok)
        return next(
            pack.pack(
                pack.encode_documents(tok, self.documents(seed, step), end, chunk=4),
                rows=self.batch,
                length=self.length + 1,
            )
        )

    def prober(self, model, tok):
        """Look-ups far apart and near, and what was known before."""
        general = corpora.general(0, split="test")
        parts = {"far": Archive(LONG), "near": Archive(SHORT), "people": Census()}
        sets = {
            n: probes.batches(probes.question_rows(tok, world, world.problems(HELD, seed=7)), size=16)
            for n, world in parts.items()
        }
        sets["general_loss"] = probes.text_rows(tok, [next(general) for _ in range(48)])
        return lambda step: probes.read(model, sets)
