"""`llmlab interview`: a chapter's page for the interview, in the terminal."""

import json
from dataclasses import asdict

from ..errors import UserError
from ..learn import interview
from .options import parse

OPTIONS = [("json", bool, False, "print one JSON object")]


def command(argv: list[str]) -> int:
    """`llmlab interview CHAPTER`: formulas, what the lab shows, what is known at scale, three follow-ups."""
    named = argv[:1] if argv and not argv[0].startswith("-") else []
    options = parse("interview CHAPTER", OPTIONS, argv[len(named) :])
    if not named:
        raise UserError(f"which chapter? llmlab interview {' | '.join(interview.chapters())}")
    page = interview.interview(named[0])
    print(json.dumps(as_json(page), ensure_ascii=False) if options.json else page)
    return 0


def as_json(page: interview.Page) -> dict:
    """The page's fields, and of each claim what the ledger says."""
    lab = {item.head.split()[0]: asdict(item) for item in page.lab()}
    return asdict(page) | {"lab": lab}
