"""Turns: what of a rendered conversation the assistant wrote, each turn proven: it holds its whole answer and
nothing that the model is given at inference.
"""

import json
from typing import NamedTuple

from ..errors import UserError
from . import spans
from .render import NoTemplate, form, read_arguments, render, special

REASONING = ("reasoning_content", "reasoning", "thinking")  # names under which a message may carry it


ASKED = ({"role": "user", "content": "a"},)


class NoMask(UserError):
    """It cannot be said which part of a conversation the assistant wrote; the message names which one."""


class Turn(NamedTuple):
    """Characters start to end that the assistant wrote of message number `message`, the text that closes the
    turn included.
    """

    start: int
    end: int
    message: int


def assistant_spans(tok, messages, tools=None) -> list[Turn]:
    """The assistant's turns in `render(tok, messages, tools)`.

    A turn begins where the generation prompt before it ends: what the model is given at inference is never
    trained, whatever the template writes there. It ends with the last character of its own that is no blank.
    A message with `weight` 0 is context. Raises NoMask where a turn does not show its whole answer, or holds
    words of somebody else's.
    """
    found = _checked(tok, *_written(tok, messages, tools), messages, tools)
    return [turn for turn in found if messages[turn.message].get("weight", 1)]


def _written(tok, messages, tools) -> tuple[str, list[spans.Part]]:
    """(text, whose it is). Raises NoMask where the template cannot be followed."""
    text = render(tok, messages, tools)
    settings = dict(tools=tools, documents=None, add_generation_prompt=False, enable_thinking=False)
    found, whose = spans.parts(
        tok.chat_template, _with_reasoning(form(tok).of(messages)), settings | special(tok)
    )
    if found != text:
        raise NoMask(
            "this model's chat template changes its text when it is followed through its messages, so no mask"
            " can be made; set tok.chat_template to another one"
        )
    return text, whose


def _with_reasoning(messages: list[dict]) -> list[dict]:
    """Reasoning under every name that a template may ask for, as transformers has it."""
    found = []
    for m in messages:
        thought = next((m[k] for k in REASONING if m.get(k) is not None), None)
        found.append(m if thought is None else {"thinking": thought, **m, "reasoning_content": thought})
    return found


def _checked(tok, text: str, whose: list[spans.Part], messages, tools):
    """The turns of the assistant, each proven. Yields Turn. Raises NoMask."""
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        own = [p for p in whose if p.message == i]
        if not own:
            raise NoMask(f"this model's chat template shows nothing of message {i + 1} (assistant)")
        start, end = own[0].start, own[-1].end
        region = text[start:end]
        if len(own) > 1 or _others_inside(text, whose, messages, i):
            region = _alone(tok, region, messages, tools, i)
        region = region[: len(region.rstrip()) or len(region)]
        head = _head(tok, region, message, messages[:i], tools)
        _prove(region[head:], message, i)
        yield Turn(start + head, _with_stop(tok, text, start + len(region)), i)


def _others_inside(text: str, whose: list[spans.Part], messages, i: int) -> bool:
    """Do results of tools stand in this turn? They do where the template never comes to their messages."""
    for j in range(i + 1, len(messages)):
        if messages[j]["role"] != "tool":
            return False
        if not any(p.message == j and text[p.start : p.end].strip() for p in whose):
            return True
    return False


def _alone(tok, region: str, messages, tools, i: int) -> str:
    """What of the region stands there too when no tool answers the message: its own part."""
    answers = next((j for j in range(i + 1, len(messages)) if messages[j]["role"] != "tool"), len(messages))
    found = ""
    for without in (messages[: i + 1], [*messages[: i + 1], *messages[answers:]]):
        try:
            text, whose = _written(tok, without, tools)
        except NoTemplate:
            continue  # some ask for a result behind every call
        own = [p for p in whose if p.message == i]
        same = _common(region, text[own[0].start : own[-1].end]) if own else ""
        found = max(found, same, key=len)
    return found


def _head(tok, region: str, message, before, tools) -> int:
    """Length of the generation prompt with which the region begins. Where the template writes another one
    than at inference, as far as both agree, in whole tokens.
    """
    prompts = [
        p
        for asked in (before, ASKED)  # behind a tool's result some templates give none
        for thinking in (False, True)
        if (p := _prompt(tok, asked, tools, thinking))
    ]
    whole = [len(p) for p in prompts if region.startswith(p)]
    if whole:
        return max(whole)
    for p in prompts:  # behind a blank, or what closes the turn before
        at = region.find(p.strip())
        if 0 <= at and not any(w in region[:at] for w in _wanted(message)):
            return at + len(p.rstrip() if not region.startswith(p.lstrip(), at) else p.lstrip())
    best = max(prompts, key=lambda p: len(_common(region, p)), default="")
    agreed = len(_common(region, best))
    ends = [e for _, e in tok(best, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]]
    return max((e for e in ends if e <= agreed), default=0)


def _prompt(tok, before, tools, thinking: bool) -> str:
    """What the template adds behind these messages for the assistant to go on."""
    try:
        without = render(tok, before, tools, thinking=thinking)
        there = render(tok, before, tools, prompt=True, thinking=thinking)
    except NoTemplate:  # nothing before, or no place to begin a turn
        return ""
    return there[len(_common(without, there)) :]


def _common(one: str, other: str) -> str:
    n = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    return one[:n]


def _with_stop(tok, text: str, end: int) -> int:
    """The end, behind the end-of-sequence token where that stands outside the template's loop."""
    eos = tok.eos_token or ""
    return end + len(eos) if eos and text.startswith(eos, end) and not text[:end].endswith(eos) else end


def _words(message) -> str:
    """The words of a message, whatever form they have."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))


def _wanted(message) -> list[str]:
    """What must stand in the turn: the answer (behind its thoughts), and the name and words of every call."""
    answer = _words(message).rpartition("</think>")[2].strip()
    said = [answer]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        said += [function["name"], *_leaves(read_arguments(function.get("arguments")))]
    return [words for words in said if words]


def _leaves(value) -> list[str]:
    if isinstance(value, dict):
        return [w for v in value.values() for w in _leaves(v)]
    if isinstance(value, list):
        return [w for v in value for w in _leaves(v)]
    return [value.strip()] if isinstance(value, str) else []


def _prove(region: str, message, i: int) -> None:
    """Raises NoMask unless the whole answer stands in the region."""
    for wanted in _wanted(message):
        if not any(w in region for w in (wanted, _escaped(wanted, True), _escaped(wanted, False))):
            raise NoMask(
                f"this model's chat template does not show the whole of message {i + 1} (assistant):"
                f" '{wanted[:40]}' is missing, so it would not be trained"
            )


def _escaped(words: str, ascii_only: bool) -> str:
    return json.dumps(words, ensure_ascii=ascii_only)[1:-1]


def dropped_reasoning(tok, messages, tools=None) -> int:
    """Messages whose thoughts the template leaves out of the text, and that are not trained therefore."""
    text = render(tok, messages, tools)
    thoughts = [next((m[k] for k in REASONING if m.get(k)), "") for m in messages]
    thoughts += [_words(m).rpartition("</think>")[0].rpartition("<think>")[2] for m in messages]
    return sum(bool(t.strip()) and t.strip() not in text for t in thoughts)
