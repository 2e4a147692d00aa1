"""Folder: the user's documents with the place of every word: .txt and .md by their lines, JSON lines by the
line of each record, all also with .gz.
"""

import hashlib
import os
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Callable, Iterator

from ..errors import UserError
from ..retrieval.chunks import Chunk, windows
from . import files
from .documents import FIELD, PLAIN, NoText

LINES = (".jsonl", ".ndjson")
ENDINGS = ", ".join((*PLAIN, *LINES))


class Folder:
    """Files by their content (`mark`): two equal files are one. What was left alone is counted.

    length, overlap  words of a chunk, and words that neighbours share
    header           each chunk begins with the name of its file
    """

    def __init__(self, path: str, length: int, overlap: int, header: bool = False, skip_bad: bool = False):
        self.root = there(path)
        self.length, self.overlap, self.header, self.skip_bad = length, overlap, header, skip_bad
        self.ignored: Counter = Counter()  # suffix, or what it is -> how many
        self.kinds: Counter = Counter()  # suffix -> files
        self.bad: list[str] = []
        self.by_mark: dict[str, list[Path]] = {}
        for file in self._files():
            if (mark := self._mark(file)) is not None:
                self.by_mark.setdefault(mark, []).append(file)
                self.kinds[kind(file)] += 1
        if not self.by_mark:
            raise NoText(
                f"'{path}' holds no documents; it needs files that end in {ENDINGS}, each also with .gz"
            )

    def documents(self) -> dict[str, Callable[[], Iterator[Chunk]]]:
        """Mark -> its chunks, read when they are asked for."""
        return {mark: partial(self._chunks, mark, found[0]) for mark, found in self.by_mark.items()}

    def told(self) -> str:
        """In a line, what was found."""
        n = self.kinds.total()
        line = f"{n} file{'s' * (n != 1)} ({', '.join(f'{m} × {k}' for k, m in sorted(self.kinds.items()))})"
        if copies := n - len(self.by_mark):
            line += f", {copies} of them the copy of another"
        if self.ignored:
            line += "; left alone: " + ", ".join(f"{m} × {k}" for k, m in sorted(self.ignored.items()))
        return line + (f"; {len(self.bad)} bad ones skipped, the first: {self.bad[0]}" if self.bad else "")

    def _files(self) -> Iterator[Path]:
        """Sorted; hidden ones and linked folders are left alone, so that no link leads round in a circle."""
        if self.root.is_file():
            yield self.root
            return
        for at, folders, names in os.walk(self.root):
            self.ignored["hidden"] += sum(n.startswith(".") for n in (*folders, *names))
            self.ignored["linked folder"] += sum(os.path.islink(os.path.join(at, f)) for f in folders)
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for file in (Path(at, n) for n in sorted(names) if not n.startswith(".")):
                if kind(file) not in (*PLAIN, *LINES):
                    self.ignored[kind(file) or "without a suffix"] += 1
                elif file.is_file():
                    yield file
                else:
                    self.ignored["no regular file"] += 1
        self.ignored = +self.ignored

    def _mark(self, file: Path) -> str | None:
        """The hash of all that its chunks are made from; None for a file that is skipped."""
        lines = kind(file) in LINES
        how = f"{lines} {file.suffix == '.gz'} {lines and self.skip_bad}" + f" {title(file)}" * self.header
        try:
            return hashlib.sha256(f"{digest(file)} {how}".encode()).hexdigest()[:32]
        except OSError as e:
            self._refuse(f"'{shown(file)}' cannot be read ({e.strerror})")
            return None

    def _refuse(self, why: str) -> None:
        """Raises UserError, or counts what is skipped."""
        if not self.skip_bad:
            raise UserError(f"{why}, or leave such files and records out with --skip_bad")
        self.bad.append(why)

    def _chunks(self, mark: str, file: Path) -> Iterator[Chunk]:
        """Read whole, and only then given on: a file that changes meanwhile is not taken for what it was."""
        try:
            found = list(self._lines(file)) if kind(file) in LINES else [(0, self._text(file))]
        except files.Unreadable as e:
            self._refuse(str(e))
            return
        if self._mark(file) != mark:
            raise UserError(f"'{shown(file)}' changed while it was read; ask again when it has been written")
        head = f"{title(file)}. " * self.header
        for line, text in found:
            for chunk in windows(shown(file), text, self.length, self.overlap):
                yield replace(chunk, line=line or chunk.line, text=head + chunk.text)

    def _text(self, file: Path) -> str:
        text = files.text(str(file))
        if (at := text.find("\0")) >= 0:
            line = text.count("\n", 0, at) + 1
            raise files.Unreadable(f"{shown(file)}, line {line} holds a zero byte: it is no text; remove it")
        return text

    def _lines(self, file: Path) -> Iterator[tuple[int, str]]:
        """(line, text in one line) of each record."""
        sort, records = files.read(str(file))
        if sort != "JSON lines":
            raise files.Unreadable(
                f"'{shown(file)}' is a {sort}, without a line a record; save it as JSON lines"
            )
        for r in records:
            why = r.why or ("" if isinstance(r.fields.get(FIELD), str) else f"it has no field '{FIELD}'")
            if why:
                self._refuse(f"{r.where}: {why}; mend it")
            else:
                plain = r.fields[FIELD].encode("utf-8", "replace").decode()
                yield int(r.where.rpartition(" ")[2]), " ".join(plain.split("\n"))


def there(path: str) -> Path:
    """The folder, or the file of a known kind, at a path. Raises UserError."""
    wanted = f"give a folder, or a file that ends in {ENDINGS}, each also with .gz"
    try:
        found = files.there(path)
    except files.Unreadable as e:
        raise UserError(f"{str(e).rpartition('; give')[0]}; {wanted}") from None
    if found.is_file() and kind(found) not in (*PLAIN, *LINES):
        raise UserError(f"'{path}' is of another kind; {wanted}")
    return found


def kind(file: Path) -> str:
    """Its ending, without .gz."""
    return Path(file.name.lower().removesuffix(".gz")).suffix


def title(file: Path) -> str:
    """Its name without its ending."""
    return Path(shown(file).removesuffix(".gz")).stem


def shown(file: Path) -> str:
    """A path as text; bytes that are not UTF-8 are written out."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def digest(file: Path) -> str:
    """SHA-256 of its bytes, read piece by piece."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
