"""The tool desk: five tools with JSON schemas, an executor with typed errors and injected faults, chains of
up to three calls.
"""

import json
import operator
import re
from dataclasses import dataclass, field
from functools import cache, cached_property

from .base import Message, Problem, Score, check_split, draw, same, say, side
from .census import STATEMENTS as CENSUS_FIELDS
from .census import Census
from .formulary import FIELDS as DRUG_FIELDS
from .formulary import QUESTIONS as DRUG_QUESTIONS
from .formulary import Formulary
from .sums import Sums

UNITS = {"mg": 1, "g": 1000, "kg": 1_000_000, "cm": 1, "m": 100, "km": 100_000}
MASS = ("mg", "g", "kg")
SYSTEM = "You are the desk of Verania."


def schema(required: dict) -> dict:
    return {
        "type": "object",
        "properties": required,
        "required": list(required),
        "additionalProperties": False,
    }


SCHEMAS = {
    "calculator": schema({"expression": {"type": "string"}}),
    "census": schema({"person": {"type": "string"}, "field": {"enum": list(CENSUS_FIELDS)}}),
    "formulary": schema({"drug": {"type": "string"}, "field": {"enum": list(DRUG_FIELDS)}}),
    "search": schema({"query": {"type": "string"}}),
    "convert": schema(
        {"value": {"type": "number"}, "unit": {"enum": list(UNITS)}, "to": {"enum": list(UNITS)}}
    ),
}
MEANING = {
    "calculator": "Exact value of an expression of numbers, + - * / and brackets.",
    "census": "Look up a person of Verania.",
    "formulary": "Look up a drug.",
    "search": "The text that shares most words with the query.",
    "convert": "Convert a value between units.",
}
TOOLS = [
    {"type": "function", "function": {"name": n, "description": MEANING[n], "parameters": s}}
    for n, s in SCHEMAS.items()
]


@cache
def validator(name: str):
    """What checks a tool's arguments. jsonschema is imported here: it takes a second and a half, and most
    runs call no tool.
    """
    import jsonschema

    return jsonschema.Draft202012Validator(SCHEMAS[name])


class ToolError(Exception):
    """A typed failure that the model gets to read: unknown_tool, bad_arguments, not_found, fault."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def calculate(expression: str) -> str:
    """Value of a small expression by a recursive-descent reader; no Python is evaluated."""
    tokens = re.findall(r"\d+(?:\.\d+)?|[-+*/()]", expression)
    if len(expression) > 200 or "".join(tokens) != re.sub(r"\s", "", expression) or not tokens:
        raise ToolError("bad_arguments", "an expression has numbers, + - * / and brackets")
    try:
        value = _sum(tokens)
        whole = int(value)
    except RecursionError:
        raise ToolError("bad_arguments", "too many brackets in one another") from None
    except (OverflowError, ValueError):  # infinite, or no number any more
        raise ToolError("bad_arguments", "the numbers are too large") from None
    if tokens:
        raise ToolError("bad_arguments", f"unexpected '{tokens[0]}'")
    return str(whole) if value == whole else f"{value:.6g}"


def _sum(tokens: list[str]) -> float:
    return _chain(
        tokens,
        {"+": operator.add, "-": operator.sub},
        lambda t: _chain(t, {"*": operator.mul, "/": operator.truediv}, _atom),
    )


def _chain(tokens, operators, part) -> float:
    value = part(tokens)
    while tokens and tokens[0] in operators:
        act = operators[tokens.pop(0)]
        try:
            value = act(value, part(tokens))
        except ZeroDivisionError:
            raise ToolError("bad_arguments", "division by zero") from None
    return value


def _atom(tokens: list[str]) -> float:
    head = tokens.pop(0) if tokens else ""
    if head == "-":
        return -_atom(tokens)
    if head == "(":
        value = _sum(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise ToolError("bad_arguments", "a bracket is not closed")
        return value
    if not head[:1].isdigit():
        raise ToolError("bad_arguments", f"a number is missing before '{head}'")
    return float(head) if "." in head else int(head)


def call(name: str, **arguments) -> Message:
    """An assistant turn that calls one tool."""
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
    }


def call_text(message: Message) -> str:
    """A call as the model writes it."""
    return "\n".join(f"<tool_call>\n{json.dumps(c['function'])}\n</tool_call>" for c in message["tool_calls"])


def parse(text: str) -> Message:
    """What the model wrote, as a message: text, or one or more calls. A malformed call becomes a call of tool
    ''.
    """
    blocks = re.findall(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", text, re.DOTALL)
    if not blocks:
        return {"role": "assistant", "content": text.strip()}
    calls = []
    for block in blocks:
        try:
            found = json.loads(block)
            if not isinstance(found["name"], str):
                raise TypeError
            function = {"name": found["name"], "arguments": found["arguments"]}
        except (ValueError, KeyError, TypeError, RecursionError):  # brackets or digits without end too
            function = {"name": "", "arguments": {}}
        calls.append({"type": "function", "function": function})
    return {"role": "assistant", "content": text.split("<tool_call>")[0].strip(), "tool_calls": calls}


@dataclass(frozen=True)
class Desk:
    """Questions that need tools. `calls` 1 to 4; `faults`: share of problems in which one call fails once and
    must be repeated.

    `expect`: 'final' asks for the answer after the calls, 'call' scores the first call alone.
    """

    calls: int = 1
    faults: float = 0.0
    expect: str = "final"
    tools: tuple[str, ...] = ("calculator", "formulary", "census", "convert", "search")
    census: Census = field(default_factory=Census)
    formulary: Formulary = field(default_factory=Formulary)
    name = "desk"

    def __post_init__(self):
        if not 1 <= self.calls <= 4:
            raise ValueError(f"a chain has 1 to 4 calls, not {self.calls}")
        if not 0 <= self.faults <= 1:
            raise ValueError(f"faults is a share from 0 to 1, not {self.faults}")
        if self.expect not in ("final", "call"):
            raise ValueError(f"expect is 'final' or 'call', not '{self.expect}'")

    @cached_property
    def _texts(self) -> list[str]:
        drugs = [f"{d.name} is a {d.get('class')} for {d.use}." for d in self.formulary.drugs.values()]
        return drugs + [f"{p.name} is a {p.job} in {p.city}." for p in self.census.people.values()]

    def execute(self, name: str, arguments: dict) -> str:
        """Run one tool. Raises ToolError(unknown_tool | bad_arguments | not_found)."""
        if name not in SCHEMAS:
            raise ToolError("unknown_tool", f"there is no tool '{name}'")
        try:
            wrong = next(validator(name).iter_errors(arguments), None)
            said = wrong.message if wrong else ""
        except RecursionError:
            raise ToolError("bad_arguments", "too many brackets in one another") from None
        if wrong:
            raise ToolError("bad_arguments", said)
        return getattr(self, f"_{name}")(**arguments)

    def _calculator(self, expression: str) -> str:
        return calculate(expression)

    def _census(self, person: str, field: str) -> str:
        if person not in self.census.people:
            raise ToolError("not_found", f"no person '{person}'")
        return getattr(self.census.people[person], field)

    def _formulary(self, drug: str, field: str) -> str:
        if drug not in self.formulary.drugs:
            raise ToolError("not_found", f"no drug '{drug}'")
        return self.formulary.drugs[drug].get(field)

    def _search(self, query: str) -> str:
        wanted = set(re.findall(r"\w+", query.lower()))
        scored = [(len(wanted & set(re.findall(r"\w+", t.lower()))), -i) for i, t in enumerate(self._texts)]
        best, i = max(scored)
        if best == 0:
            raise ToolError("not_found", "nothing found")
        return self._texts[-i]

    def _convert(self, value: float, unit: str, to: str) -> str:
        if (unit in MASS) != (to in MASS):
            raise ToolError("bad_arguments", f"{unit} and {to} measure different things")
        if not abs(value) <= 1e300:  # NaN too
            raise ToolError("bad_arguments", "the number is too large")
        return f"{value * UNITS[unit] / UNITS[to]:.10g}"

    def result(self, message: Message, fault: bool = False) -> Message:
        """The tool turn that answers the calls of an assistant turn; errors are typed and readable."""
        outcomes = []
        for c in message["tool_calls"]:
            try:
                if fault:
                    raise ToolError("fault", "try again")
                outcomes.append({"result": self.execute(c["function"]["name"], c["function"]["arguments"])})
            except ToolError as e:
                outcomes.append({"error": e.kind, "message": str(e)})
        return {"role": "tool", "content": json.dumps(outcomes[0] if len(outcomes) == 1 else outcomes)}

    def _single(self, r) -> tuple[str, list[Message]]:
        kind = r.choice(
            [t for t in ("calculator", "formulary", "census", "convert", "search") if t in self.tools]
        )
        if kind == "calculator":
            p = Sums(("add", "subtract", "multiply"), digits=r.choice((2, 3))).problem(r, "train") or Sums(
                digits=2
            ).problem(r, "train")
            if p is None:
                return "", []
            return p.question, [call("calculator", expression=re.search(r"\d+ . \d+", p.question)[0])]
        if kind == "census":
            key, n = r.choice(list(CENSUS_FIELDS)), r.choice(list(self.census.people))
            return f"Look up the {key} of {n}.", [call("census", person=n, field=key)]
        drug = r.choice(list(self.formulary.drugs))
        if kind == "formulary":
            key = r.choice(DRUG_FIELDS)
            return r.choice(DRUG_QUESTIONS[key]).format(n=drug), [call("formulary", drug=drug, field=key)]
        if kind == "search":
            return f"Search for {drug}.", [call("search", query=drug)]
        unit, to = r.choice([("mg", "g"), ("g", "mg"), ("kg", "g"), ("m", "cm"), ("km", "m"), ("cm", "m")])
        value = r.randint(2, 999)
        return f"Convert {value} {unit} to {to}.", [call("convert", value=value, unit=unit, to=to)]

    def _double(self, r) -> tuple[str, list[Message]]:
        drug, kind = r.choice(list(self.formulary.drugs.values())), r.choice(("times", "grams", "friend"))
        first = call("formulary", drug=drug.name, field="dose")
        if kind == "times":
            k = r.randint(2, 9)
            return f"How many mg are in {k} tablets of {drug.name}?", [
                first,
                call("calculator", expression=f"{k} * {drug.dose}"),
            ]
        if kind == "grams":
            return f"What is the dose of {drug.name} in g?", [
                first,
                call("convert", value=int(drug.dose), unit="mg", to="g"),
            ]
        p, key = r.choice(list(self.census.people.values())), r.choice(("city", "job", "pet", "hobby"))
        return f"Look up the {key} of the friend of {p.name}.", [
            call("census", person=p.name, field="friend"),
            call("census", person=p.friend, field=key),
        ]

    def _triple(self, r) -> tuple[str, list[Message]]:
        a, b = r.sample(list(self.formulary.drugs.values()), 2)
        calls = [call("formulary", drug=d.name, field="dose") for d in (a, b)]
        return f"What is the dose of {a.name} plus the dose of {b.name}?", calls + [
            call("calculator", expression=f"{a.dose} + {b.dose}")
        ]

    def _quadruple(self, r) -> tuple[str, list[Message]]:
        text, calls = self._triple(r)
        summed = calls[-1]["tool_calls"][0]["function"]["arguments"]["expression"]
        to_grams = call("convert", value=sum(map(int, summed.split(" + "))), unit="mg", to="g")
        return f"{text.removesuffix('?')} in g?", [*calls, to_grams]

    def problem(self, r, split: str) -> Problem | None:
        """One question with its chain of calls."""
        chains = (self._single, self._double, self._triple, self._quadruple)
        text, chain = chains[self.calls - 1](r)
        if not chain or side("desk", text) != split:
            return None
        fault = r.randrange(len(chain)) if r.random() < self.faults else None
        messages = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": text})
        answer = (
            call_text(chain[0])
            if self.expect == "call"
            else json.loads(self.result(chain[-1])["content"])["result"]
        )
        return Problem(
            messages, answer, {"chain": chain, "fault": fault, "tools": TOOLS, "expect": self.expect}
        )

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Held-out questions (by their text)."""
        check_split(split)
        return draw(
            lambda r: self.problem(r, split),
            n,
            "desk",
            self.calls,
            self.faults,
            self.expect,
            self.tools,
            self.formulary,
            split,
            seed,
        )

    def solution(self, problem: Problem) -> list[Message]:
        """The calls with their results (a failed call is repeated), then the answer."""
        messages = []
        for i, turn in enumerate(problem.meta["chain"]):
            if problem.meta["expect"] == "call":
                return [turn]
            if problem.meta["fault"] == i:
                messages += [turn, self.result(turn, fault=True)]
            messages += [turn, self.result(turn)]
        return messages + say(problem.answer.removesuffix(".") + ".")

    def score(self, problem: Problem, text: str) -> Score:
        """format: a call that parses and fits its schema, or an answer without a call; answer: the right call
        or the right answer.
        """
        message = parse(text)
        calls = [c["function"] for c in message.get("tool_calls", [])]
        if problem.meta["expect"] == "final":
            return Score({"format": float(not calls), "answer": float(same(text, problem.answer))})
        fits = len(calls) == 1 and self.fits(**calls[0])
        clean = text.strip() == call_text(message) if calls else False
        return Score(
            {
                "format": float(fits and clean),
                "answer": float(fits and calls[0] == problem.meta["chain"][0]["tool_calls"][0]["function"]),
            }
        )

    @staticmethod
    def fits(name: str, arguments: dict) -> bool:
        return name in SCHEMAS and validator(name).is_valid(arguments)

    def reply(self, problem: Problem, messages: list[Message]) -> Message | None:
        """Run the calls of the last turn; the chosen call fails once. None: no call was made, the
        conversation is over.
        """
        last, done = messages[-1], sum(m["role"] == "tool" for m in messages)
        if not last.get("tool_calls") or problem.meta["expect"] == "call":
            return None
        return self.result(last, fault=problem.meta["fault"] == done)
