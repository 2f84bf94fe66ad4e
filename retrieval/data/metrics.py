"""Metrics that training watches: the error of ratings, and the gain of lists."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Where the lists end that validation looks at.
DEPTH = 10


def root_mean_square(errors: NDArray[np.float64]) -> float:
    """Return the root of the mean square of errors, 0 where there are none."""
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0


def discounted(scores: Floats, targets: NDArray[np.int64]) -> Floats:
    """Return `1 / log2(rank + 2)` for targets ranked from 0 below the depth, else 0, `(V,)`.

    Args:
        scores: `(V, M)`, minus infinity where a movie cannot come.
        targets: `(V,)` numbers.
    """
    wanted = scores[np.arange(len(targets)), targets]
    ranks = (scores >= wanted[:, None]).sum(axis=1) - 1  # ties go against the target
    return np.where(ranks < DEPTH, 1 / np.log2(ranks + 2), 0.0)
