"""cpt: continued pretraining on a new domain, with replay of the old one, and all its classic faults and
cures.
"""

import math
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods import imitation
from ...models.frozen import frozen_copy
from ...tokens import pack
from ...tokens.batch import Batch, concatenate
from ...tokens.example import Example
from ...tokens.special import document_end
from ...train import loop, probes
from ...train.gate import Gate
from ...train.recipe import Probe, Recipe, numbered
from ...world import corpora
from ...world.base import rng, side
from ...world.census import Census
from ...lab.documents import Documents, NoText
from ...world.formulary import Formulary
from ...world.sums import Sums

SHARES = {
    "heart": 0.6,
    "germs": 0.3,
    "nerves": 0.1,
}  # a corpus as one finds it: sub-domains of very unequal size
LENGTH = 129  # tokens a row: 128 predictions


@dataclass(frozen=True)
class Texts:
    """The user's documents by sub-domain (train and held out), in place of the drug monographs."""

    train: dict[str, list[str]]
    test: dict[str, list[str]]

    @classmethod
    def read(cls, domain, skip_bad=False, on_found=lambda told: None) -> "Texts":
        """The user's texts by sub-folder, or those that every Python has."""
        if domain == "python":
            return cls.cut(corpora.python_texts())
        found = Documents(domain, skip_bad)
        on_found(found.told())
        return cls.cut(found.by_domain)

    @classmethod
    def cut(cls, by_domain: dict[str, list[str]], words: int = 90) -> "Texts":
        """Documents in pieces of about `words` words; a fifth of the pieces, chosen by checksum, is held out
        (so copies stay on one side).
        """
        pieces = {
            d: [
                " ".join(w[i : i + words]) if len(w) > words else t
                for t in texts
                for w in [t.split(" ")]
                for i in range(0, len(w), words)
            ]
            for d, texts in by_domain.items()
        }
        parts = {
            which: {d: [p for p in ps if side("text", p) == which] for d, ps in pieces.items()}
            for which in ("train", "test")
        }
        if not all(
            ps for part in parts.values() for ps in part.values()
        ):  # too few pieces for the checksum: every fifth is held out
            parts = {
                "test": {d: ps[::5] for d, ps in pieces.items()},
                "train": {d: [p for i, p in enumerate(ps) if i % 5] for d, ps in pieces.items()},
            }
        short = [d for d, ps in parts["train"].items() if not ps]
        if short:
            raise NoText(
                f"'{short[0]}' holds less than two pieces of about {words} words, so nothing can be held out;"
                " add text"
            )
        return cls(**parts)


@dataclass(frozen=True)
class CPT(Experiment):
    """Read drug monographs (or your own documents) and watch what is learnt and what is forgotten."""

    name: ClassVar[str] = "cpt"
    takes_texts: ClassVar[bool] = True
    summary: ClassVar[str] = "continued pretraining: learn a domain, forget the rest, and cure it with replay"
    presets: ClassVar[dict[str, dict]] = {
        "no replay (break it)": {"replay": 0.0},
        "20 % replay (fix it)": {},
        "half of it replay": {"replay": 0.5},
        "too hot": {"replay": 0.0, "lr": 0.005, "warmup": 0},
        "gentle": {"lr": 0.0005},
        "with a gate": {"replay": 0.0, "lr": 0.005, "gate": 20},
    }
    front: ClassVar[tuple[str, ...]] = ("replay", "lr", "gate")
    curves: ClassVar[dict[str, str]] = {
        "domain_loss": "loss on domain text (nats per token)",
        "domain_recall": "domain facts recalled (share)",
        "general_loss": "loss on general text (nats per token)",
        "general_recall": "known people recalled (share)",
        "arithmetic": "two-digit sums right (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4),
        values=dict(batch=(2,), gate=(2,), drugs=(12,), tolerance=(0.5,), fresh=(2,)),
        under=dict(
            anneal=dict(replay=0.5),
            gate=dict(probe=1, replay=0.0, lr=1e-2),
            tolerance=dict(probe=1, gate=1, replay=0.0, lr=3e-3),
        ),
        phases=[
            dict(gate=4, probe=2, lr=1e-2, replay=0.0),
            dict(mixing="adaptive", anneal=1.0, replay=0.5),
            dict(mixing="adaptive", gate=4, probe=2, lr=1e-2, replay=0.0),
            dict(kl_coef=0.5, packing="reset", duplicates=0.5, noise=0.5, boilerplate=0.5),
        ],
    )

    replay: float = knob(0.2, 0.0, 0.9, unit="share", help="share of each batch that is general text")
    lr: float = knobs.lr(2e-3, low=1e-5)
    warmup: int = knobs.warmup(20)
    steps: int = knobs.steps(150)
    batch: int = knob(16, 2, 128, unit="rows", help="rows of 128 tokens a step")
    packing: str = knob(
        "plain",
        choices=pack.HOW,
        help="none: a document a row; plain: one stream; reset: attention stays inside the document",
    )
    drugs: int = knob(24, 12, 1500, help="drugs in the domain: fewer are read more often each")
    fresh: int = knob(
        0,
        0,
        5000,
        unit="steps",
        help="steps of new domain documents, which are then read again; 0: all are new",
        late=True,
    )
    duplicates: float = knob(
        0.0, 0.0, 0.9, unit="share", help="share of domain documents that copy one of ten"
    )
    noise: float = knob(0.0, 0.0, 1.0, unit="share", help="share of domain documents with a wrong fact")
    boilerplate: float = knob(
        0.0, 0.0, 0.9, unit="share", help="share of domain documents that are page furniture"
    )
    anneal: float = knob(
        0.0, 0.0, 1.0, help="0: constant replay; 1: from twice the replay down to none, at the same total"
    )
    mixing: str = knob(
        "fixed",
        choices=("fixed", "adaptive"),
        help="fixed: sub-domains as found; adaptive: more of those with a high loss",
    )
    kl_coef: float = knob(0.0, 0.0, 5.0, help="weight of KL(model ‖ base) on the batch")
    gate: int = knob(
        0, 0, 200, unit="steps", help="steps between runs of the regression suite, with rollback; 0: off"
    )
    tolerance: float = knob(
        0.1, 0.01, 0.5, unit="share", help="drop of known people or sums that the gate lets pass"
    )
    probe: int = knobs.probe(10)

    def __post_init__(self):
        super().__post_init__()
        if self.replay * (1 + self.anneal) > 1:
            raise BadKnob(
                f"--replay {self.replay:g} with --anneal {self.anneal:g} starts above 100 %; keep replay × (1"
                " + anneal) at most 1"
            )
        if self.gate % self.probe:
            raise BadKnob(
                f"--gate {self.gate} is not a multiple of --probe {self.probe}; the gate reads the probes"
            )

    own = staticmethod(Texts.read)

    def replay_at(self, step: int, more: float = 0.0) -> float:
        """Share of replay at a step: flat, or falling linearly around the same mean; `more` is what the gate
        added.
        """
        return min(0.95, self.replay * (1 + self.anneal * (1 - 2 * step / self.steps)) + more)

    def documents(self, seed: int, step: int, weights: dict[str, float], texts: Texts | None):
        """Endless domain documents for one step; the sub-domain of each is drawn by its weight."""
        formulary, step = Formulary(self.drugs), step % self.fresh if self.fresh else step
        for i in count():
            r = rng("cpt", seed, step, i)
            family = r.choices(list(weights), list(weights.values()))[0]
            if texts is None:
                yield corpora.domain_document(
                    formulary,
                    seed,
                    step * 1000 + i,
                    family=family,
                    duplicates=self.duplicates,
                    noise=self.noise,
                    boilerplate=self.boilerplate,
                )
            else:
                yield r.choice(texts.train[family])

    def batch_at(
        self, tok, seed: int, step: int, replay: float, weights: dict[str, float], texts: Texts | None
    ) -> Batch:
        """Batch of one step: whole rows of general text for the replay share, domain rows for the rest; a
        function of its arguments.
        """
        end = document_end(tok)
        general_rows = stochastic_round(replay * self.batch, rng("replay", seed, step).random())
        parts = [
            (self.documents(seed, step, weights, texts), self.batch - general_rows),
            (corpora.general(seed + 1, start=step * 1000), general_rows),
        ]
        packed = [
            next(
                pack.pack(
                    pack.encode_documents(tok, docs, end, chunk=16),
                    rows=rows,
                    length=LENGTH,
                    how=self.packing,
                    fill=end,
                )
            )
            for docs, rows in parts
            if rows
        ]
        return concatenate(packed)

    def prepare(self, tok, texts: Texts | None) -> dict[str, list[Batch]]:
        """The probes' rows, encoded once: the same for every seed and knob."""
        packed, sets = partial(probes.text_rows, tok), {}
        if texts is None:
            formulary = Formulary(self.drugs)
            held = {
                f: [corpora.domain_document(formulary, 0, i, split="test", family=f) for i in range(24)]
                for f in SHARES
            }
            sets |= {f"domain_loss.{f}": packed(docs) for f, docs in held.items()}
            sets["domain_recall"] = probes.batches(probes.cloze_rows(tok, formulary.clozes(128, seed=7)))
        else:
            sets |= {f"domain_loss.{d}": packed(pieces[:64]) for d, pieces in texts.test.items()}
        general = corpora.general(0, split="test")
        sets["general_loss"] = packed([next(general) for _ in range(48)])
        sets["general_recall"] = probes.batches(
            probes.question_rows(tok, Census(), Census().problems(128, seed=7))
        )
        sets["arithmetic"] = probes.batches(
            probes.question_rows(tok, Sums(), Sums(("add",)).problems(128, seed=7))
        )
        return sets

    def preview(self, loaded, texts=None):
        """The documents once, in order, as packed rows."""
        end = document_end(loaded.tok)
        pieces = [p for ps in texts.train.values() for p in ps] if texts else self.some(0)
        documents = pack.encode_documents(loaded.tok, pieces, end)
        packed = pack.pack(documents, rows=1, length=LENGTH, how=self.packing, fill=end)
        for i, batch in enumerate(packed, 1):
            yield Example({"row": i}, batch.ids[0].tolist(), [int(m) for m in batch.mask[0]])

    def some(self, seed: int) -> list[str]:
        """Some of the lab's documents."""
        return list(islice(self.documents(seed, 0, dict(SHARES), None), 16))

    def recipe(self, loaded, seed, texts=None):
        """Domain text and replay; adaptive weights, a gate and a reference where asked for."""
        model, tok = loaded.model, loaded.tok
        if self.mixing == "adaptive" and texts is not None and len(texts.train) < 3:
            raise BadKnob(
                f"--mixing adaptive needs at least 3 sub-folders of documents, here are {len(texts.train)};"
                " use --mixing fixed"
            )
        weights = dict(SHARES) if texts is None else {d: float(len(ps)) for d, ps in texts.train.items()}
        probe: Probe = Mixing(model, self.prepare(tok, texts), weights, adaptive=self.mixing == "adaptive")
        opts, gate = loop.optimizers(model, "adamw", self.lr), None
        reference = frozen_copy(model) if self.kl_coef else None
        if self.gate:
            watch = ("general_recall", "arithmetic")
            probe = gate = Gate(model, opts, probe, every=self.gate, watch=watch, tolerance=self.tolerance)

        def batch_at(step):
            replay = self.replay_at(step, gate.more_replay if gate else 0.0)
            batch = self.batch_at(tok, seed, step, replay, weights, texts).to(model.device)
            return loop.add_logits(reference, batch, "ref_logits") if reference else batch

        return Recipe(
            model,
            numbered(batch_at, model.device),
            partial(imitation.nll_kl, beta=self.kl_coef) if self.kl_coef else imitation.nll,
            probe,
            self.steps,
            (lambda step: self.lr * gate.lr_scale) if gate else self.lr,
            every=self.probe,
            warmup=self.warmup,
            opts=opts,
        )


@dataclass
class Mixing(Probe):
    """Reads all sets; adaptive mixing sets the sub-domains' weights (in place) by what it reads."""

    model: object
    sets: dict[str, list[Batch]]
    weights: dict[str, float]
    adaptive: bool

    def __call__(self, step: int) -> dict:
        row = probes.read(self.model, self.sets)
        parts = [v for k, v in row.items() if k.startswith("domain_loss.")]
        row = {"domain_loss": sum(parts) / len(parts)} | row
        self._mix(row)
        return row

    def resume(self, rows: list[dict]) -> None:
        """Take the weights up again from the last reading of an interrupted run."""
        self._mix([r for r in rows if "domain_loss" in r][-1])

    def _mix(self, row: dict) -> None:
        if self.adaptive:
            self.weights.update(reweigh(row, self.weights))


def stochastic_round(x: float, u: float) -> int:
    """x up with the probability of its fraction: 0.2 × 16 rows is 3.2 rows on average."""
    return math.floor(x) + (u < x - math.floor(x))


def reweigh(row: dict, weights: dict[str, float]) -> dict[str, float]:
    """Adaptive mixing: weight ∝ exp(2 · held-out loss) of the sub-domain, never below 5 %."""
    raw = {d: math.exp(2 * row[f"domain_loss.{d}"]) for d in weights}
    total = sum(raw.values())
    return {d: max(0.05, v / total) for d, v in raw.items()}
