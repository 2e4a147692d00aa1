"""Render: a conversation as the text of a model's chat template, whatever form the template wants."""

import json
from functools import lru_cache
from typing import NamedTuple

from jinja2 import TemplateError

from ..errors import UserError
from ..world.base import Message

SENTINEL = "zqxsentinelxqz"


class NoTemplate(UserError):
    """A conversation was to be rendered with a tokenizer that has no chat template, or one that refuses
    it.
    """


class Form(NamedTuple):
    """How a template wants its messages: content as text or as a list of parts, arguments of calls as an
    object or as a string of JSON.
    """

    parts: bool = False
    strings: bool = False

    def of(self, messages) -> list[dict]:
        """The messages in this form."""
        return [self._message(m) for m in messages]

    def _message(self, message: Message) -> dict:
        found = {**message, "content": message.get("content") or ""}
        if self.parts and isinstance(found.get("content"), str):
            found["content"] = [{"type": "text", "text": found["content"]}]
        if found.get("tool_calls"):
            found["tool_calls"] = [self._call(call) for call in found["tool_calls"]]
        return found

    def _call(self, call: dict) -> dict:
        arguments = call["function"]["arguments"]
        found = read_arguments(arguments)
        if self.strings:
            found = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return {**call, "function": {**call["function"], "arguments": found}}


def read_arguments(arguments):
    """Arguments of a call as the object that a string of JSON stands for; anything else as it is."""
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


PROBE = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": SENTINEL},
    {"role": "user", "content": "b"},
)
CALL = {"id": "c1aaaaaaa", "type": "function", "function": {"name": "f", "arguments": {"x": SENTINEL}}}
CALLING = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1aaaaaaa", "name": "f", "content": "b"},
)


def form(tok) -> Form:
    """The form that the tokenizer's template wants, found by trying."""
    return _form(tok.chat_template, json.dumps(special(tok)))


@lru_cache(maxsize=64)
def _form(template: str, special: str) -> Form:
    settings = json.loads(special)
    content = Form() if _shows(template, Form(), PROBE, settings) else Form(parts=True)
    if not _shows(template, content, PROBE, settings):
        content = Form()
    strings = content._replace(strings=True)
    return (
        strings
        if not _shows(template, content, CALLING, settings) and _shows(template, strings, CALLING, settings)
        else content
    )


def _shows(template: str, form: Form, messages, special: dict) -> bool:
    """Does the template render the messages in this form, and show what it is to show?"""
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        texts = render_jinja_template([form.of(messages)], chat_template=template, **special)[0]
    except Exception:  # a template is a program of somebody else's: it may raise anything
        return False
    return SENTINEL in texts[0]


def special(tok) -> dict[str, str]:
    return {k: v for k, v in tok.special_tokens_map.items() if isinstance(v, str)}


def render(tok, messages, tools=None, prompt: bool = False, thinking: bool = False) -> str:
    """The conversation as text. `prompt`: end where the assistant is to begin. Thinking is switched off where
    a template knows it. Raises NoTemplate.
    """
    if not tok.chat_template:
        raise NoTemplate(
            "this model's tokenizer has no chat template; choose a chat model, or set tok.chat_template"
        )
    try:
        return tok.apply_chat_template(
            form(tok).of(messages),
            tools=tools,
            tokenize=False,
            add_generation_prompt=prompt,
            enable_thinking=thinking,
        )
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError) as e:
        raise NoTemplate(
            f"this model's chat template refuses the conversation ({e}); choose another model, or set"
            " tok.chat_template"
        ) from None


def turn_end(tok) -> str:
    """The text with which the template closes an assistant turn, such as <|im_end|>."""
    closed = render(tok, [{"role": "user", "content": "a"}, {"role": "assistant", "content": SENTINEL}])
    return closed.split(SENTINEL)[1].strip()
