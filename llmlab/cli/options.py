"""Options of the commands: each mistake is one sentence."""

import difflib
from dataclasses import make_dataclass
from typing import Annotated, Callable

from ..errors import UserError

Option = tuple[str, type, object, str]  # name, type, default, help
LONGEST = 4096  # characters of a value: as long as a path may be
Hint = Callable[[str, str], str]


def nearest(name: str, known) -> str:
    """'; did you mean …?' or the list."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; choose one of {', '.join(known)}"


def parse(command: str, options: list[Option], argv: list[str], hint: Hint = lambda flag, value: ""):
    """Options by tyro, after a check that turns each mistake into one sentence. hint: (flag, value) -> what
    an old one is called now.
    """
    import tyro

    check(options, argv, hint)
    fields = [(n, Annotated[t, tyro.conf.arg(help=h)], d) for n, t, d, h in options]
    return tyro.cli(
        make_dataclass("Options", fields), args=argv, prog=f"llmlab {command}", use_underscores=True
    )


def number(flag: str, kind: type, value: str) -> None:
    """Raises UserError unless the value is a number, of no more digits than one has."""
    try:
        read = kind(value)
        sound = read == read and len(value) <= 40  # nan is not itself
    except (ValueError, OverflowError):
        word = "whole number" if kind is int else "number"
        raise UserError(f"{flag} takes a {word}, not '{value[:80]}'") from None
    if not sound:
        raise UserError(f"{flag} {value[:80]} is out of range; choose a smaller number")


def check(options: list[Option], argv: list[str], hint: Hint = lambda flag, value: "") -> None:
    """Every flag is known and has a value of its type."""
    kinds, i = {n: t for n, t, _, _ in options}, 0
    while i < len(argv):
        flag, eq, value = argv[i].partition("=")
        name = flag[2:].replace("-", "_")
        if flag in ("-h", "--help"):
            return
        if kinds.get(name.removeprefix("no_")) is bool:
            name = name.removeprefix("no_")
        if not flag.startswith("--") or name not in kinds:
            known = [f"--{n}" for n in kinds]
            raise UserError(hint(name, "") or f"unknown option '{flag[:80]}'{nearest(flag, known)}")
        kind, i = kinds[name], i + 1
        if kind is bool:
            if eq:
                raise UserError(f"{flag} takes no value; leave '={value}' out")
            continue
        if not eq:
            if i >= len(argv) or argv[i].startswith("--"):
                raise UserError(f"{flag} needs a value")
            value, i = argv[i], i + 1
        if len(value) > LONGEST or not value.isprintable():
            raise UserError(f"the value of {flag} is longer than {LONGEST} characters, or no readable text")
        if kind in (int, float):
            number(flag, kind, value)
        choices = getattr(kind, "__args__", ())
        if choices and value not in choices:
            raise UserError(hint(name, value) or f"{flag} is one of {', '.join(choices)}, not '{value}'")
