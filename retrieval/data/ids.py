"""Ids: what the file says, whole numbers or texts, and one kind for what is to join."""

import re
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data.report import Report
from retrieval.data.table import Table
from retrieval.data.times import whole_numbers
from retrieval.data.values import UNPRINTABLE, Distinct, as_text, complain, distinct
from retrieval.data.vocabulary import MISSING
from retrieval.errors import shown

# Of the distinct values of a column of whole numbers, the share that can be slips.
SLIPS = 0.01

LONGEST_ID = 200

# A number nobody writes so; it is a code. Joined as a number, 007 would be the same as 7.
CODE = re.compile(r"[+-]?0[0-9]+")
DIGITS = re.compile(r"[+-]?[0-9]+")

# Ids of two tables are the same ids in another form if more than this share of them is shared.
SHARED = 0.5


class IdKind(StrEnum):
    """What ids are."""

    NUMBERS = "whole numbers"
    TEXTS = "texts"


class IdColumn(NamedTuple):
    """A column of ids, each distinct one looked at."""

    table: Table
    column: str
    found: Distinct
    texts: NDArray[Any]  # (D,) as written, without blanks around
    numbers: NDArray[np.int64]  # (D,) 0 where a value is none
    wrong: NDArray[np.bool_]  # (D,) where a value is no whole number
    missing: NDArray[np.bool_]  # (D,) where it stands for none
    kind: IdKind


def id_column(table: Table, column: str) -> IdColumn:
    """Look at the ids of a table."""
    values = table.frame[column]
    found = distinct(values)
    texts = np.array([as_text(value) for value in found.different], dtype=object)
    exact = found.different if found.different.dtype.kind in "iuf" else texts
    numbers, wrong = whole_numbers(exact)
    missing = np.array([text.casefold() in MISSING for text in texts], dtype=bool)
    kind = IdKind.NUMBERS
    if found.different.dtype.kind != "f":
        suspects = texts[wrong & ~missing]
        beyond = any(DIGITS.fullmatch(text) for text in suspects)
        codes = any(text.startswith(("0", "+0", "-0")) and CODE.fullmatch(text) for text in texts)
        if beyond or codes or len(suspects) > SLIPS * len(texts):
            kind = IdKind.TEXTS
    return IdColumn(table, column, found, texts, numbers, wrong, missing, kind)


def joined(first: IdColumn, second: IdColumn, report: Report) -> IdKind:
    """Return the kind that ids of two tables are both taken for.

    Where one table has texts and the other numbers, all are texts if they join so; if not, that is
    a problem.
    """
    if first.kind is second.kind:
        return first.kind
    inside = pd.Index(first.texts).isin(pd.Index(second.texts))
    if inside.mean() <= SHARED:
        one, other = (str(next(iter(side.texts[~side.missing]), "")) for side in (first, second))
        name = first.column
        what = f"{first.table.called(name)} does not join with that of {second.table.file}"
        remedy = (
            f"{second.table.file} has {second.kind} such as '{shown(other)}': write both alike, or "
            f"say which column it is: --columns {name}=NAME"
        )
        report.add(first.table.file, None, one, what, remedy)
    return IdKind.TEXTS


class Ids(NamedTuple):
    """The ids of the N rows of a table."""

    column: pd.Series  # (N,) int64 or texts
    wrong: NDArray[np.bool_]  # (N,) where there is none, which was reported


def ids_of(column: IdColumn, kind: IdKind, report: Report) -> Ids:
    """Return the ids of each row; what is none is reported."""
    match kind:
        case IdKind.NUMBERS:
            return _numbers(column, report)
        case IdKind.TEXTS:
            return _texts(column, report)


def _numbers(column: IdColumn, report: Report) -> Ids:
    name = column.table.called(column.column)
    wrong = column.found.spread(column.wrong, missing=True)
    remedy = "give one of 64 bits; of floats, to 2**53"
    complain(report, column.table, column.column, wrong, f"{name} is no whole number", remedy)
    return Ids(pd.Series(column.found.spread(column.numbers, 0)), wrong)


def _texts(column: IdColumn, report: Report) -> Ids:
    name = column.table.called(column.column)
    long = np.array([len(text) > LONGEST_ID for text in column.texts], dtype=bool)
    odd = np.array([UNPRINTABLE.search(text) is not None for text in column.texts], dtype=bool)
    missing = column.found.spread(column.missing, missing=True)
    wrong = missing | column.found.spread(long | odd, missing=False)
    for mask, what, remedy in (
        (column.missing, f"{name} is missing", "give one, or drop the line"),
        (long, f"{name} is longer than {LONGEST_ID} letters", "shorten it"),
        (odd, f"{name} holds control characters", "leave them out"),
    ):
        rows = column.found.spread(mask, missing=mask is column.missing)
        complain(report, column.table, column.column, rows, what, remedy)
    texts = pd.Series(column.texts, dtype=str)
    found = texts.array.take(column.found.codes, allow_fill=True, fill_value="")
    return Ids(pd.Series(found, dtype=str), wrong)


def distinct_texts(values: pd.Series) -> list[str]:
    """Return the distinct values of a column as texts."""
    return [as_text(value) for value in distinct(values).different]
