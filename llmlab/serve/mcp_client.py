"""Any MCP server's tools for the lab model: a command that is started, or an address on this machine. What
goes wrong there becomes an error that the model gets to read, and the run goes on.
"""

import logging
import os
import re
import shlex
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import anyio
from jsonschema import Draft202012Validator, SchemaError
from anyio.from_thread import start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT, CallToolResult

from ..errors import UserError
from ..world.desk import ToolError
from ..world.toolworld import MOST, Tools, cut

LOOPBACK = ("127.0.0.1", "::1", "localhost")
ADDRESS = re.compile(r"\w+://")
PAGES = 100  # of a list of tools
for name in ("mcp", "client"):  # the SDK logs what a broken server sends, with a traceback
    logging.getLogger(name).addHandler(logging.NullHandler())


class MCPTools(Tools):
    """The tools of a server, as a context manager.

    server    a command line, http://127.0.0.1:PORT/mcp, or a server in this process
    seconds   that a call may take; after that the connection is closed, and a server that we started killed
    patience  seconds that the server may take to start
    Errors of a call: timeout, crashed, bad_result, refused, or the kind that the server's error states.
    """

    def __init__(self, server: Any, seconds: float = 10.0, patience: float = 30.0, most: int = MOST):
        self.server, self.seconds, self.patience = server, seconds, patience
        self.most, self.open, self.client = most, ExitStack(), None
        if isinstance(server, str):
            check_address(server)
        try:
            super().__init__(self._listed())
        except (ToolError, SchemaError, OSError) as e:
            self.close()
            named, why = " ".join(str(server).split())[:200], " ".join(str(e).split())[:200]
            raise UserError(f"the MCP server '{named}' cannot be used ({why}); try it by itself") from None

    def close(self) -> None:
        """End the connection, and the server if we started it."""
        stack, self.open, self.client = self.open, ExitStack(), None
        try:
            stack.close()
        except Exception:  # a server that is gone already, in whatever way
            pass

    def run(self, name: str, arguments: dict) -> str:
        """The words of the server's answer. Raises ToolError."""
        result = self._asked(lambda c: c.call_tool(name, arguments), self.seconds)
        words = cut(said(result), self.most)
        if not result.is_error:
            return words
        fields = result.structured_content if isinstance(result.structured_content, dict) else {}
        raise ToolError(str(fields.get("error", "failed")), cut(str(fields.get("message", words)), self.most))

    def _listed(self) -> list[dict]:
        """The server's tools as JSON schemas. Raises ToolError, SchemaError."""
        tools, cursor = [], None
        for _ in range(PAGES):
            page = self._asked(lambda c, at=cursor: c.list_tools(cursor=at), self.patience)
            tools, cursor = tools + page.tools, page.next_cursor
            if cursor is None:
                break
        for t in tools:
            Draft202012Validator.check_schema(t.input_schema)
        return [
            {
                "type": "function",
                "function": {
                    "name": t.name,
                    "description": t.description or "",
                    "parameters": t.input_schema,
                },
            }
            for t in tools
        ]

    def _asked(self, question, seconds: float):
        """The answer of the connected client within some seconds. Raises ToolError, and then connects anew at
        the next question.
        """
        try:
            client = self.client or self._connect()
            return self.portal.call(within, seconds, question, client)
        except Exception as e:
            kind, words = fault(e, seconds)
            if self.client is None or kind in ("timeout", "crashed"):
                self.close()
            raise ToolError(kind, cut(words, self.most)) from None

    def _connect(self) -> Client:
        """Start the server where it is a command, and shake hands."""
        self.portal = self.open.enter_context(start_blocking_portal())
        client = Client(self._transport(), read_timeout_seconds=self.patience)
        self.client = self.open.enter_context(self.portal.wrap_async_context_manager(client))
        return self.client

    def _transport(self):
        if not isinstance(self.server, str) or ADDRESS.match(self.server):
            return self.server
        command, *rest = shlex.split(self.server)
        silent = self.open.enter_context(open(os.devnull, "w"))
        return stdio_client(StdioServerParameters(command=command, args=rest), errlog=silent)


async def within(seconds: float, question, client: Client):
    """The answer to a question. Raises TimeoutError."""
    with anyio.fail_after(seconds):
        return await question(client)


def check_address(server: str) -> None:
    """Raises UserError for an address that is not on this machine, and for no command."""
    if ADDRESS.match(server):
        if urlsplit(server).scheme != "http" or urlsplit(server).hostname not in LOOPBACK:
            raise UserError(
                f"'{server[:200]}' is not on this machine; give http://127.0.0.1:PORT/mcp (an ssh tunnel"
                " brings another machine's server here), or the command that starts a server"
            )
        return
    try:
        words = shlex.split(server)
    except ValueError as e:
        raise UserError(f"'{server[:200]}' is no command ({e}); close the quotation marks") from None
    if not words:
        raise UserError("the command that starts the MCP server is empty; give one, or an address")


def said(result: CallToolResult) -> str:
    """The words of an answer; of what is no text, only that it is there."""
    return "\n".join(getattr(c, "text", None) or f"({c.type})" for c in result.content)


def fault(error: BaseException, seconds: float) -> tuple[str, str]:
    """(kind, words for the model) of whatever the SDK raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code = error.code if isinstance(error, MCPError) else None
    if code == REQUEST_TIMEOUT or isinstance(error, TimeoutError):
        return "timeout", f"no answer within {seconds:g} s"
    if code not in (None, CONNECTION_CLOSED):
        return "refused", str(error)
    if isinstance(
        error, (RuntimeError, ValueError)
    ):  # the answer is not what MCP, or the tool's schema, allows
        return "bad_result", "the tool's answer does not fit its schema"
    return "crashed", f"the server is gone ({type(error).__name__})"
