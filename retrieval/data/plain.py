"""Plain files: their bytes, or a line that says why they cannot be had."""

import os
import stat
from pathlib import Path

from retrieval.errors import DataError, Problem

# How files begin that are not what their names say, and what to do.
OTHER_FORMATS = {
    b"\x1f\x8b": ("compressed with gzip", "add .gz to its name"),
    b"BZh": ("compressed with bzip2", "name it .bz2 and unpack it with bunzip2"),
    b"\xfd7zXZ\0": ("compressed with xz", "name it .xz and unpack it with unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "add .zst to its name"),
    b"PK\x03\x04": (
        "a zip archive or a spreadsheet",
        "add .zip to its name if it holds one file, or save it as CSV text",
    ),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "save it as CSV text"),
    b"PAR1": ("a Parquet file", "give it the ending .parquet"),
    b"\xff\xfe": ("text in UTF-16 or UTF-32", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
    b"\0\0\xfe\xff": ("text in UTF-32", "save it as UTF-8"),
}


def refused(path: Path, what: str, remedy: str) -> DataError:
    """Return the error that refuses a file or folder as a whole."""
    problem = Problem(file=path.name or ".", line=None, value=str(path), what=what, remedy=remedy)
    return DataError([problem])


def unreadable(path: Path, error: OSError | MemoryError) -> DataError:
    """Return the error that says what the system said of a file or folder."""
    if isinstance(error, MemoryError):
        return refused(path, "more than fits into memory", "give fewer rows, or a larger machine")
    at = error.filename if isinstance(error.filename, str) else str(path)
    what = f"cannot be read ({error.strerror or error})"
    return refused(Path(at), what, "mend its permissions or its place, or copy it again")


def is_there(path: Path) -> bool:
    """Return whether there is anything of this name, be it of no use."""
    return os.path.lexists(path)


def check_plain(path: Path) -> None:
    """Refuse what is no plain file, which could keep a reader waiting for ever.

    Raises:
        DataError: It is not there, or a folder, a pipe or a device.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise refused(path, "link to what is not there", "mend the link") from None
        raise refused(path, "no such file", "check its name") from None
    if stat.S_ISDIR(mode):
        raise refused(path, "a folder where a file belongs", "name a file, or move the folder")
    if not stat.S_ISREG(mode):
        raise refused(path, "no plain file", "save what it gives as a file first")
