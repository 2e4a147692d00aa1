"""Conversations to one batch for SFT: which tokens are imitated, how what is too long is cut, and how short
ones are packed.

A label is the id of a token that is imitated and -100 (`IGNORED`, what transformers and TRL write) of one
that is not; our mask says the same with 1 and 0.
"""

import re
from typing import Sequence

from torch import Tensor

from ..errors import UserError
from ..world.base import Message
from . import chat
from .batch import Batch
from .pack import pack_examples

IGNORED = -100
IMITATED = ("assistant", "all", "completion", "calls", "json")
CUTS = ("right", "left", "middle")
CALL = re.compile(r"<tool_call>.*?</tool_call>", re.DOTALL)


class TooLong(UserError):
    """A conversation whose answer alone is longer than a row."""


def encode(
    tok, messages: Sequence[Message], tools=None, imitate: str = "assistant"
) -> tuple[list[int], list[int]]:
    """ids and mask of a conversation.

    assistant   what the assistant writes, each turn with its closing token
    all         every token: the user's turns and the tools' results too
    completion  every token from the first answer on: the tools' results too, as where everything after the
    prompt is called the completion
    calls       of the assistant's turns only the tool calls, closing token included: not the words or
    thoughts before a call
    json        of the assistant's turns only the first JSON object, from bracket to bracket, without the
    closing token
    """
    if imitate not in IMITATED:
        raise ValueError(f"imitate is one of {', '.join(IMITATED)}, not '{imitate}'")
    ids, mask = chat.encode(tok, messages, tools)
    if imitate == "all":
        return ids, [1] * len(ids)
    if imitate == "assistant":
        return ids, mask
    if imitate == "completion":
        first = mask.index(1) if 1 in mask else len(mask)
        return ids, [0] * first + [1] * (len(ids) - first)
    text = chat.render(tok, messages, tools)
    turns, closing = chat.assistant_spans(tok, messages, tools), chat.turn_end(tok)
    spans = [
        s
        for turn in turns
        for s in (
            _calls(text, turn.start, turn.end, closing)
            if imitate == "calls"
            else _json(text, turn.start, turn.end)
        )
    ]
    offsets = tok(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return ids, [int(b > a and any(a < e and s < b for s, e in spans)) for a, b in offsets]


def _calls(text: str, start: int, end: int, closing: str) -> list[tuple[int, int]]:
    """Spans of the calls of a turn; the last one reaches to the turn's end, so that the model learns to stop
    there.
    """
    found = [(start + m.start(), start + m.end()) for m in CALL.finditer(text[start:end])]
    return (
        [*found[:-1], (found[-1][0], end)] if found and text[found[-1][1] : end].strip() == closing else found
    )


def _json(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Span of the first JSON object of a turn; none if no bracket closes."""
    depth, first, quoted, escaped = 0, -1, False, False
    for i in range(start, end):
        c = text[i]
        if quoted:
            quoted, escaped = not (c == '"' and not escaped), c == "\\" and not escaped
        elif c == '"' and depth:
            quoted = True
        elif c == "{":
            first, depth = i if first < 0 else first, depth + 1
        elif c == "}" and depth:
            depth -= 1
            if not depth:
                return [(first, i + 1)]
    return []


def labels(ids: Tensor, mask: Tensor) -> Tensor:
    """What transformers calls labels [B,T]: the id where the mask is 1, else -100. (The shift by one happens
    in the model.)
    """
    return ids.masked_fill(mask == 0, IGNORED)


def cut(ids: list[int], mask: list[int], length: int, how: str) -> tuple[list[int], list[int]]:
    """At most `length` tokens of an example.

    right   the end is lost, and with it the answer
    left    the beginning is lost: the system prompt, the tools, the first turns
    middle  the end is kept up to half the row, or as far back as the last imitated turn reaches; the rest of
    the row is the beginning.
            Raises TooLong if that turn alone fills more than the row.
    """
    if how not in CUTS:
        raise ValueError(f"cut is one of {', '.join(CUTS)}, not '{how}'")
    if len(ids) <= length:
        return ids, mask
    if how == "right":
        return ids[:length], mask[:length]
    answer = (
        0 if all(mask) else _last_turn(mask)
    )  # where every token is imitated no turn is kept before others
    tail = length if how == "left" else max(length - length // 2, answer)
    if tail > length:
        raise TooLong(
            f"the answer has {tail} tokens, a row {length}; choose longer rows or shorten the answer"
        )
    head = length - tail
    return ids[:head] + ids[len(ids) - tail :], mask[:head] + mask[len(ids) - tail :]


def _last_turn(mask: list[int]) -> int:
    """Tokens from the beginning of the last imitated run to the end; 0 if nothing is imitated."""
    end = max((i for i, m in enumerate(mask) if m), default=-1)
    start = end
    while start > 0 and mask[start - 1]:
        start -= 1
    return len(mask) - start if end >= 0 else 0


def collate(
    tok,
    examples: list[tuple[list[int], list[int]]],
    *,
    length: int,
    how: str = "middle",
    packed: bool = False,
) -> Batch:
    """(ids, mask) examples as one batch: a row each, padded to the longest; or `packed` whole into rows of
    `length`, attention inside each.
    """
    rows, fill = [cut(ids, mask, length, how) for ids, mask in examples], tok.pad_token_id or 0
    if packed:
        return pack_examples(rows, length=length, fill=fill)
    return Batch.of_rows(tok, rows)
