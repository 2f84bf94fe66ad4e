"""A file as read: raw columns, not yet trusted, and the place of every row."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data import columns

NOTHING: Mapping[str, str] = MappingProxyType({})


class Part(NamedTuple):
    """One of several files that are read as one table."""

    file: str
    first: int  # row of the table


class Table(NamedTuple):
    """A file as read, its values not yet trusted.

    Columns are int64 or other numbers, datetimes, or categories whose values are texts: a text that
    comes again and again is held, and looked at, once.
    """

    file: str
    frame: pd.DataFrame
    lines: NDArray[np.int64] | range  # (N,) the line in the file of each row
    header: str = ""  # as in the file, which may have more columns than the frame
    lists: frozenset[str] = frozenset()  # columns that are lists in the file, joined by |
    unread: Mapping[str, str] = NOTHING  # by column: of what type, which no table can use
    parts: tuple[Part, ...] = ()  # of several files
    names: Mapping[str, str] = NOTHING  # by column: what the file calls it

    def place(self, row: int) -> tuple[str, int]:
        """Return the file and the line of a row."""
        inside = [part.file for part in self.parts if part.first <= row]
        file = f"{self.file}/{inside[-1]}" if inside else self.file
        return file, int(self.lines[row])

    def has(self, column: str) -> bool:
        """Return whether the file has a column, of use or not."""
        return column in self.frame or column in self.unread

    def called(self, column: str) -> str:
        """Return what messages call a column: our name, and that in the file if it differs."""
        name = self.names.get(column, column)
        if name == column or columns.MOVIELENS.get(name) == column:
            return column
        return f"{column} (column {name})"


def categories(codes: NDArray[np.integer], distinct: pd.Index) -> pd.Series:
    """Return a column of texts: which of the distinct ones each row has, -1 for none."""
    return pd.Series(pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(distinct)))
