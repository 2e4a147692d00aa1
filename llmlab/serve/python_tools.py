"""Your own functions as tools: a Python file, run in a process of its own with a time limit, a memory limit
and a cap on output. They run with your rights: what they may read, write or send is not limited.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress

from ..errors import UserError
from ..world.desk import ToolError
from ..world.toolworld import MOST, Tools


class PythonTools(Tools):
    """The public functions of a Python file, as a context manager. Type hints and docstrings become schemas.

    seconds    that a call may take; after that its process is killed, and the next call starts a new one
    patience   seconds that the file may take to load
    megabytes  of memory that the functions may take (not limited on Windows and macOS)
    Errors of a call: timeout, crashed, out_of_memory, bad_result, or failed with what the function raised.
    """

    def __init__(
        self,
        file: str,
        seconds: float = 10.0,
        patience: float = 30.0,
        megabytes: int = 1024,
        most: int = MOST,
    ):
        self.file, self.seconds, self.patience = file, seconds, patience
        self.arguments = [file, str(megabytes), str(most)]
        self.process: subprocess.Popen | None = None
        try:
            super().__init__(self._start())
        except ToolError as e:
            raise UserError(f"'{file}' cannot be loaded: {e}; run it by itself") from None

    def close(self) -> None:
        """End the process, whatever it is doing, and whatever it has started."""
        if self.process is None:
            return
        process, self.process = self.process, None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.wait()
        with suppress(OSError):  # what was not yet sent
            process.stdin.close()

    def run(self, name: str, arguments: dict) -> str:
        """What the function returned, as text. Raises ToolError."""
        if self.process is None:
            self._start()
        said = self._asked({"name": name, "arguments": arguments}, self.seconds)
        if "error" in said:
            raise ToolError(said["error"], said["message"])
        return said["result"]

    def _start(self) -> list[dict]:
        """A new process; the schemas of the functions. Raises ToolError, UserError with file and line."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmlab.serve.tool_child", *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=read, args=(self.process.stdout, self.lines), daemon=True).start()
        said = self._asked(None, self.patience)
        if "wrong" in said:
            self.close()
            raise UserError(said["wrong"])
        return said["schemas"]

    def _asked(self, question: dict | None, seconds: float) -> dict:
        """The process's next line, after a question. Raises ToolError, and then the process is gone."""
        try:
            if question is not None:
                self.process.stdin.write(json.dumps(question) + "\n")
                self.process.stdin.flush()
            return json.loads(self.lines.get(timeout=seconds))
        except queue.Empty:
            self.close()
            raise ToolError("timeout", f"no answer within {seconds:g} s") from None
        except (OSError, ValueError):  # its input is closed, or its output has ended
            self.close()
            raise ToolError("crashed", "the tool's process has ended") from None


def read(stream, lines: queue.Queue) -> None:
    """Every line of a stream, and an empty one at its end."""
    with stream:
        for line in stream:
            lines.put(line)
    lines.put("")
