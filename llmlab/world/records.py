"""Records to be read in context: random names, numbers and strings stated once, then asked for, restated or
put into a call.

Nothing here can be known beforehand, so the only way to answer is to copy from the prompt: without this skill
neither tool calls nor JSON nor retrieval can be learnt later.
"""

import json
from dataclasses import dataclass

from . import words
from .base import OneTurn, Problem, ask, check_split, draw, side

FIELDS = {
    "code": lambda r: str(r.randint(1000, 9999)),
    "age": lambda r: str(r.randint(18, 90)),
    "city": lambda r: r.choice(words.CITIES),
    "colour": lambda r: r.choice(words.COLOURS),
    "owner": lambda r: words.nonce(r),
    "price": lambda r: str(r.randint(2, 99)),
    "job": lambda r: r.choice(words.JOBS),
    "month": lambda r: r.choice(words.MONTHS),
    "label": lambda r: words.nonce(r, 3),
    "dose": lambda r: str(r.randint(5, 95)),
}
STATE = ["The {f} of {n} is {v}.", "{n} has the {f} {v}.", "For {n} the {f} is {v}."]
ASK = ["What is the {f} of {n}?", "Which {f} does {n} have?", "Name the {f} of {n}."]
LAYOUTS = ("sentences", "json", "list", "log")


def unseen_name(r, split: str) -> str:
    """An invented name that only this split may show."""
    while True:
        name = words.nonce(r, r.choice((2, 2, 3, 4)))
        if side("name", name) == split:
            return name


def random_record(r, split: str, fields: int) -> tuple[str, dict[str, str]]:
    """A new name and some fields with random values."""
    return unseen_name(r, split), {f: FIELDS[f](r) for f in r.sample(list(FIELDS), fields)}


def value_json(v: str):
    """Numbers stay numbers in JSON."""
    return int(v) if v.isdigit() else v


def as_json(name: str, record: dict) -> str:
    """One line of JSON."""
    return json.dumps({"name": name} | {f: value_json(v) for f, v in record.items()})


def show(r, layout: str, name: str, record: dict) -> str:
    """The record in a layout that can be read."""
    if layout == "json":
        return as_json(name, record)
    if layout == "list":
        return f"name: {name}\n" + "\n".join(f"{f}: {v}" for f, v in record.items())
    if layout == "log":
        hour = r.randint(10, 18)
        return "\n".join(
            f"{hour}:{10 + 3 * i} set {f} of {name} to {v}" for i, (f, v) in enumerate(record.items())
        )
    return " ".join(r.choice(STATE).format(f=f, n=name, v=v) for f, v in record.items())


def as_call(r, name: str, field: str) -> str:
    """A request put into a call's arguments."""
    tool, key = r.choice(["lookup", "register", "find"]), r.choice(["key", "name", "item"])
    return json.dumps({"name": tool, "arguments": {key: name, "field": field}})


@dataclass(frozen=True)
class Records(OneTurn):
    """Look-ups of unseen strings in a prompt that shows `shown` records.

    `alike`: share of documents whose records have the same fields, so that only the name tells which value is
    meant.
    """

    shown: int = 2
    alike: float = 0.0
    name = "records"

    def problem(self, r, split: str) -> Problem:
        """A record of another name stands beside the right one, so that position alone does not answer."""
        layout = r.choice(LAYOUTS)
        kept = [random_record(r, split, r.randint(2, 3)) for _ in range(self.shown)]
        name, record = r.choice(kept)
        field = r.choice(list(record))
        text = "\n".join(show(r, layout, n, f) for n, f in kept)
        messages, meta = ask(
            f"{text}\n{r.choice(ASK).format(f=field, n=name)}",
            layout=layout,
            field=field,
            names=[n for n, _ in kept],
        )
        return Problem(messages, record[field], meta)

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """The names of test records are never shown in training."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "records", self, split, seed)

    def document(self, r, split: str = "train") -> str:
        """Records, then several things done with them: asked for, restated as JSON, put into a call."""
        layout = r.choice(LAYOUTS)
        kept = [random_record(r, split, r.randint(2, 3)) for _ in range(r.choice((1, 2, 2)))]
        if self.alike and r.random() < self.alike:
            kept = [(unseen_name(r, split), {f: FIELDS[f](r) for f in kept[0][1]}) for _ in range(2)]
        lines = [show(r, layout, n, f) for n, f in kept]
        tasks = [(n, f, v) for n, record in kept for f, v in record.items()]
        for name, field, value in r.sample(
            tasks, len(tasks)
        ):  # everything is asked for: the values themselves are noise, only the answers teach
            lines.append(f"Question: {r.choice(ASK).format(f=field, n=name)}\nAnswer: {value}.")
        if r.random() < 0.4 and layout != "json":
            lines.append(f"As JSON: {as_json(*r.choice(kept))}")
        return "\n".join(lines)

    def call_document(self, r, split: str = "train") -> str:
        """Requests for things nobody knows, each turned into a call."""
        lines = []
        for _ in range(r.randint(2, 3)):
            name, field = unseen_name(r, split), r.choice(list(FIELDS))
            lines.append(f"{r.choice(ASK).format(f=field, n=name)}\nCall: {as_call(r, name, field)}")
        return "\n".join(lines)

    def echo_document(self, r, split: str = "train") -> str:
        """Lists of unseen names repeated, or picked from by place."""
        names = [unseen_name(r, split) for _ in range(r.randint(3, 5))]
        i = r.randrange(len(names))
        place = ["first", "second", "third", "fourth", "fifth"][i]
        return (
            f"Names: {', '.join(names)}.\nAgain: {', '.join(names)}.\nThe {place} name: {names[i]}.\nThe last"
            f" name: {names[-1]}."
        )
