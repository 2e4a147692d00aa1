"""`llmlab desk`: the desk's five tools as an MCP server, for any MCP client."""

import signal
from contextlib import suppress
from importlib.util import find_spec
from typing import Literal

from .. import paths
from ..errors import UserError
from .options import parse


def needs_mcp(command: str) -> None:
    """Raises UserError where the extra is not installed."""
    if find_spec("mcp") is None:
        raise UserError(f"{command} needs the MCP SDK; install it with: {paths.extra('tools')}")


def command(argv: list[str]) -> int:
    """`llmlab desk`: over stdio, for the client that starts this command; --http: on this machine's
    loopback.
    """
    options = parse(
        "desk",
        [
            ("http", bool, False, "streamable HTTP on this machine's loopback; without it: stdio"),
            ("port", int, 8765, "port for --http; 0: any free one"),
            (
                "errors",
                Literal["text", "masked"],
                "text",
                "what a model reads of a failed call: what was wrong, or only that something was",
            ),
        ],
        argv,
    )
    needs_mcp("llmlab desk")
    from ..serve import mcp_desk

    if not options.http:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # a thread that waits for the client's line is deaf to Ctrl-C
        mcp_desk.over_stdio(options.errors)
        return 0
    with suppress(KeyboardInterrupt):  # the usual end of a server
        mcp_desk.over_http(options.port, options.errors)
    return 0
