"""`llmlab demo`: one experiment's panel, or a chapter's lesson, full screen, for a classroom."""

from ..errors import UserError
from .options import parse


def command(argv: list[str]) -> int:
    """`llmlab demo NAME`: a panel without code, for a classroom; `llmlab demo CHAPTER`: its lesson."""
    from ..lab import registry
    from ..learn import demo as classroom
    from ..learn import lessons

    if not argv or argv[0].startswith("-"):
        lesson = " | ".join(lessons.chapters())
        raise UserError(f"which chapter or experiment? llmlab demo {lesson} | {' | '.join(registry.NAMES)}")
    name = argv[0].zfill(2) if classroom.is_chapter(argv[0]) else argv[0]
    if classroom.is_chapter(name):
        lessons.load(name)
    else:
        registry.get(name)
    options = parse(
        f"demo {name}",
        [
            ("port", int, 8866, "first port to try"),
            ("browser", bool, True, "open the browser"),
            ("network", bool, False, "let other machines in, with a token; without it only this machine can"),
        ],
        argv[1:],
    )
    classroom.serve(name, options.port, options.browser, options.network)
    return 0
