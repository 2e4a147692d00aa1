"""The command line: one file a command. Bad input gets one sentence and exit code 2."""

import os
import sys
from importlib import import_module

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from ..errors import UserError  # noqa: E402
from ..lab.runs import Interrupted  # noqa: E402
from .options import nearest  # noqa: E402

COMMANDS = {  # each is a module of this package with a function `command`
    "lab": "open the workbook in JupyterLab",
    "run": "run an experiment; without a name: list them",
    "show": "which tokens of your own data are trained",
    "claims": "the ledger: what was claimed and measured, the verdicts; claims run and replicate test them",
    "drill": "practise interview questions, or sit a mock interview",
    "interview": "a chapter's page for the interview: formulas, what the lab shows, what is known at scale",
    "demo": "a chapter's lesson, or one experiment's panel, full screen, for a classroom",
    "tools": "how well a model calls your own tools: a Python file, or an MCP server",
    "audit": "how often a verifier errs, on answers of which it is known whether they are right",
    "desk": "the lab's five tools as an MCP server, for any MCP client",
    "serve": "many adapters on one model, behind OpenAI's chat API on this machine",
    "build": (
        "make the shipped data (checkpoints, sweeps, runs, the ledger, notebooks), resuming where it stopped"
    ),
    "doctor": "what this machine can do, and how long each experiment takes here",
    "bench": "speed against TRL and plain transformers, as ratios",
}


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return dispatch(argv)
    except UserError as e:
        return refused(str(e))
    except (KeyboardInterrupt, Interrupted):
        print("llmlab: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except OSError as e:  # of files and folders that somebody named: too long, forbidden, gone, a device
        return refused(f"{e.strerror or e}: '{str(e.filename or '')[:200]}'; check the path")


def refused(sentence: str) -> int:
    """One line on stderr, whatever was quoted in it; exit code 2."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in sentence)
    print(f"llmlab: {line}", file=sys.stderr)
    return 2


def dispatch(argv: list[str]) -> int:
    """Find the command and hand the rest over."""
    if not argv or argv[0] in ("-h", "--help"):
        print("llmlab <command> [--help]\n" + "\n".join(f"  {c:10}{text}" for c, text in COMMANDS.items()))
        return 0
    name, *rest = argv
    if name == "--version":
        from importlib.metadata import version

        print(version("llmlab"))
        return 0
    if name not in COMMANDS:
        raise UserError(f"there is no command '{name[:80]}'{nearest(name, COMMANDS)}")
    return import_module(f".{name}", __name__).command(rest)
