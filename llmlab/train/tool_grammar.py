"""Tool grammar: what may be written where tools are offered, as a constraint for `sample`: a call, a call or
a text, or (the mistake) a text only.
"""

import json

from llguidance import LLMatcher

from .sample import Grammar

MODES = {  # name -> the rule of a text. TEXT has no "<", so that a call can begin in one way only
    "call": "start: call",
    "auto": 'start: TEXT | TEXT "\\n" call | call',
    "text": "start: TEXT",
}
SPACED = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}  # as json.dumps writes


def lark(tools: list[dict], mode: str) -> str:
    """The grammar (Lark, as llguidance reads it) of a mode for tools given as JSON schemas.

    call  exactly one call of one of the tools, its arguments by their schema: tool_choice 'required'
    auto  text, a call, or text and then a call: tool_choice 'auto', think freely and constrain late
    text  no branch that calls: a response format that forgot the tools
    """
    branches = [
        {
            "type": "object",
            "properties": {
                "name": {"const": t["function"]["name"]},
                "arguments": t["function"]["parameters"],
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for t in tools
    ]
    schema = json.dumps({"anyOf": branches, "x-guidance": SPACED})
    call = f'call: <tool_call> "\\n" json "\\n" </tool_call>\njson: %json {schema}\n'
    return f"{MODES[mode]}\nTEXT: /[^<]+/\n" + call * ("call" in MODES[mode])


def constraint(tok, tools: list[dict], mode: str, n_vocab: int) -> Grammar:
    """The constraint of a mode. Raises UserError if the tokenizer has no token for <tool_call>."""
    return Grammar(tok, LLMatcher.grammar_from_lark(lark(tools, mode)), n_vocab)
