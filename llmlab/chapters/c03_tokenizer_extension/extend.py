"""extend: new tokens for the domain's words, and what it takes until they are worth more than their
pieces.
"""

from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import imitation
from ...models.forward import forward
from ...tokens import chat, extend, pack
from ...tokens.batch import Batch
from ...tokens.special import document_end
from ...train import probes
from ...train.recipe import Read, Recipe, numbered
from ...world import corpora
from ...world.base import rng
from ...world.census import Census
from ...world.formulary import Formulary
from ..c02_continued_pretraining.cpt import Texts

LENGTH = 129  # tokens a row: 128 predictions
# a form of the general corpus: read a name, then give it back
COPY = "The label of Mekax is {}. Mekax has the price 47.\nQuestion: What is the label of Mekax?\nAnswer:"


@dataclass(frozen=True)
class Extend(Experiment):
    """Give drug names tokens of their own, then go on pretraining."""

    name: ClassVar[str] = "extend"
    takes_texts: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "tokenizer extension: own tokens for the domain's words, their first values, and how they learn"
    )
    presets: ClassVar[dict[str, dict]] = {
        "a first phase": {},
        "no first phase (break it)": {"warmup": 0},
        "random rows": {"init": "random"},
        "small rows, no first phase": {"init": "small", "warmup": 0},
    }
    curves: ClassVar[dict[str, str]] = {
        "domain_loss": "loss on domain text (nats per character)",
        "term_loss": "loss on words worth a token (nats per word)",
        "domain_recall": "domain facts recalled (share)",
        "copying": "names copied from the context (share)",
        "general_loss": "loss on general text (nats per token)",
        "leak": "new tokens in general text (probability)",
        "norm": "norm of new rows / old rows (ratio)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=4, probe=5, batch=4),
        values=dict(batch=(2,), tokens=(0,)),
        under=dict(oversample=dict(batch=8)),
    )

    tokens: int = knob(
        24,
        0,
        2000,
        unit="tokens",
        help="words that get their own token, those that save most first; 0: the old tokenizer",
    )
    init: str = knob(
        "pieces",
        choices=extend.INITS,
        help="first value of a new row: mean of its pieces' rows, mean of all rows, random, small norm",
    )
    warmup: int = knob(20, 0, 200, unit="steps", help="first steps, in which only the new rows learn")
    row_lr: float = knob(5e-2, 1e-5, 2e-1, scale="log", help="learning rate of the new rows in those steps")
    oversample: float = knob(
        4.0, 1.0, 20.0, help="how many times as often documents with new tokens come in those steps"
    )
    lr: float = knob(2e-3, 1e-5, 1e-2, scale="log", help="peak learning rate of AdamW afterwards")
    replay: float = knob(0.2, 0.0, 0.9, unit="share", help="share of documents that are general text")
    drugs: int = knob(24, 12, 1500, help="drugs in the domain")
    steps: int = knob(150, 10, 5000, unit="steps", help="optimiser steps in all")
    batch: int = knob(16, 2, 128, unit="rows", help="rows of 128 tokens a step")
    probe: int = knobs.probe(10)

    own = staticmethod(Texts.read)

    def document(self, r, step: int, i: int, seed: int, texts) -> str:
        """A domain document: a monograph, or one of the user's."""
        if texts is None:
            return corpora.domain_document(Formulary(self.drugs), seed, step * 1000 + i)
        return r.choice(texts.train[r.choice(list(texts.train))])

    def documents(self, seed: int, step: int, words: list[str], texts):
        """Endless documents of one step, general ones with the replay share; in the first phase those with a
        new token are oversampled.
        """
        general = corpora.general(seed + 1, start=step * 1000)
        for i in count():
            r = rng("extend", seed, step, i)
            text = self.document(r, step, i, seed, texts)
            often = self.oversample if step < self.warmup and any(f" {w}" in text for w in words) else 1.0
            yield (
                text
                if r.random() < (1 - self.replay) * often / ((1 - self.replay) * often + self.replay)
                else next(general)
            )

    def batch_at(self, tok, seed: int, step: int, words: list[str], texts) -> Batch:
        """Packed rows of one step; a function of its arguments."""
        end = document_end(tok)
        documents = pack.encode_documents(tok, self.documents(seed, step, words, texts), end, chunk=16)
        return next(pack.pack(documents, rows=self.batch, length=LENGTH, fill=end))

    def terms(self, tok, texts) -> list[str]:
        """Words worth a token, best first: the drugs' names, or what saves most tokens in the user's
        texts.
        """
        documents = [self.document(rng("terms", i), 0, i, 0, texts) for i in range(400)]
        named = Formulary(self.drugs).drugs if texts is None else None
        ranked = [w for w, _ in extend.shortlist(tok, documents, 4000)]
        return [w for w in ranked if named is None or w in named]

    def recipe(self, loaded, seed, texts=None):
        """New tokens first; while they warm up only their rows learn."""
        model, tok = loaded.model, loaded.tok
        terms = self.terms(tok, texts)
        words = terms[: self.tokens]
        new = extend.add_words(model, tok, words, self.init, torch.Generator().manual_seed(seed)).to(
            model.device
        )
        phase = FirstPhase(model, new)

        def batch_at(step):
            phase.on = step < self.warmup and len(new) > 0
            return self.batch_at(tok, seed, step, words, texts)

        return Recipe(
            model,
            numbered(batch_at, model.device),
            imitation.nll,
            Read(partial(read, model, self.prepare(tok, terms[:32], texts), new)),
            self.steps,
            lambda step: self.row_lr if step < self.warmup and len(new) else self.lr,
            every=self.probe,
        )

    def prepare(self, tok, terms: list[str], texts) -> dict:
        """The probes' rows with the number of characters or names that they stand for; the same texts for
        every knob.
        """
        formulary = Formulary(self.drugs)
        if texts is None:
            held = [corpora.domain_document(formulary, 0, i, split="test") for i in range(64)]
            recall = {"domain_recall": probes.batches(probes.cloze_rows(tok, formulary.clozes(128, seed=7)))}
        else:
            held, recall = [p for pieces in texts.test.values() for p in pieces[:32]], {}
        named = [
            (text, m) for text in held for m in extend.WORD.finditer(text) if m[0] in terms and m.start()
        ]
        general = corpora.general(0, split="test")
        return {
            "domain_loss": (probes.text_rows(tok, held, cut=10**6), sum(map(len, held))),
            "term_loss": (
                probes.batches(
                    [chat.continuation(tok, t[: m.start() - 1], t[m.start() - 1 : m.end()]) for t, m in named]
                ),
                len(named),
            ),
            "copying": probes.batches([chat.continuation(tok, COPY.format(t), f" {t}.") for t in terms]),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(48)]),
            "general_recall": probes.batches(
                probes.question_rows(tok, Census(), Census().problems(128, seed=7))
            ),
            **recall,
        }


class FirstPhase:
    """While `on`, the gradient of everything but the new rows is zero, so that only they learn (AdamW leaves
    what has no gradient alone).
    """

    def __init__(self, model, new):
        self.on, matrices = (
            False,
            {id(m.weight) for m in (model.get_input_embeddings(), model.get_output_embeddings())},
        )
        for p in model.parameters():
            p.register_hook(
                lambda grad, rows=id(p) in matrices: self._only(grad, new, rows) if self.on else grad
            )

    @staticmethod
    def _only(grad, new, rows: bool):
        kept = torch.zeros_like(grad)
        if rows:
            kept[new] = grad[new]
        return kept


def read(model, sets: dict, new, step: int) -> dict[str, float]:
    """All figures. Losses over domain text are summed and divided by characters or names: tokens differ
    between tokenizers.
    """
    row = {name: total_nats(model, s[0]) / max(1, s[1]) for name, s in sets.items() if isinstance(s, tuple)}
    row |= probes.read(model, {name: s for name, s in sets.items() if not isinstance(s, tuple)})
    weight = model.get_input_embeddings().weight.detach()
    norms, fresh = weight.norm(dim=1), torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
    fresh[new] = True
    ratio = float(norms[fresh].mean() / norms[~fresh].mean()) if len(new) else 0.0
    return row | {"leak": leak(model, sets["general_loss"], new), "norm": ratio}


@torch.no_grad()
def total_nats(model, prepared: list[Batch]) -> float:
    """Negative log-likelihood of all masked tokens together."""
    model.eval()
    outs = (forward(model, b.to(model.device)) for b in prepared)
    return -float(sum((out.logprobs * out.mask).sum() for out in outs))


@torch.no_grad()
def leak(model, prepared: list[Batch], new) -> float:
    """Mean probability of all new tokens together where general text goes on."""
    model.eval()
    outs = [forward(model, b.to(model.device)) for b in prepared]
    return float(
        sum((o.logits.softmax(-1)[..., new].sum(-1) * o.mask).sum() for o in outs)
        / sum(o.mask.sum() for o in outs)
    )
