"""Files and folders that are whole or not there: written beside, flushed, renamed."""

import fcntl
import glob
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from retrieval.errors import RecError

PARTIAL = ".partial"

# Letters of a target's name that the name beside it keeps: file systems allow 255 in all.
KEPT = 100


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a file name to write to; it takes the place of target only when the block succeeds.

    A symbolic link is followed: what it points to is replaced, and its permissions stay. What a
    killed process left beside target is removed.

    Raises:
        OSError: The folder does not exist, or nothing can be written there.
    """
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, descriptor = _claimed(target, _touch)
    try:
        yield partial
        if target.exists():
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        flush(partial)
        partial.replace(target)
        flush(target.parent)
    finally:
        partial.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write into; it becomes target only when the block succeeds.

    What a killed process left beside target is removed.

    Raises:
        RecError: Target holds something already.
        OSError: Nothing can be written there.
    """
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    check_free(target)
    partial, descriptor = _claimed(target, Path.mkdir)
    try:
        yield partial
        flush_all(partial)
        check_free(target)
        partial.rename(target)
        flush(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(descriptor)


def check_free(target: Path) -> None:
    """Raise a `RecError` if target is neither missing nor an empty folder."""
    if target.is_dir() and not target.is_symlink():
        free = not any(target.iterdir())
    else:
        free = not os.path.lexists(target)
    if not free:
        raise RecError(f"{target} is there and is no empty folder; name a new one")


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_all(folder: Path) -> None:
    """Bring a folder and everything in it to the disk."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def remove(path: Path) -> None:
    """Remove a file, a symbolic link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _claimed(target: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    """Make a file or folder beside target that nobody else uses; return what holds it, too."""
    _clean(target)
    while True:
        partial = target.with_name(f"{_start(target)}{secrets.token_hex(8)}{PARTIAL}")
        make(partial)
        descriptor = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed: somebody is at work here
        if partial.exists():  # else somebody took it for left behind before it was held
            return partial, descriptor
        os.close(descriptor)


def _touch(path: Path) -> None:
    """Make an empty file where nothing is, not even a symbolic link."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666))


def _start(target: Path) -> str:
    """Return how the hidden names beside target begin."""
    kept = os.fsencode(target.name)[:KEPT].decode(errors="ignore")
    return f".{kept}."


def _clean(target: Path) -> None:
    """Remove what processes that were killed left beside target: nobody holds it."""
    for path in target.parent.glob(f"{glob.escape(_start(target))}*{PARTIAL}"):
        with suppress(OSError):  # somebody is at work on it, or has removed it
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
            finally:
                os.close(descriptor)


def link_or_copy(old: Path, new: Path) -> None:
    """Give a file a second name, or copy it where a file system has no links.

    Both names may be of one file: it may be replaced, never changed.
    """
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)
