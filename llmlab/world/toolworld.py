"""Tools from elsewhere in place of the desk's: what any tool may be asked, what becomes of its faults, and a
world whose tool turns they write.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from .base import Message, Problem, Score, World, check_split, rng, same, say, side
from .desk import ToolError, call_text, parse

MOST = 4000  # characters of a result that a model gets to read


class Tools:
    """Named tools with JSON schemas, as a context manager. `call` checks the arguments before it runs a tool.

    Whatever goes wrong is a ToolError, which the model gets to read: unknown_tool, bad_arguments, or what
    `run` says.
    """

    def __init__(self, schemas: list[dict]):
        self.schemas = [inlined(s) for s in schemas]
        self.parameters = {s["function"]["name"]: s["function"]["parameters"] for s in self.schemas}

    def run(self, name: str, arguments: dict) -> str:
        """The tool's answer to arguments that fit its schema, cut to a length. Raises ToolError."""
        raise NotImplementedError

    def close(self) -> None:
        """End what was started for them."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def check(self, name: str, arguments: Any) -> None:
        """Raises ToolError unless there is such a tool and the arguments fit its schema."""
        if name not in self.parameters:
            raise ToolError("unknown_tool", f"there is no tool '{name[:80]}'")
        try:
            json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
            wrong = misfit(self.parameters[name], arguments)
        except ValueError:  # NaN, infinity, half a character, a number of thousands of digits
            raise ToolError("bad_arguments", "the arguments are no JSON") from None
        except RecursionError:
            raise ToolError("bad_arguments", "too many brackets in one another") from None
        if wrong:
            raise ToolError("bad_arguments", wrong)

    def call(self, name: str, arguments: Any) -> str:
        """The tool's answer. Raises ToolError."""
        self.check(name, arguments)
        return self.run(name, arguments)

    def result(self, message: Message) -> Message:
        """The tool turn that answers the calls of an assistant turn, errors included."""
        outcomes = []
        for c in message["tool_calls"]:
            try:
                outcomes.append({"result": self.call(c["function"]["name"], c["function"]["arguments"])})
            except ToolError as e:
                outcomes.append({"error": e.kind, "message": str(e)})
        return {"role": "tool", "content": harmless(outcomes[0] if len(outcomes) == 1 else outcomes)}


def misfit(schema: dict, arguments: Any) -> str:
    """Why arguments do not fit a schema; empty if they do."""
    import jsonschema  # late: see desk.validator

    try:
        wrong = next(jsonschema.Draft202012Validator(schema).iter_errors(arguments), None)
    except re.error:  # a pattern of another language's: the tool itself has to look
        return ""
    return f"{wrong.json_path}: {wrong.message}"[:300] if wrong else ""


def cut(text: str, most: int) -> str:
    """The text's beginning, and how long it was; half characters are replaced."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[:most]} … (cut: {len(text)} characters in all)"


def harmless(outcome) -> str:
    """An outcome as JSON in which no < stands, so that no result can end its turn or begin a call."""
    return json.dumps(outcome).replace("<", "\\u003c")


def inlined(schema: dict) -> dict:
    """A tool's schema whose parameters hold their definitions in place; where one holds itself, or is
    missing: anything.
    """
    function = schema["function"]
    parameters = function["parameters"]
    known = parameters.get("$defs", {})

    def flat(part, above: tuple[str, ...]):
        """The part with each $ref replaced by what it names; one inside itself becomes {}, anything."""
        if isinstance(part, list):
            return [flat(p, above) for p in part]
        if not isinstance(part, dict):
            return part
        if isinstance(ref := part.get("$ref"), str):
            name = ref.removeprefix("#/$defs/")
            return flat(known[name], (*above, name)) if name in known and name not in above else {}
        return {k: flat(v, above) for k, v in part.items() if k != "$defs"}

    return {**schema, "function": {**function, "parameters": flat(parameters, ())}}


@dataclass(frozen=True)
class ToolWorld:
    """A world that asks and scores, with tools from elsewhere that answer."""

    world: World
    tools: Tools

    @property
    def name(self) -> str:
        """That of the world that asks."""
        return self.world.name

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """The world's, with the tools that there are."""
        found = self.world.problems(n, split=split, seed=seed)
        return [replace(p, meta=p.meta | {"tools": self.tools.schemas}) for p in found]

    def solution(self, problem: Problem) -> list[Message]:
        """The world's."""
        return self.world.solution(problem)

    def score(self, problem: Problem, text: str) -> Score:
        """The world's."""
        return self.world.score(problem, text)

    def reply(self, problem: Problem, messages: list[Message]) -> Message | None:
        """Run the calls of the last turn; None: there was none, or no more than a call was asked for."""
        last = messages[-1]
        if not last.get("tool_calls") or problem.meta.get("expect") == "call":
            return None
        return self.tools.result(last)


@dataclass(frozen=True)
class Asked:
    """Questions from a file. meta: call, the right one, {"name", "arguments"}, or None where no tool helps;
    expect, "final" where an answer is known, else "call".
    """

    given: tuple[Problem, ...]
    name = "asked"

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """n questions of a split (by their text), in the seed's order; they come again where there are
        fewer.
        """
        check_split(split)
        found = [p for p in self.given if side("asked", p.question) == split]
        if not found and n:
            raise ValueError(f"none of the {len(self.given)} questions is of the split {split}; give more")
        rng("asked", split, seed).shuffle(found)
        return [found[i % len(found)] for i in range(n)]

    def solution(self, problem: Problem) -> list[Message]:
        """The right call, or the answer."""
        function = problem.meta["call"]
        return [calling(function)] if function else say(problem.answer)

    def score(self, problem: Problem, text: str) -> Score:
        """answer: the right answer in the end, or, where none is known, the right call or none."""
        calls = [c["function"] for c in parse(text).get("tool_calls", [])]
        if problem.meta["expect"] == "final":
            return Score({"answer": float(not calls and same(text, problem.answer))})
        wanted = problem.meta["call"]
        return Score({"answer": float(calls == ([wanted] if wanted else []))})

    def reply(self, problem: Problem, messages: list[Message]) -> Message | None:
        """There are no tools here: see ToolWorld."""
        return None


def calling(function: dict) -> Message:
    """An assistant turn that makes a call."""
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def wanted_text(function: dict | None) -> str:
    """A call as the model writes it; empty where none is right."""
    return call_text(calling(function)) if function else ""
