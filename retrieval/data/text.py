"""Text files of rows: fields between separators, with or without a header."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.checks import Table
from retrieval.data.plain import read_plain
from retrieval.data.report import Report
from retrieval.errors import LONGEST_VALUE

# Every other column is text: a title may be 007 and an occupation 01.
NUMBERS = {
    columns.USER_ID: pa.int64(),
    columns.MOVIE_ID: pa.int64(),
    columns.RATING: pa.float64(),
    columns.TIMESTAMP: pa.int64(),
}

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


def read_csv(path: Path, report: Report) -> Table:
    """Read a file whose first line names the columns.

    Raises:
        DataError: It cannot be read at all, no column is known, or one comes twice.
    """
    text = _decoded(path, report, latin_1=False)
    first = text.partition("\n")[0]
    headers = {separator: _header(first, separator) for separator in SEPARATORS}
    separator = max(headers, key=lambda name: len(columns.ALL.intersection(headers[name])))
    header = headers[separator]
    if separator != ",":
        report.note(f"{path.name}: fields are read as separated by {SEPARATORS[separator]}")
    table = Table(path.name, pd.DataFrame(), np.zeros(0, np.int64), first)
    if text.strip() and columns.ALL.isdisjoint(header):
        what = "the first line names no column that is known"
        remedy = "begin with user_id,movie_id,rating,timestamp or movie_id,title,genres"
        report.add(path.name, 1, first, what, remedy)
        report.raise_any()
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        what, remedy = "a column comes twice", f"keep one of each: {', '.join(repeated)}"
        report.add(path.name, 1, first, what, remedy)
        report.raise_any()
    frame = None
    if text.count('"') % 2 == 0:  # else a quote may be open at the end
        frame = _fast(text, separator, header, skip=1, quotes=True)
    if frame is not None:
        return table._replace(frame=frame, lines=np.arange(2, len(frame) + 2))
    rows = list(_csv_rows(path.name, text, separator, report))[1:]
    frame, lines = _regular(path.name, rows, header, report)
    return table._replace(frame=frame, lines=lines)


def read_lines(path: Path, layout: Separated, report: Report) -> Table:
    """Read a file without a header.

    Raises:
        DataError: It cannot be read at all.
    """
    text, names = _decoded(path, report, latin_1=True), list(layout.names)
    if len(layout.separator) == 1:
        frame = _fast(text, layout.separator, names, skip=0, quotes=False)
    else:
        # The fast parser wants one character; read at the single colons and drop what is between.
        spread = [part for name in names for part in (name, f"-{name}")][:-1]
        frame = _fast(text, layout.separator[0], spread, skip=0, quotes=False)
        if frame is not None and (frame[spread[1::2]] != "").to_numpy().any():
            frame = None
        if frame is not None:
            frame = frame[names]
    if frame is not None:
        return Table(path.name, frame, np.arange(1, len(frame) + 1))
    # Not splitlines, which cuts at characters that may stand in a title.
    numbered = enumerate(text.split("\n"), start=1)
    rows = [(number, line.split(layout.separator)) for number, line in numbered if line]
    return Table(path.name, *_regular(path.name, rows, names, report))


def _header(line: str, separator: str) -> list[str]:
    """Return the names of the columns, ours for MovieLens'; nameless ones are numbered."""
    try:
        names = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # longer than any header
        return [line[:LONGEST_VALUE]]
    named = (columns.MOVIELENS.get(name.strip(), name.strip()) for name in names)
    return [name or f"column {place}" for place, name in enumerate(named, start=1)]


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


def _fast(
    text: str, separator: str, names: Sequence[str], *, skip: int, quotes: bool
) -> pd.DataFrame | None:
    """Parse regular text at full speed; None where it is anything but regular.

    Arrow refuses a line with too few or too many fields; pandas fills up the one and cuts the
    other.
    """
    text = text.rstrip("\n")
    # Where a number is malformed, text, which the checks report; Arrow takes 0x1a for a number.
    for numbers in ({},) if "0x" in text or "0X" in text else (NUMBERS, {}):
        try:
            table = arrow_csv.read_csv(
                pa.py_buffer(text.encode()),
                arrow_csv.ReadOptions(use_threads=False, column_names=names, skip_rows=skip),
                arrow_csv.ParseOptions(delimiter=separator, quote_char='"' if quotes else False),
                arrow_csv.ConvertOptions(
                    column_types={name: numbers.get(name, pa.string()) for name in names},
                    null_values=[],
                ),
            )
        except pa.ArrowException:
            continue
        # Blank lines and quoted fields over many lines would put rows on wrong line numbers.
        if table.num_rows + skip == text.count("\n") + 1:
            frame: pd.DataFrame = table.to_pandas()
            return frame
    return None


def _regular(
    name: str, rows: list[tuple[int, list[str]]], names: Sequence[str], report: Report
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the rows with the right number of fields and their lines; report the others."""
    for line, row in rows:
        if len(row) != len(names):
            report.add(
                name,
                line,
                " ".join(row),
                f"line does not have {len(names)} fields",
                f"it has {len(row)}: cut off, or a stray separator or quote; mend or drop it",
            )
    kept = [row for _, row in rows if len(row) == len(names)]
    lines = np.array([line for line, row in rows if len(row) == len(names)], dtype=np.int64)
    return pd.DataFrame(kept, columns=list(names), dtype=str), lines


def _decoded(path: Path, report: Report, *, latin_1: bool) -> str:
    """Return the text of a file: UTF-8, or latin-1 where it is allowed and no line is UTF-8.

    Lines end in LF, whatever they end in in the file: CR, LF, or both.
    """
    raw = read_plain(path)
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
