"""Example: one of the user's records as the row that is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """What it is (conversation 1, and what is odd about it), its ids and its mask. held_out: a run measures
    on it, and does not learn from it.
    """

    label: dict
    ids: list[int]
    mask: list[int]
    held_out: bool = False

    @property
    def told(self) -> dict:
        """The label, and whether it is held out."""
        return self.label | ({"held_out": True} if self.held_out else {})
