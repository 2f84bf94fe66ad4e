"""Kinds of further columns: what an attribute is, by looking at its values, and its values."""

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data.arrow import SEPARATOR
from retrieval.data.attributes import AttributeKind
from retrieval.data.names import folded
from retrieval.data.report import Report
from retrieval.data.table import Table
from retrieval.data.times import EARLIEST, LATEST, NO_TIME, TimeUnit, seconds_of
from retrieval.data.values import (
    as_text,
    complain,
    distinct,
    entries,
    numbers,
    plain_texts,
    short_texts,
    texts,
)
from retrieval.data.vocabulary import MISSING
from retrieval.errors import shown

YES = frozenset(("true", "t", "yes", "y", "1", "1.0"))
NO = frozenset(("false", "f", "no", "n", "0", "0.0"))

# A category has at most so many values, each of them this long, and comes again.
MOST_CATEGORIES, LONGEST_CATEGORY = 1000, 60
AGAIN = 0.5

# In a table of fewer rows, short texts are categories though hardly one comes again.
FEW = 50

# Texts of as many words on average are no categories.
MANY_WORDS = 4

ISO = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")

# The share of the values that have to be of a kind for the column to be.
NEARLY_ALL = 0.99

# The share of the values that hold a bar where a column is of lists.
JOINED = 0.05

# Names of columns of times, folded.
TIMES = re.compile(r".*(date|time|timestamp|at|since|until|on|epoch)")

# Names of columns that tell rows apart, or lead elsewhere, folded.
KEYS = re.compile(r".*(id|uuid|guid|key|url|uri|link|href|slug|hash|sha|code|index)")

LONGEST_PLOT = 10_000


class LeftOut(NamedTuple):
    """A column that is no attribute."""

    why: str


def kind_of(table: Table, column: str) -> AttributeKind | LeftOut:
    """Return what a column is, or why it is none."""
    looked = None if column in table.unread else _looked_at(table.frame[column])
    if why := _why_not(table, column, looked):
        return LeftOut(why)
    if looked is None or column in table.lists:
        return AttributeKind.LIST
    if looked.different.dtype.kind == "M":
        return AttributeKind.DATE
    return _kind_of_numbers(column, looked) or _kind_of_texts(looked)


def _why_not(table: Table, column: str, looked: "_Looked | None") -> str:
    """Return why a column is left out; nothing if it is not."""
    if looked is None:
        return f"it is {table.unread[column]}"
    if not column.isprintable() or len(column) > LONGEST_CATEGORY:
        return "its name cannot be typed"
    if not looked.texts:
        return "it is empty"
    if len(looked.texts) == 1 and looked.there == len(table.frame) > 1:
        return f"it is {shown(looked.texts[0], 30)} in every row"
    alone = column not in table.lists and _unique_key(column, looked)
    return "it tells rows apart" if alone else ""


class _Looked(NamedTuple):
    """The distinct values of a column that stand for something."""

    different: NDArray[Any]  # (D,)
    texts: list[str]  # D, as written
    counts: NDArray[np.int64]  # (D,)

    @property
    def there(self) -> int:
        """How many rows have a value."""
        return int(self.counts.sum())

    def without_words_for_none(self) -> "_Looked":
        """Return the values that are no words such as null; of texts, these may be values."""
        used = np.array([text.casefold() not in MISSING for text in self.texts], dtype=bool)
        kept = [text for text, use in zip(self.texts, used.tolist(), strict=True) if use]
        return _Looked(self.different[used], kept, self.counts[used])

    def share(self, of: NDArray[np.bool_]) -> float:
        """Return the share of rows with values of a mask `(D,)`."""
        return float(self.counts[of].sum() / self.there)


def _looked_at(values: pd.Series) -> _Looked:
    found = distinct(values)
    texts = [as_text(value) for value in found.different]
    counts = np.bincount(found.codes[found.codes >= 0], minlength=len(texts))
    used = np.array([bool(text) for text in texts], dtype=bool) & (counts > 0)
    kept = [text for text, use in zip(texts, used.tolist(), strict=True) if use]
    return _Looked(found.different[used], kept, counts[used])


def _kind_of_numbers(column: str, looked: _Looked) -> AttributeKind | None:
    """Return what a column is if it is of numbers, or of yes and no."""
    small = {text.casefold() for text in looked.texts}
    if len(small) == 2 and len(small & YES) == 1 and len(small & NO) == 1:
        return AttributeKind.YES_NO
    looked = looked.without_words_for_none()
    if not looked.texts:
        return None
    parsed = numbers(pd.Series(looked.texts))
    codes = any(len(text) > 1 and text[0] == "0" and text.isdigit() for text in looked.texts)
    if codes or looked.share(np.isfinite(parsed)) < NEARLY_ALL:
        return None
    return AttributeKind.DATE if _are_times(column, parsed) else AttributeKind.NUMBER


def _kind_of_texts(looked: _Looked) -> AttributeKind:
    times = seconds_of(np.array(looked.texts, dtype=object), looked.counts, any_year=True)
    dated = times.unit is TimeUnit.DATETIMES
    if dated and looked.share(times.seconds != NO_TIME) >= NEARLY_ALL:
        return AttributeKind.DATE
    joined = np.array([SEPARATOR in text for text in looked.texts], dtype=bool)
    if looked.counts[joined].sum() >= max(2, JOINED * looked.there):
        return AttributeKind.LIST
    words = np.mean([len(text.split()) for text in looked.texts])
    short = max(map(len, looked.texts)) <= LONGEST_CATEGORY and words < MANY_WORDS
    again = len(looked.texts) <= AGAIN * looked.there or looked.there < FEW
    few = len(looked.texts) <= MOST_CATEGORIES and again
    return AttributeKind.CATEGORY if short and few else AttributeKind.TEXT


def _unique_key(column: str, looked: _Looked) -> bool:
    """Return whether a column has another value in every row, and no sense but that."""
    texts = looked.texts
    if len(texts) < max(2, looked.there):
        return False
    if KEYS.fullmatch(folded(column)):
        return True
    return looked.there >= FEW and all(map(_is_code, texts))


def _is_code(text: str) -> bool:
    """Return whether a text is one word of letters and digits, and no number or time."""
    mixed = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    return mixed and " " not in text and not ISO.match(text)


def _are_times(column: str, parsed: NDArray[np.float64]) -> bool:
    """Return whether numbers in a column of a likely name are times."""
    if not TIMES.fullmatch(folded(column)):
        return False
    finite = parsed[np.isfinite(parsed)]
    times = seconds_of(finite)
    inside = (times.seconds >= EARLIEST) & (times.seconds < LATEST)
    return times.unit is not TimeUnit.ORDER and bool(inside.mean() >= NEARLY_ALL)


def attribute_values(table: Table, column: str, kind: AttributeKind, report: Report) -> pd.Series:
    """Return the values of an attribute `(N,)`, as `MovieData` has them.

    Values that are none of the kind are reported.
    """
    values = table.frame[column]
    match kind:
        case AttributeKind.CATEGORY:
            return short_texts(table, column, report)
        case AttributeKind.LIST:
            found = short_texts(table, column, report, SEPARATOR)
            return found.map({text: entries(text) for text in found.unique()}).astype(str)
        case AttributeKind.TEXT:
            found = texts(table, column, report)
            if (long := found.str.len() > LONGEST_PLOT).any():
                report.note(
                    f"{table.file}: {column} was cut to {LONGEST_PLOT:,} letters in "
                    f"{long.sum():,} rows"
                )
            return found.str.slice(0, LONGEST_PLOT)
        case AttributeKind.NUMBER:
            parsed = numbers(values)
            wrong = _given(values) & ~np.isfinite(parsed)
            what, remedy = f"{column} is no number", "give a number or nothing"
            complain(report, table, column, wrong, what, remedy)
            return pd.Series(parsed)
        case AttributeKind.YES_NO:
            found = plain_texts(values).str.casefold()
            said = {text: float(text in YES) for text in found.unique() if text in YES | NO}
            wrong = _given(values) & ~found.isin(list(said)).to_numpy()
            what, remedy = f"{column} is neither yes nor no", "give true, false or nothing"
            complain(report, table, column, wrong, what, remedy)
            return found.map(said).astype(np.float64)
        case AttributeKind.DATE:
            times = distinct(values)
            seconds = times.spread(_seconds(times.different), NO_TIME)
            wrong = _given(values) & (seconds == NO_TIME)
            what, remedy = f"{column} is no date", "give dates as 2016-02-10, or nothing"
            complain(report, table, column, wrong, what, remedy)
            return pd.Series(seconds)


def _given(values: pd.Series) -> NDArray[np.bool_]:
    """Return where a column has a value, `(N,)`, words such as null being none."""
    return (~plain_texts(values).str.casefold().isin(MISSING)).to_numpy()


def _seconds(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the seconds of distinct values `(D,)`; gaps do not count in finding their unit."""
    if values.dtype.kind in "Mf":
        there = ~pd.isna(values)
    else:
        there = np.array([as_text(value).casefold() not in MISSING for value in values], dtype=bool)
    seconds = np.full(len(values), NO_TIME, dtype=np.int64)
    seconds[there] = seconds_of(values[there], any_year=True).seconds
    return seconds
