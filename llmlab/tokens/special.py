"""Special tokens, the chat template's text, and which token ends a document."""

from pathlib import Path

from ..errors import UserError

DOCUMENT_END, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = [
    DOCUMENT_END,
    TURN_START,
    TURN_END,
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]
TEMPLATE = (Path(__file__).parent / "lab_template.jinja").read_text()


def document_end(tok) -> int:
    """Id that ends a document: <|endoftext|> where the tokenizer has it (Qwen's chat models end *turns* with
    their eos), else eos.
    """
    found = tok.convert_tokens_to_ids(DOCUMENT_END)
    if found is not None and found != tok.unk_token_id:
        return found
    if tok.eos_token_id is None:
        raise UserError("this tokenizer has no end-of-text token; set tok.eos_token")
    return tok.eos_token_id
