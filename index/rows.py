"""Which row of an index each id has."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.neighbours import NO_ID
from index.vectors import Ids, whole_numbers

Mask = NDArray[np.bool_]

# Where the largest id is less than this many times the number of rows, a table of all ids below it
# says which row each id has: looking an id up in a sorted list of a million misses the cache 20
# times.
DENSE = 16

# The row of an id that is not in the table, and of a candidate that is missing.
NO_ROW = -1


@dataclass(frozen=True, eq=False)  # one choice is like no other: a backend may keep facts of it
class ChosenRows:
    """Which of R rows may be results."""

    rows: NDArray[np.int64]  # (S,) ascending
    mask: Mask  # (R,)

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows at places among the S, of the same shape; `NO_ROW` where that is one."""
        return np.where(places == NO_ROW, NO_ROW, self.rows[places])


class Rows:
    """The ids of R rows. It never changes, so that any number of threads may read it.

    Args:
        ids: Ids of the rows, `(R,)`; `NO_ID` where the vector was removed.
    """

    def __init__(self, ids: Ids) -> None:
        self.all_ids = ids
        mask = ids != NO_ID
        rows = np.flatnonzero(mask)
        self.count = len(rows)
        self.alive = None if len(rows) == len(ids) else ChosenRows(rows, mask)
        self._table: NDArray[np.int32] | None = None
        largest = int(ids.max(initial=NO_ID))
        if largest < DENSE * len(ids):
            self._table = np.full(largest + 1, NO_ROW, np.int32)
            self._table[ids[rows]] = rows
        else:
            order = rows[np.argsort(ids[rows], kind="stable")]
            self._sorted_ids, self._sorted_rows = ids[order], order

    def __len__(self) -> int:
        """Return R."""
        return len(self.all_ids)

    @property
    def ids(self) -> Ids:
        """The ids of the N vectors that were not removed, `(N,)`, in the order of their rows."""
        return self.all_ids if self.alive is None else self.all_ids[self.alive.rows]

    def of(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Return the rows of ids, of the same shape.

        Raises:
            KeyError: An id is not in the index.
            ValueError: The ids are not whole numbers of 64 bits.
        """
        named = whole_numbers(ids)
        rows, there = self.find(named)
        if not there.all():
            raise KeyError(f"not in the index: {named[~there][:5].tolist()}")
        return rows

    def find(self, ids: Ids) -> tuple[NDArray[np.int64], Mask]:
        """Return rows of ids, and whether they are there, of the same shape."""
        if not self.count:
            return np.zeros(ids.shape, np.int64), np.zeros(ids.shape, bool)
        if self._table is not None:
            within = (ids >= 0) & (ids < len(self._table))
            rows = self._table[np.where(within, ids, 0)].astype(np.int64)
            return rows, within & (rows != NO_ROW)
        places = np.minimum(np.searchsorted(self._sorted_ids, ids), self.count - 1)
        return self._sorted_rows[places], self._sorted_ids[places] == ids

    def choose(self, rows: NDArray[np.int64]) -> ChosenRows:
        """Return the choice of some rows, given in any order."""
        mask = np.zeros(len(self), dtype=bool)
        mask[rows] = True
        return ChosenRows(np.flatnonzero(mask), mask)


@dataclass(frozen=True)
class Selection:
    """Some ids that alone may be results, whatever rows they have when a search uses it."""

    ids: Ids  # (S,)
    origin: Rows = field(repr=False)  # those that the selection was made from
    chosen: ChosenRows = field(repr=False)  # the rows of the ids in these

    def within(self, rows: Rows) -> ChosenRows:
        """Return which rows these ids have; those that are no longer there have none."""
        if rows is self.origin:
            return self.chosen
        found, there = rows.find(self.ids)
        return rows.choose(found[there])
