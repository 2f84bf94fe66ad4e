"""Metrics that training watches: the error of ratings, and the gain of lists."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Where the lists end that validation looks at.
DEPTH = 10

# Groups of ratings that are looked at apart, to see whether predicted ratings are right on average.
GROUPS = 10


@dataclass(frozen=True)
class Calibrated:
    """Ratings for which about the same was predicted."""

    predicted: float  # mean
    true: float  # mean
    ratings: int  # how many there are


def root_mean_square(errors: NDArray[np.float64]) -> float:
    """Return the root of the mean square of errors, 0 where there are none."""
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0


def calibration(predicted: Floats, true: Floats) -> list[Calibrated]:
    """Return what was predicted and what was true, from the lowest predictions to the highest.

    Args:
        predicted: `(N,)` ratings.
        true: `(N,)` ratings.

    Returns:
        Groups of as many ratings each, at most `GROUPS`.
    """
    order = np.argsort(predicted, kind="stable")
    groups = np.array_split(order, max(1, min(GROUPS, len(order))))
    return [
        Calibrated(float(predicted[rows].mean()), float(true[rows].mean()), len(rows))
        for rows in groups
        if len(rows)
    ]


def discounted(scores: Floats, targets: NDArray[np.int64]) -> Floats:
    """Return `1 / log2(rank + 2)` for targets ranked from 0 below the depth, else 0, `(V,)`.

    Args:
        scores: `(V, M)`, minus infinity where a movie cannot come.
        targets: `(V,)` numbers.
    """
    wanted = scores[np.arange(len(targets)), targets]
    ranks = (scores >= wanted[:, None]).sum(axis=1) - 1  # ties go against the target
    return np.where(ranks < DEPTH, 1 / np.log2(ranks + 2), 0.0)


def discounted_many(scores: Floats, relevant: NDArray[np.bool_]) -> Floats:
    """Return the NDCG of lists where several movies are right, `(V,)`, NaN where none is.

    The gains `1 / log2(rank + 2)` of what is right above the depth, over those of the best list.
    Ties go against what is right.

    Args:
        scores: `(V, M)`, minus infinity where a movie cannot come.
        relevant: `(V, M)` whether a movie is right.
    """
    scores = np.where(relevant, np.nextafter(scores, -np.inf), scores)
    top = _top(scores)
    depth = top.shape[1]
    gains = 1 / np.log2(np.arange(depth) + 2)
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
    hits = np.take_along_axis(relevant, np.take_along_axis(top, order, axis=1), axis=1)
    best = np.append(np.nan, np.cumsum(gains))[np.minimum(relevant.sum(axis=1), depth)]
    return np.asarray(hits @ gains / best, dtype=np.float64)


def listed(scores: Floats) -> NDArray[np.int64]:
    """Return the numbers of the movies in any of the lists of `DEPTH`.

    Args:
        scores: `(V, M)`, minus infinity where a movie cannot come.
    """
    top = _top(scores)
    found = np.isfinite(np.take_along_axis(scores, top, axis=1))
    return np.unique(top[found])


def _top(scores: Floats) -> NDArray[np.int64]:
    """Return the movies in lists of `DEPTH`, or of all there are, in no order, `(V, K)`."""
    depth = min(DEPTH, scores.shape[1])
    return np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
