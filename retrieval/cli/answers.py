"""Answers to many questions, written where they are wanted: into a file, a pipe or a device."""

import csv
import io
import os
import re
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from retrieval.data import columns
from retrieval.errors import RequestError, RunError, shown
from retrieval.run.versions import current
from retrieval.storage.files import new_file

STANDARD_OUTPUT = Path("-")
PARQUET = ".parquet"

WHOLE = (columns.USER_ID, columns.RANK, columns.MOVIE_ID, columns.TIMESTAMP)
FRACTIONAL = (columns.SCORE, columns.RATING, columns.DEVIATION)


def check_out(out: Path, inputs: Iterable[Path]) -> None:
    """Raise a `RequestError` if answers cannot, or should not, be written to a place.

    Args:
        out: The place.
        inputs: Files that the questions are read from.
    """
    if out == STANDARD_OUTPUT:
        return
    try:
        target, found = out.resolve(), _stat(out)
    except (OSError, RuntimeError, ValueError) as error:
        raise RequestError(f"nothing can be written to {shown(out)}: {_cause(error)}") from error
    if found is not None:
        if stat.S_ISDIR(found.st_mode):
            raise RequestError(f"{shown(out)} is a folder; give a file in it with --out")
        if not os.access(out, os.W_OK):
            raise RequestError(f"no permission to write {shown(out)}; give another with --out")
        if not stat.S_ISREG(found.st_mode):
            return
        if any(path.exists() and out.samefile(path) for path in inputs):
            raise RequestError(f"{shown(out)} is read from too; give another file with --out")
    _check_folder(out, target)


def _stat(out: Path) -> os.stat_result | None:
    """Return what a place is; None where nothing is."""
    try:
        return out.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check_folder(out: Path, target: Path) -> None:
    """Raise a `RequestError` if the folder of a target, to which `out` leads, is none for it."""
    if not target.parent.is_dir():
        raise RequestError(f"there is no folder {shown(target.parent)}; make it, or give another")
    try:
        with TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise RequestError(
            f"nothing can be written into {shown(target.parent)}: {_cause(error)}; "
            "give another folder with --out"
        ) from error
    for folder in target.parents:
        if _holds_run(folder):
            raise RequestError(
                f"{shown(out)} lies in the run {shown(folder)}; give another folder with --out"
            )


def write_answers(out: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table: a file that is whole or not there, or through a pipe, socket or device.

    A name that ends in `.parquet` gets Parquet, every other one CSV; `-` is standard output.

    Args:
        out: The place.
        header: Names of columns.
        rows: Values; None is empty.
    """
    write = _write_parquet if out.name.lower().endswith(PARQUET) else _write_csv
    try:
        if _is_plain(out):
            with new_file(out) as partial, partial.open("wb") as file:
                write(file, header, rows)
        else:
            with _stream(out) as file:
                write(file, header, rows)
    except OSError as error:
        if error.filename is None:  # the disk is full, or nobody listens at a socket
            error.filename = "standard output" if out == STANDARD_OUTPUT else str(out)
        raise


def _write_csv(file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    text.detach()  # which flushes it; the file is closed by whoever opened it


def _write_parquet(file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    import pyarrow as pa  # half a second that nothing else needs
    import pyarrow.parquet as pq

    types = dict.fromkeys(WHOLE, pa.int64()) | dict.fromkeys(FRACTIONAL, pa.float64())
    values = list(zip(*rows, strict=True)) or [()] * len(header)
    for name, column in zip(header, values, strict=True):
        if isinstance(next((value for value in column if value is not None), None), str):
            types[name] = pa.string()
    table = pa.table(
        {
            name: pa.array(column, types.get(name))
            for name, column in zip(header, values, strict=True)
        }
    )
    sink = pa.BufferOutputStream()  # a pipe cannot tell where it is, as Parquet asks
    pq.write_table(table, sink)
    file.write(sink.getvalue())


def _cell(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value


def _is_plain(out: Path) -> bool:
    """Return whether a place is a file, or nothing yet, and nothing that is open for writing."""
    if out == STANDARD_OUTPUT:
        return False
    if not out.exists():
        return True
    return out.is_file() and _descriptor(out) is None


def _descriptor(out: Path) -> int | None:
    """Return which open file a place is, as /dev/stdout, /dev/fd/3 and what stderr goes to are."""
    named = re.fullmatch(r"/(?:dev|proc/self)/fd/([0-9]{1,9})", str(out))
    for number in (1, 2, *([int(named[1])] if named else [])):
        try:
            if os.path.samestat(out.stat(), os.fstat(number)):
                return number
        except OSError:  # it is closed
            continue
    return None


@contextmanager
def _stream(out: Path) -> Iterator[BinaryIO]:
    """Give what is no plain file to write to."""
    number = 1 if out == STANDARD_OUTPUT else _descriptor(out)
    if number == 1:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.flush()
    elif number is not None:
        with os.fdopen(os.dup(number), "wb") as file:
            yield file
    elif out.is_socket():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(out))
            with connection.makefile("wb") as file:
                yield file
    else:
        with os.fdopen(os.open(out, os.O_WRONLY), "wb") as file:
            yield file


def _holds_run(folder: Path) -> bool:
    try:
        current(folder)
    except (RunError, OSError):
        return False
    return True


def _cause(error: Exception) -> str:
    return shown(error.strerror if isinstance(error, OSError) and error.strerror else error)
