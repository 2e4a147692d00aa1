"""Options of the commands: each mistake is one sentence."""

import difflib
from dataclasses import make_dataclass
from typing import Annotated, Callable

from ..errors import UserError

Option = tuple[str, type, object, str]  # name, type, default, help
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
            raise UserError(hint(name, "") or f"unknown option '{flag}'{nearest(flag, known)}")
        kind, i = kinds[name], i + 1
        if kind is bool:
            if eq:
                raise UserError(f"{flag} takes no value; leave '={value}' out")
            continue
        if not eq:
            if i >= len(argv) or argv[i].startswith("--"):
                raise UserError(f"{flag} needs a value")
            value, i = argv[i], i + 1
        if kind in (int, float):
            try:
                kind(value)
            except ValueError:
                raise UserError(
                    f"{flag} takes a {'whole number' if kind is int else 'number'}, not '{value}'"
                ) from None
        choices = getattr(kind, "__args__", ())
        if choices and value not in choices:
            raise UserError(hint(name, value) or f"{flag} is one of {', '.join(choices)}, not '{value}'")
