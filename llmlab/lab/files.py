"""Records: the files that people have, as records with the place where each stands: JSON lines, a JSON array,
both also gzipped, CSV, Parquet, or a folder that the datasets library has saved.
"""

import csv
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from ..errors import UserError

MOST = 2**30  # bytes of one file: what is larger belongs into Parquet, which is read by its columns
KINDS = {".jsonl": "JSON lines", ".ndjson": "JSON lines", ".json": "JSON", ".csv": "CSV", ".tsv": "CSV"}
KNOWN = (*KINDS, ".parquet")


class Unreadable(UserError):
    """A file that cannot be read as records; the message names it, and what to do."""


@dataclass(frozen=True)
class Record:
    """One record: where it stands (file and line), and its fields, or why there are none."""

    where: str
    fields: dict[str, Any]
    why: str = ""


def read(path: str) -> tuple[str, list[Record]]:
    """(what kind of file it is, its records). A line that is no record is among them, with the reason. Raises
    Unreadable.
    """
    file = there(path)
    if file.is_dir():
        return "datasets folder", list(_saved(file))
    name = file.name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix == ".parquet":
        return "Parquet", [Record(f"{path}, row {i}", row) for i, row in enumerate(_parquet(file), 1)]
    raw = _bytes(file, name.endswith(".gz"))
    if suffix in (".csv", ".tsv"):
        return "CSV", list(_table(path, _text(path, raw), "\t" if suffix == ".tsv" else ","))
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        return "JSON array", list(_array(path, raw))
    return "JSON lines", list(_lines(path, raw))


def there(path: str) -> Path:
    """The regular file or folder at a path. Raises Unreadable."""
    try:
        file = Path(path).expanduser()
        if file.is_dir() or file.is_file():
            return file
        what = "is neither a file nor a folder" if file.exists() else "does not exist"
    except (OSError, ValueError, RuntimeError) as e:  # a name too long, a zero byte, a user who is not there
        what = f"is no path ({getattr(e, 'strerror', None) or e})"[:120]
    raise Unreadable(f"'{path[:200]}' {what}; give a file of {', '.join(KNOWN)}, each also with .gz")


def _bytes(file: Path, zipped: bool) -> bytes:
    try:
        with gzip.open(file) if zipped else file.open("rb") as f:
            raw = f.read(MOST + 1)
    except (OSError, EOFError) as e:
        raise Unreadable(
            f"'{file}' cannot be read ({e.strerror or e if isinstance(e, OSError) else e})"
        ) from None
    if len(raw) > MOST:
        raise Unreadable(f"'{file}' is larger than {MOST >> 20} MB; save it as Parquet, or split it")
    return raw


def text(path: str) -> str:
    """A file's whole text, gzipped or not. Raises Unreadable with the line that is not UTF-8."""
    return _text(path, _bytes(Path(path), path.lower().endswith(".gz")))


def _text(path: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise Unreadable(
            f"{path}, line {line} is not UTF-8; convert it, for example with: iconv -f latin1 -t utf-8"
        ) from None


def _lines(path: str, raw: bytes) -> Iterator[Record]:
    """A record a line. Only \\n ends one: JSON allows other breaks inside a string."""
    for i, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip():
            yield _record(f"{path}, line {i}", *_parsed(line))


def _array(path: str, raw: bytes) -> Iterator[Record]:
    found, why = _parsed(raw.removeprefix(b"\xef\xbb\xbf"))
    if why or not isinstance(found, list):
        raise Unreadable(f"'{path}' begins like a JSON array and is none: {why or 'something follows it'}")
    for i, fields in enumerate(found, 1):
        yield _record(f"{path}, record {i}", fields, "")


def _parsed(text: bytes) -> tuple[Any, str]:
    """(value, why there is none)."""
    try:
        return json.loads(text), ""
    except UnicodeDecodeError:
        return None, "it is not UTF-8"
    except RecursionError:
        return None, "its brackets are nested too deep"
    except ValueError as e:
        return None, f"it is no JSON ({e})"[:160]


def _record(where: str, fields: Any, why: str) -> Record:
    if not why and not isinstance(fields, dict):
        why = f"it is a JSON {type(fields).__name__}, not an object with named fields"
    return Record(where, {} if why else fields, why)


def _table(path: str, text: str, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(MOST)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    try:
        for row in rows:
            many = row.pop(None, None)  # type: ignore[call-overload]
            why = f"it has more cells than the head has names ({len(rows.fieldnames or ())})" if many else ""
            yield _record(
                f"{path}, line {rows.line_num}", {k: v for k, v in row.items() if v not in (None, "")}, why
            )
    except csv.Error as e:
        raise Unreadable(f"{path}, line {rows.line_num} is no CSV ({e})") from None


def _parquet(file: Path) -> list[dict]:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(file).to_pylist()
    except (pyarrow.ArrowException, OSError) as e:
        raise Unreadable(f"'{file}' is no Parquet file ({str(e).splitlines()[0][:120]})") from None


def _saved(folder: Path) -> Iterator[Record]:
    """The rows of a folder that datasets.save_to_disk wrote; of several splits the one called train."""
    if not any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        raise Unreadable(
            f"'{folder}' was not saved by the datasets library; give a file of {', '.join(KNOWN)}"
        )
    from datasets import DatasetDict, load_from_disk

    try:
        found = load_from_disk(str(folder))
        rows = found.get("train") if isinstance(found, DatasetDict) else found
    except Exception as e:  # whatever is damaged in it
        raise Unreadable(
            f"'{folder}' cannot be read by datasets ({type(e).__name__}: {str(e)[:100]})"
        ) from None
    if rows is None:
        raise Unreadable(
            f"'{folder}' has the splits {', '.join(found)} and none called train; save that one alone"
        )
    for i, row in enumerate(rows, 1):
        yield Record(f"{folder}, row {i}", dict(row))
