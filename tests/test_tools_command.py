"""`llmlab tools` and `llmlab desk` on the command line: the numbers, and each mistake as one sentence."""

import json
import re
import shlex
import sys

import pytest
from helpers_mcp import TOOLS

from llmlab import cli
from llmlab.chapters.c08_tools_and_retrieval import own_tools, tools
from llmlab.errors import UserError
from llmlab.world.base import Problem
from llmlab.world.desk import SYSTEM, Desk, ToolError, call_text
from llmlab.world.toolworld import Tools, calling

DESK = shlex.join([sys.executable, "-m", "llmlab.cli", "desk"])
ROOMS = {"name": "rooms", "arguments": {"city": "Rome"}}


def call(argv, capsys):
    """(code, lines of stdout, stderr)."""
    code = cli.main([str(a) for a in argv])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out.splitlines(), err


@pytest.fixture
def folder(tmp_path, home, monkeypatch):
    """A folder with tools and questions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_tools.py").write_text(TOOLS)
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "Rooms in Rome?", "call": ROOMS}))
    return tmp_path


class DeskTools(Tools):
    """The desk's tools without a process between."""

    def run(self, name, arguments):
        return Desk().execute(name, arguments)


@pytest.fixture(scope="module")
def desk():
    return DeskTools(Desk().problems(1)[0].meta["tools"])


TEXTS = [
    "{}",
    "I do not know.",
    '<tool_call>\n{"name": "nope", "arguments": {}}\n</tool_call>',
    '<tool_call>\n{"name": "census", "arguments": {"person": "Nobody", "field": "city"}}\n</tool_call>',
    '<tool_call>\n{"name": "calculator", "arguments": {"expression": "1 / 0"}}\n</tool_call>',
    '<tool_call>\n{"name": "calculator", "arguments": {"expression": 7}}\n</tool_call>',
    '<tool_call>\n{"name": "calculator"',
]


def test_the_numbers_are_those_of_the_experiment(desk):
    """On the desk's own questions both judges say the same, but of 1 / 0: the desk's arguments fit their
    schema, and the desk calls them bad only when it has tried them.
    """
    for p in Desk(expect="call").problems(12, seed=2):
        wanted = p.meta["chain"][0]["tool_calls"][0]["function"]
        for text in [*TEXTS, p.answer, p.answer + p.answer, call_text(calling(wanted))]:
            mine, theirs = own_tools.judge(desk, wanted, text), tools.judge(p, text)
            assert mine == {k: theirs[k] for k in mine}, text


def test_an_mcp_server_is_measured_and_a_question_without_call(folder, capsys):
    asked = [p for p in Desk(tools=("calculator", "formulary")).problems(6, seed=5)]
    lines = [
        {
            "system": SYSTEM,
            "question": p.question,
            "call": p.meta["chain"][0]["tool_calls"][0]["function"],
            "answer": p.answer,
        }
        for p in asked
    ]
    lines.append({"system": SYSTEM, "question": "Hello!"})
    (folder / "desk.jsonl").write_text("\n".join(map(json.dumps, lines)))
    code, out, _ = call(["tools", DESK, "--problems", "desk.jsonl", "--json"], capsys)
    found = json.loads(out[-1])["model"]
    assert code == 0 and found["right"] > 0.7 and found["answered"] > 0.7
    assert found["valid_no_branch"] == 0.0
    assert found["false_calls_grammar"] == 1.0 and found["false_calls_no_branch"] == 0.0
    assert all(0 <= v <= 1 for v in found.values()) and any(
        "right: tool and arguments" in line for line in out
    )


def test_training_on_dialogues_is_run_chats_and_is_measured_before_and_after(folder, capsys):
    turns = [
        {"role": "user", "content": "Rooms in Rome?"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": ROOMS}]},
    ]
    (folder / "calls.jsonl").write_text("\n".join([json.dumps({"messages": turns})] * 20))
    argv = ["tools", "my_tools.py", "--problems", "q.jsonl", "--train", "calls.jsonl", "--out", "trained"]
    code, out, _ = call([*argv, "--steps", 20, "--max_new", 24, "--json"], capsys)
    found = json.loads(out[-1])
    assert code == 0 and found["before"]["right"] == 0.0 and found["after"]["right"] == 1.0
    assert (folder / "trained" / "config.json").exists()
    code, _, err = call(argv, capsys)
    assert code == 2 and "not empty" in err


def refused(argv, capsys) -> str:
    """The one sentence of a command that is refused."""
    code, out, err = call(argv, capsys)
    assert code == 2 and not out and err.count("\n") == 1 and err.startswith("llmlab: ")
    return err


OPTIONS = {
    "tools": "which tools\\?",
    "tools --problems q.jsonl": "which tools\\?",
    "tools my_tools.py": "--problems is missing",
    "tools none.py --problems q.jsonl": "there is no file 'none.py'",
    "tools my_tools.py --problems none.jsonl": "'none.jsonl' does not exist",
    "tools my_tools.py --problems q.jsonl --train q.jsonl": "--train and --out go together",
    "tools my_tools.py --problems q.jsonl --seconds 0": "--seconds 0.0 is out of range; choose 0.1 to 3600",
    "tools my_tools.py --problems q.jsonl --memory 1": "--memory 1 is out of range",
    "tools my_tools.py --problems q.jsonl --problem x": "unknown option '--problem'; did you mean --problems",
    "tools my_tools.py --problems q.jsonl --model nowhere": "nowhere",
    "tools my_tools.py --problems q.jsonl --train q.jsonl --out o": "q.jsonl, line 1: .*mend it",
    "tools http://example.com/mcp --problems q.jsonl": "not on this machine",
    "tools no_such_command --problems q.jsonl": "the MCP server 'no_such_command' cannot be used",
    "desk --errors hidden": "--errors is one of text, masked",
    "desk --host 0.0.0.0": "unknown option '--host'",
    "desk --http --port x": "--port takes a whole number",
    "desk --http --port 99999999": "port 99999999 cannot be used",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_a_mistake_is_one_sentence(command, folder, capsys):
    assert re.search(OPTIONS[command], refused(command.split(), capsys))


LINES = {
    "no JSON": "it is no JSON",
    "[1]": "it is a JSON list",
    "{}": "it asks nothing; add a question",
    '{"question": " "}': "it asks nothing",
    '{"question": 7}': "its question is no text",
    '{"question": "x", "calls": {}}': "it has the field 'calls'; the fields are question, call,",
    '{"question": "x", "call": "rooms"}': "its call is no object",
    '{"question": "x", "call": {"name": "rooms"}}': "its call is not {",
    '{"question": "x", "call": {"name": "room", "arguments": {}}}': "there is no tool 'room'",
    '{"question": "x", "call": {"name": "rooms", "arguments": {"town": "Rome"}}}': "does not fit the tools",
    '{"question": "x", "call": {"name": "rooms", "arguments": {"city": "Rome", "stars": 9}}}': "9 is not",
    '{"question": "x", "answer": 7}': "its answer is no text",
}


class Rooms(Tools):
    """One tool."""

    def __init__(self):
        stars = {"type": "integer", "enum": [1, 2, 3]}
        fields = {"city": {"type": "string"}, "stars": stars}
        parameters = {"type": "object", "properties": fields, "additionalProperties": False}
        super().__init__([{"type": "function", "function": {"name": "rooms", "parameters": parameters}}])


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_question_is_told_with_its_line(line, folder):
    (folder / "q.jsonl").write_text('{"question": "Who are you?"}\n' + line)
    with pytest.raises(UserError, match=re.escape(LINES[line])) as told:
        own_tools.read("q.jsonl", Rooms())
    assert str(told.value).startswith("q.jsonl, line 2: ") and "\n" not in str(told.value)


def test_no_question_and_a_wrong_file_of_tools(folder, capsys):
    (folder / "q.jsonl").write_text("\n")
    assert "holds no question" in refused(["tools", "my_tools.py", "--problems", "q.jsonl"], capsys)
    (folder / "my_tools.py").write_text("def f(x):\n  return")
    said = refused(["tools", "my_tools.py", "--problems", "q.jsonl"], capsys)
    assert "my_tools.py, line 1: f has no docstring" in said
    (folder / "my_tools.py").write_text("x = 1\ndef f(:\n")
    assert "my_tools.py, line 2: " in refused(["tools", "my_tools.py", "--problems", "q.jsonl"], capsys)


def test_dialogues_that_call_what_is_not_there_are_told(folder, capsys):
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "nope", "arguments": {}}}]},
    ]
    (folder / "calls.jsonl").write_text("\n".join([json.dumps({"messages": turns})] * 3))
    argv = ["tools", "my_tools.py", "--problems", "q.jsonl", "--train", "calls.jsonl", "--out", "o"]
    assert "calls.jsonl, line 1: it calls the tool 'nope'; the tools are" in refused(argv, capsys)


def test_without_the_extra_one_sentence_says_how_to_install_it(folder, capsys, monkeypatch):
    from llmlab.cli import desk

    monkeypatch.setattr(desk, "find_spec", lambda name: None)
    assert "[tools]" in refused(["desk"], capsys)
    assert "[tools]" in refused(["tools", "a command", "--problems", "q.jsonl"], capsys)


def test_the_help_says_whose_rights_the_functions_have(capsys):
    with pytest.raises(SystemExit):
        cli.main(["tools", "--help"])
    assert "your rights" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_model_that_is_never_shown_the_tools_is_refused(desk):
    from types import SimpleNamespace

    problem = Problem(({"role": "user", "content": "?"},), "", {"tools": desk.schemas})
    with pytest.raises(ValueError, match="never shown the tool 'calculator'"):
        own_tools.sees(SimpleNamespace(chat_template=None), problem)


def test_an_error_of_a_tool_has_a_kind(desk):
    with pytest.raises(ToolError) as told:
        desk.call("census", {"person": "Nobody", "field": "city"})
    assert told.value.kind == "not_found"
