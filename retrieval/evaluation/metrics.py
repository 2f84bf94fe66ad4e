"""Metrics, each with its definition and a 95 % interval."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Two-sided 95 % of a normal distribution.
NORMAL_95 = 1.96


class Metric(NamedTuple):
    """A mean over questions; the truth lies within the half width in 19 of 20 such samples."""

    value: float
    half_width: float


def mean(values: NDArray[np.floating]) -> Metric:
    """Mean of values `(Q,)`; not a number where there are none."""
    if not len(values):
        return Metric(float("nan"), float("inf"))
    return Metric(float(values.mean(dtype=np.float64)), _half_width(values))


def mean_of_groups(values: NDArray[Any], groups: NDArray[np.int64]) -> Metric:
    """Mean of values `(Q,)`, with an interval for which groups `(Q,)` are the sample, not values.

    Source: the variance of a ratio of sums over clusters, Cochran, "Sampling techniques", 1977,
    section 9A.2.
    """
    found = mean(values.astype(np.float64))
    _, place = np.unique(groups, return_inverse=True)
    left = np.bincount(place, values - found.value) if len(values) else np.zeros(0)
    if len(left) < 2:
        return Metric(found.value, float("inf"))
    spread = len(left) * float(left.std(ddof=1)) / len(values)
    return Metric(found.value, NORMAL_95 * spread / float(np.sqrt(len(left))))


def root_mean_square_error(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> Metric:
    """Square root of the mean squared error over all questions `(Q,)`, users weighted by questions.

    The interval is that of the mean squared error, carried through the root. Not a number where
    there are no questions.
    """
    squares = (predicted - true) ** 2
    if not len(squares):
        return mean(squares)
    value = float(np.sqrt(squares.mean()))
    return Metric(value, _half_width(squares) / (2 * value) if value else 0.0)


def root_mean_square_of_groups(errors: NDArray[np.float64], groups: NDArray[np.int64]) -> Metric:
    """Square root of the mean squared error `(Q,)`, with an interval as of `mean_of_groups`."""
    squares = mean_of_groups(errors**2, groups)
    value = float(np.sqrt(squares.value))
    return Metric(value, squares.half_width / (2 * value) if value > 0 else squares.half_width)


def ranks(lists: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each target's place `(Q,)`, from 0, in its list `(Q, K)`; infinity where missing."""
    hits = lists == targets[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), np.inf)


def hit_rate(ranks: NDArray[np.float64], k: int) -> Metric:
    """Share of questions whose one target is among the first k; every user counts.

    Lists leave out what the user has seen in training; nothing is sampled.
    """
    return mean((ranks < k).astype(np.float64))


def discounted_gain(ranks: NDArray[np.float64], k: int) -> Metric:
    """NDCG@k with one target: `1 / log2(rank + 2)` for ranks from 0 below k, else 0."""
    return mean(np.where(ranks < k, 1 / np.log2(ranks + 2), 0.0))


def coverage(lists: NDArray[np.integer], movies: int) -> Metric:
    """Share of a catalogue's movies that are in at least one list `(Q, K)` of numbers, -1 none.

    The interval takes the movies for a sample.
    """
    listed = np.zeros(movies)
    listed[lists[lists >= 0]] = 1.0
    return mean(listed)


def popularity(lists: NDArray[np.int64], shares: NDArray[np.float64]) -> Metric:
    """Mean over lists `(Q, K)` of the mean share of users who had rated what is listed, `(M,)`.

    Source: Abdollahpouri et al., "Managing popularity bias in recommender systems with personalized
    re-ranking", FLAIRS 2019: average recommendation popularity, here of users instead of ratings.
    """
    return _mean_of_lists(lists, shares)


def novelty(lists: NDArray[np.integer], shares: NDArray[np.float64], users: int) -> Metric:
    """Mean over lists `(Q, K)` of the mean self-information, `-log2(share)`, of what is listed.

    Movies that nobody had rated count as if one of the users had.

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems",
    PNAS 2010.
    """
    return _mean_of_lists(lists, -np.log2(np.maximum(shares, 1 / users)))


def users_by_movie(
    users: NDArray[np.integer], movies: NDArray[np.integer], count: int
) -> NDArray[np.int64]:
    """Return of how many users there is an event of each of M movies, `(M,)`.

    Args:
        users: `(N,)` of events.
        movies: `(N,)` of events, numbers below M.
        count: M.
    """
    pairs = np.unique(users.astype(np.int64) * count + movies)
    return np.bincount(pairs % count, minlength=count)


def _mean_of_lists(lists: NDArray[np.integer], values: NDArray[np.float64]) -> Metric:
    """Return the mean over lists that are not empty of the mean value, `(M,)`, of their movies."""
    there = lists >= 0
    sums = np.where(there, values[lists], 0.0).sum(axis=1)
    counts = there.sum(axis=1)
    return mean(sums[counts > 0] / counts[counts > 0])


def _half_width(values: NDArray[np.floating]) -> float:
    if len(values) < 2:
        return float("inf")
    return NORMAL_95 * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
