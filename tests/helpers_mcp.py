"""An MCP server with every fault that one can have, and a file of Python tools with the same: started as
processes of their own.
"""

import shlex
import sys

FAULTY = '''
import os, sys, time
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

app = MCPServer("faulty")

@app.tool()
def rooms(city: str, stars: int = 2) -> str:
    """Free rooms."""
    return str(len(city) * stars)

@app.tool()
def hang() -> str:
    """Never answers, and lets nobody else speak."""
    os.write(2, b"busy")
    os.kill(os.getpid(), 19)

@app.tool()
def crash() -> str:
    """Ends the process."""
    os._exit(3)

@app.tool()
def huge() -> str:
    """Says much."""
    return "x" * 2_000_000

@app.tool()
def noise() -> str:
    """Writes what is no JSON among the protocol's lines."""
    os.write(1, b"Traceback: not JSON\\n{{{\\n")
    return "all the same"

@app.tool()
def said() -> str:
    """Fails and says why."""
    raise ToolError("no such city")

@app.tool()
def hidden() -> str:
    """Fails and is not heard."""
    raise ValueError("a secret")

app.run()
'''
GARBAGE = "import sys\nfor line in sys.stdin: print('no JSON', flush=True)"
TOOLS = '''"""Mine."""
import os, time
from dataclasses import dataclass
from typing import Literal

@dataclass
class Place:
    city: str
    stars: int = 2

def rooms(city: str, stars: Literal[1, 2, 3] = 2) -> int:
    """Free rooms in a city."""
    print("what a function prints is no part of the protocol")
    os.write(1, b"nor what it writes")
    return len(city) * stars

def nested(place: Place) -> dict:
    """The same of a place."""
    return {"rooms": len(place.city) * place.stars}

def hang() -> str:
    """Never answers."""
    while True:
        pass

def crash() -> str:
    """Ends the process."""
    os._exit(3)

def leave() -> str:
    """Ends it politely."""
    raise SystemExit

def huge() -> str:
    """Says much."""
    return "x" * 2_000_000

def hungry() -> int:
    """Wants four gigabytes."""
    return len(bytearray(4 * 2**30))

def odd():
    """Returns what is no JSON."""
    return {1}

def endless() -> float:
    """Returns what JSON has not."""
    return float("inf")

def half() -> str:
    """Returns half a character."""
    return "\\ud800"

def fails() -> str:
    """Fails and says why."""
    raise ValueError("no such city")

def _private():
    pass
'''


def python(code_or_file: str, *more: str) -> str:
    """The command line that runs a piece of code in this Python."""
    return shlex.join([sys.executable, *more, code_or_file])
