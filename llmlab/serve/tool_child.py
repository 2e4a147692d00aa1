"""The process in which your own functions run: it loads a file, tells their JSON schemas, and answers calls,
one JSON object a line. Light on purpose: no torch, so that a memory limit can be small.
"""

import importlib.util
import inspect
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Callable

from pydantic import PydanticUserError, TypeAdapter, ValidationError, validate_call

from ..world.toolworld import cut

NAME = "own_tools"  # of the module, whatever the file is called


class Wrong(Exception):
    """What is wrong with the file, in a sentence."""


def main(file: str, megabytes: str, most: str) -> None:
    """Answer until the input ends. What the functions print goes nowhere."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def tell(said: dict) -> None:
        out.write(json.dumps(said) + "\n")
        out.flush()

    try:
        functions = load(file)
        schemas = [schema(f, file) for f in functions.values()]
    except Wrong as e:
        return tell({"wrong": str(e)})
    limit_memory(int(megabytes))
    tell({"schemas": schemas})
    checked = {name: validate_call(f) for name, f in functions.items()}
    for line in sys.stdin:
        asked = json.loads(line)
        tell(answer(checked[asked["name"]], asked["arguments"], int(most)))


def load(file: str) -> dict[str, Callable]:
    """The public functions that a file defines. Raises Wrong with file and line."""
    path = Path(file).absolute()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(NAME, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]  # a .py file has a loader
    sys.modules[NAME] = module
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except SyntaxError as e:
        named = file if e.filename in (None, str(path)) else e.filename
        raise Wrong(f"{named}, line {e.lineno or 1}: {e.msg}; mend the file") from None
    except (Exception, SystemExit) as e:
        lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise Wrong(f"{file}{where}: {type(e).__name__}: {e}"[:400] + "; mend the file") from None
    mine = inspect.getmembers(module, inspect.isfunction)
    found = {n: f for n, f in mine if f.__module__ == NAME and not n.startswith("_")}
    if not found:
        raise Wrong(f"{file} defines no function; write one whose name does not begin with _")
    return found


def schema(function: Callable, file: str) -> dict:
    """A function as a tool: name, docstring, and the JSON schema that pydantic makes of its type hints.
    Raises Wrong with file and line.
    """
    where = f"{file}, line {function.__code__.co_firstlineno}: {function.__name__}"
    if not inspect.getdoc(function):
        raise Wrong(f"{where} has no docstring, and the model reads nothing else about it; add one")
    if inspect.iscoroutinefunction(function):
        raise Wrong(f"{where} is async; write a plain function")
    for p in inspect.signature(function).parameters.values():
        if p.annotation is p.empty:
            raise Wrong(f"{where} has no type hint for {p.name}; add one, such as {p.name}: str")
        if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise Wrong(f"{where} takes {p.name} without a name of its own; write a plain parameter")
    try:
        parameters = TypeAdapter(function).json_schema()
    except (PydanticUserError, NameError) as e:
        raise Wrong(
            f"{where} has a type hint that has no JSON schema ({str(e).splitlines()[0][:160]})"
        ) from None
    said = {"name": function.__name__, "description": inspect.getdoc(function), "parameters": parameters}
    return {"type": "function", "function": said}


def limit_memory(megabytes: int) -> None:
    """What this process may have from now on, where the system can limit it (Linux, most Unixes)."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (ImportError, OSError, ValueError):
        pass


def answer(function: Callable, arguments: dict, most: int) -> dict[str, Any]:
    """What a call returned, as text, or the error that the model gets to read."""
    try:
        found = function(**arguments)
    except ValidationError as e:
        return {"error": "bad_arguments", "message": e.errors()[0]["msg"]}
    except MemoryError:
        return {"error": "out_of_memory", "message": "the tool needs more memory than it may have"}
    except Exception as e:
        return {"error": "failed", "message": cut(f"{type(e).__name__}: {e}", most)}
    try:
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError, MemoryError):
        return {
            "error": "bad_result",
            "message": f"the tool returned a {type(found).__name__} that is no JSON",
        }
    return {"result": cut(text, most)}


if __name__ == "__main__":
    main(*sys.argv[1:])
