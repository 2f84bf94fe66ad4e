"""Attributes: what else tables say of movies and users, each column of one kind.

Columns are kept as numbers beside the names that the numbers stand for, so that a condition on a
million rows is one operation on an array. Texts are read by an encoder at training and are not
kept: of them the columns say only that they are there.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.columns import LISTS, YEAR
from retrieval.data.columns import TITLE as TITLE_COLUMN
from retrieval.data.history import spans
from retrieval.data.times import NO_TIME
from retrieval.errors import RequestError, RunError, shown, unknown
from retrieval.storage.arrays import mapped_array
from retrieval.storage.damage import AGAIN, readable

if TYPE_CHECKING:  # what answers does without pandas
    import pandas as pd

# The code of a missing category, and of a missing yes or no. It also is the last place of a table
# that has one place more than there are codes.
MISSING = -1

# What separates the entries of a list in a table.
SEPARATOR = "|"

# A date, or a part of one: a year, a month, a day, a minute or a second, in UTC.
DATE = r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?)?)?"


class AttributeKind(StrEnum):
    """What the values of an attribute are."""

    CATEGORY = "category"
    NUMBER = "number"
    LIST = "list"
    TEXT = "text"
    YES_NO = "yes_no"
    DATE = "date"


# What a number in an array of values is, by kind; of a text there are none.
DTYPES: Mapping[AttributeKind, type[np.generic]] = {
    AttributeKind.CATEGORY: np.int32,
    AttributeKind.NUMBER: np.float64,
    AttributeKind.LIST: np.int32,
    AttributeKind.TEXT: np.int8,
    AttributeKind.YES_NO: np.int8,
    AttributeKind.DATE: np.int64,
}

# What a value has to be, for a message.
WANTED: Mapping[AttributeKind, str] = {
    AttributeKind.CATEGORY: "a text",
    AttributeKind.NUMBER: "a number",
    AttributeKind.LIST: "a list of texts",
    AttributeKind.TEXT: "a text",
    AttributeKind.YES_NO: "true or false",
    AttributeKind.DATE: "a date such as 2024-12-31",
}

# What the cell of a missing value holds.
EMPTY: Mapping[AttributeKind, object] = {
    AttributeKind.CATEGORY: "",
    AttributeKind.NUMBER: np.nan,
    AttributeKind.LIST: "",
    AttributeKind.TEXT: "",
    AttributeKind.YES_NO: np.nan,
    AttributeKind.DATE: NO_TIME,
}


class Attribute(NamedTuple):
    """One column of a table of movies or users."""

    name: str
    kind: AttributeKind


# What is known of a movie or user, by the names of attributes; see `AttributeColumns.value`.
Facts = Mapping[str, object]

# What every catalogue may know of movies.
TITLE_ATTRIBUTE = Attribute(TITLE_COLUMN, AttributeKind.TEXT)
USUAL = (
    TITLE_ATTRIBUTE,
    Attribute(YEAR, AttributeKind.NUMBER),
    *(Attribute(name, AttributeKind.LIST) for name in LISTS),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeColumn:
    """The values of one attribute of R rows.

    Args:
        kind: What they are.
        data: `(R,)` codes of names, numbers, seconds since 1970, or 1 for yes and 0 for no; of a
            list `(E,)` codes of all entries, row after row; of a text `(0,)`. What is missing is
            `MISSING`, NaN or `NO_TIME`.
        names: What the codes of a category or list stand for, sorted.
        offsets: `(R + 1,)` where the entries of each row begin; of all but lists `(0,)`.
    """

    kind: AttributeKind
    data: NDArray[Any]
    names: tuple[str, ...] = ()
    offsets: NDArray[np.int64]

    @cached_property
    def _folded_names(self) -> tuple[str, ...]:
        return tuple(map(_folded, self.names))

    def codes_of(self, name: str) -> list[int]:
        """Return the codes of a name, however its letters are written; none if there are none."""
        wanted = _folded(name)
        return [code for code, each in enumerate(self._folded_names) if each == wanted]

    def value(self, row: int) -> object:
        """Return the value of a row as Python has it; None where it is missing.

        A list is a tuple of its entries, a date is written as in ISO 8601.
        """
        match self.kind:
            case AttributeKind.CATEGORY:
                code = int(self.data[row])
                return None if code == MISSING else self.names[code]
            case AttributeKind.LIST:
                codes = self.data[self.offsets[row] : self.offsets[row + 1]].tolist()
                return tuple(self.names[code] for code in codes) or None
            case AttributeKind.NUMBER:
                number = float(self.data[row])
                whole = int(number) if number.is_integer() else number
                return None if np.isnan(number) else whole
            case AttributeKind.YES_NO:
                answer = int(self.data[row])
                return None if answer == MISSING else bool(answer)
            case AttributeKind.DATE:
                seconds = int(self.data[row])
                date = str(np.datetime64(seconds, "s")).removesuffix("T00:00:00")
                return None if seconds == NO_TIME else date
            case AttributeKind.TEXT:
                return None

    def joined(self, other: "AttributeColumn") -> "AttributeColumn":
        """Return a column of these rows and then those of another column of this kind."""
        further = set(other.names).difference(self.names)
        names = tuple(sorted([*self.names, *further]))
        both = [_recoded(column, names) for column in (self, other)]
        offsets = np.concatenate([self.offsets, other.offsets[1:] + len(self.data)])
        return AttributeColumn(
            kind=self.kind, data=np.concatenate(both), names=names, offsets=offsets
        )

    def taken(self, rows: NDArray[np.int64]) -> "AttributeColumn":
        """Return a column of some rows `(Q,)` alone, and of the names that are left."""
        data, offsets = self.data, self.offsets
        if self.kind is AttributeKind.LIST:
            counts = np.diff(offsets)[rows]
            data = data[spans(offsets[rows], counts)]
            offsets = np.concatenate([[0], np.cumsum(counts)])
        elif self.kind is not AttributeKind.TEXT:
            data = data[rows]
        names = self.names
        if names:
            left = np.unique(data[data != MISSING])
            codes = np.full(len(names) + 1, MISSING, data.dtype)
            codes[left] = np.arange(len(left))
            data, names = codes[data], tuple(names[code] for code in left.tolist())
        return AttributeColumn(kind=self.kind, data=data, names=names, offsets=offsets)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeColumns:
    """The attributes of R movies or users, in the order of their numbers.

    Args:
        rows: R.
        columns: The column of each attribute by its name, in the order of the table.
    """

    rows: int
    columns: Mapping[str, AttributeColumn]

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What attributes there are."""
        return tuple(Attribute(name, column.kind) for name, column in self.columns.items())

    def __len__(self) -> int:
        """Return R."""
        return self.rows

    def named(self, name: str) -> Attribute:
        """Return the attribute of a name, however its letters are written.

        Raises:
            RequestError: There is none, or more than one.
        """
        found = [each for each in self.columns if _folded(each) == _folded(name)]
        if name in self.columns:
            found = [name]
        if not found:
            raise unknown("attribute", name, self.columns)
        if len(found) > 1:
            raise RequestError(
                f"'{shown(name)}' names more than one attribute: {', '.join(found)}; "
                "write it as it is there"
            )
        return Attribute(found[0], self.columns[found[0]].kind)

    def value(self, row: int) -> dict[str, object]:
        """Return what is known of a row, by the names of the attributes; see `AttributeColumn`."""
        values = {name: column.value(row) for name, column in self.columns.items()}
        return {name: value for name, value in values.items() if value is not None}

    def extended(self, rows: Sequence[Mapping[str, object]]) -> "AttributeColumns":
        """Return columns with further rows after these.

        Args:
            rows: Values of each row by the names of attributes, as `value` returns them; what is
                left out or None is missing.

        Raises:
            RequestError: A name is that of no attribute, or a value is not of its kind.
        """
        given = [{self.named(name).name: value for name, value in row.items()} for row in rows]
        columns = {}
        for attribute, column in zip(self.attributes, self.columns.values(), strict=True):
            cells = [cell_of(attribute, row.get(attribute.name)) for row in given]
            columns[attribute.name] = column.joined(column_of(attribute.kind, cells))
        return AttributeColumns(rows=self.rows + len(rows), columns=columns)

    def changed(self, rows: Mapping[int, Mapping[str, object]]) -> "AttributeColumns":
        """Return columns in which some rows say something else.

        Args:
            rows: By row, the values that change, by the names of attributes, as `value` returns
                them; None is missing.

        Raises:
            RequestError: A name is that of no attribute, or a value is not of its kind.
        """
        columns = dict(self.columns)
        for name in dict.fromkeys(name for values in rows.values() for name in values):
            attribute, places = self.named(name), np.arange(self.rows)
            changed = [row for row, values in rows.items() if name in values]
            cells = [cell_of(attribute, rows[row][name]) for row in changed]
            places[changed] = self.rows + np.arange(len(changed))
            both = columns[attribute.name].joined(column_of(attribute.kind, cells))
            columns[attribute.name] = both.taken(places)
        return AttributeColumns(rows=self.rows, columns=columns)

    def save(self, folder: Path, stem: str) -> None:
        """Write the columns into an existing folder, as files whose names begin with `stem`."""
        facts = [
            {"name": name, "kind": column.kind, "names": column.names}
            for name, column in self.columns.items()
        ]
        whole = json.dumps({"rows": self.rows, "columns": facts}, indent=1)
        (folder / f"{stem}.json").write_text(f"{whole}\n", encoding="utf-8")
        for place, column in enumerate(self.columns.values()):
            np.save(folder / f"{stem}_{place}.npy", column.data)
            if column.kind is AttributeKind.LIST:
                np.save(folder / f"{stem}_{place}_offsets.npy", column.offsets)

    @classmethod
    def load(cls, folder: Path, stem: str, rows: int) -> "AttributeColumns":
        """Read what `save` wrote, as arrays that are mapped from disk.

        Args:
            folder: The folder.
            stem: What the names of the files begin with.
            rows: R, as the rest of the run has it.

        Raises:
            RunError: A file is missing or damaged, or the columns are not of so many rows.
        """
        path = folder / f"{stem}.json"
        with readable(path):
            facts = json.loads(path.read_text(encoding="utf-8"))
            count = facts["rows"]
            heads = [
                (str(head["name"]), AttributeKind(head["kind"]), tuple(map(str, head["names"])))
                for head in facts["columns"]
            ]
        columns = {}
        for place, (name, kind, names) in enumerate(heads):
            offsets = np.zeros(0, np.int64)
            if kind is AttributeKind.LIST:
                offsets = mapped_array(folder / f"{stem}_{place}_offsets.npy")
            data = mapped_array(folder / f"{stem}_{place}.npy")
            columns[name] = AttributeColumn(kind=kind, data=data, names=names, offsets=offsets)
        sound = count == rows and len(columns) == len(heads)
        if not (sound and all(_is_sound(column, rows) for column in columns.values())):
            raise RunError(f"{path} is not of attributes of {rows} rows; {AGAIN}")
        return cls(rows=rows, columns=columns)


def columns_of(frame: "pd.DataFrame", attributes: Sequence[Attribute]) -> AttributeColumns:
    """Return the attributes of the rows of a frame.

    Args:
        frame: With a column for each attribute: texts, empty where missing; lists joined by
            `SEPARATOR`; numbers, and 1 and 0 for yes and no, NaN where missing; dates in seconds
            since 1970, `NO_TIME` where missing.
        attributes: Those to keep.
    """
    columns = {}
    for name, kind in attributes:
        if kind in {AttributeKind.NUMBER, AttributeKind.YES_NO}:
            cells = frame[name].to_numpy(np.float64, na_value=np.nan)  # of nullable columns too
        else:
            cells = frame[name].to_numpy()
        columns[name] = column_of(kind, cells)
    return AttributeColumns(rows=len(frame), columns=columns)


def date_span(text: str) -> tuple[int, int] | None:
    """Return the first and last second of a `DATE`; None for what is no date."""
    if not re.fullmatch(DATE, text):
        return None
    try:
        start = np.datetime64(text)  # of the unit that the text ends with
    except ValueError:
        return None
    unit, _ = np.datetime_data(start.dtype)
    bounds = start + np.array([0, 1], f"timedelta64[{unit}]")
    first, after = bounds.astype("datetime64[s]").astype(np.int64).tolist()
    return first, after - 1


def _folded(name: str) -> str:
    """Return a name as names are compared."""
    return name.strip().casefold()


def column_of(kind: AttributeKind, cells: Sequence[Any] | NDArray[Any]) -> AttributeColumn:
    """Return a column of cells, which are as `columns_of` takes them."""
    names: tuple[str, ...] = ()
    offsets = np.zeros(0, np.int64)
    match kind:
        case AttributeKind.CATEGORY | AttributeKind.LIST:
            texts: list[str] = np.asarray(cells, dtype=object).tolist()
            places: dict[str, int] = {}
            rows = np.array([places.setdefault(text, len(places)) for text in texts], np.int64)
            entries = [_entries(kind, text) for text in places]
            names = tuple(sorted({entry for each in entries for entry in each}))
            codes = {name: code for code, name in enumerate(names)}
            if kind is AttributeKind.CATEGORY:
                data = np.array([codes[each[0]] if each else MISSING for each in entries])[rows]
            else:
                flat = np.array([codes[entry] for each in entries for entry in each], np.int64)
                lengths = np.array([len(each) for each in entries], np.int64)
                starts, counts = (np.cumsum(lengths) - lengths)[rows], lengths[rows]
                data = flat[spans(starts, counts)]
                offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        case AttributeKind.YES_NO:
            answers = np.asarray(cells, dtype=np.float64)
            data = np.where(np.isnan(answers), MISSING, answers)
        case AttributeKind.NUMBER | AttributeKind.DATE:
            data = np.array(cells, dtype=DTYPES[kind])  # a view would keep the frame
        case AttributeKind.TEXT:
            data = np.zeros(0)
    return AttributeColumn(
        kind=kind, data=data.astype(DTYPES[kind], copy=False), names=names, offsets=offsets
    )


def _entries(kind: AttributeKind, text: str) -> list[str]:
    """Return the entries of a cell, each once; a category has at most one."""
    parts = text.split(SEPARATOR) if kind is AttributeKind.LIST else [text]
    return [part for part in dict.fromkeys(parts) if part]


def _recoded(column: AttributeColumn, names: tuple[str, ...]) -> NDArray[Any]:
    """Return the data of a column, as codes among names that hold its own, if it has names."""
    if column.names == names:
        return column.data
    codes = {name: code for code, name in enumerate(names)}
    table = np.array([*(codes[name] for name in column.names), MISSING], np.int32)
    recoded: NDArray[np.int32] = table[column.data]
    return recoded


def cell_of(attribute: Attribute, value: object) -> object:
    """Return a value, or what stands for None, as a cell of a frame holds it.

    Raises:
        RequestError: The value is not of the attribute's kind.
    """
    name, kind = attribute
    cell: object = None
    match kind, value:
        case _, None:
            cell = EMPTY[kind]
        case ((AttributeKind.CATEGORY | AttributeKind.TEXT), str()):
            cell = value
        case AttributeKind.LIST, list() | tuple() if all(isinstance(each, str) for each in value):
            cell = SEPARATOR.join(value)
        case AttributeKind.YES_NO, bool():
            cell = float(value)
        case AttributeKind.NUMBER, bool():
            pass  # Python takes it for a number
        case AttributeKind.NUMBER, int() | float() if abs(value) <= sys.float_info.max:
            cell = float(value)
        case AttributeKind.DATE, str():
            span = date_span(value.strip())
            cell = None if span is None else span[0]
    if cell is None:
        raise RequestError(f"{name} '{shown(value)}' is not {WANTED[kind]}")
    return cell


def _is_sound(column: AttributeColumn, rows: int) -> bool:
    """Return whether a column is of so many rows, and its codes are those of its names."""
    kind, data, names, offsets = column.kind, column.data, column.names, column.offsets
    count = 0 if kind is AttributeKind.TEXT else rows
    if kind is AttributeKind.LIST:
        shaped = offsets.dtype == np.int64 and offsets.shape == (rows + 1,)
        if not (shaped and offsets[0] == 0 and (np.diff(offsets) >= 0).all()):
            return False
        count = int(offsets[-1])
    if data.dtype != DTYPES[kind] or data.shape != (count,):
        return False
    if any(name >= after for name, after in pairwise(names)):
        return False
    match kind:
        case AttributeKind.CATEGORY | AttributeKind.YES_NO | AttributeKind.LIST:
            codes = 2 if kind is AttributeKind.YES_NO else len(names)
            lowest = 0 if kind is AttributeKind.LIST else MISSING
            return bool(data.min(initial=lowest) >= lowest and data.max(initial=MISSING) < codes)
        case _:
            return True
