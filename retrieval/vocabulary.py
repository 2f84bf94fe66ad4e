"""Ids and numbers: the one place where what the data calls a thing becomes its row, and back."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN = -1


class Vocabulary:
    """Distinct ids in ascending order; the number of an id is its place."""

    def __init__(self, ids: ArrayLike) -> None:
        self.ids: NDArray[np.int64] = np.unique(np.asarray(ids, dtype=np.int64))

    def __len__(self) -> int:
        """Return how many ids there are."""
        return len(self.ids)

    def numbers(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Return the numbers of ids, `UNKNOWN` for those that are not in the vocabulary."""
        wanted = np.asarray(ids, dtype=np.int64)
        if not len(self.ids):
            return np.full(wanted.shape, UNKNOWN, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        return np.where(self.ids[places] == wanted, places, UNKNOWN)
