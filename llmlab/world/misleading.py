"""Misleading: the tool desk whose census says other things than what the model read: is an answer taken from
the tool, or from memory?
"""

from dataclasses import dataclass

from .base import rng
from .desk import Desk, ToolError


@dataclass(frozen=True)
class Misleading(Desk):
    """Look-ups of people, each result being true of somebody else. The right answer is the tool's."""

    tools: tuple[str, ...] = ("census",)
    name = "misleading"

    def _census(self, person: str, field: str) -> str:
        """The field of another person, whose value differs; always the same one for the same question."""
        if person not in self.census.people:
            raise ToolError("not_found", f"no person '{person}'")
        true = getattr(self.census.people[person], field)
        others = sorted({getattr(p, field) for p in self.census.people.values()} - {true, person})
        return rng("misleading", person, field).choice(others)

    def memory(self, person: str, field: str) -> str:
        """What the census really has."""
        return getattr(self.census.people[person], field)
