"""Any MCP server's tools for the lab model: every fault becomes an error that the model reads, and the next
call works.
"""

import time

import pytest
from helpers_mcp import FAULTY, GARBAGE, python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("mcp")
import mcp.client.session  # noqa: E402
import mcp.types as types  # noqa: E402
from mcp.server import MCPServer, Server  # noqa: E402

from llmlab.errors import UserError  # noqa: E402
from llmlab.serve import mcp_desk  # noqa: E402
from llmlab.serve.mcp_client import MCPTools  # noqa: E402
from llmlab.world.desk import Desk, ToolError  # noqa: E402
from llmlab.world.toolworld import ToolWorld  # noqa: E402


def failed(tools, name: str, arguments=None) -> ToolError:
    """The error of a call."""
    with pytest.raises(ToolError) as told:
        tools.call(name, arguments or {})
    assert "Traceback" not in str(told.value) and "File " not in str(told.value)
    return told.value


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A server with all faults, as a process."""
    file = tmp_path_factory.mktemp("mcp") / "faulty.py"
    file.write_text(FAULTY)
    with MCPTools(python(str(file)), seconds=4.0, most=100) as tools:
        yield tools


FAULTS = {
    "hang": ("timeout", "no answer within 4 s"),
    "crash": ("crashed", "the server is gone"),
    "said": ("failed", "no such city"),
    "hidden": ("failed", "Error executing tool hidden"),
    "not_there": ("unknown_tool", "there is no tool 'not_there'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_becomes_an_error_and_the_next_call_works(faulty, name, capfd, monkeypatch):
    monkeypatch.setattr(mcp.client.stdio, "PROCESS_TERMINATION_TIMEOUT", 0.2)
    monkeypatch.setattr(mcp.client.stdio, "FORCE_KILL_TIMEOUT", 0.2)
    kind, says = FAULTS[name]
    began, error = time.time(), failed(faulty, name)
    assert error.kind == kind and says in str(error) and "secret" not in str(error)
    assert time.time() - began < 9
    assert faulty.call("rooms", {"city": "Rome"}) == "8"
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_huge_answer_is_cut_and_says_so(faulty):
    found = faulty.call("huge", {})
    assert (
        found.startswith("x" * 100)
        and found.endswith("(cut: 2000000 characters in all)")
        and len(found) < 150
    )


def test_what_is_no_json_among_the_lines_is_passed_over(faulty, capfd):
    assert faulty.call("noise", {}) == "all the same" and faulty.call("rooms", {"city": "Rome"}) == "8"
    assert "Traceback" not in "".join(capfd.readouterr())


def test_arguments_that_the_sdk_would_bend_are_refused(faulty):
    for arguments in ({"city": "Rome", "stars": "3"}, {"stars": 3}, {"city": None}, [], "Rome", None):
        assert failed(faulty, "rooms", arguments).kind == "bad_arguments"


def test_what_cannot_be_connected_to_is_one_sentence(monkeypatch, capfd):
    monkeypatch.setattr(mcp.client.session, "DISCOVER_TIMEOUT_SECONDS", 0.5)
    for server, says in {
        "no_such_command_anywhere": "cannot be used",
        python("print(1)", "-c"): "the server is gone",
        python(GARBAGE, "-c"): "no answer within 0.5 s",
        python("import time; time.sleep(60)", "-c"): "no answer within 0.5 s",
        "http://127.0.0.1:9/mcp": "the server is gone",
        "http://example.com/mcp": "not on this machine",
        "https://127.0.0.1.evil.example/mcp": "not on this machine",
        "": "empty",
        "'": "no command",
    }.items():
        with pytest.raises(UserError, match=says) as told:
            MCPTools(server, patience=0.5)
        assert "\n" not in str(told.value)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_tool_whose_schema_is_no_schema_is_told_at_once(monkeypatch):
    monkeypatch.setitem(mcp_desk.SCHEMAS, "search", {"type": "object", "properties": 7})
    with pytest.raises(UserError, match="cannot be used"):
        MCPTools(mcp_desk.server())


def test_an_answer_that_breaks_its_own_schema_is_told_and_the_connection_lives():
    promised = {"type": "object", "properties": {"rooms": {"type": "integer"}}, "required": ["rooms"]}
    tool = types.Tool(name="misfit", input_schema={"type": "object"}, output_schema=promised)

    async def listed(context, params):
        return types.ListToolsResult(tools=[tool])

    async def called(context, params):
        return types.CallToolResult(content=[], structured_content={"rooms": "many"})

    with MCPTools(Server("broken", on_list_tools=listed, on_call_tool=called)) as tools:
        connected = tools.client
        error = failed(tools, "misfit")
        assert error.kind == "bad_result" and "does not fit its schema" in str(error)
        assert tools.client is connected


def test_definitions_are_put_in_place():
    from pydantic import BaseModel

    class Place(BaseModel):
        city: str
        near: "list[Place]" = []

    app = MCPServer("places")

    def rooms(place: Place) -> str:
        """Free rooms."""
        return place.city

    rooms.__annotations__["place"] = Place
    app.add_tool(rooms)
    with MCPTools(app) as tools:
        assert "$ref" not in str(tools.schemas) and "$defs" not in str(tools.schemas)
        assert tools.call("rooms", {"place": {"city": "Rome", "near": [{"city": "Ostia"}]}}) == "Rome"
        assert failed(tools, "rooms", {"place": {}}).kind == "bad_arguments"


@pytest.fixture(scope="module")
def desk():
    """The desk behind MCP, in this process."""
    with MCPTools(mcp_desk.server()) as tools:
        yield tools


def test_a_world_over_mcp_replies_as_the_desk_does(desk):
    direct, over = Desk(2), ToolWorld(Desk(2), desk)
    for one, other in zip(direct.problems(20, seed=3), over.problems(20, seed=3)):
        assert one == other  # the tools that a model is shown included
        conversation = [*one.messages]
        for turn in direct.solution(one):
            if turn["role"] == "tool":
                assert over.reply(other, conversation) == direct.reply(one, conversation) == turn
            conversation.append(turn)
        assert over.reply(other, conversation) is None


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("\ud800")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["calculator", "census", "convert", "search", "nope"]) | st.text(max_size=8),
    arguments=json_like | st.fixed_dictionaries({"expression": st.text(max_size=12)}),
)
def test_whatever_a_model_writes_the_reply_is_a_turn(desk, name, arguments):
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    turn = desk.result({"role": "assistant", "content": "", "tool_calls": [call]})
    assert turn["role"] == "tool" and "<" not in turn["content"] and turn["content"].startswith("{")
