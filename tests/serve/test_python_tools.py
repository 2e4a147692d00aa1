"""Your own functions as tools: in a process of their own, with every fault that a function can have."""

import os
import sys
import time

import pytest
from helpers_mcp import TOOLS
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.errors import UserError
from llmlab.serve import tool_child
from llmlab.serve.python_tools import PythonTools
from llmlab.world.desk import ToolError


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """The functions of a file, as tools."""
    file = tmp_path_factory.mktemp("tools") / "my_tools.py"
    file.write_text(TOOLS)
    with PythonTools(str(file), seconds=1.0, megabytes=512, most=100) as found:
        yield found


def test_type_hints_and_docstrings_become_schemas(tools):
    named = {s["function"]["name"]: s["function"] for s in tools.schemas}
    assert "_private" not in named and "dataclass" not in named and "Place" not in named
    rooms = named["rooms"]
    assert rooms["description"] == "Free rooms in a city."
    assert rooms["parameters"]["required"] == ["city"] and not rooms["parameters"]["additionalProperties"]
    assert rooms["parameters"]["properties"]["stars"]["enum"] == [1, 2, 3]
    assert "$ref" not in str(named["nested"])


def test_a_call_gets_what_the_function_returns_whatever_it_prints(tools):
    assert tools.call("rooms", {"city": "Rome"}) == "8"
    assert tools.call("nested", {"place": {"city": "Rome", "stars": 3}}) == '{"rooms": 12}'
    assert tools.call("half", {}) == "?"


FAULTS = {
    "hang": "timeout",
    "crash": "crashed",
    "leave": "crashed",
    "hungry": "out_of_memory",
    "odd": "bad_result",
    "endless": "bad_result",
    "fails": "failed",
    "not_there": "unknown_tool",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_becomes_an_error_and_the_next_call_works(tools, name):
    if name == "hungry" and not os.path.exists("/proc/self/statm"):
        pytest.skip("memory is not limited on this system")
    process, began = tools.process, time.time()
    with pytest.raises(ToolError) as told:
        tools.call(name, {})
    assert told.value.kind == FAULTS[name] and "Traceback" not in str(told.value) and time.time() - began < 4
    if name == "fails":
        assert str(told.value) == "ValueError: no such city"
    if FAULTS[name] in ("timeout", "crashed"):
        assert process is None or process.poll() is not None, "the hung process was left"
    assert tools.call("rooms", {"city": "Rome"}) == "8"


def test_a_huge_answer_is_cut_and_says_so(tools):
    assert tools.call("huge", {}) == "x" * 100 + " … (cut: 2000000 characters in all)"


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["city", "stars", "more"]),
        st.one_of(
            st.none(), st.integers(), st.floats(), st.text(max_size=9), st.lists(st.booleans(), max_size=2)
        ),
    )
)
def test_only_arguments_that_fit_reach_the_function(tools, arguments):
    fits = isinstance(arguments.get("city"), str) and set(arguments) <= {"city", "stars"}
    fits = fits and arguments.get("stars", 2) in (1, 2, 3)
    call = {"function": {"name": "rooms", "arguments": arguments}}
    turn = tools.result({"role": "assistant", "content": "", "tool_calls": [call]})
    assert ('"result"' in turn["content"]) == fits and ("bad_arguments" in turn["content"]) != fits


WRONG = {
    "def f(x:": r"my_tools.py, line 1: .*mend the file",
    "x = 1\n\nimport no_such_module_at_all": r"my_tools.py, line 3: ModuleNotFoundError: .*mend the file",
    "import sys\nsys.exit(3)": r"my_tools.py, line 2: SystemExit",
    "x = 1": r"my_tools.py defines no function",
    "\ndef f(x):\n    '''F.'''": r"my_tools.py, line 2: f has no type hint for x; add one, such as x: str",
    "def f(x: int): pass": r"my_tools.py, line 1: f has no docstring",
    "def f(*x: int):\n    '''F.'''": r"takes x without a name of its own",
    "def f(**x: int):\n    '''F.'''": r"takes x without a name of its own",
    "async def f(x: int):\n    '''F.'''": r"is async",
    "class A: pass\ndef f(x: A):\n    '''F.'''": r"line 2: f has a type hint that has no JSON schema",
    "def f(x: 'Nowhere'):\n    '''F.'''": r"line 1: f has a type hint that has no JSON schema",
    "x = '\0'": r"my_tools.py.*null bytes.*mend the file",
}


@pytest.mark.parametrize("code", WRONG)
def test_what_is_wrong_with_the_file_is_one_sentence(code, tmp_path, monkeypatch):
    """Asked of what the child does, in this process: twelve children would take a while."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, tool_child.NAME, None)
    file = tmp_path / "my_tools.py"
    file.write_text(code)
    with pytest.raises(tool_child.Wrong, match=WRONG[code]) as told:
        [tool_child.schema(f, str(file)) for f in tool_child.load(str(file)).values()]
    assert "\n" not in str(told.value)


def test_what_is_wrong_reaches_the_user(tmp_path):
    file = tmp_path / "my_tools.py"
    file.write_text("\ndef f(x):\n    '''F.'''")
    with pytest.raises(UserError, match="my_tools.py, line 2: f has no type hint for x; add one"):
        PythonTools(str(file))


def test_a_file_that_does_not_finish_loading_is_given_up(tmp_path):
    file = tmp_path / "my_tools.py"
    file.write_text("while True: pass")
    with pytest.raises(UserError, match="cannot be loaded: no answer within 2 s"):
        PythonTools(str(file), patience=2.0)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_what_a_hung_tool_has_started_ends_with_it(tmp_path):
    file, mark = tmp_path / "my_tools.py", tmp_path / "pid"
    file.write_text(
        "import subprocess\n\ndef start() -> str:\n    '''Starts another process and waits for it.'''\n"
        f"    p = subprocess.Popen(['sleep', '600'])\n    open({str(mark)!r}, 'w').write(str(p.pid))\n   "
        f" p.wait()\n"
    )
    with PythonTools(str(file), seconds=1.0) as found, pytest.raises(ToolError, match="no answer"):
        found.call("start", {})
    time.sleep(0.2)
    state = f"/proc/{mark.read_text()}/stat"
    assert not os.path.exists(state) or " Z " in open(state).read()
