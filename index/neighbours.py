"""What a search returns."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_ID = -1


class Neighbours(NamedTuple):
    """The best K for each of Q queries, highest score first, equal scores by ascending id.

    Rows with fewer than K results end in id `NO_ID` and score minus infinity.
    """

    ids: NDArray[np.int64]  # (Q, K)
    scores: NDArray[np.float64]  # (Q, K)

    @classmethod
    def none(cls, queries: int, k: int) -> "Neighbours":
        """Return the results, none yet, of some number of queries."""
        return cls(np.full((queries, k), NO_ID, np.int64), np.full((queries, k), -np.inf))
