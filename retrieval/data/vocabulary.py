"""Ids and numbers: the one place where what the data calls a thing becomes its row, and back."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN = -1


class Vocabulary:
    """Distinct ids; the number of an id is its place. Given in any order, they come in ascending.

    Args:
        ids: Of any number, repeated or not.
        later: Ids that were added afterwards, none of them among the others: they come last, as
            given, so that the numbers of the others stay.
    """

    def __init__(self, ids: ArrayLike, later: ArrayLike = ()) -> None:
        first = np.unique(np.asarray(ids, dtype=np.int64))
        self.ids: NDArray[np.int64] = np.concatenate([first, np.asarray(later, dtype=np.int64)])
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]
        if (np.diff(self._sorted) == 0).any():
            raise ValueError("an id that was added is there already")

    def __len__(self) -> int:
        """Return how many ids there are."""
        return len(self.ids)

    def numbers(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Return the numbers of ids, `UNKNOWN` for those that are not in the vocabulary."""
        wanted = np.asarray(ids, dtype=np.int64)
        if not len(self.ids):
            return np.full(wanted.shape, UNKNOWN, dtype=np.int64)
        places = np.minimum(np.searchsorted(self._sorted, wanted), len(self.ids) - 1)
        return np.where(self._sorted[places] == wanted, self._order[places], UNKNOWN)

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest id."""
        return int(self._sorted[0]), int(self._sorted[-1])
