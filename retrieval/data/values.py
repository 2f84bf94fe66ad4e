"""Values of raw columns: as numbers, texts and lists, each distinct one looked at once."""

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data.report import MOST_OF_A_KIND, Report
from retrieval.data.table import Table
from retrieval.errors import CONTROLS

# Letters of a title, a name or anything else that is one text.
LONGEST_TEXT = 1000

NO_GENRES = "(no genres listed)"

# What can move a cursor or turn the direction of what follows; U+2028 stands in some titles.
UNPRINTABLE = re.compile(f"[{CONTROLS}]+")


class Distinct(NamedTuple):
    """The distinct values of a column, and which of them each row has."""

    codes: NDArray[np.integer]  # (N,) places among the values, -1 where there is none
    different: NDArray[Any]  # (D,) numbers, datetimes or texts

    def spread(self, mapped: NDArray[Any], missing: object) -> NDArray[Any]:
        """Return what the values `(D,)` were mapped to for each row `(N,)`."""
        if not len(mapped):
            return np.full(len(self.codes), missing, dtype=mapped.dtype)
        rows: NDArray[Any] = mapped[self.codes]
        if (self.codes < 0).any():
            rows[self.codes < 0] = missing
        return rows


def distinct(values: pd.Series) -> Distinct:
    """Return the distinct values of a column."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        categories = values.cat.categories
        return Distinct(values.cat.codes.to_numpy(), categories.to_numpy(dtype=object))
    texts = isinstance(values.dtype, pd.StringDtype)
    codes, found = pd.factorize(values if texts else plain_values(values))
    return Distinct(codes, np.asarray(found, dtype=object if texts else None))


def plain_values(values: pd.Series) -> NDArray[Any]:
    """Return a column `(N,)` as numbers or datetimes where it is either, else as objects."""
    if isinstance(values.dtype, np.dtype):
        return np.asarray(values)
    return np.asarray(values, dtype=object)


def plain_texts(values: pd.Series) -> pd.Series:
    """Return a column as texts without blanks around them, empty where there is no value."""
    found = distinct(values)
    texts = np.array([*map(as_text, found.different), ""], dtype=object)
    return pd.Series(texts[found.codes], dtype=str)


def as_text(value: object) -> str:
    """Return one value as a text."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, (float, np.datetime64)) and np.isnan(value):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # floats because of a gap, or as ratings are
    return str(value).strip()


def complain(
    report: Report, table: Table, column: str, wrong: NDArray[np.bool_], what: str, remedy: str
) -> None:
    """Report the values of a column where `wrong`, a mask `(N,)`, is set."""
    rows = np.flatnonzero(wrong)
    for row in rows[:MOST_OF_A_KIND].tolist():
        file, line = table.place(row)
        report.add(file, line, as_text(table.frame[column].iloc[row]), what, remedy)
    report.count_more(table.file, what, len(rows[MOST_OF_A_KIND:]))


def texts(table: Table, column: str, report: Report) -> pd.Series:
    """Return a column as texts without control characters, empty where it is missing."""
    if column not in table.frame:
        return pd.Series([""] * len(table.frame), dtype=str)
    found = plain_texts(table.frame[column])
    if odd := [text for text in found.unique() if UNPRINTABLE.search(text)]:
        rows = found.isin(odd).sum()
        report.note(f"{table.file}: control characters in {column} became blanks in {rows:,} rows")
        found = found.str.replace(UNPRINTABLE, " ", regex=True).str.strip()
    return found


def short_texts(table: Table, column: str, report: Report, separator: str = "\n") -> pd.Series:
    """Return a column as texts; those that are too long are reported.

    Args:
        table: The table.
        column: Name of the column.
        report: Takes the problems and notes.
        separator: What stands between texts that may each be as long; no text holds the default.
    """
    found = texts(table, column, report)
    longest = {text: max(map(len, text.split(separator))) for text in found.unique()}
    long = [text for text, length in longest.items() if length > LONGEST_TEXT]
    what, remedy = f"{column} is longer than {LONGEST_TEXT:,} letters", "shorten it"
    complain(report, table, column, found.isin(long).to_numpy(), what, remedy)
    return found


def lists(table: Table, column: str, report: Report) -> pd.Series:
    """Return a column of lists separated by |: entries without blanks around, each once."""
    found = short_texts(table, column, report, separator="|")
    for mark, name in ((", ", "commas"), (";", "semicolons")):
        alone = not found.str.contains("|", regex=False).any()
        if alone and found.str.contains(mark, regex=False).mean() > 0.5:
            report.note(
                f"{table.file}: {column} are lists separated by |, and these hold {name} alone"
            )
    return found.map({text: entries(text) for text in found.unique()}).astype(str)


def entries(text: str) -> str:
    """Return a list separated by | without blanks, empty entries and repetitions."""
    found = dict.fromkeys(map(str.strip, text.split("|")))
    return "|".join(entry for entry in found if entry and entry != NO_GENRES)


def given(table: Table, column: str) -> NDArray[np.bool_]:
    """Return where a column has a value at all, `(N,)`."""
    return (plain_texts(table.frame[column]) != "").to_numpy()


def numbers(values: pd.Series) -> NDArray[np.float64]:
    """Return a column as numbers `(N,)`, NaN where a value is none."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf":
        return values.to_numpy(np.float64)
    found = distinct(values)
    parsed = pd.to_numeric(pd.Series(found.different), errors="coerce")
    return found.spread(parsed.to_numpy(np.float64, na_value=np.nan), np.nan)
