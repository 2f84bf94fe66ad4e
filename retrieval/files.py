"""Files that are whole or not there: written beside, flushed, renamed."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
REPLACED = ".replaced"


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beside(target: Path, suffix: str) -> Path:
    """Return a hidden name beside target."""
    return target.with_name(f".{target.name}{suffix}")


def recover(target: Path) -> None:
    """Put back what `new_folder` had moved aside when it was killed between its two renames."""
    replaced = beside(target, REPLACED)
    if replaced.exists() and not target.exists():
        replaced.rename(target)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write into; it takes the place of target only when the block succeeds.

    Killed at any moment, it leaves the old folder or the whole new one, after `recover`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    recover(target)
    partial, replaced = beside(target, PARTIAL), beside(target, REPLACED)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for path in partial.rglob("*"):
            _flush(path)
        _flush(partial)
        if target.exists():
            target.rename(replaced)
        partial.rename(target)
        _flush(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a file name to write to; it takes the place of target only when the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(target, PARTIAL)
    try:
        yield partial
        _flush(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
