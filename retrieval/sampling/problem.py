"""A data set as the sampler sees it: ratings as rows of compact sides, and their features."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, build_histories
from retrieval.sampling.features import movie_features, user_features
from retrieval.sampling.moods import pages
from retrieval.sampling.sampler import Ratings

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """All N ratings, in the order of histories; rows are users and movies that have any."""

    ratings: Ratings
    histories: Histories
    values: Floats  # (T + 1,) ratings of the levels that occur
    levels: NDArray[np.int64]  # (T + 1,) which of the scale's levels they are
    users: NDArray[np.int64]  # (R,) numbers of the rows
    movies: NDArray[np.int64]  # (C,)
    codes: NDArray[np.int64]  # (U, 3) demographics
    sizes: tuple[int, int, int]  # how many codes each of the three has
    content: NDArray[np.float32]  # (M, F)
    scale_levels: int  # of the scale, whether they occur or not


@dataclass(frozen=True, kw_only=True)
class Known:
    """What some of the ratings say: themselves, and what they tell of users and movies."""

    problem: Problem
    ratings: Ratings
    user_features: sparse.csr_array  # (U, 1 + demographics + M)
    movie_features: sparse.csr_array  # (M, 1 + F + U)

    @cached_property
    def rated_user_features(self) -> sparse.csr_array:
        """The features of the rows."""
        return sparse.csr_array(self.user_features[self.problem.users])

    @cached_property
    def rated_movie_features(self) -> sparse.csr_array:
        """The features of the rows."""
        return sparse.csr_array(self.movie_features[self.problem.movies])

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many of the ratings each row has, `(R,)` and `(C,)`."""
        ratings = self.ratings
        return (
            np.bincount(ratings.users, minlength=ratings.user_count),
            np.bincount(ratings.movies, minlength=ratings.movie_count),
        )


def arrange(dataset: Dataset, order: NDArray[np.int64], content: NDArray[np.float32]) -> Problem:
    """Return a data set as the sampler sees it.

    Args:
        dataset: All rows.
        order: `(N,)` that of histories.
        content: `(M, F)` features of the movies.
    """
    users, movies = np.unique(dataset.users), np.unique(dataset.movies)
    histories = build_histories(
        dataset.users,
        dataset.movies,
        dataset.ratings,
        dataset.timestamps,
        len(dataset.user_vocabulary),
    )
    page_of, first_pages = pages(histories)
    present, levels = np.unique(dataset.scale.level(histories.ratings), return_inverse=True)
    return Problem(
        ratings=Ratings(
            users=np.searchsorted(users, dataset.users[order]).astype(np.int32),
            movies=np.searchsorted(movies, histories.movies).astype(np.int32),
            levels=levels.astype(np.int8),
            pages=page_of,
            first_pages=first_pages,
            user_count=len(users),
            movie_count=len(movies),
            level_count=len(present),
        ),
        histories=histories,
        values=np.bincount(levels, histories.ratings) / np.bincount(levels),
        levels=present,
        users=users,
        movies=movies,
        codes=dataset.user_codes,
        sizes=dataset.demographics.sizes(),
        content=content,
        scale_levels=dataset.scale.levels,
    )


def known_of(problem: Problem, rows: NDArray[np.bool_]) -> Known:
    """Return what the ratings of a mask `(N,)` say; nothing of the others enters."""
    owners = np.repeat(np.arange(len(problem.codes)), np.diff(problem.histories.offsets))
    histories = build_histories(
        owners[rows],
        problem.histories.movies[rows].astype(np.int64),
        problem.histories.ratings[rows],
        problem.histories.timestamps[rows],
        len(problem.codes),
    )
    return Known(
        problem=problem,
        ratings=problem.ratings.part(rows),
        user_features=user_features(problem.codes, problem.sizes, histories, len(problem.content)),
        movie_features=movie_features(problem.content, histories),
    )
