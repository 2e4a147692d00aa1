"""All chat templates that the installed TRL ships, a tokenizer for each, and conversations to render."""

import copy
import re
from functools import lru_cache
from pathlib import Path

import trl

FOLDER = Path(trl.__file__).parent / "chat_templates"
TEMPLATES = {f.stem: f.read_text(encoding="utf-8") for f in sorted(FOLDER.glob("*.jinja"))}
SPECIAL = re.compile(r"<\|?[\w｜▁/|\"-]+\|?>|\[/?[A-Z_]+\]")


@lru_cache
def lab():
    from llmlab.models.load import load

    return load("chat").tok


@lru_cache(maxsize=4)
def tokenizer(name: str):
    """The lab's tokenizer with a template and the control tokens that are written in it."""
    tok, template = copy.deepcopy(lab()), TEMPLATES[name]
    new = sorted(set(SPECIAL.findall(template)) - tok.get_vocab().keys())
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tok.add_special_tokens({"additional_special_tokens": new} | ends)
    tok.chat_template = template
    return tok


def call(arguments, id="c1aaaaaaa"):
    return {"id": id, "type": "function", "function": {"name": "clock", "arguments": arguments}}


def user(words):
    return {"role": "user", "content": words}


def said(words, **more):
    return {"role": "assistant", "content": words, **more}


def system(words):
    return {"role": "system", "content": words}


def result(words, id="c1aaaaaaa"):
    return {"role": "tool", "tool_call_id": id, "name": "clock", "content": words}


ZONE = {
    "type": "object",
    "properties": {"zone": {"type": "string", "description": "z"}},
    "required": ["zone"],
}
TOOLS = [
    {"type": "function", "function": {"name": "clock", "description": "Tells the time.", "parameters": ZONE}}
]
NORTH, SOUTH = call({"zone": "NORTH"}), call({"zone": "SOUTH"}, id="c2aaaaaaa")


def turns(n: int) -> list[dict]:
    return [m for i in range(n) for m in (user(f"QUESTION{i}?"), said(f"ANSWER{i}."))]


# name -> (messages, tools). Words of others are QUESTION, RESULT and SYSTEM, and never the assistant's
CONVERSATIONS = {
    **{f"{n} turns": (turns(n), None) for n in (1, 2, 3, 4)},
    **{f"system, {n} turns": ([system("SYSTEM."), *turns(n)], None) for n in (1, 2, 3)},
    "a call": ([user("QUESTION?"), said("", tool_calls=[NORTH]), result("RESULT"), said("ANSWER.")], TOOLS),
    "content none": (
        [user("QUESTION?"), said(None, tool_calls=[NORTH]), result("RESULT"), said("ANSWER.")],
        TOOLS,
    ),
    "arguments as a string": (
        [
            user("QUESTION?"),
            said("", tool_calls=[call('{"zone": "NORTH"}')]),
            result("RESULT"),
            said("ANSWER."),
        ],
        TOOLS,
    ),
    "a result of JSON": (
        [user("QUESTION?"), said("", tool_calls=[NORTH]), result('{"time": "RESULT"}'), said("ANSWER.")],
        TOOLS,
    ),
    "words and a call": (
        [user("QUESTION?"), said("LOOKING.", tool_calls=[NORTH]), result("RESULT"), said("ANSWER.")],
        TOOLS,
    ),
    "two turns with calls": (
        [
            system("SYSTEM."),
            *(user("QUESTION1?"), said("", tool_calls=[NORTH]), result("RESULT1"), said("ANSWER1.")),
            *(
                user("QUESTION2?"),
                said("", tool_calls=[SOUTH]),
                result("RESULT2", "c2aaaaaaa"),
                said("ANSWER2."),
            ),
        ],
        TOOLS,
    ),
    "parallel calls": (
        [
            *(user("QUESTION?"), said("", tool_calls=[NORTH, SOUTH])),
            *(result("RESULT1"), result("RESULT2", "c2aaaaaaa"), said("ANSWER.")),
        ],
        TOOLS,
    ),
    "calls in a row": (
        [
            *(user("QUESTION?"), said("", tool_calls=[NORTH]), result("RESULT1")),
            *(said("", tool_calls=[SOUTH]), result("RESULT2", "c2aaaaaaa"), said("ANSWER.")),
        ],
        TOOLS,
    ),
    "reasoning": (
        [
            *(user("QUESTION1?"), said("ANSWER1.", reasoning_content="THOUGHT1")),
            *(user("QUESTION2?"), said("ANSWER2.", reasoning_content="THOUGHT2")),
        ],
        None,
    ),
    "reasoning inline": (
        [
            *(user("QUESTION1?"), said("<think>\nTHOUGHT1\n</think>\n\nANSWER1.")),
            *(user("QUESTION2?"), said("<think>\nTHOUGHT2\n</think>\n\nANSWER2.")),
        ],
        None,
    ),
    "reasoning and a call": (
        [
            *(
                user("QUESTION1?"),
                said("", reasoning_content="THOUGHT1", tool_calls=[NORTH]),
                result("RESULT"),
            ),
            *(said("ANSWER1.", reasoning_content="THOUGHT2"), user("QUESTION2?"), said("ANSWER2.")),
        ],
        TOOLS,
    ),
    "an empty answer": ([user("QUESTION1?"), said(""), user("QUESTION2?"), said("ANSWER.")], None),
    "control tokens quoted": (
        [
            *(user("QUESTION1: <|im_end|> or </s>?"), said("It is <|im_end|>, then <|im_start|>user")),
            *(user("QUESTION2?"), said("<|im_start|>assistant")),
        ],
        None,
    ),
    "a turn quoted": (
        [
            user("QUESTION?"),
            said("ANSWER.<|im_end|>\n<|im_start|>user\nQUOTED?<|im_end|>\n<|im_start|>assistant\nMORE."),
        ],
        None,
    ),
    "the same words everywhere": ([user("same"), said("same"), user("same"), said("same")], None),
    "lines and blanks": ([user(" QUESTION?\n\n"), said("\n ANSWER,\n\n  indented. ")], None),
    "no full stop, other letters": ([user("QUESTION ü?"), said('Ja, "ANTWORT" \\ ü 😀')], None),
}
