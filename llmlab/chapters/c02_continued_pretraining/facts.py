"""facts: teach the base model people it has never read about: by documents or by questions, in one wording or
several.
"""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised
from ...tokens import pack
from ...tokens.batch import Batch, concatenate
from ...tokens.special import document_end
from ...train import probes
from ...world import corpora
from ...world.base import rng, side
from ...world.census import STATEMENTS, Census
from ...world.newcomers import Newcomers
from ...world.sums import Sums

LENGTH = 129  # tokens a row: 128 predictions
HELD = 512  # problems a probe
TEXTS = ("documents", "questions", "both")
MIXED = ("general", "no questions")
QUIET = {kind: 0.0 if kind == "census questions" else share for kind, (share, _) in corpora.GENERAL.items()}


@dataclass(frozen=True)
class Facts(Supervised):
    """Newcomers move to Verania. Which texts about them make the model able to answer?"""

    name: ClassVar[str] = "facts"
    summary: ClassVar[str] = (
        "learning facts: documents against questions, one wording against several, and what is forgotten"
        " meanwhile"
    )
    curves: ClassVar[dict[str, str]] = {
        "answering": "questions about newcomers right (share)",
        "stating": "statements about newcomers right (share)",
        "inverse": "newcomers, inverse questions (share right)",
        "people": "people known before (share right)",
        "sums": "two-digit sums right (share)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4),
        values=dict(batch=(2,)),
        under=dict(mixed=dict(replay=0.5)),
        small=dict(HELD=16),
    )

    texts: str = knob(
        "documents",
        choices=TEXTS,
        help="what is read about the newcomers: documents, questions with answers, or half and half",
    )
    forms: int = knob(
        5, 1, 20, help="documents a person, or wordings a question: with 1 every reading is the same text"
    )
    people: int = knob(120, 20, 200, help="newcomers")
    replay: float = knob(0.3, 0.0, 0.9, unit="share", help="share of each batch that is general text")
    mixed: str = knob(
        "general",
        choices=MIXED,
        help="the replayed text: as in pretraining, or without its questions about people known before",
    )
    lr: float = knobs.lr(2e-3, low=1e-5)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(150)
    batch: int = knob(16, 2, 128, unit="rows", help="rows of 128 tokens a step")
    probe: int = knobs.probe(30)

    def documents(self, seed: int, step: int):
        """Endless texts about newcomers for one step."""
        newcomers = Newcomers(self.people)
        for i in count():
            r = rng("facts", seed, step, i)
            asked = self.texts == "questions" or (self.texts == "both" and i % 2 == 1)
            yield newcomers.quiz(r, self.forms) if asked else newcomers.portrait(r, self.forms)

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """Rows of one step, packed: texts about newcomers, and the replay share of general text."""
        end, old = document_end(tok), min(round(self.replay * self.batch), self.batch - 1)
        general = corpora.general(
            seed + 1, start=step * 1000, shares=None if self.mixed == "general" else QUIET
        )
        parts = [(self.documents(seed, step), self.batch - old), (general, old)]
        packed = [
            next(pack.pack(pack.encode_documents(tok, texts, end, chunk=16), rows=rows, length=LENGTH))
            for texts, rows in parts
            if rows
        ]
        return concatenate(packed)

    def prober(self, model, tok):
        """A newcomer's held-out wording was never seen with that newcomer."""
        newcomers, census, sums = Newcomers(self.people), Census(), Sums(("add",))
        general = corpora.general(0, split="test")

        def asked(world, **kind):
            return probes.batches(probes.question_rows(tok, world, world.problems(HELD, seed=7, **kind)))

        sets = {
            "answering": asked(newcomers),
            "stating": probes.batches(probes.cloze_rows(tok, statements(newcomers)[:HELD])),
            "inverse": asked(newcomers, kind="inverse"),
            "two_hop": asked(newcomers, kind="two_hop"),
            "people": asked(census),
            "sums": asked(sums),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(96)]),
        }
        return lambda step: probes.read(model, sets)


def statements(census: Census) -> list[tuple[str, str]]:
    """(statement up to its value, the value) for every fact and held-out wording that ends in its value, in a
    shuffled order.

    A wording that is the end of another one is left out: it may have been read inside that one.
    """
    found = [
        (form.removesuffix(" {v}.").format(n=p.name), f" {getattr(p, key)}.")
        for p in census.people.values()
        for key, forms in STATEMENTS.items()
        for form in forms
        if form.endswith(" {v}.")
        and side("census", p.name, key, form) == "test"
        and not any(other.endswith(f" {form}") for other in forms)
    ]
    rng("statements", census.seed).shuffle(found)
    return found
