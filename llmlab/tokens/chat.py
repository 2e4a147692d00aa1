"""Messages to tokens and the mask of the assistant's turns, for our template and for anybody else's;
`collate` and `pairs` narrow it or widen it.

A base model without a template gets the plain form of the general corpus instead: 'Question: …\\nAnswer: ….'
"""

from ..world.base import Message
from .render import NoTemplate, render, turn_end
from .special import TEMPLATE, document_end
from .turns import NoMask, assistant_spans, dropped_reasoning

__all__ = ["NoMask", "NoTemplate", "assistant_spans", "dropped_reasoning", "render", "turn_end"]


def encode(tok, messages, tools=None) -> tuple[list[int], list[int]]:
    """ids and mask (1 = written by the assistant, its stop token included) of a conversation.

    Our own template marks its assistant turns ({% generation %}); others are followed through their loops:
    the marks of foreign templates often leave the stop token out. A message with `weight` 0 is context.
    Raises NoMask.
    """
    if tok.chat_template == TEMPLATE and all(m.get("weight", 1) for m in messages):
        out = tok.apply_chat_template(
            list(messages), tools=tools, return_dict=True, return_assistant_tokens_mask=True
        )
        return out["input_ids"], out["assistant_masks"]
    text = render(tok, messages, tools)
    turns = assistant_spans(tok, messages, tools)
    out = tok(text, add_special_tokens=False, return_offsets_mapping=True)
    mask = [int(any(a < e and s < b for a, b, _ in turns)) for s, e in out["offset_mapping"]]
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
