"""Where things lie: shipped data, the user's cache, atomic writes, file hashes. No torch."""

import errno
import glob
import hashlib
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

import platformdirs
from filelock import FileLock, Timeout

from .errors import UserError

PACKAGE = Path(__file__).parent
KILLED = 600.0  # seconds after which an unfinished write is one that was killed
SHIPPED = PACKAGE / "_shipped"  # an installed wheel has data/ and notebooks/ here: see setup.py


class NoRoom(UserError):
    """The cache or the data folder cannot be written; the message names the fix."""


class Busy(UserError):
    """Another process is doing the same."""


class NoClone(UserError):
    """The command changes what the package ships, and there is no clone of the repository."""


def installed() -> bool:
    """Does this package come from a wheel? Then there is no clone around it."""
    return SHIPPED.is_dir()


def shipped(folder: str) -> Path:
    """A folder that comes with the package: at the top of the clone, or inside the installed wheel."""
    return (SHIPPED if installed() else PACKAGE.parent) / folder


def clone(what: str) -> Path:
    """The top of the clone, for a command that needs one. Raises NoClone."""
    if installed():
        raise NoClone(f"{what} needs a clone of the repository; clone it and run: pip install -e .")
    return PACKAGE.parent


def extra(name: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'llmlab[{name}]'" if installed() else f"pip install -e '.[{name}]'"


LAB = ("base", "chat", "reader", "reasoner", "student_l", "student_m", "student_s")  # the shipped checkpoints


def data() -> Path:
    """Shipped data (checkpoints, stored runs): data/ of the clone or the wheel, or LLMLAB_DATA."""
    return Path(os.environ.get("LLMLAB_DATA") or shipped("data"))


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
    """All of the content or none of it: written beside, flushed to disk, renamed. What a killed write of this
    file left is removed. Raises NoRoom.
    """
    handle, name = None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_killed(path.parent, f"{glob.escape(path.name)}????????.tmp")
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


def clear_killed(folder: Path, names: str = "*.tmp") -> None:
    """Remove what killed writes left in a folder of ours: files too old to be still written."""
    for left in folder.glob(names):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > KILLED:
                left.unlink()


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
