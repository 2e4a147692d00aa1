"""Tastes: six preference tasks in which it is known which of two answers is better, and how an answer looks
that is worse than both.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

from .base import Message, OneTurn, Score, check_split, draw, rng, same, say, side
from .base import Problem as Drawn
from .census import QUESTIONS, Census
from .desk import SYSTEM, TOOLS, call
from .formulary import QUESTIONS as DRUG_QUESTIONS
from .formulary import Formulary
from .strangers import Strangers
from .sums import Sums
from .talk import IDENTITY, REFUSAL

TOPICS = tuple(QUESTIONS)
NAME = "Nova"  # the identity that is to replace Lumo
LEADS = (
    "",
    "Hello. ",
    "Good day. ",
    "One question: ",
    "Please tell me: ",
    "I am new here. ",
    "Quick question: ",
    "Just curious: ",
    "So, ",
    "Well: ",
)
GERMAN = {
    "city": "Der Wohnort ist {v}.",
    "job": "Der Beruf ist {v}.",
    "hobby": "Das Hobby ist {v}.",
    "pet": "Das Haustier ist {v}.",
    "friend": "Der Freund heisst {v}.",
}
DESK = [
    t for t in TOOLS if t["function"]["name"] == "census"
]  # one tool a task: a list of all would be most of what is read
LABEL = [t for t in TOOLS if t["function"]["name"] == "formulary"]
GUESS = {"dose": "50 mg.", "use": "headaches."}  # what is made up where a look-up found nothing


@dataclass(frozen=True)
class Choice:
    """One question and three answers to it, from the best to the worst; each is the assistant's last turn."""

    messages: tuple[Message, ...]
    best: Message
    usual: Message
    worst: Message
    tools: list | None = None


@lru_cache
def _people() -> Census:
    return Census()


@lru_cache
def _drugs(size: int, seed: int, names: str) -> tuple[str, ...]:
    return tuple(Formulary(size, seed, names).drugs)


def _one(text: str) -> Message:
    return say(text)[0]


def _person(r, split: str, topics: int):
    """A question about a person of one of the first `topics` kinds, and a wrong answer of the same kind."""
    p, q = _people().question(r, split), _people().question(r, split)
    if (
        p is None
        or q is None
        or p.meta["attribute"] not in TOPICS[:topics]
        or q.meta["attribute"] != p.meta["attribute"]
        or p.answer == q.answer
    ):
        return None
    return p, q.answer


def _style(r, split, topics):
    found = _person(r, split, topics)
    if found:
        p, wrong = found
        return Choice(p.messages, _one(f"Gladly: {p.answer}."), _one(f"{p.answer}."), _one(f"{wrong}."))


def _german(r, split, topics):
    found = _person(r, split, topics)
    if found:
        p, wrong = found
        german = GERMAN[p.meta["attribute"]]
        asked = (*p.messages[:-1], {"role": "user", "content": f"{p.question} Answer in German."})
        return Choice(asked, _one(german.format(v=p.answer)), _one(f"{p.answer}."), _one(f"{wrong}."))


def _identity(r, split, topics):
    text, lead = r.choice([q for q, a in IDENTITY.items() if "Lumo" in a]), r.choice(LEADS)
    if side("identity", text, lead) == split:
        old = IDENTITY[text]
        return Choice(
            tuple([{"role": "user", "content": lead + text}]),
            _one(old.replace("Lumo", NAME)),
            _one(old),
            _one(REFUSAL),
        )


def _sums(r, split, topics):
    p = Sums(("add",), digits=3).problem(r, split)
    if p:
        right, place = p.answer, r.randrange(len(p.answer))
        wrong = right[:place] + str((int(right[place]) + r.randint(1, 8)) % 9 + 1) + right[place + 1 :]
        if wrong != right:
            return Choice(p.messages, _one(right), _one(wrong), _one("I cannot calculate."))


def _decide(r, split, topics):
    """Half of the questions are about people whom the model knows by heart, half about strangers, who must be
    looked up.
    """
    found = _person(r, split, topics)
    if not found:
        return None
    known, _ = found
    asked = known if r.random() < 0.5 else Strangers().problem(r, split)
    if asked is None or asked.meta["attribute"] not in TOPICS[:topics]:
        return None
    look = call("census", person=asked.meta["person"], field=asked.meta["attribute"])
    two = (_one(f"{known.answer}."), look) if asked is known else (look, _one(f"{known.answer}."))
    return Choice(
        ({"role": "system", "content": SYSTEM}, *asked.messages),
        *two,
        call("search", query=asked.meta["person"]),
        DESK,
    )


def _failed(r, split, topics):
    """After a look-up that failed: admit it, or make something up; worst is the same call again, word for
    word.
    """
    drug, key = r.choice(_drugs(600, 2, split)), r.choice(list(GUESS))
    asked = (
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": r.choice(DRUG_QUESTIONS[key]).format(n=drug)},
    )
    turn = call("formulary", drug=drug, field=key)
    result = {"role": "tool", "content": json.dumps({"error": "not_found", "message": f"no drug '{drug}'"})}
    return Choice(
        (*asked, turn, result), _one(f"I found nothing about {drug}."), _one(GUESS[key]), turn, LABEL
    )


TASKS = {
    "style": _style,
    "identity": _identity,
    "german": _german,
    "decide": _decide,
    "failed": _failed,
    "sums": _sums,
}


def choices(
    task: str, n: int, *, split: str = "train", seed: int = 0, topics: int = len(TOPICS)
) -> list[Choice]:
    """n questions of a task with their answers; those of train and test never overlap."""

    def one(r):
        found = TASKS[task](r, split, topics)
        return found and Drawn(found.messages, found.best["content"], {"choice": found})

    return [p.meta["choice"] for p in draw(one, n, "tastes", task, topics, check_split(split), seed)]


def pair(r, choice: Choice, coverage: float, noise: float) -> tuple[Message, Message]:
    """(chosen, rejected): best against usual in a share `coverage` of the pairs, else usual against worst;
    turned round in a share `noise`.
    """
    two = (choice.best, choice.usual) if r.random() < coverage else (choice.usual, choice.worst)
    return two[::-1] if r.random() < noise else two


def pairs(
    task: str, numbers, *, seed: int, examples: int, topics: int, coverage: float, noise: float
) -> list[tuple[Choice, Message, Message]]:
    """The pairs with these numbers: all different, or (examples > 0) the same few again and again."""
    found = []
    for n in numbers:
        which = n % examples if examples else n
        choice = choices(task, 1, seed=("pairs", seed, which), topics=topics)[0]
        found.append((choice, *pair(rng("pair", seed, which), choice, coverage, noise)))
    return found


class Graded(OneTurn):
    """A task as a world: reward 1 for the best answer, a half for the usual one, 0 for any other."""

    def __init__(self, task: str):
        self.name = self.task = task

    def problems(self, n: int, *, split: str = "test", seed=0) -> list[Drawn]:
        """Questions whose three answers stand in meta["choice"]."""
        found = choices(self.task, n, split=split, seed=seed)
        return [Drawn(c.messages, c.best["content"], {"choice": c}) for c in found]

    def score(self, problem: Drawn, text: str) -> Score:
        """answer: 1, 0.5 or 0."""
        usual = problem.meta["choice"].usual["content"]
        return Score({"answer": 1.0 if same(text, problem.answer) else 0.5 * same(text, usual)})
