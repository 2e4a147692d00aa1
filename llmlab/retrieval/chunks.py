"""Chunks: documents cut into windows of words that overlap, each with where it stands."""

import re
from collections import deque
from dataclasses import dataclass
from typing import Iterator

WORD = re.compile(r"\S{1,64}")  # text without spaces is cut too: what is longer counts as several words


@dataclass(frozen=True)
class Chunk:
    """A window of a document: source (its file), line of its first word (from 1), text."""

    source: str
    line: int
    text: str

    @property
    def last(self) -> int:
        """Line of its last word."""
        return self.line + self.text.count("\n")


def cut(source: str, text: str, length: int, overlap: int = 0) -> list[Chunk]:
    """Windows of `length` words, each beginning `length − overlap` words after the last; the end is kept,
    and no window lies wholly inside another. Raises ValueError if overlap ≥ length.
    """
    return list(windows(source, text, length, overlap))


def windows(source: str, text: str, length: int, overlap: int = 0) -> Iterator[Chunk]:
    """The same one by one; only the words of one window are kept."""
    if not 0 <= overlap < length:
        raise ValueError(f"an overlap is at least 0 and below the length, not {overlap} of {length} words")
    window: deque[tuple[int, int]] = deque()
    line, counted, new = 1, 0, 0
    for word in WORD.finditer(text):
        window.append(word.span())
        new += 1
        if len(window) == length:
            line, counted = line + text.count("\n", counted, window[0][0]), window[0][0]
            yield Chunk(source, line, text[counted : window[-1][1]])
            for _ in range(length - overlap):
                window.popleft()
            new = 0
    if new:
        line += text.count("\n", counted, window[0][0])
        yield Chunk(source, line, text[window[0][0] : window[-1][1]])
