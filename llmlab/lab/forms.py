"""Forms: the shapes in which people keep conversations and pairs, brought to one. What changes the meaning of
a record is honoured or the record is refused; what is only dropped is counted.

A conversation is read from messages (OpenAI; also with legacy function calls and content in parts),
conversations (ShareGPT), instruction and output (Alpaca), or prompt and completion. A pair from chosen and
rejected as text, as messages, as transcripts (Human:, Assistant:), beside a prompt, a history, a system text
or a conversation; or from scored completions (UltraFeedback), or from answers with labels (KTO), where a
prompt has a good and a bad one.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Generic, Iterable, TypeVar

from ..errors import UserError
from ..tokens.pairs import Turns
from . import files
from ..world.base import Message
from .files import Record

ROLES = {  # what people write -> the role
    **{name: name for name in ("system", "user", "assistant", "tool")},
    **{"developer": "system", "human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"},
    **{"chatgpt": "assistant", "function": "tool", "observation": "tool", "ipython": "tool"},
}
KEPT = ("name", "tool_call_id", "reasoning_content", "reasoning", "thinking", "weight")
TRANSCRIPT = re.compile(r"\n\n(Human|Assistant):")
MEDIA = ("image", "audio", "video", "file")
T = TypeVar("T")


class Bad(ValueError):
    """A record that cannot be read; says what is wrong with it."""


@dataclass(frozen=True)
class Conversation:
    """Messages of a conversation, and the schemas of its tools. A message of the assistant with weight 0 is
    context and not learnt.
    """

    messages: tuple[Message, ...]
    tools: tuple | None = None


@dataclass
class Found(Generic[T]):
    """What a file held: the records in one shape, which forms they had, and what was left out of them."""

    kind: str
    records: list[T] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    forms: Counter = field(default_factory=Counter)
    dropped: Counter = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def told(self, what: str) -> str:
        """In a line, what was recognised, and how much."""
        forms = ", ".join(f"{n} × {form}" if len(self.forms) > 1 else form for form, n in self.forms.items())
        line = f"{len(self.records)} {what} from {self.kind} ({forms})"
        if self.dropped:
            line += "; left out: " + ", ".join(f"{name} ({n} ×)" for name, n in self.dropped.most_common())
        return line + (f"; {len(self.bad)} bad ones skipped, the first: {self.bad[0]}" if self.bad else "")


def conversations(path: str, skip_bad: bool = False) -> Found[Conversation]:
    """The conversations of a file. Raises UserError with file, line and what is wrong with the record."""
    return _all(path, _conversation, skip_bad)


def pairs(path: str, skip_bad: bool = False) -> Found[Turns]:
    """The pairs of a file. Raises UserError with file, line and what is wrong with the record."""
    return _all(path, _pair, skip_bad)


def _all(path: str, shape: Callable, skip_bad: bool) -> Found:
    kind, rows = files.read(path)
    found: Found = Found(kind)
    if shape is _pair:
        rows = _labelled(rows, found, skip_bad)
    for record in rows:
        try:
            if record.why:
                raise Bad(record.why)
            form, made, used = shape(record.fields)
        except (Bad, KeyError, TypeError, AttributeError, RecursionError) as e:
            _refuse(found, record.where, _said(e), skip_bad)
            continue
        found.records.append(made)
        found.places.append(record.where)
        found.forms[form] += 1
        found.dropped.update(
            k for k, v in record.fields.items() if k not in used and v not in (None, "", [], {})
        )
    return found


def _said(e: Exception) -> str:
    return (
        str(e)
        if isinstance(e, Bad)
        else f"a part of it is missing or has another type ({type(e).__name__}: {e})"
    )


def _refuse(found: Found, where: str, why: str, skip_bad: bool) -> None:
    if not skip_bad:
        raise UserError(f"{where}: {why}; mend it, or leave such records out with --skip_bad")
    found.bad.append(f"{where}: {why}")


# --- conversations
# ----------------------------------------------------------------------------------------------------

Shaped = tuple[str, Any, set[str]]  # form, what was made, the fields that were used


def _conversation(fields: dict) -> Shaped:
    """One record as a conversation."""
    form, messages, used = _spoken(fields)
    tools, mine = _tools(fields)
    if system := fields.get("system") or fields.get("system_prompt"):
        messages = _with_system(messages, system)
    if not any(m["role"] == "assistant" for m in messages):
        raise Bad("nobody answers in it: it has no message of the assistant")
    if not any(m["role"] == "assistant" and m.get("weight", 1) for m in messages):
        raise Bad("every answer in it has weight 0, so nothing of it would be learnt")
    return form, Conversation(tuple(messages), tools), used | mine | {"system", "system_prompt"}


def _spoken(fields: dict) -> tuple[str, list[Message], set[str]]:
    if isinstance(fields.get("messages"), (list, str)):
        return "messages", _messages(fields["messages"]), {"messages"}
    for name in ("conversations", "conversation"):
        if isinstance(fields.get(name), (list, str)):
            return "ShareGPT", _messages(fields[name]), {name}
    if "instruction" in fields and ("output" in fields or "response" in fields):
        asked = "\n\n".join(filter(None, (fields["instruction"], fields.get("input"))))
        answer = fields.get("output", fields.get("response"))
        history = _history(fields.get("history"))
        used = {"instruction", "input", "output", "response", "history"}
        return "Alpaca", [*history, *_as(asked, "user"), *_as(answer, "assistant")], used
    for asked, answer in (("prompt", "completion"), ("prompt", "response"), ("question", "answer")):
        if asked in fields and answer in fields:
            form = f"{asked} and {answer}"
            return form, [*_as(fields[asked], "user"), *_as(fields[answer], "assistant")], {asked, answer}
    if "chosen" in fields and "rejected" in fields:
        raise Bad("it is a pair of answers; llmlab run pairs learns from those")
    if "text" in fields:
        raise Bad("it is a plain text without roles; llmlab run cpt reads those")
    raise Bad(
        f"it has the fields {', '.join(map(str, fields)) or 'none'}, and none of messages, conversations,"
        " instruction and output, prompt and completion"
    )


def _messages(found) -> list[Message]:
    if isinstance(found, str):
        found = _json(found, "its messages are text that is not JSON")
    if not isinstance(found, list) or not found:
        raise Bad("its list of messages is empty, or no list")
    return [_message(m) for m in found]


def _message(found) -> Message:
    """A message of OpenAI's or ShareGPT's form."""
    if not isinstance(found, dict):
        raise Bad(f"a message of it is a {type(found).__name__}, not an object")
    said = found.get("role", found.get("from"))
    role = ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        raise Bad(f"a message has the role '{said}'; known are {', '.join(ROLES)}")
    content = found.get("content", found.get("value"))
    calls = found.get("tool_calls") or ([found["function_call"]] if found.get("function_call") else [])
    made: Message = {
        "role": role,
        "content": _content(content if content is not None else found.get("refusal")),
    }
    made |= {k: found[k] for k in KEPT if found.get(k) is not None}
    if found.get("train") is False or found.get("weight") == 0:
        made["weight"] = 0
    elif made.get("weight") not in (None, 1):
        raise Bad(f"a message has the weight {made['weight']}; 0 (context) and 1 (learnt) are known")
    return made | ({"tool_calls": [_call(c) for c in calls]} if calls else {})


def _content(content) -> str:
    """Content as text: a list of parts is joined if all of them are text."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise Bad(f"content is a {type(content).__name__}, not text")
    for part in content:
        kind = part.get("type", "") if isinstance(part, dict) else "text"
        if any(medium in str(kind) for medium in MEDIA) or (isinstance(part, dict) and "image_url" in part):
            raise Bad(f"content is a list with a part of type {kind}; only text can be learnt here")
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in content)


def _call(found) -> dict:
    """A tool call; a legacy function_call is the function alone."""
    function = found.get("function", found)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json(
            arguments or "{}", f"the arguments of the call of {function.get('name')} are not JSON"
        )
    if not isinstance(function.get("name"), str) or not isinstance(arguments, dict):
        raise Bad("a tool call has no name, or arguments that are no object")
    more = {k: found[k] for k in ("id",) if k in found}
    return more | {"type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _tools(fields: dict) -> tuple[tuple | None, set[str]]:
    """Schemas of tools, also as a string of JSON, or legacy functions."""
    found = fields.get("tools") or fields.get("functions")
    if isinstance(found, str):
        found = _json(found, "its tools are text that is not JSON")
    if not found:
        return None, {"tools", "functions"}
    if not isinstance(found, list) or not all(isinstance(t, dict) for t in found):
        raise Bad("its tools are no list of schemas")
    wrapped = [t if "function" in t else {"type": "function", "function": t} for t in found]
    if not all(isinstance(t["function"].get("name"), str) for t in wrapped):
        raise Bad("one of its tools has no name")
    return tuple(_with_parameters(t) for t in wrapped), {"tools", "functions"}


def _with_parameters(tool: dict) -> dict:
    function = tool["function"]
    empty = {"type": "object", "properties": {}}
    return {**tool, "function": {**function, "parameters": function.get("parameters") or empty}}


def _json(text: str, otherwise: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Bad(otherwise) from None


def _as(found, role: str) -> list[Message]:
    """Words of a role, a message, or a list of messages, as messages."""
    if isinstance(found, str):
        return [{"role": role, "content": found}]
    return [_message(found)] if isinstance(found, dict) else _messages(found)


def _history(turns) -> list[Message]:
    """Earlier turns as LLaMA-Factory writes them: [question, answer] each."""
    return [m for q, a in turns or () for m in (*_as(q, "user"), *_as(a, "assistant"))]


def _with_system(messages: list[Message], words) -> list[Message]:
    if not isinstance(words, str):
        raise Bad("its system field is not text")
    if messages and messages[0]["role"] == "system":
        if messages[0]["content"] != words:
            raise Bad("it has a system field and another system message")
        return messages
    return [{"role": "system", "content": words}, *messages]


# --- pairs
# ------------------------------------------------------------------------------------------------------------


def _pair(fields: dict) -> Shaped:
    """One record as a pair of last turns."""
    if isinstance(fields.get("completions"), list):
        return _scored(fields)
    if "chosen" not in fields or "rejected" not in fields:
        raise Bad(
            f"it has the fields {', '.join(map(str, fields)) or 'none'}, and not chosen and rejected, nor"
            " scored completions, nor a label"
        )
    form, before, used = _before(fields)
    chosen, rejected = (_side(fields[side]) for side in ("chosen", "rejected"))
    if before == [] and len(chosen) > 1:
        form += ", prompt inside"
    if chosen[:-1] != rejected[:-1]:
        raise Bad("chosen and rejected differ before their last message, so they answer different things")
    again = chosen[: len(before)] == before  # some files write the prompt into both sides once more
    messages = chosen[:-1] if again and len(chosen) > len(before) else before + chosen[:-1]
    if system := fields.get("system") or fields.get("system_prompt"):
        messages = _with_system(messages, system)
    tools, mine = _tools(fields)
    return (
        form,
        _answers(messages, chosen[-1], rejected[-1], tools),
        used
        | mine
        | {
            *("chosen", "rejected", "system", "system_prompt"),
        },
    )


def _answers(messages: list[Message], chosen: Message, rejected: Message, tools) -> Turns:
    if chosen == rejected:
        raise Bad("chosen and rejected are the same, so nothing can be learnt from it")
    if any(m["role"] != "assistant" for m in (chosen, rejected)):
        raise Bad("the last message of chosen or rejected is not the assistant's")
    if not messages or messages[-1]["role"] == "assistant":
        raise Bad("nothing is asked in it: a prompt has to stand before both answers")
    return tuple(messages), chosen, rejected, list(tools) if tools else None


def _before(fields: dict) -> tuple[str, list[Message], set[str]]:
    """(form, messages before both answers, fields used)."""
    history = _history(fields.get("history"))
    for name in ("conversations", "conversation"):
        if name in fields:
            return "ShareGPT pairs", [*history, *_messages(fields[name])], {name, "history"}
    for name in ("prompt", "question", "instruction"):
        if name not in fields:
            continue
        words = fields[name]
        if name == "instruction" and fields.get("input"):
            words = f"{words}\n\n{fields['input']}"
        if isinstance(words, str) and TRANSCRIPT.match(words):
            return "transcripts (Human, Assistant)", _transcript(words), {name}
        return f"{name}, chosen, rejected", [*history, *_as(words, "user")], {name, "input", "history"}
    return "chosen and rejected", history, {"history"}


def _side(found) -> list[Message]:
    """One side of a pair: an answer, a message, messages, or a transcript."""
    if isinstance(found, str):
        return _transcript(found) if TRANSCRIPT.match(found) else _as(found.strip(" "), "assistant")
    return _as(found, "assistant")


def _transcript(text: str) -> list[Message]:
    """HH's transcripts: turns behind Human and Assistant. An empty last turn waits for an answer."""
    _, *parts = TRANSCRIPT.split(text)
    turns = [(who, words.strip()) for who, words in zip(parts[::2], parts[1::2])]
    if turns and turns[-1] == ("Assistant", ""):
        turns.pop()
    return [{"role": "user" if who == "Human" else "assistant", "content": words} for who, words in turns]


def _scored(fields: dict) -> Shaped:
    """UltraFeedback: the completion with the highest score against the one with the lowest."""
    asked = next((fields[k] for k in ("instruction", "prompt") if k in fields), None)
    scored = [
        (score, {"role": "assistant", "content": words})
        for c in fields["completions"]
        if (score := _score(c)) is not None and isinstance(words := c.get("response", c.get("text")), str)
    ]
    if asked is None or len(scored) < 2:
        raise Bad("it has less than two completions with a score and words, or no instruction")
    scored.sort(key=lambda c: -c[0])
    (high, best), (low, worst) = scored[0], scored[-1]
    if high == low:
        raise Bad("all its completions have the same score, so none is better")
    made = _answers(_as(asked, "user"), best, worst, None)
    return "scored completions", made, {"instruction", "prompt", "completions"}


def _score(completion: dict) -> float | None:
    for name in ("overall_score", "score", "fine-grained_score", "rating"):
        if isinstance(completion.get(name), (int, float)):
            return float(completion[name])
    return None


def _labelled(rows: Iterable[Record], found: Found, skip_bad: bool) -> list[Record]:
    """KTO's answers with a label: of every prompt the good ones beside the bad ones, in turn. A prompt that
    has one kind only gives no pair; without any pair the file is refused.
    """
    rows = list(rows)
    sides: dict[str, dict[bool, list[Record]]] = {}
    labelled = [
        r for r in rows if "label" in r.fields and "completion" in r.fields and "chosen" not in r.fields
    ]
    if not labelled:
        return rows
    for r in labelled:
        if not isinstance(r.fields["label"], (bool, int)):
            raise UserError(f"{r.where}: its label is neither true nor false")
        key = json.dumps(r.fields.get("prompt"), sort_keys=True, ensure_ascii=False)
        sides.setdefault(key, {True: [], False: []})[bool(r.fields["label"])].append(r)
    made = [
        Record(
            f"{good.where} with {bad.where.rpartition(', ')[2]}",
            {
                "prompt": good.fields.get("prompt"),
                "chosen": good.fields["completion"],
                "rejected": bad.fields["completion"],
            },
        )
        for two in sides.values()
        for good, bad in zip(two[True], two[False])
    ]
    if not made:
        raise UserError(
            f"{labelled[0].where} and the others are answers with a label (KTO), and no prompt has a good"
            " and a bad one, so they make no pairs; TRL's KTOTrainer learns from such a file"
        )
    alone = len(labelled) - 2 * len(made)
    if alone:
        found.dropped["answers without a counterpart"] += alone
    return made + [r for r in rows if r not in labelled]
