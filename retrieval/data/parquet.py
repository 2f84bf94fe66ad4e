"""Parquet files of rows: the columns that are ours, as numbers, texts and times."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.checks import Table
from retrieval.data.plain import check_plain, refused
from retrieval.data.report import Report
from retrieval.errors import shown

# What a file may claim to hold: so many values of a column, and more for each of its bytes. Beyond
# that it is damaged, or made to fill the memory.
VALUES, VALUES_A_BYTE = 1_000_000, 4

# Bytes of text in one column, all rows together; a dictionary can make much of a small file.
MOST_TEXT = 2**30

ROWS_AT_ONCE = 10_000

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def read_parquet(path: Path, report: Report) -> Table:
    """Read a Parquet file; columns that are not ours are passed over.

    Raises:
        DataError: It cannot be read, or a column comes twice or is of no use.
    """
    check_plain(path)
    try:
        header = pq.read_schema(path).names
        names = [columns.MOVIELENS.get(name.strip(), name.strip()) for name in header]
        ours = {name: place for place, name in enumerate(names) if name in columns.ALL}
        twice = [header[place] for place, name in enumerate(names) if names.count(name) > 1]
        if twice:
            what, remedy = "a column comes twice", f"keep one of {', '.join(twice)}"
            report.add(path.name, None, ",".join(header), what, remedy)
            report.raise_any()
        stored = _stored(path, [header[place] for place in ours.values()])
        frame = pd.DataFrame(
            {
                name: _values(path, name, column)
                for name, column in zip(ours, stored.columns, strict=True)
            },
            index=range(stored.num_rows),
        )
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        what = f"not a readable parquet file ({shown(error, 200)})"
        raise refused(path, what, "write it again, or as .csv") from error
    return Table(path.name, frame, np.arange(1, len(frame) + 1), ",".join(header))


def _stored(path: Path, names: Sequence[str]) -> pa.Table:
    """Return columns of a file that holds no more than its size allows, texts as dictionaries.

    What the footer says of single columns is not looked at: where that is damaged, Arrow's bindings
    end the process.
    """
    with pq.ParquetFile(path) as file:
        schema, rows = file.schema, file.metadata.num_rows
    _check_count(path, rows)
    leaves = [schema.column(place) for place in range(len(schema))]
    leaves = [leaf for leaf in leaves if leaf.path.partition(".")[0] in names]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        if all(leaf.path in names for leaf in leaves):
            return file.read(names, use_threads=False, use_pandas_metadata=False)
        batches, values = [], 0  # a row can hold any number of values
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=names, use_threads=False):
            values += sum(
                len(column.flatten()) for column in batch.columns if _is_list(column.type)
            )
            _check_count(path, values)
            batches.append(batch)
        return pa.Table.from_batches(batches) if batches else file.read(names)


def _check_count(path: Path, values: int) -> None:
    """Refuse a file that claims more values of a column than it can hold.

    Raises:
        DataError: It does.
    """
    size = path.stat().st_size
    if values > (most := VALUES + VALUES_A_BYTE * size):
        what = f"claims {values:,} values in {size:,} bytes"
        raise refused(path, what, f"a file of this size holds up to {most:,}: write it again")


def _values(path: Path, name: str, column: pa.ChunkedArray) -> Any:  # noqa: ANN401 (of pandas)
    """Return a column as numbers, texts or datetimes `(N,)` for a frame."""
    column = _spelled_out(path, name, column)
    kind = column.type
    if pa.types.is_integer(kind):
        missing = column.is_null().to_numpy()
        numbers = column.fill_null(0).to_numpy()
        return pd.arrays.IntegerArray(numbers, missing) if missing.any() else numbers
    if pa.types.is_floating(kind) or (pa.types.is_boolean(kind) and name == columns.RATING):
        return column.cast(pa.float64()).to_numpy()
    if name == columns.TIMESTAMP and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return _datetimes(column)
    if name in columns.LISTS and _is_list(kind):
        return ["|".join(str(text) for text in row or () if text) for row in column.to_pylist()]
    if pa.types.is_nested(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        raise refused(path, f"column {name} is of type {kind}", "give numbers or text")
    return column.cast(pa.large_string()).to_pandas()


def _is_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    return any(check(kind) for check in lists) and not pa.types.is_nested(kind.value_type)


def _datetimes(column: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """Return datetimes in whole seconds `(N,)`, NaT where there is none."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s" if column.type == pa.date32() else "ms"))
    seconds = column.cast(pa.int64()).fill_null(0).to_numpy() // PER_SECOND[column.type.unit]
    missing = column.is_null().to_numpy()
    return np.where(missing, np.datetime64("NaT"), seconds.astype("datetime64[s]"))


def _spelled_out(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of an extension or a dictionary as what it stands for."""
    column.validate(full=True)  # that texts are UTF-8, and that a dictionary has what is looked up
    if isinstance(column.type, pa.BaseExtensionType):
        kind = column.type.storage_type
        column = pa.chunked_array([part.storage for part in column.chunks], kind)
    if sum(map(_text_size, column.chunks)) > MOST_TEXT:
        raise refused(path, f"column {name} holds over {MOST_TEXT:,} bytes", "shorten its texts")
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _text_size(part: pa.Array) -> int:
    """Return how many bytes the texts of a part of a column come to, each written out."""
    if _is_list(part.type):
        part = part.flatten()
    if not pa.types.is_dictionary(part.type) or not pa.types.is_string(part.type.value_type):
        return 0
    lengths = pc.binary_length(part.dictionary).to_numpy(zero_copy_only=False)
    return int(lengths[part.indices.drop_null().to_numpy()].sum())
