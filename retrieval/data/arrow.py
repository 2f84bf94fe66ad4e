"""Columns of Arrow as columns of a frame: numbers, datetimes, and distinct texts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrieval.data.plain import refused
from retrieval.data.table import categories

# Bytes of text in one column, all rows together; a dictionary can make much of a small file.
MOST_TEXT = 2**30

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

SEPARATOR = "|"


def of_no_use(kind: pa.DataType) -> bool:
    """Return whether no table can use a column of a type."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if is_list(kind):
        return False
    none = pa.types.is_nested, pa.types.is_duration, pa.types.is_time
    return any(check(kind) for check in none)


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is a list of single values."""
    lists = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    return any(check(kind) for check in lists) and not pa.types.is_nested(kind.value_type)


def values_of(path: Path, name: str, column: pa.ChunkedArray) -> pd.Series:
    """Return a column as numbers, categories of texts or datetimes `(N,)` for a frame.

    Raises:
        DataError: Its texts come to more than the memory should be filled with.
    """
    column = _spelled_out(path, name, column)
    kind = column.type
    if pa.types.is_dictionary(kind) and not pa.types.is_string(kind.value_type):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_integer(kind):
        missing = column.is_null().to_numpy()
        numbers = column.fill_null(0).to_numpy()
        return pd.Series(pd.arrays.IntegerArray(numbers, missing) if missing.any() else numbers)
    if pa.types.is_floating(kind):
        return pd.Series(column.cast(pa.float64()).to_numpy())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return pd.Series(_datetimes(column))
    if is_list(kind):
        rows = column.to_pylist()
        joined = [SEPARATOR.join(str(text) for text in row or () if text) for row in rows]
        column = pa.chunked_array([pa.array(joined, pa.large_string())])
    return _texts(column)


def _texts(column: pa.ChunkedArray) -> pd.Series:
    """Return a column of texts, or of what can be written as such."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.large_string()).dictionary_encode()
    chunks = column.unify_dictionaries().chunks
    codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in chunks]
    dictionary = chunks[0].dictionary.to_numpy(zero_copy_only=False) if chunks else []
    # A dictionary may hold a text twice, or what stands for none.
    places, distinct = pd.factorize(np.array([*dictionary, None], dtype=object))
    return categories(
        places[np.concatenate([*codes, []]).astype(np.int32)], pd.Index(distinct, dtype=str)
    )


def _datetimes(column: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """Return datetimes in whole seconds `(N,)`, NaT where there is none."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s" if column.type == pa.date32() else "ms"))
    seconds = column.cast(pa.int64()).fill_null(0).to_numpy() // PER_SECOND[column.type.unit]
    missing = column.is_null().to_numpy()
    return np.where(missing, np.datetime64("NaT", "s"), seconds.astype("datetime64[s]"))


def _spelled_out(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of an extension as what it stands for."""
    column.validate(full=True)  # that texts are UTF-8, and that a dictionary has what is looked up
    if isinstance(column.type, pa.BaseExtensionType):
        kind = column.type.storage_type
        column = pa.chunked_array([part.storage for part in column.chunks], kind)
    if sum(map(_text_size, column.chunks)) > MOST_TEXT:
        raise refused(path, f"column {name} holds over {MOST_TEXT:,} bytes", "shorten its texts")
    return column


def _text_size(part: pa.Array) -> int:
    """Return how many bytes the texts of a part of a column come to, each written out."""
    if is_list(part.type):
        part = part.flatten()
    if not pa.types.is_dictionary(part.type) or not pa.types.is_string(part.type.value_type):
        return 0
    lengths = pc.binary_length(part.dictionary).to_numpy(zero_copy_only=False)
    return int(lengths[part.indices.drop_null().to_numpy()].sum())
