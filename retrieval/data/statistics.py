"""Average, spread and number of ratings, each from events before the one it is given to.

A statistic over all other ratings would tell a model, which knows the total, the one that is left
out. A statistic over earlier ratings cannot, and is also what a service knows.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Windows

# Ratings at the overall average, one unit apart, that every statistic starts from.
PRIOR_COUNT = 5.0

USER_STATISTICS = 3
MOVIE_STATISTICS = 2

# Events whose movies are looked at together, and those of a movie more.
TOGETHER = 2**18


class RunningSums(NamedTuple):
    """Sums over the first n of N deviations and over their squares, for n from 0."""

    sums: NDArray[np.float64]  # (N + 1,)
    squares: NDArray[np.float64]  # (N + 1,)


def running_sums(deviations: NDArray[np.float64]) -> RunningSums:
    """Return the running sums of deviations `(N,)`."""
    both = np.zeros((2, len(deviations) + 1))
    np.cumsum(deviations, out=both[0, 1:])
    np.cumsum(deviations**2, out=both[1, 1:])
    return RunningSums(*both)


def user_statistics(running: RunningSums, windows: Windows) -> NDArray[np.float32]:
    """Return mean, spread and log count of the deviations in each of B windows: `(B, 3)`."""
    sums, squares = running
    counts = windows.counts.astype(np.float64)
    weights = counts + PRIOR_COUNT
    mean = (sums[windows.ends] - sums[windows.starts]) / weights
    square = (squares[windows.ends] - squares[windows.starts] + PRIOR_COUNT) / weights
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    statistics = np.empty((len(counts), USER_STATISTICS), np.float32)
    statistics[:, 0], statistics[:, 1], statistics[:, 2] = mean, spread, np.log1p(counts)
    return statistics


def movie_statistics(
    counts: NDArray[np.integer], deviation_sums: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return mean and log count `(N, 2)` from counts and sums `(N,)`."""
    mean = deviation_sums / (counts + PRIOR_COUNT)
    return np.stack([mean, np.log1p(counts)], axis=1).astype(np.float32)


def movie_statistics_of_all(
    movies: NDArray[np.int64], deviations: NDArray[np.float64], movie_count: int
) -> NDArray[np.float32]:
    """Return the statistics of M movies over events `(N,)`: `(M, 2)`."""
    counts = np.bincount(movies, minlength=movie_count)
    sums = np.bincount(movies, deviations, minlength=movie_count)
    return movie_statistics(counts, np.asarray(sums, dtype=np.float64))


def movie_statistics_before(
    movies: NDArray[np.integer], deviations: NDArray[np.float64], timestamps: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return, for each event `(N,)`, its movie's statistics over ratings strictly before it.

    Ratings of the very second are left out, whoever gave them: `(N, 2)`.
    """
    order = np.lexsort((timestamps, movies))
    result = np.empty((len(order), MOVIE_STATISTICS), dtype=np.float32)
    ends = np.append(0, np.cumsum(np.bincount(movies)))
    cuts = np.append(ends[np.searchsorted(ends, np.arange(0, len(order), TOGETHER))], len(order))
    for begin, end in pairwise(np.unique(cuts).tolist()):
        part = order[begin:end]
        result[part] = _statistics_before(movies[part], deviations[part], timestamps[part])
    return result


def _statistics_before(
    movie: NDArray[np.integer], deviations: NDArray[np.float64], time: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return what `movie_statistics_before` does, of all events of some movies, in their order."""
    sums = np.concatenate([[0.0], np.cumsum(deviations)])
    places = np.arange(len(movie))
    # Start of the movie's block, and of the events that share movie and second.
    starts = np.maximum.accumulate(np.where(np.diff(movie, prepend=-1) != 0, places, 0))
    changes = (np.diff(movie, prepend=-1) != 0) | (np.diff(time, prepend=-1) != 0)
    ends = np.maximum.accumulate(np.where(changes, places, 0))
    return movie_statistics(ends - starts, sums[ends] - sums[starts])
