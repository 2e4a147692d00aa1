"""Messages to tokens and mask: the only place where masks of messages are made, for our template and for
anybody else's.

A base model without a template gets the plain form of the general corpus instead: 'Question: …\\nAnswer: ….'
"""

import os

from jinja2 import TemplateError

from ..errors import UserError
from ..world.base import Message
from .special import TEMPLATE, document_end

SENTINEL = "zqxsentinelxqz"


class NoTemplate(UserError):
    """A conversation was to be rendered with a tokenizer that has no chat template, or one that refuses
    it.
    """


def render(tok, messages, tools=None, prompt: bool = False, thinking: bool = False) -> str:
    """The conversation as text. `prompt`: end where the assistant is to begin. Thinking is switched off where
    a template knows it.
    """
    if not tok.chat_template:
        raise NoTemplate(
            "this model's tokenizer has no chat template; choose a chat model, or set tok.chat_template"
        )
    try:
        return tok.apply_chat_template(
            list(messages),
            tools=tools,
            tokenize=False,
            add_generation_prompt=prompt,
            enable_thinking=thinking,
        )
    except TemplateError as e:
        raise NoTemplate(
            f"this model's chat template refuses the conversation ({e}); choose another model, or set"
            " tok.chat_template"
        ) from None


def turn_end(tok) -> str:
    """The text with which the template closes an assistant turn, such as <|im_end|>."""
    closed = render(tok, [{"role": "user", "content": "a"}, {"role": "assistant", "content": SENTINEL}])
    return closed.split(SENTINEL)[1].strip()


def assistant_spans(tok, messages, tools=None) -> list[tuple[int, int]]:
    """Character spans of the assistant turns, each with its closing token, in `render(tok, messages, tools)`.

    A turn begins where the generation prompt before it ends: what the model is given at inference is never
    trained, whatever
    the template writes there.
    """
    full, closing, spans = render(tok, messages, tools), turn_end(tok), []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            start = _turn_start(tok, full, messages[:i], tools)
            end = full.find(closing, start) if closing else -1
            spans.append((start, end + len(closing) if end >= 0 else len(full)))
    return spans


def _turn_start(tok, full, before, tools) -> int:
    """Length of the generation prompt after `before`, as it stands in the full text: with an empty think
    block, or, in earlier turns, without one.
    """
    for thinking in (False, True):
        head = render(tok, before, tools, prompt=True, thinking=thinking)
        if full.startswith(head):
            return len(head)
    return len(os.path.commonprefix([full, head]))


def encode(tok, messages, tools=None) -> tuple[list[int], list[int]]:
    """ids and mask (1 = written by the assistant, its stop token included) of a conversation.

    Our own template marks its assistant turns ({% generation %}), others are searched for them: the marks of
    foreign templates often leave
    the stop token out.
    """
    if tok.chat_template == TEMPLATE:
        out = tok.apply_chat_template(
            list(messages), tools=tools, return_dict=True, return_assistant_tokens_mask=True
        )
        return out["input_ids"], out["assistant_masks"]
    text = render(tok, messages, tools)
    spans = assistant_spans(tok, messages, tools)
    out = tok(text, add_special_tokens=False, return_offsets_mapping=True)
    mask = [int(any(a < e and s < b for a, b in spans)) if e > s else 0 for s, e in out["offset_mapping"]]
    return out["input_ids"], mask


def plain(messages) -> str:
    """The plain form of the general corpus up to the answer: what stands above the question's last line is
    context, and stays above it.
    """
    *context, question = messages[-1]["content"].split("\n")
    return "\n".join([*context, f"Question: {question}", "Answer:"])


def prompt(tok, messages, tools=None) -> list[int]:
    """Ids up to where the answer begins: chat form, or the plain form if the tokenizer has no template."""
    text = render(tok, messages, tools, prompt=True) if tok.chat_template else plain(messages)
    return tok(text, add_special_tokens=False)["input_ids"]


def example(tok, messages, answer: list[Message], tools=None) -> tuple[list[int], list[int]]:
    """ids and mask of a question with its answer: the chat's assistant turns, or the plain form's answer with
    its full stop.
    """
    if tok.chat_template:
        return encode(tok, [*messages, *answer], tools)
    return continuation(tok, plain(messages), f" {answer[-1]['content'].removesuffix('.')}.")


def continuation(tok, head: str, tail: str) -> tuple[list[int], list[int]]:
    """ids and mask of tail after head, tokenised together (apart, the pieces at the seam would differ)."""
    out = tok(head + tail, add_special_tokens=False, return_offsets_mapping=True)
    return out["input_ids"], [int(e > len(head)) for _, e in out["offset_mapping"]]


def added(tok, messages, new: list[Message], tools=None) -> list[int]:
    """Ids that `new` tool or user turns add after `messages`, up to the next generation prompt: rollouts
    append, never re-encode.

    Raises NoTemplate if the template is not prefix-preserving (it would rewrite what was already sampled).
    """
    closing = turn_end(tok)
    before, after = render(tok, messages, tools), render(tok, [*messages, *new], tools, prompt=True)
    kept = before[: before.rfind(closing) + len(closing)]
    if not after.startswith(kept):
        raise NoTemplate(
            "this chat template rewrites earlier turns, so a sampled conversation cannot be continued; use a"
            " prefix-preserving template"
        )
    return tok(after[len(kept) :], add_special_tokens=False)["input_ids"]


def stop_ids(tok) -> set[int]:
    """Ids that end an answer: end of text, eos, the end of a turn, and for the plain form every piece with a
    line break.
    """
    stops = {document_end(tok), tok.eos_token_id} - {None}
    if not tok.chat_template:
        return stops | {i for i in range(len(tok)) if "\n" in tok.decode([i])}
    return stops | {
        i
        for i in tok(turn_end(tok), add_special_tokens=False)["input_ids"][:1]
        if i in tok.all_special_ids or i in tok.added_tokens_decoder
    }
