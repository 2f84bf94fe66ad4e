"""Files of JSON, one object a line: their names are the columns."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json

from retrieval.data.arrow import SEPARATOR, is_list, of_no_use, values_of
from retrieval.data.compressed import opened, unpacked
from retrieval.data.plain import refused
from retrieval.data.report import Report
from retrieval.data.stream import BLOCK, Column, Watched
from retrieval.data.table import Table

# From here on floats no longer tell whole numbers apart.
EXACT = 2.0**53

# More names than this are no columns but data.
MOST_COLUMNS = 1000


def read_jsonl(path: Path, report: Report) -> Table:
    """Read a file of one JSON object a line.

    Raises:
        DataError: It cannot be read at all.
    """
    stored = _regular(path)
    if stored is None:
        return _carefully(path, report)
    unread = {
        field.name: f"of type {field.type}" for field in stored.schema if of_no_use(field.type)
    }
    frame = pd.DataFrame(
        {
            name.strip(): values_of(path, name, column)
            for name, column in zip(stored.column_names, stored.columns, strict=True)
            if name not in unread
        },
        index=range(stored.num_rows),
    )
    lists = frozenset(field.name.strip() for field in stored.schema if is_list(field.type))
    header, lines = ",".join(stored.column_names), range(1, len(frame) + 1)
    return Table(path.name, frame, lines, header, lists, unread)


def _regular(path: Path) -> pa.Table | None:
    """Return the columns of a file in which each has one type; None for any other.

    Texts that look like times stay what they are to Arrow, which are times; a number that it would
    round is for the careful reader.
    """
    with opened(path) as stream:
        watched = Watched(stream)
        try:
            options = arrow_json.ReadOptions(use_threads=False, block_size=BLOCK)
            table = arrow_json.read_json(watched, options)
        except pa.ArrowException:
            return None
    names = [name.strip() for name in table.column_names]
    if table.num_rows != watched.lines or len({*names}) < len(names) or len(names) > MOST_COLUMNS:
        return None
    for column in table.columns:
        if pa.types.is_floating(column.type) and (pc.max(pc.abs(column)).as_py() or 0) >= EXACT:
            return None
    return table


def _carefully(path: Path, report: Report) -> Table:
    """Read line by line; report each that is no JSON object."""
    text = unpacked(path).decode("utf-8-sig", errors="replace")
    if text.lstrip().startswith("["):
        raise refused(path, "one JSON list", "write one object a line, as jq -c '.[]' does")
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        found = _object(line)
        if found is None or "\ufffd" in line:
            what, remedy = "line is no JSON object", 'write {"user_id": 1, ...}, in UTF-8'
            report.add(path.name, number, line, what, remedy)
            continue
        rows.append(found)
        lines.append(number)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) > MOST_COLUMNS:
        raise refused(path, f"{len(names):,} names of columns", "give each row the same names")
    frame = pd.DataFrame({name: _column(row.get(name) for row in rows) for name in names})
    lists = frozenset(
        name for name in names if any(isinstance(row.get(name), list) for row in rows)
    )
    return Table(path.name, frame, np.array(lines, dtype=np.int64), ",".join(names), lists)


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return (
        {name.strip(): value for name, value in found.items()} if isinstance(found, dict) else None
    )


def _column(values: Iterable[object]) -> pd.Series:
    column = Column()
    column.add(pa.array([_spelled(value) for value in values], pa.large_string()))
    return column.taken()


def _spelled(value: object) -> str:
    """Return a value as a text, a list joined by |."""
    match value:
        case None:
            return ""
        case str():
            return value.encode(errors="replace").decode()  # JSON can hold halves of letters
        case list():
            return SEPARATOR.join(_spelled(each) for each in value if each not in (None, ""))
        case _:
            return json.dumps(value, ensure_ascii=False)
