"""own tools: the numbers of `tools` for tools and questions of your own, and conversations to learn them
from.
"""

from dataclasses import replace
from statistics import fmean

from ...errors import UserError
from ...lab import files, forms
from ...lab.own import enough
from ...tokens import chat
from ...train.rollout import play
from ...train.sample import sample
from ...train.tool_grammar import constraint
from ...world.base import Problem
from ...world.desk import ToolError, parse
from ...world.toolworld import Asked, Tools, ToolWorld, wanted_text
from .tools import DECODED, done

FIELDS = {"question": str, "call": dict, "answer": str, "system": str}
TURNS = 6  # calls and answers of a whole task


def read(path: str, tools: Tools) -> list[Problem]:
    """The questions of a file. Raises UserError with file, line and fix."""
    _, records = files.read(path)
    if not records:
        raise UserError(
            f'\'{path}\' holds no question; write lines such as {{"question": "…", "call": {{…}}}}'
        )
    return [problem(r, tools) for r in records]


def problem(record: files.Record, tools: Tools) -> Problem:
    """One question with the call that is right, or none. Raises UserError."""
    fields = {k: v for k, v in record.fields.items() if v is not None}
    if why := record.why or wrong(fields, tools):
        raise UserError(f"{record.where}: {why}")
    call = fields.get("call")
    system = [{"role": "system", "content": fields["system"]}] if "system" in fields else []
    meta = {"call": call, "tools": tools.schemas, "expect": "final" if "answer" in fields else "call"}
    messages = (*system, {"role": "user", "content": fields["question"]})
    return Problem(messages, fields.get("answer", wanted_text(call)), meta)


def wrong(fields: dict, tools: Tools) -> str:
    """What is wrong with a question's fields, and how to mend it; empty if nothing is."""
    if unknown := [k for k in fields if k not in FIELDS]:
        return f"it has the field '{unknown[0]}'; the fields are {', '.join(FIELDS)}"
    if bad := [k for k, v in fields.items() if not isinstance(v, FIELDS[k])]:
        return f"its {bad[0]} is no {'object' if FIELDS[bad[0]] is dict else 'text'}; mend it"
    if not fields.get("question", "").strip():
        return "it asks nothing; add a question"
    if "call" not in fields:
        return ""
    call = fields["call"]
    if set(call) != {"name", "arguments"} or not isinstance(call["name"], str):
        return 'its call is not {"name": "…", "arguments": {…}}; mend it'
    try:
        tools.check(call["name"], call["arguments"])
    except ToolError as e:
        return f"its call does not fit the tools ({e}); they are {', '.join(tools.parameters)}"
    return ""


def trajectories(path: str, tools: Tools) -> tuple[forms.Conversation, ...]:
    """Conversations to learn from, in every form that `run chats` reads; those without tools of their own are
    shown these. Raises UserError with file, line and fix.
    """
    found = forms.conversations(path)
    for where, c in zip(found.places, found.records):
        names = {t["function"]["name"] for t in c.tools or tools.schemas}
        called = [t["function"]["name"] for m in c.messages for t in m.get("tool_calls", [])]
        if unknown := [n for n in called if n not in names]:
            raise UserError(f"{where}: it calls the tool '{unknown[0]}'; the tools are {', '.join(names)}")
    shown = [c if c.tools else replace(c, tools=tuple(tools.schemas)) for c in found.records]
    return enough(shown, "conversation", path)


def judge(tools: Tools, wanted: dict, text: str) -> dict[str, float]:
    """What holds of a first turn that should make a call; the names are those of `tools.judge`."""
    calls = [c["function"] for c in parse(text).get("tool_calls", [])]
    valid = len(calls) == 1 and fits(tools, calls[0])
    right = valid and calls[0] == wanted
    return {
        "valid": float(valid),
        "selected": float(bool(calls) and calls[0]["name"] == wanted["name"]),
        "right": float(right),
        "executable": float(valid and runs(tools, calls[0])),
        "wrong_but_valid": float(valid and not right),
    }


def fits(tools: Tools, function: dict) -> bool:
    """Is there such a tool, and do the arguments fit its schema?"""
    try:
        tools.check(**function)
    except ToolError:
        return False
    return True


def runs(tools: Tools, function: dict) -> bool:
    """Has the tool an answer? It is really called."""
    try:
        tools.run(**function)
    except ToolError:
        return False
    return True


def measured(
    loaded, problems: list[Problem], tools: Tools, max_new: int
) -> tuple[dict[str, float], list[str]]:
    """(name and way of decoding -> share, notes). False calls are counted where no call is right; whole tasks
    where an answer is known.
    """
    model, tok = loaded.model, loaded.tok
    sees(tok, problems[0])
    found, notes = {}, []
    calling = [p for p in problems if p.meta["call"]]
    silent = [p for p in problems if not p.meta["call"]]
    for suffix, mode in DECODED.items():
        try:
            allowed = mode and constraint(tok, tools.schemas, mode, model.config.vocab_size)
        except UserError as e:
            notes.append(f"without the decoding {suffix[1:]}: {str(e)[:200]}")
            continue
        judged = [
            judge(tools, p.meta["call"], t)
            for p, t in zip(calling, first(model, tok, calling, allowed, max_new))
        ]
        found |= {f"{name}{suffix}": fmean(j[name] for j in judged) for name in (judged or [{}])[0]}
        if silent:
            texts = first(model, tok, silent, allowed, max_new)
            found[f"false_calls{suffix}"] = fmean("<tool_call>" in t for t in texts)
    if tasks := [p for p in problems if p.meta["expect"] == "final"]:
        world = ToolWorld(Asked(tuple(tasks)), tools)
        found["answered"] = fmean(
            map(done, play(model, tok, world, tasks, temperature=0.0, max_new=max_new, turns=TURNS))
        )
    return found, notes


def first(model, tok, problems: list[Problem], allowed, max_new: int) -> list[str]:
    """The first turn of each, greedy."""
    prompts = [chat.prompt(tok, p.messages, p.meta["tools"]) for p in problems]
    settings = dict(max_new=max_new, temperature=0.0, stop=chat.stop_ids(tok), allowed=allowed)
    drawn = sample(model, prompts, **settings)
    return [tok.decode(ids[:-1] if end else ids) for ids, end in zip(drawn.ids, drawn.stopped)]


def sees(tok, problem: Problem) -> None:
    """Raises UserError unless the prompt names the tools: without that every number would be 0 in silence."""
    words = tok.decode(chat.prompt(tok, problem.messages, problem.meta["tools"])) if tok.chat_template else ""
    if missing := [n for t in problem.meta["tools"] if (n := t["function"]["name"]) not in words]:
        raise UserError(
            f"the model is never shown the tool '{missing[0]}': its chat template leaves tools out; choose a"
            " model whose template has them"
        )
