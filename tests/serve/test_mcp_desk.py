"""The desk as an MCP server: started as users start it and asked by the SDK's own client."""

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mcp")
from mcp import Client, StdioServerParameters  # noqa: E402

from llmlab.serve import mcp_desk  # noqa: E402
from llmlab.serve.mcp_client import MCPTools  # noqa: E402
from llmlab.world.desk import MEANING, SCHEMAS, Desk, ToolError  # noqa: E402

DESK = [sys.executable, "-m", "llmlab.cli", "desk"]


async def asked(server, *calls):
    """(tools, results of the calls), by the official client."""
    async with Client(server) as client:
        listed = (await client.list_tools()).tools
        return listed, [await client.call_tool(name, arguments) for name, arguments in calls]


def words(result) -> str:
    """The text of a result."""
    return result.content[0].text


def looks_right(listed, results):
    """The five tools with their own schemas; a value, an error that says why, and one for a wrong type."""
    assert {t.name: t.input_schema for t in listed} == SCHEMAS
    assert {t.name: t.description for t in listed} == MEANING
    value, missing, seven = results
    assert words(value) == "161" and not value.is_error
    assert missing.is_error and words(missing) == "not_found: no person 'Nobody'"
    assert seven.is_error and "bad_arguments" in words(seven) and "is not of type 'number'" in words(seven)


CALLS = [
    ("calculator", {"expression": "23 * 7"}),
    ("census", {"person": "Nobody", "field": "city"}),
    ("convert", {"value": "7", "unit": "kg", "to": "g"}),  # MCP's usual server would read "7" as 7
]


def test_over_stdio_the_official_client_sees_the_desk():
    server = StdioServerParameters(command=DESK[0], args=DESK[1:])
    looks_right(*asyncio.run(asked(server, *CALLS)))


def test_ctrl_c_ends_it_though_its_client_is_silent():
    process = subprocess.Popen(DESK, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
    process.stdin.flush()
    assert process.stdout.readline().startswith("{")  # it serves
    process.send_signal(signal.SIGINT)
    assert process.wait(10) in (0, -signal.SIGINT)
    process.stdin.close(), process.stdout.close()


def test_masked_errors_say_only_that_something_was_wrong():
    masked = StdioServerParameters(command=DESK[0], args=[*DESK[1:], "--errors", "masked"])
    _, (value, missing, _) = asyncio.run(asked(masked, *CALLS))
    assert words(value) == "161"
    assert missing.is_error and words(missing) == "Error executing tool census"
    assert missing.structured_content is None


@pytest.fixture
def served():
    """(address, process) of the desk over HTTP."""
    process = subprocess.Popen([*DESK, "--http", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().split()[6], process
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def test_over_http_the_same_and_on_loopback_only(served):
    address, process = served
    assert address.startswith("http://127.0.0.1:") and address.endswith("/mcp")
    looks_right(*asyncio.run(asked(address, *CALLS)))
    rebound = urllib.request.Request(
        address, b"{}", {"Host": "evil.example", "Content-Type": "application/json", "Accept": "*/*"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(rebound, timeout=10)
    assert refused.value.code in (403, 421)
    with MCPTools(address, seconds=5.0) as tools:
        assert tools.call("calculator", {"expression": "23 * 7"}) == "161"
        process.kill()
        process.wait()
        for _ in range(2):  # the run goes on, and nobody answers
            with pytest.raises(ToolError) as told:
                tools.call("calculator", {"expression": "23 * 7"})
            assert told.value.kind == "crashed"


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
fields = st.sampled_from(["expression", "person", "field", "drug", "query", "value", "unit", "to", "more"])
values = st.one_of(
    scalars, st.sampled_from(["city", "dose", "kg", "g", "mg", "2 * 7"]), st.lists(scalars, max_size=2)
)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from([*SCHEMAS, "shell", ""]), arguments=st.dictionaries(fields, values, max_size=3))
def test_the_server_says_what_the_desk_says(name, arguments):
    found = mcp_desk.answer(Desk(), name, arguments, "text")
    try:
        assert words(found) == Desk().execute(name, arguments) and not found.is_error
    except ToolError as e:
        assert found.is_error and words(found) == f"{e.kind}: {e}"
        assert found.structured_content == {"error": e.kind, "message": str(e)}


def test_no_tool_of_the_desk_opens_a_file_or_a_connection():
    code = """
import json, sys
from llmlab.world.desk import Desk, ToolError
desk = Desk()
desk.problems(40), desk.execute("census", {"person": next(iter(desk.census.people)), "field": "city"})
seen = []
sys.addaudithook(lambda event, args: seen.append(event))
for name, arguments in json.loads(sys.argv[1]):
    try:
        desk.execute(name, arguments)
    except ToolError:
        pass
kinds = {e.split(".")[0] for e in seen}
assert not kinds & {"open", "socket", "subprocess", "os", "shutil", "exec", "import"}, kinds
"""
    nasty = ["/etc/passwd", "__import__('os').system('id')", "http://127.0.0.1/", "2 * 7", "../../x"]
    calls = [("calculator", {"expression": n}) for n in nasty]
    calls += [("search", {"query": n}) for n in nasty] + [
        ("census", {"person": n, "field": "city"}) for n in nasty
    ]
    calls += [("formulary", {"drug": n, "field": "dose"}) for n in nasty]
    calls += [("convert", {"value": 3, "unit": "kg", "to": "g"})]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(calls)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
