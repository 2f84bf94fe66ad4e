"""Files as bytes, whatever they are packed in; what would fill the memory is refused."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from retrieval.data.plain import OTHER_FORMATS, check_plain, refused
from retrieval.errors import shown

# Endings of files that are packed, with what Arrow calls the packing.
CODECS = {".gz": "gzip", ".zst": "zstd"}
ZIP = ".zip"

# What a packed file may come to: so many bytes, or so many times its own size.
UNPACKED, EXPANSION = 2**30, 200


class Bytes(Protocol):
    """Whatever gives bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, fewer at the end."""
        ...


def inner_name(path: Path) -> str:
    """Return the name of a file without its packing: ratings.csv of ratings.csv.gz.

    Raises:
        DataError: It is no zip archive of one file.
    """
    if path.suffix.lower() in CODECS:
        return path.name[: -len(path.suffix)]
    if path.suffix.lower() == ZIP:
        check_plain(path)
        with _damage(path), zipfile.ZipFile(path) as archive:
            return Path(_only(path, archive).filename).name
    return path.name


@contextmanager
def opened(path: Path) -> Iterator[Bytes]:
    """Open a file for reading, unpacked.

    Raises:
        DataError: It is no plain file, damaged, or begins as nothing does that can be read.
    """
    check_plain(path)
    most = max(UNPACKED, EXPANSION * path.stat().st_size)
    codec = CODECS.get(path.suffix.lower())
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        with _damage(path):
            if path.suffix.lower() == ZIP:
                archive = stack.enter_context(zipfile.ZipFile(raw))
                stream: Bytes = stack.enter_context(archive.open(_only(path, archive)))
            elif codec:
                packed = pa.PythonFile(raw, mode="r")
                stream = stack.enter_context(pa.CompressedInputStream(packed, codec))
        if codec or path.suffix.lower() == ZIP:
            yield _Bounded(path, stream, most)
            return
        begin = raw.peek(8)
        for mark, (what, remedy) in OTHER_FORMATS.items():
            if begin.startswith(mark):
                raise refused(path, f"not plain text but {what}", remedy)
        yield raw


def unpacked(path: Path) -> bytes:
    """Return all bytes of a file.

    Raises:
        DataError: As `opened` does.
    """
    with opened(path) as stream:
        parts = iter(lambda: stream.read(2**20), b"")
        return b"".join(parts)


class _Bounded:
    """A stream that gives no more than so many bytes."""

    def __init__(self, path: Path, stream: Bytes, most: int) -> None:
        self._path, self._stream, self._left, self._most = path, stream, most, most

    def read(self, size: int = -1, /) -> bytes:
        with _damage(self._path):
            data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            what = f"unpacks to more than {self._most:,} bytes"
            raise refused(self._path, what, "unpack it first, if that is what it holds")
        return data


def _only(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one file of an archive; what macOS adds does not count."""
    files = [
        entry
        for entry in archive.infolist()
        if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
    ]
    if len(files) != 1:
        what = f"a zip archive of {len(files)} files"
        raise refused(path, what, "unpack it and give the folder, or pack each file alone")
    return files[0]


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Refuse a file in the block if it turns out to be damaged."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        what = f"cannot be unpacked ({shown(error, 200)})"
        raise refused(path, what, "copy or pack it again") from error
    except OSError as error:
        if error.errno is not None or isinstance(error, io.UnsupportedOperation):
            raise
        what = f"cannot be unpacked ({shown(error, 200)})"  # as Arrow says it
        raise refused(path, what, "copy or pack it again") from error
