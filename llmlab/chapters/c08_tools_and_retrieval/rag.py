"""rag: chunks are found and read, and the two halves are measured separately: was the right chunk found, and
was it read? Nothing is trained but, where it is asked for, the encoder of the retriever.
"""

import copy
from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...retrieval import dense
from ...retrieval.chunks import Chunk, cut
from ...retrieval.rerank import reranked
from ...retrieval.retriever import WAYS, Find, Retriever
from ...tokens import chat
from ...train.rollout import play
from ...train.sample import sample
from ...world.base import Message, Problem, Score, rng, same
from ...world.desk import SYSTEM
from ...world.leaflets import ABSENT, CITE, SEARCH, Reading, marked
from ...world.shelf import Leaflet, Shelf, other

DEPTHS = (1, 2, 4, 8)  # chunks shown
LONGEST = 24  # tokens of an answer
RERANKS = ("off", "likelihood")
ENCODER = dict(steps=60, lr=1e-3)
PAIRS = 24  # a step


@dataclass(frozen=True)
class Found:
    """A chunk with the leaflet that it was cut from."""

    chunk: Chunk
    leaflet: Leaflet

    def says(self, value: str) -> bool:
        """Does it hold the value?"""
        return value in self.chunk.text

    def text(self, header: bool) -> str:
        """What is searched and read: with a header its name, and its text."""
        return f"{self.leaflet.told.name}. " * header + self.chunk.text

    def shown(self, number: int, header: bool) -> str:
        """As the reader sees it: its year, and the number behind every sentence."""
        return f"({self.leaflet.told.year}) {marked(self.text(header), number)}"


@dataclass(frozen=True)
class Rag(Experiment):
    """Questions about a shelf of leaflets that the reader has not read. The steps of this experiment are
    chunks shown: 1, 2, 4, 8; at 0 there is none.

    recall    the chunk that tells it is among those shown
    mrr       mean of 1 / rank of that chunk, 0 where it is not shown: mean reciprocal rank
    gold      answers when that chunk is put there (the first of them): the reader alone
    accuracy  answers from what was found: both halves
    """

    name: ClassVar[str] = "rag"
    summary: ClassVar[str] = (
        "retrieval and reading measured separately: BM25, vectors, both; chunks, headers, old editions"
    )
    default_model: ClassVar[str] = "reader"
    along: ClassVar[str] = "chunks shown"
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "right answers from what was found (share)",
        "recall": "the relevant chunk is found (share)",
        "by_tool": "right answers by a search of its own (share)",
        "gold": "right answers when it is put there (share)",
        "unsupported": "answers that no shown chunk holds (share)",
        "follows": "a changed value is followed (share)",
        "cited": "right and correctly cited (share)",
        "refused": "'not in the documents' (share)",
        "distracted": "answers though nothing tells it (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("retriever", "length", "header")
    presets: ClassVar[dict[str, dict]] = {
        "words": {},
        "untrained vectors": dict(retriever="states"),
        "the same, reranked": dict(retriever="states", rerank="likelihood"),
        "trained vectors": dict(retriever="encoder"),
        "both": dict(retriever="hybrid"),
        "short chunks": dict(length=8, overlap=2),
        "short chunks, named": dict(length=8, overlap=2, header="on"),
        "old editions": dict(stale=0.5),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=2, held=8, drugs=24, people=16, trained=20),
        values=dict(steps=(1,), held=(4,), overlap=(2,), weight=(1.0,), noise=(0,)),
        under=dict(weight=dict(retriever="hybrid"), trained=dict(retriever="encoder"), header=dict(length=8)),
        phases=[dict(retriever="hybrid", stale=0.5, header="on")],
    )

    retriever: str = knob(
        "bm25", choices=WAYS, help="words, the model's own states, an encoder trained here, or both"
    )
    rerank: str = knob(
        "off",
        choices=RERANKS,
        help="likelihood: the best 16 sorted again by how well each predicts the question",
    )
    length: int = knob(32, 4, 128, unit="words", help="words of a chunk")
    overlap: int = knob(8, 0, 64, unit="words", help="words that neighbouring chunks share")
    weight: float = knob(0.5, 0.0, 1.0, unit="share", help="hybrid: weight of the vectors")
    header: str = knob(
        "off", choices=("off", "on"), help="on: each chunk begins with the name of its leaflet"
    )
    stale: float = knob(
        0.0, 0.0, 1.0, unit="share", help="leaflets with an older edition that says other things"
    )
    unnamed: float = knob(
        0.3, 0.0, 1.0, unit="share", help="later sentences that say 'it' instead of the name"
    )
    noise: int = knob(1, 0, 8, unit="sentences", help="boilerplate in a leaflet")
    drugs: int = knob(120, 3, 1500, help="drugs with a leaflet")
    people: int = knob(80, 2, 200, help="people with a leaflet")
    trained: int = knob(60, 1, 1000, unit="steps", help="encoder, hybrid: steps of contrast on other names")
    steps: int = knob(8, 1, 8, unit="chunks", help="most chunks shown")
    held: int = knobs.held(40, low=4)

    def shelf(self) -> Shelf:
        """The documents."""
        return Shelf(self.drugs, self.people, self.stale, self.unnamed, self.noise)

    def chunks(self) -> list[Found]:
        """All of them, cut."""
        overlap = min(self.overlap, self.length - 1)
        return [
            Found(c, x) for x in self.shelf().leaflets for c in cut(x.source, x.text, self.length, overlap)
        ]

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """A row for each number of chunks shown."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        asked, every = self.shelf().problems(self.held, seed=seed), self.chunks()
        texts_ = [f.text(self.header == "on") for f in every]
        find = self.finder(model, tok, seed, texts_)
        if self.rerank == "likelihood":
            find = reranked(find, model, tok, texts_)
        ranked = [find(words(p), max(DEPTHS)) for p in asked]
        read = Reader(model, tok, every, self.header == "on")
        telling = [[i for i, f in enumerate(every) if tells(f, p)] for p in asked]
        yield {"step": 0} | read.none(asked)
        for k in (d for d in DEPTHS if d <= self.steps):
            given = read.measured(asked, [r[:k] for r in ranked], telling, rng("rag", seed, k))
            yield {"step": k} | given | read.by_search(asked, find, k)

    def finder(self, model, tok, seed: int, texts: list[str]) -> Retriever:
        """The retriever over the chunks; its encoder is trained here, on names that the shelf has not."""
        if self.retriever == "bm25":
            return Retriever("bm25", texts)
        encoder = model
        if self.retriever != "states":
            encoder = copy.deepcopy(model)
            for _ in dense.contrast(encoder, tok, lambda s: pairs(seed, s), self.trained, ENCODER["lr"]):
                pass
        return Retriever(
            self.retriever,
            texts,
            dense.vectors(encoder, tok, texts),
            lambda question: dense.vectors(encoder, tok, [question])[0],
            self.weight,
        )


def pairs(seed: int, step: int) -> list[tuple[str, str]]:
    """Questions with the passages that tell them, of names that no held-out leaflet has."""
    found = [Reading(1).problem(rng("pairs", seed, step, i), "train") for i in range(PAIRS)]
    return [(words(p), p.meta["passages"][0].text) for p in found]


def words(problem: Problem) -> str:
    """The question without its passages and without the wish for a citation."""
    return problem.question.split("\n")[-1].removesuffix(f" {CITE}")


def tells(found: Found, problem: Problem) -> bool:
    """Is it cut from the latest leaflet of the name that is asked for, with the value in it?"""
    return found.leaflet.source == problem.meta["source"] and found.says(problem.answer)


class Reader:
    """What a model answers behind chunks."""

    def __init__(self, model, tok, chunks: list[Found], header: bool):
        self.model, self.tok, self.chunks, self.header = model, tok, chunks, header

    def answers(self, asked: list[Problem], shown: list[list[Found]]) -> list[str]:
        """Greedy answers."""
        return greedy(self.model, self.tok, [self.prompt(p, found) for p, found in zip(asked, shown)])

    def text(self, p: Problem, found: list[Found]) -> str:
        """The question as it is put to the model, behind what was found."""
        return f"{self.above(found)}\n{words(p)} {CITE}" if found else words(p)

    def prompt(self, p: Problem, found: list[Found]) -> list[int]:
        """The same as ids."""
        return chat.prompt(self.tok, ({"role": "user", "content": self.text(p, found)},))

    def above(self, found: list[Found]) -> str:
        """Numbered chunks, as the reader was taught to read them."""
        return " ".join(f.shown(n, self.header) for n, f in enumerate(found, 1))

    def by_search(self, asked: list[Problem], find: Find, k: int) -> dict[str, float]:
        """The same with a search tool: the model decides whether to search and writes the query itself."""
        world = Searching(self, find, k)
        posed = [world.posed(p) for p in asked]
        episodes = play(self.model, self.tok, world, posed, temperature=0.0, max_new=2 * LONGEST, turns=3)
        return {
            "by_tool": fmean(e.score.reward for e in episodes),
            "searched": fmean(any(m["role"] == "tool" for m in e.messages) for e in episodes),
        }

    def none(self, asked: list[Problem]) -> dict[str, float]:
        """Without any chunk: what the model makes up, or refuses."""
        said = self.answers(asked, [[] for _ in asked])
        right = fmean(is_right(a, p) for a, p in zip(said, asked))
        refused = fmean(refuses(a) for a in said)
        found = dict(
            accuracy=right, gold=right, refused=refused, unsupported=1 - refused, distracted=1 - refused
        )
        unread = dict(recall=0.0, mrr=0.0, cited=0.0, follows=0.0, searched=0.0)
        return unread | found | {"by_tool": right}

    def measured(self, asked, ranked, telling, r) -> dict[str, float]:
        """The readings with k chunks: retrieved; the telling one put there; its value changed; none that
        tells.
        """
        k = len(ranked[0])
        shown = [[self.chunks[i] for i in ids] for ids in ranked]
        hit = [bool(set(ids) & set(t)) for ids, t in zip(ranked, telling)]
        wrong = [[self.chunks[i] for i in ids if i not in t] for ids, t in zip(ranked, telling)]
        gold = [put(self.chunks[t[0]] if t else None, w, k, r) for t, w in zip(telling, wrong)]
        said = {
            "accuracy": self.answers(asked, shown),
            "gold": self.answers(asked, gold),
            "distracted": self.answers(asked, [w[:k] for w in wrong]),
        }
        right = defaultdict(list)
        for name, answers in said.items():
            right[name] = [is_right(a, p) for a, p in zip(answers, asked)]
        held = [any(f.says(value_of(a)) for f in s) for a, s in zip(said["accuracy"], shown)]
        refused = [refuses(a) for a in said["accuracy"]]
        changed = [change(g, p) for g, p in zip(gold, asked)]
        followed = self.answers(asked, [c for c, _ in changed])
        return {
            "recall": fmean(hit),
            "mrr": fmean(reciprocal_rank(ids, t) for ids, t in zip(ranked, telling)),
            "accuracy": fmean(right["accuracy"]),
            "gold": fmean(right["gold"]),
            "refused": fmean(refused),
            "unsupported": fmean(not h and not n for h, n in zip(held, refused)),
            "cited": fmean(
                ok and cites(a, s, p)
                for ok, a, s, p in zip(right["accuracy"], said["accuracy"], shown, asked)
            ),
            "distracted": fmean(not refuses(a) for a in said["distracted"]),
            "follows": fmean(same(value_of(a), new) for a, (_, new) in zip(followed, changed)),
        }


def greedy(model, tok, prompts: list[list[int]]) -> list[str]:
    """Greedy answers, without what ends them."""
    done = sample(model, prompts, max_new=LONGEST, temperature=0.0, stop=chat.stop_ids(tok))
    return [tok.decode(i[:-1] if end else i).strip() for i, end in zip(done.ids, done.stopped)]


def reciprocal_rank(ranked: list[int], telling: list[int]) -> float:
    """1 / rank of the first chunk that tells it, 0 where none does."""
    return next((1 / rank for rank, i in enumerate(ranked, 1) if i in telling), 0.0)


class Searching:
    """The shelf behind a search tool, as `play` meets it."""

    name = "searching"

    def __init__(self, reader: Reader, find: Find, k: int):
        self.reader, self.find, self.k = reader, find, k

    @staticmethod
    def posed(p: Problem) -> Problem:
        """The question alone, with the tool offered."""
        messages = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": f"{words(p)} {CITE}"})
        return Problem(messages, p.answer, p.meta | {"tools": SEARCH})

    def reply(self, problem: Problem, messages: list[Message]) -> Message | None:
        """The chunks for the query that was written; a call without one finds nothing."""
        calls = messages[-1].get("tool_calls")
        if not calls:
            return None
        arguments = calls[0]["function"]["arguments"]
        query = arguments.get("query") if isinstance(arguments, dict) else None
        found = self.find(query, self.k) if isinstance(query, str) else []
        return {"role": "tool", "content": self.reader.above([self.reader.chunks[i] for i in found])}

    def score(self, problem: Problem, text: str) -> Score:
        """answer: the value, whatever is cited."""
        return Score({"answer": float(is_right(text.strip(), problem))})


def put(gold: Found | None, others: list[Found], k: int, r) -> list[Found]:
    """The telling chunk among the best k − 1 others, at a random place. Where no chunk tells it: the
    others.
    """
    if gold is None:
        return others[:k]
    found = others[: k - 1]
    found.insert(r.randint(0, len(found)), gold)
    return found


def change(shown: list[Found], problem: Problem) -> tuple[list[Found], str]:
    """The same chunks with another value in the place of the right one, and that value."""
    subject = problem.meta["passages"][0].subject
    new = other(rng("change", problem.question), subject, problem.meta["field"], problem.answer)
    return [
        replace(f, chunk=replace(f.chunk, text=f.chunk.text.replace(problem.answer, new)))
        if f.leaflet.source == problem.meta["source"]
        else f
        for f in shown
    ], new


def value_of(answer: str) -> str:
    """An answer without its citation and full stop."""
    return answer.removesuffix(".").partition(" [")[0].strip()


def refuses(answer: str) -> bool:
    """Does it say that the documents do not tell it?"""
    return same(answer, ABSENT)


def is_right(answer: str, problem: Problem) -> bool:
    """The value, whatever is cited."""
    return same(value_of(answer), problem.answer)


def cites(answer: str, shown: list[Found], problem: Problem) -> bool:
    """Does the number point to a chunk that tells it?"""
    number = answer.removesuffix(".").partition(" [")[2].removesuffix("]")
    return number.isdigit() and 0 < int(number) <= len(shown) and tells(shown[int(number) - 1], problem)
