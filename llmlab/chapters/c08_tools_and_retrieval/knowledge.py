"""knowledge: the same facts by continued pretraining, by retrieval, or by both: told, asked otherwise, asked
the other way round, changed, withdrawn; and what a query costs.
"""

from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import imitation
from ...retrieval.chunks import Chunk
from ...retrieval.retriever import Retriever
from ...tokens import chat, pack
from ...tokens.batch import Batch
from ...tokens.special import document_end
from ...train import loop, probes
from ...train.recipe import Read, Recipe, numbered
from ...world import corpora
from ...world.base import Problem, ask, rng, same, say
from ...world.census import INVERSE
from ...world.leaflets import ABSENT, QUESTIONS, SUBJECTS, Reading, passage
from ...world.shelf import Edition
from ...world.talk import Talk
from .rag import Found, Reader, is_right, refuses, value_of

WAYS = ("cpt", "retrieval", "both")
LENGTH = 257  # tokens a row
BACKWARDS = {"drug": "Whose code is {code}?", "person": INVERSE[1]}  # each has one answer
KNOWN, OTHERS = Talk(("fact",)), Reading(4, longest=2)  # skills of before
REPLAYED = {None: 0.15, KNOWN: 0.6, Reading(2, absent=0.1): 0.1, OTHERS: 0.15}  # None: general text
TAUGHT, HELD_OUT = slice(-1), slice(-1, None)  # wordings of a question: that training shows, and never shows
YEAR = 2020  # of a rendering; none of them shows it


@dataclass(frozen=True)
class Knowledge(Experiment):
    """A shelf that the reader has never read. After `steps` some names get a new edition and some are
    withdrawn: retrieval replaces and deletes documents at once, a trained model reads on for `update` steps.

    recall      names that stay as they are, asked in wordings that training shows
    paraphrase  the same in a wording that training never shows
    inverse     the name is asked for; inverse_found: its leaflet is among those shown
    updated     the new value is told; old: the old one, which is right before the change
    leak        a fact that is withdrawn, or will be, is told; refused: 'not in the documents' is said of it
    kept        mean of `people` (known before) and `reading` (four passages about others)
    """

    name: ClassVar[str] = "knowledge"
    summary: ClassVar[str] = "continued pretraining, retrieval or both on the same facts; update and removal"
    default_model: ClassVar[str] = "reader"
    curves: ClassVar[dict[str, str]] = {
        "recall": "asked as in training, right (share)",
        "paraphrase": "asked in other words, right (share)",
        "inverse": "the name is asked for, right (share)",
        "inverse_found": "the name's leaflet is shown (share)",
        "updated": "the new value is told (share)",
        "old": "the old value is told (share)",
        "leak": "a withdrawn fact is told (share)",
        "kept": "skills of before, right (share)",
        "query_tokens": "prompt and answer of a query (tokens)",
    }
    front: ClassVar[tuple[str, ...]] = ("way", "replay", "focus")
    presets: ClassVar[dict[str, dict]] = {
        "trained in": {},
        "retrieved": dict(way="retrieval"),
        "both": dict(way="both"),
        "no replay (break it)": dict(replay=0.0),
        "documents only": dict(questions=0.0),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=2, update=4, warmup=1, probe=3, batch=6, held=8, drugs=8, people=4),
        values=dict(update=(6,), batch=(4,), held=(6,), shown=(1,), drugs=(6,), people=(3,)),
        under=dict(shown=dict(way="retrieval"), update=dict(steps=1, warmup=0)),
        phases=[dict(way="retrieval", shown=3), dict(way="both", focus=1.0)],
    )

    way: str = knob("cpt", choices=WAYS, help="train on the leaflets, show those that are found, or both")
    replay: float = knob(0.6, 0.0, 0.9, unit="share", help="training texts that are of before: talk, reading")
    questions: float = knob(0.5, 0.0, 1.0, unit="share", help="new training texts that ask and answer")
    renderings: int = knob(8, 1, 50, help="documents a name: with 1 every reading is the same text")
    changed: float = knob(0.25, 0.05, 0.4, unit="share", help="names that get a new edition")
    withdrawn: float = knob(0.25, 0.05, 0.4, unit="share", help="names whose documents are withdrawn")
    focus: float = knob(0.5, 0.0, 1.0, unit="share", help="new texts after it about changed names only")
    shown: int = knob(2, 1, 8, unit="leaflets", help="retrieval, both: leaflets in front of a question")
    drugs: int = knob(8, 3, 1500, help="drugs with a leaflet")
    people: int = knob(8, 2, 200, help="people with a leaflet")
    lr: float = knobs.lr(1.5e-3, low=1e-5)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(120, low=1)
    update: int = knob(40, 1, 1000, unit="steps", help="optimiser steps after the change")
    batch: int = knob(24, 2, 128, unit="texts", help="documents, questions and conversations a step")
    held: int = knobs.held(32, low=4)
    probe: int = knobs.probe(40)

    def editions(self, seed: int) -> tuple[Edition, Edition]:
        """The shelf before and after the change: the same shares of drugs and of people, nobody twice."""
        before, changed, gone = Edition(self.drugs, self.people), [], []
        for subject in SUBJECTS:
            names = [n for n, (s, _) in before.facts.items() if s == subject]
            rng("change", seed, subject).shuffle(names)
            changed += names[: max(1, round(self.changed * len(names)))]
            gone += names[-max(1, round(self.withdrawn * len(names))) :]
        return before, replace(before, changed=tuple(changed), withdrawn=tuple(gone))

    def text(self, r, days: tuple[Edition, Edition], step: int) -> str | Problem:
        """One thing to learn at a step: a rendering of a leaflet of that day, or a question about it."""
        today, new = days[step >= self.steps], step >= self.steps and r.random() < self.focus
        about = r.choice(today.changed if new else list(today.facts))
        subject, facts = today.facts[about]
        if r.random() < self.questions:
            field = r.choice(list(facts))
            return posed(r.choice(QUESTIONS[subject][field][TAUGHT]), about, facts[field])
        own = rng("rendering", about, tuple(facts.values()), r.randrange(self.renderings))
        return passage(own, subject, about, facts, YEAR).text

    def batch_at(self, tok, days: tuple[Edition, Edition], seed: int, step: int) -> Batch:
        """The texts of one step, packed; attention stays inside each."""
        rows = []
        for r in (rng("knowledge", seed, step, i) for i in range(self.batch)):
            found = replayed(r) if r.random() < self.replay else self.text(r, days, step)
            if isinstance(found, Problem):
                rows.append(chat.example(tok, found.messages, found.meta["said"]))
            else:
                (ids,) = pack.encode_documents(tok, [found], document_end(tok))
                rows.append((ids, [1] * len(ids)))
        return pack.pack_examples(rows, length=LENGTH, fill=tok.pad_token_id)

    def rate(self, step: int) -> float:
        """Two schedules that rise and fall to a tenth, one behind the other; the second has half the peak."""
        if step < self.steps:
            return self.lr * loop.rate(step, self.steps, self.warmup, 0.1)
        return self.lr / 2 * loop.rate(step - self.steps, self.update, self.warmup, 0.1)

    def recipe(self, loaded, seed, texts=None):
        """Next token on the leaflets of the day and on what was known before."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        stream = numbered(partial(self.batch_at, tok, self.editions(seed), seed), model.device)
        probe, steps = Read(self.prober(model, tok, seed)), self.steps + self.update
        return Recipe(model, stream, imitation.nll, probe, steps, self.rate, every=self.probe, final=1.0)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """Training; or, for retrieval, one reading of each day, at the steps at which training is read."""
        if self.way != "retrieval":
            yield from super().rows(loaded, seed, checkpoint, texts)
            return
        self.address(loaded)
        read, end = self.prober(loaded.model, loaded.tok, seed), self.steps + self.update
        days = [read(0), read(end)]
        for step in sorted({*range(0, end, self.probe), end}):
            yield {"step": step} | days[step > self.steps]

    def asked(self, seed: int) -> dict[str, list[Problem]]:
        """What a reading asks, by its name, with the answers of before the change; `now` is that of after."""
        before, after = self.editions(seed)
        stay = [n for n in before.facts if n not in (*after.changed, *after.withdrawn)]

        def some(names, wordings: slice) -> list[Problem]:
            """At most `held` questions about these names in these wordings, drawn from the seed."""
            every = [
                posed(w, n, v, field=f, now=after.facts[n][1][f] if n in after.facts else ABSENT)
                for n in names
                for f, v in before.facts[n][1].items()
                for w in QUESTIONS[before.facts[n][0]][f][wordings]
                if f != "class"  # a drug's name tells it
            ]
            return rng("asked", seed, len(every)).sample(every, min(self.held, len(every)))

        inverse = [posed(BACKWARDS[s].format(**told), n, n) for n in stay for s, told in [before.facts[n]]]
        taught = {"recall": stay, "old": after.changed, "leak": after.withdrawn}
        return {
            **{kind: some(names, TAUGHT) for kind, names in taught.items()},
            "paraphrase": some(stay, HELD_OUT),
            "inverse": inverse[: self.held],
        }

    def prober(self, model, tok, seed: int):
        """Every question to the model as it is, behind the leaflets of the day where there is retrieval."""
        asked, days = self.asked(seed), [Library(model, tok, e) for e in self.editions(seed)]
        people = probes.question_rows(tok, KNOWN, KNOWN.problems(self.held, seed=7))
        reading = probes.question_rows(tok, OTHERS, OTHERS.problems(self.held, seed=7))
        sets = {"people": probes.batches(people), "reading": probes.batches(reading)}

        def probe(step: int) -> dict[str, float]:
            """The readings after a step."""
            library = days[step > self.steps]
            found = {k: library.find(ps, 0 if self.way == "cpt" else self.shown) for k, ps in asked.items()}
            said = {k: library.reader.answers(ps, found[k]) for k, ps in asked.items()}
            names = [{f.leaflet.told.name for f in fs} for fs in found["inverse"]]
            kept = probes.read(model, sets)
            return {
                **{k: fmean(map(is_right, said[k], ps)) for k, ps in asked.items()},
                "inverse_found": fmean(p.answer in n for p, n in zip(asked["inverse"], names)),
                "updated": fmean(same(value_of(a), p.meta["now"]) for a, p in zip(said["old"], asked["old"])),
                "refused": fmean(map(refuses, said["leak"])),
                "kept": fmean(kept.values()),
                "query_tokens": fmean(map(library.tokens, asked["recall"], found["recall"], said["recall"])),
                **kept,
            }

        return probe


class Library:
    """The leaflets of a day, each a chunk of its own, and the model that reads them."""

    def __init__(self, model, tok, edition: Edition):
        self.every = [Found(Chunk(x.source, 1, x.text), x) for x in edition.leaflets]
        self.reader = Reader(model, tok, self.every, False)
        self.best = Retriever("bm25", [f.text(False) for f in self.every])

    def find(self, asked: list[Problem], k: int) -> list[list[Found]]:
        """The k best leaflets for each question."""
        return [[self.every[i] for i in self.best(p.question, k)] if k else [] for p in asked]

    def tokens(self, p: Problem, found: list[Found], answer: str) -> int:
        """Tokens of a query: the prompt, and the answer with its stop."""
        tok = self.reader.tok
        return len(self.reader.prompt(p, found)) + len(tok.tokenize(answer)) + 1


def posed(wording: str, about: str, value: str, **more) -> Problem:
    """A question with its answer; more: what else is known of it."""
    messages, meta = ask(wording.format(n=about), said=say(f"{value}."), **more)
    return Problem(messages, value, meta)


def replayed(r) -> str | Problem:
    """Something of before: a general text, a known person, passages about others."""
    world, found = r.choices(list(REPLAYED), list(REPLAYED.values()))[0], None
    if world is None:
        return corpora.general_document(r)
    while found is None:
        found = world.problem(r, "train")
    return Problem(found.messages, found.answer, {"said": world.solution(found)})
