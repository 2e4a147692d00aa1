"""own prompts: your own conversations as problems: everything before the last answer asks, and that answer
is what the data say.
"""

from typing import Callable

from ...errors import UserError
from ...lab import forms
from ...lab.forms import Conversation
from ...lab.own import enough
from ...world.base import Problem
from ...world.given import Given, by_rule


def own(path: str, skip_bad: bool = False, on_found: Callable[[str], None] = lambda told: None) -> Given:
    """The conversations of a file; a tenth is held out. Raises UserError with file, line and fix."""
    found = forms.conversations(path, skip_bad)
    every = enough([problem(c, i) for i, c in enumerate(found.records, 1)], "conversation", path)
    test = every[::10]
    train = tuple(p for i, p in enumerate(every) if i % 10)
    on_found(f"{found.told('conversations')}; {len(test)} held out; an answer counts as right by the rule")
    return Given(train, test, "the rule for final answers", by_rule)


def problem(c: Conversation, number: int) -> Problem:
    """One conversation as a problem. Raises UserError where it does not end with a text of the assistant."""
    *before, last = c.messages
    if last["role"] != "assistant" or not isinstance(last.get("content"), str) or not before:
        raise UserError(
            f"conversation {number} does not end with a text of the assistant, so there is nothing that a"
            " student could be compared with; leave it out, or add the answer"
        )
    return Problem(tuple(before), last["content"], {"tools": list(c.tools) if c.tools else None})
