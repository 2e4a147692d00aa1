"""Example: one of the user's records as the row that is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """What it is (conversation 1, and what is odd about it), its ids and its mask."""

    label: dict
    ids: list[int]
    mask: list[int]
