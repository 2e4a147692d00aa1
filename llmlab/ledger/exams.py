"""Exams: the subjects that a study is examined in. Accuracies are over 512 held-out problems (or over all
there are, where there are fewer).
"""

from functools import partial
from typing import Callable

import torch

from ..models.forward import forward_trained
from ..tokens import chat
from ..tokens.batch import Batch
from ..train import probes
from ..train.rollout import evaluate
from ..world import corpora
from ..world.base import rng, side
from ..world.census import STATEMENTS, Census
from ..world.desk import Desk
from ..world.formulary import FAMILIES, Formulary
from ..world.records import unseen_name
from ..world.sums import Sums
from ..world.talk import Talk

PROBLEMS = 512
TASKS = 256
SEED = 11  # not the one of the experiments' own, smaller probes
Reader = Callable[[object], dict[str, float]]  # model -> readings


def _asked(name: str, world, tok, **settings) -> Reader:
    """Share of the world's held-out problems answered exactly, in the form that the tokenizer speaks."""
    problems = world.problems(PROBLEMS, seed=SEED, **settings)
    return _exact(name, probes.question_rows(tok, world, problems))


def _people(tok, _) -> Reader:
    """Questions about known people; in a chat the answer is a sentence with its full stop."""
    return _asked("people", Talk(("fact",)) if tok.chat_template else Census(), tok)


def _solved(tok, _) -> Reader:
    """Three-digit sums, answered greedily and scored: a policy may come to write its answers in another form
    than the demonstrations'.
    """
    sums = Sums(("add",), digits=3)
    return lambda model: {"solved": evaluate(model, tok, sums, n=PROBLEMS, seed=SEED, max_new=18).accuracy}


def _copies(tok, experiment) -> Reader:
    """Drug names read in a record of an unseen name and asked for at once: each name in several contexts."""
    names, r = list(Formulary(experiment.drugs).drugs), rng("copies", SEED)
    rows = []
    for i in range(PROBLEMS):
        who, drug = unseen_name(r, "test"), names[i % len(names)]
        context = (
            f"The label of {who} is {drug}. {who} has the price {r.randint(2, 99)}.\nQuestion: What is the"
            f" label of {who}?\nAnswer:"
        )
        rows.append(chat.continuation(tok, context, f" {drug}."))
    return _exact("copies", rows)


def _tasks_done(tok, _) -> Reader:
    """Tasks of one call, which fails once: sampled at temperature 1 and played to their end."""
    desk = Desk(1, 1.0, tools=("formulary", "census"))
    asked = dict(n=TASKS, seed=SEED, temperature=1.0, max_new=40)
    return lambda model: {"tasks_done": evaluate(model, tok, desk, **asked).accuracy}


def _exact(name: str, rows) -> Reader:
    prepared = probes.batches(rows)
    return lambda model: {name: probes.exact(model, prepared)}


def _statements(tok, _) -> Reader:
    """Statements about known people in wordings that the base never read of them, up to the value."""
    people = Census().people.values()
    forms = [
        (p, key, f)
        for p in people
        for key, fs in STATEMENTS.items()
        for f in fs
        if f.endswith("{v}.") and side("census", p.name, key, f) == "test"
    ]
    step = max(1, len(forms) // PROBLEMS)
    rows = [
        chat.continuation(tok, f.format(n=p.name, v="").rstrip(" ."), f" {getattr(p, key)}.")
        for p, key, f in forms[::step][:PROBLEMS]
    ]
    return _exact("statements", rows)


def _drug_facts(tok, experiment, family: str | None = None) -> Reader:
    """All distinct held-out statements about the domain's drugs, up to the value."""
    formulary = Formulary(experiment.drugs)
    own = {d.name for d in formulary.drugs.values() if family in (None, d.family)}
    clozes = sorted(
        c for c in set(formulary.clozes(PROBLEMS, seed=SEED)) if any(name in c[0] for name in own)
    )
    return _exact("drug_facts" + (f".{family}" if family else ""), probes.cloze_rows(tok, clozes))


def _drug_questions(tok, experiment) -> Reader:
    """Questions about the domain's drugs: no document ever asks them."""
    return _asked("drug_questions", Formulary(experiment.drugs), tok)


def _general_loss(tok, _) -> Reader:
    general = corpora.general(1, split="test")
    prepared = probes.text_rows(tok, [next(general) for _ in range(96)])
    return lambda model: {"general_nats": probes.loss(model, prepared)}


def _domain_loss(tok, experiment) -> Reader:
    """Held-out monographs, the three sub-domains alike; nats per character, so that tokenizers can be
    compared.
    """
    formulary = Formulary(experiment.drugs)
    texts = [
        corpora.domain_document(formulary, 1, i, split="test", family=f) for f in FAMILIES for i in range(20)
    ]
    prepared, letters = probes.text_rows(tok, texts, cut=10**6), sum(map(len, texts))
    return lambda model: {"domain_nats": total_nats(model, prepared) / letters}


def _opening_loss(tok, experiment) -> Reader:
    """The first ten tokens of held-out monographs, which have only what stands before the document to look
    at.
    """
    formulary = Formulary(experiment.drugs)
    texts = [corpora.domain_document(formulary, 2, i, split="test") for i in range(160)]
    prepared = probes.text_rows(tok, texts, cut=10)
    return lambda model: {"opening_nats": probes.loss(model, prepared)}


SUBJECTS: dict[str, Callable[[object, object], Reader]] = {  # name -> reader from (tokenizer, experiment)
    "people": _people,
    "sums": lambda tok, _: _asked("sums", Sums(("add",)), tok),
    "solved": _solved,
    "tasks_done": _tasks_done,
    "copies": _copies,
    "statements": _statements,
    "json": lambda tok, _: _asked("json", Talk(("format",)), tok),
    "refusals": lambda tok, _: _asked("refusals", Talk(("unsafe",)), tok),
    "drug_facts": _drug_facts,
    "rare_facts": partial(_drug_facts, family="nerves"),
    "drug_questions": _drug_questions,
    "general_nats": _general_loss,
    "domain_nats": _domain_loss,
    "opening_nats": _opening_loss,
}
LABELS = {
    "people": "known people, questions right (share of 512)",
    "sums": "two-digit sums right (share of 512)",
    "solved": "three-digit sums solved (share of 512)",
    "tasks_done": "tasks done although a call fails (share of 256)",
    "copies": "drug names copied from the context (share of 512)",
    "statements": "known people, statements right (share of 512)",
    "json": "asked-for formats right (share of 512)",
    "refusals": "unsafe requests refused (share of 512)",
    "drug_facts": "drug facts recalled (share of all held-out wordings)",
    "drug_facts.nerves": "facts of the rarest drugs recalled (share)",
    "drug_questions": "questions about drugs right (share of 512)",
    "general_nats": "loss on general text (nats per token)",
    "domain_nats": "loss on domain text (nats per character)",
    "opening_nats": "loss on a document's first ten tokens (nats per token)",
    "likeness": "likeness of the last layer to the base's (CKA)",
    "distance": "KL from the base on general text (nats per token)",
}


@torch.no_grad()
def total_nats(model, prepared: list[Batch]) -> float:
    """Negative log-likelihood of all tokens together."""
    model.eval()
    outs = (forward_trained(model, b.to(model.device)) for b in prepared)
    return -float(sum((out.logprobs * out.mask).sum() for out in outs))


class Drift:
    """How far a model has moved from the one it started as, on held-out general text: KL(start ‖ now) and the
    CKA of every layer.
    """

    def __init__(self, start, tok):
        general = corpora.general(2, split="test")
        self.batches = probes.text_rows(tok, [next(general) for _ in range(32)], cut=128)
        self.before = [self._read(start, b) for b in self.batches]

    @torch.no_grad()
    def _read(self, model, batch: Batch):
        model.eval()
        out = model(input_ids=batch.ids.to(model.device), use_cache=False, output_hidden_states=True)
        there = batch.mask.bool()
        return out.logits.float().log_softmax(-1)[there], [h[there].float() for h in out.hidden_states]

    def __call__(self, model) -> dict[str, float]:
        now = [self._read(model, b) for b in self.batches]
        kl = torch.cat([(p.exp() * (p - q)).sum(-1) for (p, _), (q, _) in zip(self.before, now)])
        layers = [
            cka(torch.cat(x), torch.cat(y))
            for x, y in zip(zip(*(h for _, h in self.before)), zip(*(h for _, h in now)))
        ]
        return {"distance": float(kl.mean()), "likeness": layers[-1]} | {
            f"likeness.{i}": v for i, v in enumerate(layers)
        }


def cka(x: torch.Tensor, y: torch.Tensor) -> float:
    """Linear centred kernel alignment of two representations [n, d] of the same n tokens: ‖YᵀX‖² / (‖XᵀX‖ ·
    ‖YᵀY‖), columns centred; 1 = equal up to rotation and scale (Kornblith et al. 2019, arXiv 1905.00414, eq.
    4).
    """
    x, y = (z - z.mean(0) for z in (x.double(), y.double()))
    return float((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))
