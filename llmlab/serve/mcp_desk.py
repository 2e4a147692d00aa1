"""The desk as an MCP server: its five tools with their JSON schemas, as any MCP client sees them.

The low-level server hands over the desk's own schemas and lets the desk check the arguments. MCP's usual one
makes schemas from type hints, reads "7" as 7 and ignores arguments that it does not know.
"""

import asyncio

import mcp.types as types
import uvicorn
from mcp.server import Server
from mcp.server.stdio import stdio_server

from ..world.desk import MEANING, SCHEMAS, Desk, ToolError

ERRORS = ("text", "masked")
PATH = "/mcp"


def server(errors: str = "text") -> Server:
    """The desk behind MCP. errors: text, the model reads what was wrong; masked, only that something was,
    as it reads of any exception but MCP's own ToolError.
    """
    desk = Desk()

    async def listed(context, params) -> types.ListToolsResult:
        """All five tools."""
        return types.ListToolsResult(
            tools=[types.Tool(name=n, description=MEANING[n], input_schema=s) for n, s in SCHEMAS.items()]
        )

    async def called(context, params) -> types.CallToolResult:
        """One tool's answer, or its error."""
        return answer(desk, params.name, params.arguments or {}, errors)

    return Server("llmlab-desk", on_list_tools=listed, on_call_tool=called)


def answer(desk: Desk, name: str, arguments: dict, errors: str) -> types.CallToolResult:
    """A call's result. An error says its kind twice: in words for a model, in fields for a program."""
    try:
        return types.CallToolResult(content=[text(desk.execute(name, arguments))])
    except ToolError as e:
        if errors == "masked":
            return types.CallToolResult(content=[text(f"Error executing tool {name}")], is_error=True)
        fields = {"error": e.kind, "message": str(e)}
        return types.CallToolResult(
            content=[text(f"{e.kind}: {e}")], structured_content=fields, is_error=True
        )


def text(words: str) -> types.TextContent:
    """Words as MCP sends them."""
    return types.TextContent(type="text", text=words)


def over_stdio(errors: str = "text") -> None:
    """Serve whoever started this process, until it closes our input."""
    asyncio.run(_over_stdio(server(errors)))


async def _over_stdio(desk: Server) -> None:
    async with stdio_server() as (read, write):
        await desk.run(read, write, desk.create_initialization_options())


def over_http(port: int, errors: str = "text") -> None:
    """Serve this machine over streamable HTTP until Ctrl-C or SIGTERM. Raises UserError for a taken port."""
    from .http import listen_on  # the batcher, and with it torch, comes along

    listener = listen_on("127.0.0.1", port)
    print(
        f"the desk as an MCP server: http://127.0.0.1:{listener.getsockname()[1]}{PATH} (Ctrl-C stops)",
        flush=True,
    )
    app = server(errors).streamable_http_app(streamable_http_path=PATH, host="127.0.0.1")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])
