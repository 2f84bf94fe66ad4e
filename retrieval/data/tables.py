"""Tables: any file of rows, or a folder of parts of one, as a table of all its columns."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from retrieval.data.compressed import CODECS, ZIP, inner_name
from retrieval.data.jsonl import read_jsonl
from retrieval.data.parquet import ENDING as PARQUET
from retrieval.data.parquet import read_parquet
from retrieval.data.report import Report
from retrieval.data.table import Part, Table
from retrieval.data.text import read_csv

TEXTS = (".csv", ".tsv", ".txt", ".psv")
JSON = (".jsonl", ".ndjson", ".json")
PACKED = (*CODECS, ZIP)

# Of tables that are looked for in a folder, the usual one first; a .txt or .json there is a licence
# or a setting as often.
ENDINGS = (".csv", PARQUET, ".tsv", ".psv", ".jsonl", ".ndjson", ZIP)


class Form(NamedTuple):
    """How the name of a file says that it is to be read."""

    stem: str
    format: str


def form_of(path: Path) -> Form:
    """Return the name of a file without endings, and the ending that says its format; or ""."""
    name = path.name
    for packed in PACKED:
        if name.lower().endswith(packed):
            name = name[: -len(packed)]
            if packed == ZIP and not _format(name):
                return Form(name, ZIP)
            break
    ending = _format(name)
    return Form(name[: len(name) - len(ending)], ending)


def _format(name: str) -> str:
    endings = (*TEXTS, *JSON, PARQUET)
    return next((ending for ending in endings if name.lower().endswith(ending)), "")


def is_table(path: Path) -> bool:
    """Return whether a name is that of a file that can be read, or of a folder of parts."""
    if path.is_dir():
        return bool(_parts(path))
    return bool(form_of(path).format)


def read_table(path: Path, report: Report, expected: frozenset[str] = frozenset()) -> Table:
    """Read a file, or a folder of parts of one format as one table.

    Args:
        path: The file or the folder.
        report: Takes bad lines and notes.
        expected: Names of columns that are said to be there, beside the usual ones.

    Raises:
        DataError: It cannot be read at all.
    """
    if path.is_dir() and (parts := _parts(path)):
        tables = [read_table(part, report, expected) for part in parts]
        return _joined(path, tables, report)
    format_ = form_of(path).format
    if format_ == ZIP:
        format_ = _format(inner_name(path))
    if format_ == PARQUET:
        return read_parquet(path, report)
    if format_ in JSON:
        return read_jsonl(path, report)
    return read_csv(path, report, expected)


def _parts(folder: Path) -> list[Path]:
    """Return the files of a folder that are parts of one table: of one format, and numbered."""
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "_"))]
    forms = {form_of(path).format for path in files}
    numbered = all(any(map(str.isdigit, path.name)) for path in files)
    if len(forms) == 1 and "" not in forms and numbered and all(path.is_file() for path in files):
        return files
    return []


def _joined(folder: Path, tables: list[Table], report: Report) -> Table:
    """Return tables as one, each row with the part that it is of."""
    first = tables[0]
    for table in tables[1:]:
        if {*table.frame} != {*first.frame}:
            what = f"columns are not those of {first.file}"
            report.add(
                f"{folder.name}/{table.file}", 1, table.header, what, "give all parts the same"
            )
            report.raise_any()
    starts = np.cumsum([0, *(len(table.frame) for table in tables)]).tolist()
    frame = pd.DataFrame(
        {name: _end_to_end([table.frame[name] for table in tables]) for name in first.frame}
    )
    parts = tuple(Part(table.file, start) for table, start in zip(tables, starts, strict=False))
    lines = np.concatenate([np.asarray(table.lines, dtype=np.int64) for table in tables])
    lists = frozenset().union(*(table.lists for table in tables))
    return first._replace(file=folder.name, frame=frame, lines=lines, parts=parts, lists=lists)


def _end_to_end(columns: list[pd.Series]) -> pd.Series:
    kinds = {isinstance(column.dtype, pd.CategoricalDtype) for column in columns}
    if kinds == {False}:
        return pd.concat(columns, ignore_index=True)
    texts = [
        column
        if isinstance(column.dtype, pd.CategoricalDtype)
        else column.astype(str).astype("category")
        for column in columns
    ]
    return pd.Series(union_categoricals(texts))
