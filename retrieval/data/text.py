"""Text files of rows: fields between separators, with or without a header."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.compressed import opened, unpacked
from retrieval.data.names import usual
from retrieval.data.report import Report
from retrieval.data.stream import BLOCK, Column, regular_columns
from retrieval.data.table import Table
from retrieval.errors import LONGEST_VALUE

# They come of bytes that are no latin-1 text, quotes of Windows for one.
C1_CONTROLS = "".join(map(chr, range(0x80, 0xA0)))

# Of a CSV file, the usual one first.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

# A quoted field over more lines than this was opened by a stray quote.
LONGEST_FIELD = 20


class Separated(NamedTuple):
    """How lines of a file without a header are cut into fields."""

    separator: str
    names: Sequence[str]


def read_csv(path: Path, report: Report, expected: frozenset[str] = frozenset()) -> Table:
    """Read a file whose first line names the columns.

    Args:
        path: The file.
        report: Takes bad lines and notes.
        expected: Names of columns that are said to be there, beside the usual ones.

    Raises:
        DataError: It cannot be read at all, no column is known, or one comes twice.
    """
    first, empty = _first_line(path)
    if empty:
        what, remedy = "the file is empty", "begin it with the names of the columns"
        report.add(path.name, None, "", what, remedy)
        report.raise_any()
    headers = {separator: _header(first, separator) for separator in SEPARATORS}

    def known(separator: str) -> int:
        names = headers[separator]
        return usual(names) + len(expected.intersection(names))

    separator = max(headers, key=lambda each: (known(each), len(headers[each])))
    header = headers[separator]
    if separator != "," and path.suffix.lower() != ".tsv":
        report.note(f"{path.name}: fields are read as separated by {SEPARATORS[separator]}")
    table = Table(path.name, pd.DataFrame(), range(0), first)
    if not known(separator):
        what = "the first line names no column that is known"
        remedy = (
            "begin with user_id,movie_id,rating,timestamp or movie_id,title,genres, or say which "
            "column is which: --columns user_id=NAME,movie_id=NAME"
        )
        report.add(path.name, 1, first, what, remedy)
        report.raise_any()
    ours = [columns.MOVIELENS.get(name, name) for name in header]
    repeated = sorted({name for name, our in zip(header, ours, strict=True) if ours.count(our) > 1})
    if repeated:
        what, remedy = "a column comes twice", f"keep one of each: {', '.join(repeated)}"
        report.add(path.name, 1, first, what, remedy)
        report.raise_any()
    with opened(path) as stream:
        frame = regular_columns(stream, header, separator, skip=1, quotes=True)
    if frame is not None:
        return table._replace(frame=frame, lines=range(2, len(frame) + 2))
    text = _decoded(path, report, latin_1=False)
    rows = list(_csv_rows(path.name, text, separator, report))[1:]
    frame, lines = _regular(path.name, rows, header, report)
    return table._replace(frame=frame, lines=lines)


def read_lines(path: Path, layout: Separated, report: Report) -> Table:
    """Read a file without a header.

    Raises:
        DataError: It cannot be read at all.
    """
    names = list(layout.names)
    with opened(path) as stream:
        if len(layout.separator) == 1:
            frame = regular_columns(stream, names, layout.separator, skip=0, quotes=False)
        else:
            # The fast parser wants one character; read at the single colons and drop what is
            # between.
            spread = [part for name in names for part in (name, f"-{name}")][:-1]
            frame = regular_columns(stream, spread, layout.separator[0], skip=0, quotes=False)
            if frame is not None and any(_holds(frame[name]) for name in spread[1::2]):
                frame = None
            if frame is not None:
                frame = frame[names]
    if frame is not None:
        return Table(path.name, frame, range(1, len(frame) + 1))
    text = _decoded(path, report, latin_1=True)
    # Not splitlines, which cuts at characters that may stand in a title.
    numbered = enumerate(text.split("\n"), start=1)
    rows = [(number, line.split(layout.separator)) for number, line in numbered if line]
    return Table(path.name, *_regular(path.name, rows, names, report))


def _holds(column: pd.Series) -> bool:
    """Return whether a column holds anything at all."""
    return not isinstance(column.dtype, pd.CategoricalDtype) or any(column.cat.categories)


def _first_line(path: Path) -> tuple[str, bool]:
    """Return the line that names the columns, and whether there is nothing in the file."""
    with opened(path) as stream:
        begin = stream.read(BLOCK).removeprefix(b"\xef\xbb\xbf")
    line = begin.replace(b"\r", b"\n").partition(b"\n")[0]
    return line.decode(errors="replace"), not begin.strip()


def _header(line: str, separator: str) -> list[str]:
    """Return the names of the columns; nameless ones are numbered."""
    try:
        names = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # longer than any header
        return [line[:LONGEST_VALUE]]
    return [name.strip() or f"column {place}" for place, name in enumerate(names, start=1)]


def _csv_rows(
    name: str, text: str, separator: str, report: Report
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line it begins on."""
    lines = text.split("\n")
    reader, begins = csv.reader((f"{line}\n" for line in lines), delimiter=separator), 1
    while True:
        try:
            row, closed = next(reader), True
        except StopIteration:
            return
        except csv.Error:  # the field is longer than any
            row, closed = [], False
        ends = reader.line_num
        if ends == len(lines):
            closed &= "".join(lines[begins - 1 :]).count('"') % 2 == 0
        if not closed or ends - begins > LONGEST_FIELD:
            what, remedy = "a quote is opened and not closed", "close it, double it, or drop it"
            if '"' not in lines[begins - 1]:
                what, remedy = "a field is longer than any can be", "mend or drop the line"
            report.add(name, begins, lines[begins - 1], what, remedy)
        elif row:
            yield begins, row
        begins = ends + 1


def _regular(
    file: str, rows: list[tuple[int, list[str]]], names: Sequence[str], report: Report
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the rows with the right number of fields and their lines; report the others."""
    for line, row in rows:
        if len(row) != len(names):
            report.add(
                file,
                line,
                " ".join(row),
                f"line does not have {len(names)} fields",
                f"it has {len(row)}: cut off, or a stray separator or quote; mend or drop it",
            )
    kept = [row for _, row in rows if len(row) == len(names)]
    lines = np.array([line for line, row in rows if len(row) == len(names)], dtype=np.int64)
    parsed = {}
    for place, name in enumerate(names):
        parsed[name] = Column()
        parsed[name].add(pa.array([row[place] for row in kept], pa.large_string()))
    frame = pd.DataFrame({name: column.taken() for name, column in parsed.items()})
    return frame, lines


def _decoded(path: Path, report: Report, *, latin_1: bool) -> str:
    """Return the text of a file: UTF-8, or latin-1 where it is allowed and no line is UTF-8.

    Lines end in LF, whatever they end in in the file: CR, LF, or both.
    """
    raw = unpacked(path)
    suspects = "\0\ufffd"
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        if latin_1 and not any(_beyond_ascii(line) for line in raw.split(b"\n")):
            text = raw.decode("latin-1")
            suspects += C1_CONTROLS
        else:
            text = raw.decode("utf-8-sig", errors="replace")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if any(suspect in text for suspect in suspects):
        for number, line in enumerate(text.split("\n"), start=1):
            if any(suspect in line for suspect in suspects):
                what, remedy = "line is mis-encoded", "save the file as UTF-8"
                report.add(path.name, number, line, what, remedy)
    return text


def _beyond_ascii(line: bytes) -> bool:
    """Return whether a line is UTF-8 that latin-1 text would hardly be by chance."""
    try:
        return not line.isascii() and bool(line.decode())
    except UnicodeDecodeError:
        return False
