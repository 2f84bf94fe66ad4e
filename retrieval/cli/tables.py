"""Tables of questions, as CSV or Parquet: columns by their names, every bad line reported."""

import csv
import io
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.cli.answers import PARQUET
from retrieval.data import columns
from retrieval.data.report import Report
from retrieval.data.times import whole_numbers
from retrieval.errors import RequestError, shown
from retrieval.serving.arguments import read_times

# Reads texts `(Q,)` as values, and says where they are none.
Reader = Callable[[Sequence[str]], tuple[NDArray[Any], NDArray[np.bool_]]]


class Table(NamedTuple):
    """The columns of a file that are wanted."""

    values: dict[str, NDArray[Any]]  # (Q,) each
    lines: NDArray[np.int64]  # (Q,) of the file; rows from 1, of a Parquet file


class _Texts(NamedTuple):
    """The columns of a file that are wanted, as they are written, and what is no row."""

    values: dict[str, list[str]]  # of Q texts each
    lines: list[int]  # Q of them
    problems: list[tuple[int, str, str, str]]  # line, value, what is wrong, and the remedy


def read_table(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    texts: Collection[str] = (),
) -> Table:
    """Read columns of a CSV file with a header, or of a Parquet file; others are left alone.

    Args:
        path: A file, or a pipe; a name that ends in `.parquet` is read as Parquet.
        required: Names of columns.
        optional: Names of columns that need not be there.
        texts: Names of columns of ids that are texts.

    Raises:
        RequestError: It is no such file.
        DataError: It has bad lines.
    """
    read_texts = _parquet if path.name.lower().endswith(PARQUET) else _csv
    found, lines, problems = read_texts(path, required, optional)
    values = {}
    for name, column in found.items():
        read, remedy = (_read_texts, "give one") if name in texts else COLUMNS[name]
        values[name], wrong = read(column)
        problems += [
            (lines[place], column[place], f"bad {name}", remedy)
            for place in np.flatnonzero(wrong).tolist()
        ]
    report = Report()
    for line, value, what, remedy in sorted(problems, key=lambda problem: problem[0]):
        report.add(path.name, line, value, what, remedy)
    report.raise_any()
    return Table(values, np.array(lines, dtype=np.int64))


def _csv(path: Path, required: Sequence[str], optional: Sequence[str]) -> _Texts:
    """Read columns of a CSV file with a header."""
    text = _text(path)
    rows = _rows(path, text)
    header = [name.strip() for name in next(rows, (1, [""]))[1]]
    _check_header(path, text, header, required, optional)
    places = {name: header.index(name) for name in (*required, *optional) if name in header}
    found = _Texts({name: [] for name in places}, [], [])
    for line, row in rows:
        if len(row) != len(header):
            remedy = f"give {len(header)}"
            found.problems.append((line, ",".join(row), "wrong number of fields", remedy))
            continue
        found.lines.append(line)
        for name, place in places.items():
            found.values[name].append(row[place])
    return found


def _parquet(path: Path, required: Sequence[str], optional: Sequence[str]) -> _Texts:
    """Read columns of a Parquet file."""
    from retrieval.data.parquet import read_parquet, written  # half a second, mostly not needed

    table = read_parquet(path, Report())
    frame = table.frame
    missing = [f"{name} ({table.unread[name]})" for name in required if name in table.unread]
    if missing:
        raise RequestError(
            f"{shown(path)}: cannot be used: {', '.join(missing)}; write plain numbers or texts"
        )
    missing = [name for name in required if name not in frame]
    if missing:
        there = shown(", ".join(map(str, frame)) or "none", 200)
        raise RequestError(f"{shown(path)} lacks the column {', '.join(missing)}; it has: {there}")
    wanted = [name for name in (*required, *optional) if name in frame]
    lines = list(range(1, len(frame) + 1))
    return _Texts({name: written(frame[name]) for name in wanted}, lines, [])


def read_number(text: str) -> float | None:
    """Read a number, of digits from 0 to 9; None is none."""
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def read_ids(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read whole numbers; say where there is none."""
    return whole_numbers(np.array(texts, dtype=object))


def _read_texts(texts: Sequence[str]) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    found = np.array([text.strip() for text in texts], dtype=str)
    return found, found == ""


def _read_numbers(texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    found = [read_number(text) for text in texts]
    wrong = np.array([number is None for number in found], dtype=bool)
    return np.array([0.0 if number is None else number for number in found]), wrong


ID_REMEDY = "give a whole number of at most 18 digits"

COLUMNS: dict[str, tuple[Reader, str]] = {
    columns.USER_ID: (read_ids, ID_REMEDY),
    columns.MOVIE_ID: (read_ids, ID_REMEDY),
    columns.RATING: (_read_numbers, "give a number"),
    columns.TIMESTAMP: (
        read_times,
        "give seconds since 1970, or a date from 1990 to 2100 as in 2000-12-31",
    ),
}


def _check_header(
    path: Path, text: str, header: list[str], required: Sequence[str], optional: Sequence[str]
) -> None:
    """Raise a `RequestError` if the first line does not name each column that is needed, once."""
    names = ",".join(required) + "".join(f"[,{name}]" for name in optional)
    if not text.strip():
        raise RequestError(f"{shown(path)} is empty; its first line must name {names}")
    missing = [name for name in required if name not in header]
    if missing:
        other = [mark for mark in ";\t|" if any(mark in name for name in header)]
        separated = f", not by {other[0]!r}" if other else ""
        raise RequestError(
            f"{shown(path)} lacks the column {', '.join(missing)}; its first line must name "
            f"{names}, separated by commas{separated}"
        )
    for name in [*required, *optional]:
        if header.count(name) > 1:
            raise RequestError(f"{shown(path)} has the column {name} twice; keep one of them")


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Give the rows of a CSV file that are not empty, each with the line where it begins."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise RequestError(
                f"{shown(path)}:{line}: {error}; check the quotes of this line"
            ) from error
        if row is None:
            return
        if row:
            yield line, row


def _text(path: Path) -> str:
    """Read a text file.

    Raises:
        RequestError: It cannot be read, or is no file or pipe, or not in UTF-8.
    """
    try:
        # So that a pipe into which nobody writes is empty instead of waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            os.set_blocking(descriptor, True)
            kind = os.fstat(descriptor).st_mode
            device = stat.S_ISCHR(kind) or stat.S_ISBLK(kind)
            content = b"" if device else file.read()
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise RequestError(f"{shown(path)} cannot be read: {shown(cause)}") from error
    if device:
        raise RequestError(f"{shown(path)} cannot be read: it is a device; give a file")
    if not content and stat.S_ISFIFO(kind):
        raise RequestError(f"{shown(path)} cannot be read: it is a pipe into which nobody writes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RequestError(
            f"{shown(path)}:{line}: cannot be read: byte {content[error.start]:#04x} is not UTF-8; "
            "save the file as CSV text in UTF-8"
        ) from error
