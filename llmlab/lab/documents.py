"""Documents: the user's own texts: .txt and .md, a document each, and the field `text` of every record of the
files that `files` reads.
"""

from collections import Counter
from pathlib import Path

from ..errors import UserError
from . import files

PLAIN = (".txt", ".md")
FIELD = "text"


class NoText(UserError):
    """A file or folder without one usable text."""


class Documents:
    """Texts by sub-domain, and what was recognised on the way."""

    def __init__(self, path: str, skip_bad: bool = False):
        self.path, self.skip_bad = path, skip_bad
        self.kinds: Counter = Counter()  # kind of file -> documents
        self.ignored: Counter = Counter()  # suffix -> files that were left alone
        self.bad: list[str] = []
        self.by_domain = self._read(files.there(path))

    def _read(self, root: Path) -> dict[str, list[str]]:
        """The documents by sub-folder; those at the top, or of a single file, are the sub-domain 'all'."""
        if root.is_file():
            found = {"all": self._file(root)}
        else:
            inner = [d for d in sorted(root.iterdir()) if d.is_dir()]
            found = {d.name: self._folder(d.rglob("*")) for d in inner}
            found |= {"all": self._folder(root.iterdir())}
        found = {name: texts for name, texts in found.items() if texts}
        if not found:
            raise NoText(
                f"'{self.path}' holds no text; it needs .txt or .md files, or records with a field '{FIELD}'"
                f" ({', '.join(files.KNOWN)})"
            )
        return found

    def _folder(self, inside) -> list[str]:
        return [t for f in sorted(inside) if f.is_file() for t in self._file(f, beside=True)]

    def _file(self, file: Path, beside: bool = False) -> list[str]:
        """The texts of one file. beside: of several; one of another kind is left alone and counted."""
        name = file.name.lower().removesuffix(".gz")
        suffix = Path(name).suffix
        if suffix in PLAIN:
            texts = [files.text(str(file))]
            kind = suffix
        elif suffix in files.KNOWN:
            kind, records = files.read(str(file))
            texts = [t for r in records if (t := self._text(r)) is not None]
        elif beside:
            self.ignored[suffix or "without a suffix"] += 1
            return []
        else:
            raise NoText(f"'{file}' is neither {', '.join(PLAIN)} nor {', '.join(files.KNOWN)}")
        texts = [t for t in texts if t.strip()]
        self.kinds[kind] += len(texts)
        return texts

    def _text(self, record: files.Record) -> str | None:
        """The record's text; None for a bad one that is skipped. Raises UserError with file and line."""
        why = record.why
        if not why and not isinstance(record.fields.get(FIELD), str):
            has = ", ".join(map(str, record.fields)) or "none"
            why = f"it has no field '{FIELD}' with a text (its fields: {has})"
        if not why:
            return record.fields[FIELD]
        if not self.skip_bad:
            raise UserError(f"{record.where}: {why}; mend it, or leave such records out with --skip_bad")
        self.bad.append(f"{record.where}: {why}")
        return None

    def told(self) -> str:
        """In a line, what was recognised, and how much."""
        kinds = ", ".join(f"{n} × {kind}" for kind, n in self.kinds.items() if n)
        n = sum(map(len, self.by_domain.values()))
        line = f"{n} documents in {len(self.by_domain)} sub-domains ({kinds})"
        if self.ignored:
            line += "; left alone: " + ", ".join(f"{n} × {s}" for s, n in self.ignored.items())
        return line + (f"; {len(self.bad)} bad records skipped, the first: {self.bad[0]}" if self.bad else "")
