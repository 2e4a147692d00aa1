"""Where things lie: shipped data, the user's cache, atomic writes, file hashes. No torch."""

import errno
import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import platformdirs
from filelock import FileLock, Timeout

from .errors import UserError


class NoRoom(UserError):
    """The cache or the data folder cannot be written; the message names the fix."""


class Busy(UserError):
    """Another process is doing the same."""


def data() -> Path:
    """Shipped data (checkpoints, stored runs): the repository's data/ folder, or LLMLAB_DATA."""
    return Path(os.environ.get("LLMLAB_DATA") or Path(__file__).parent.parent / "data")


def cache() -> Path:
    """The user's own runs and unfinished builds: LLMLAB_HOME, or the platform's cache folder."""
    return Path(os.environ.get("LLMLAB_HOME") or platformdirs.user_cache_dir("llmlab"))


def state() -> Path:
    """What the user made and nothing can compute again (progress of the drills): LLMLAB_HOME, or the
    platform's data folder; caches get cleared.
    """
    return Path(os.environ.get("LLMLAB_HOME") or platformdirs.user_data_dir("llmlab"))


def writable(folder: Path, need_mb: float = 20) -> Path:
    """The folder, made if missing, proven writable and with room. Raises NoRoom before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise NoRoom(
            f"cannot write to '{folder}' ({e.strerror}); make it writable, or set LLMLAB_HOME to another"
            " folder"
        ) from None
    if shutil.disk_usage(folder).free < need_mb * 2**20:
        raise NoRoom(
            f"less than {need_mb:g} MB are free in '{folder}'; free some space, or set LLMLAB_HOME to another"
            " disk"
        )
    return folder


def write_atomic(path: Path, content: bytes) -> None:
    """All of the content or none of it: written beside, flushed to disk, renamed. Raises NoRoom."""
    handle, name = None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        with os.fdopen(handle, "wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as e:
        if name and os.path.exists(name):
            os.unlink(name)
        if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise NoRoom(
                f"cannot write '{path}' ({e.strerror}); free some space or set LLMLAB_HOME to another folder"
            ) from None
        raise


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Only one process at a time does this; the lock ends with its process, however that ends. Raises Busy in
    the others.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout:
        raise Busy(f"another '{what}' is at work; wait until it has ended") from None
    try:
        yield
    finally:
        held.release()


def hash_bytes(*parts: bytes) -> str:
    """Sixteen hex digits of SHA-256."""
    h = hashlib.sha256()
    for part in parts:
        h.update(hashlib.sha256(part).digest())
    return h.hexdigest()[:16]


def hash_files(files: list[Path]) -> str:
    """One hash for the contents of several files."""
    return hash_bytes(*(f.read_bytes() for f in files))
