"""`llmlab demo`: one experiment's panel full screen, for a classroom."""

from ..errors import UserError
from .options import parse


def command(argv: list[str]) -> int:
    """`llmlab demo NAME`: a panel without code, for a classroom."""
    from ..lab import registry
    from ..learn import demo as classroom

    if not argv or argv[0].startswith("-"):
        raise UserError(f"which experiment? llmlab demo {' | '.join(registry.NAMES)}")
    registry.get(argv[0])
    options = parse(
        f"demo {argv[0]}",
        [
            ("port", int, 8866, "first port to try"),
            ("browser", bool, True, "open the browser"),
            ("network", bool, False, "let other machines in, with a token; without it only this machine can"),
        ],
        argv[1:],
    )
    classroom.serve(argv[0], options.port, options.browser, options.network)
    return 0
