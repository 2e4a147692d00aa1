"""Spans: which part of a rendered conversation each message wrote, told by the chat template itself.

The template's loops are made to say, while they render, whose message begins and ends; the text stays what it
is. So no text is searched for, and an answer that quotes a control token, or repeats the question, is no
special case.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import Template, nodes

OPEN, SHUT = "\ue000", "\ue001"  # private characters around a loop's number; never part of a template
MARK = re.compile(f"{OPEN}(\\d+):(\\d+){OPEN}|{SHUT}(\\d+){SHUT}|[^{OPEN}{SHUT}]+")


class Part(NamedTuple):
    """Characters start to end, written while the template was at a message; None between messages."""

    start: int
    end: int
    message: int | None


def parts(template: str, messages: list[dict], settings: dict[str, Any]) -> tuple[str, list[Part]]:
    """(text, whose it is) of messages under a template. A loop inside another one's message has its own part:
    a tool's result that is written into the turn that called it stays the tool's.
    """
    place = {id(m): i for i, m in enumerate(messages)}
    entered: set[int] = set()

    def opened(loop: int, item) -> str:
        if id(item) not in place:
            return ""
        entered.add(loop)
        return f"{OPEN}{loop}:{place[id(item)]}{OPEN}"

    def shut(loop: int) -> str:
        if loop not in entered:
            return ""
        entered.discard(loop)
        return f"{SHUT}{loop}{SHUT}"

    marks = {"llmlab_opened": opened, "llmlab_shut": shut}
    return _read(_marked(template).render(messages=messages, **settings, **marks))


def _read(marked: str) -> tuple[str, list[Part]]:
    text, found = "", []
    inside: list[tuple[str, int]] = []  # (loop, message), the innermost last
    for mark in MARK.finditer(marked):
        loop, message, over = mark.groups()
        if loop:
            inside = [*_left(inside, loop), (loop, int(message))]
        elif over:
            inside = _left(inside, over)
        else:
            found.append(Part(len(text), len(text) + len(mark[0]), inside[-1][1] if inside else None))
            text += mark[0]
    return text, found


def _left(inside: list[tuple[str, int]], loop: str) -> list[tuple[str, int]]:
    """What is still open when an iteration of this loop ends."""
    at = next((i for i, (number, _) in enumerate(inside) if number == loop), len(inside))
    return inside[:at]


@lru_cache(maxsize=32)
def _marked(template: str) -> Template:
    """The template with its loops marked, in the sandbox in which transformers renders it."""
    from transformers.utils import chat_template_utils

    environment = chat_template_utils._compile_jinja_template(template).environment
    tree = environment.parse(template)
    _mark(tree)
    for node in tree.find_all(nodes.Node):
        node.lineno, node.environment = node.lineno or 1, environment
    return environment.from_string(tree)


def _mark(node: nodes.Node) -> None:
    """Every loop under the node says when it takes up an item and when it is done with it."""
    for child in list(node.iter_child_nodes()):
        _mark(child)
    for name in ("body", "else_"):
        body = getattr(node, name, None)
        if isinstance(body, list):
            setattr(node, name, [n for child in body for n in _with_end(child)])
    if isinstance(node, nodes.For):
        item = nodes.Name(node.target.name, "load") if isinstance(node.target, nodes.Name) else _NONE()
        node.body = [
            _said("llmlab_opened", _number(node), item),
            *node.body,
            _said("llmlab_shut", _number(node)),
        ]


def _with_end(node: nodes.Node) -> list[nodes.Node]:
    """A loop with its end, which a `break` reaches too."""
    return [node, _said("llmlab_shut", _number(node))] if isinstance(node, nodes.For) else [node]


def _number(loop: nodes.For) -> nodes.Const:
    return nodes.Const(id(loop))


def _NONE() -> nodes.Const:
    return nodes.Const(None)


def _said(name: str, *arguments: nodes.Expr) -> nodes.Output:
    return nodes.Output([nodes.Call(nodes.Name(name, "load"), list(arguments), [], None, None)])
