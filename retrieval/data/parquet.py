"""Parquet files of rows: every column that a table can use."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data import columns
from retrieval.data.arrow import is_list, of_no_use, values_of
from retrieval.data.compressed import unpacked
from retrieval.data.plain import check_plain, refused
from retrieval.data.report import Report
from retrieval.data.table import Table
from retrieval.errors import shown

ENDING = ".parquet"

# What a file may claim to hold: so many values of a column, and more for each of its bytes. Beyond
# that it is damaged, or made to fill the memory.
VALUES, VALUES_A_BYTE = 1_000_000, 4

ROWS_AT_ONCE = 10_000


def read_parquet(path: Path, report: Report) -> Table:
    """Read a Parquet file, packed or not.

    Raises:
        DataError: It cannot be read, or a column comes twice.
    """
    check_plain(path)
    source: Path | pa.BufferReader = path
    size = path.stat().st_size
    if path.suffix.lower() != ENDING:
        content = unpacked(path)
        source, size = pa.BufferReader(content), len(content)
    try:
        schema = pq.read_schema(source)
        header = [name.strip() for name in schema.names]
        names = [columns.MOVIELENS.get(name, name) for name in header]
        twice = [
            name for name, our in zip(schema.names, names, strict=True) if names.count(our) > 1
        ]
        if twice:
            what, remedy = "a column comes twice", f"keep one of {', '.join(twice)}"
            report.add(path.name, None, ",".join(schema.names), what, remedy)
            report.raise_any()
        unread = {
            name.strip(): f"of type {kind}"
            for name, kind in zip(schema.names, schema.types, strict=True)
            if of_no_use(kind)
        }
        wanted = [name for name in schema.names if name.strip() not in unread]
        stored = _stored(path, source, size, wanted)
        frame = pd.DataFrame(
            {
                name.strip(): values_of(path, name, column)
                for name, column in zip(wanted, stored.columns, strict=True)
            },
            index=range(stored.num_rows),
        )
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        what = f"not a readable parquet file ({shown(error, 200)})"
        raise refused(path, what, "write it again, or as .csv") from error
    lists = (name for name, kind in zip(header, schema.types, strict=True) if is_list(kind))
    lines = range(1, len(frame) + 1)
    return Table(path.name, frame, lines, ",".join(header), frozenset(lists), unread)


def written(column: pd.Series) -> list[str]:
    """Return values as a CSV file would have them; what is missing is empty.

    Args:
        column: Of a table that `read_parquet` returned.
    """
    return [
        "" if pd.isna(value) else f"{value:.17g}" if isinstance(value, float) else str(value)
        for value in column.tolist()
    ]


def _stored(
    path: Path, source: Path | pa.BufferReader, size: int, names: Sequence[str]
) -> pa.Table:
    """Return columns of a file that holds no more than its size allows, texts as dictionaries.

    What the footer says of single columns is not looked at: where that is damaged, Arrow's bindings
    end the process.
    """
    with pq.ParquetFile(source) as file:
        schema, rows = file.schema, file.metadata.num_rows
    _check_count(path, size, rows)
    leaves = [schema.column(place) for place in range(len(schema))]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    flat = {leaf.path for leaf in leaves}
    with pq.ParquetFile(source, read_dictionary=texts) as file:
        if flat.issuperset(names):
            return file.read(names, use_threads=False, use_pandas_metadata=False)
        batches, values = [], 0  # a row can hold any number of values
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=names, use_threads=False):
            values += sum(len(column.flatten()) for column in batch.columns if is_list(column.type))
            _check_count(path, size, values)
            batches.append(batch)
        return pa.Table.from_batches(batches) if batches else file.read(names)


def _check_count(path: Path, size: int, values: int) -> None:
    """Refuse a file that claims more values of a column than it can hold.

    Raises:
        DataError: It does.
    """
    if values > (most := VALUES + VALUES_A_BYTE * size):
        what = f"claims {values:,} values in {size:,} bytes"
        raise refused(path, what, f"a file of this size holds up to {most:,}: write it again")
