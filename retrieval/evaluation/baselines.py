"""Baselines: what a page of numpy can do, and any model must beat."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Ratings at the average that every bias starts from; usual values, not tuned.
MOVIE_PRIOR = 10.0
USER_PRIOR = 5.0


class Biases(NamedTuple):
    """What is left of ratings when tastes are averaged out."""

    centre: float
    movie_means: NDArray[np.float64]  # (M,) mean ratings, unrated movies at the centre
    movies: NDArray[np.float64]  # (M,) shrunk deviations from the centre
    users: NDArray[np.float64]  # (U,) shrunk deviations from the movies rated
    counts: NDArray[np.int64]  # (M,) ratings of each movie


def fit_biases(
    users: NDArray[np.int64],
    movies: NDArray[np.int64],
    ratings: NDArray[np.float32],
    user_count: int,
    movie_count: int,
) -> Biases:
    """Return the biases of training rows `(N,)`: of movies first, then of users on what is left."""
    values = ratings.astype(np.float64)
    centre = float(values.mean())
    counts = np.bincount(movies, minlength=movie_count)
    sums = np.bincount(movies, values - centre, minlength=movie_count)
    movie_biases = sums / (counts + MOVIE_PRIOR)
    left = values - centre - movie_biases[movies]
    return Biases(
        centre,
        centre + sums / np.maximum(counts, 1),
        movie_biases,
        user_biases(users, left, user_count),
        counts,
    )


def user_biases(
    users: NDArray[np.int64], left: NDArray[np.float64], user_count: int
) -> NDArray[np.float64]:
    """Return the shrunk mean `(U,)` of what movie biases leave of ratings, `(N,)`."""
    counts = np.bincount(users, minlength=user_count)
    return np.bincount(users, left, minlength=user_count) / (counts + USER_PRIOR)


def most_rated(
    scores: NDArray[np.float64], seen: list[NDArray[np.int64]], k: int
) -> NDArray[np.int64]:
    """Return for each user the k unseen movies `(Q, K)` with the highest scores `(M,)`."""
    order = np.argsort(-scores, kind="stable")
    lists = np.full((len(seen), k), -1, dtype=np.int64)
    for row, movies in enumerate(seen):
        unseen = order[: k + len(movies)]
        unseen = unseen[~np.isin(unseen, movies)][:k]
        lists[row, : len(unseen)] = unseen
    return lists
