"""Chat templates that go wrong beside ours: each is our template with one thing changed."""

from .special import DOCUMENT_END, TEMPLATE, TURN_END, TURN_START

_BOS = "{{- '" + DOCUMENT_END + "' }}\n"
_PROMPT = "{%- if add_generation_prompt %}{{- '" + TURN_START + "assistant\\n' }}{%- endif %}"


def _changed(*pairs: tuple[str, str]) -> str:
    """Our template with each text replaced by another; every one must be there."""
    text = TEMPLATE
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


TEMPLATES = {
    "control": TEMPLATE,
    "literal": _changed(
        (f"{TURN_START}system\\n", "System: "),
        (f"{TURN_START}user\\n", "User: "),
        (f"{TURN_START}assistant\\n", "Assistant:"),
        (f"m.content + '{TURN_END}\\n'", "m.content + '\\n'"),
        (f"</tool_response>{TURN_END}\\n", "</tool_response>\\n"),
        (f"{{{{- '{TURN_END}\\n' }}}}\n{{%- endif %}}\n{{%- for m", "{%- endif %}\n{%- for m"),
    ),
    "bos": _BOS + TEMPLATE,
    "double_bos": _BOS + _BOS + TEMPLATE,
    "user_results": _changed(("<tool_response>\\n", ""), ("\\n</tool_response>", "")),
    "no_prompt": _changed((_PROMPT, "")),
}
MEANING = {
    "control": "roles and turns by control tokens",
    "literal": "roles as the words User: and Assistant:, turns by line breaks",
    "bos": "control tokens after one begin-of-text token",
    "double_bos": "the begin-of-text token twice: the template writes one, and the tokenizer adds another",
    "user_results": "a tool's result as if the user had said it",
    "no_prompt": "without the generation prompt that opens the assistant's turn",
}
