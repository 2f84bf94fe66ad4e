"""A data set as the sampler sees it: ratings as rows of compact sides, and their features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, build_histories, time_order
from retrieval.pairs.bayesian.features import movie_features, user_features
from retrieval.pairs.bayesian.regression import Regression, regression
from retrieval.pairs.bayesian.sampler import Ratings, Sampler
from retrieval.pairs.bayesian.session import same_second_groups

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """All N ratings, in the order of histories; rows are users and movies that have any."""

    order: NDArray[np.int64]  # (N,) the row of the data set of each rating
    ratings: Ratings
    histories: Histories
    values: Floats  # (T + 1,) ratings of the classes that occur
    classes: NDArray[np.int64]  # (T + 1,) which of the scale's classes they are
    users: NDArray[np.int64]  # (R,) numbers of the rows
    movies: NDArray[np.int64]  # (C,)
    codes: NDArray[np.int64]  # (U, 3) demographics
    sizes: tuple[int, int, int]  # how many codes each of the three has
    content: NDArray[np.float32]  # (M, F)
    scale_classes: int  # of the scale, whether they occur or not


@dataclass(frozen=True, kw_only=True)
class ObservedRatings:
    """What some of the ratings say: themselves, and what they tell of users and movies."""

    problem: Problem
    ratings: Ratings
    user_features: sparse.csr_array  # (U, 1 + demographics + M)
    movie_features: sparse.csr_array  # (M, 1 + F + U)

    def regressions(self) -> tuple[Regression, Regression]:
        """Return the regressions of user and movie rows on their features, made anew."""
        users, movies = self.problem.users, self.problem.movies
        return (
            regression(sparse.csr_array(self.user_features[users])),
            regression(sparse.csr_array(self.movie_features[movies])),
        )

    def sampler(self, dimension: int, rng: np.random.Generator) -> Sampler:
        """Return a sampler that starts from these ratings."""
        return Sampler(self.ratings, *self.regressions(), dimension, rng)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many of the ratings each row has, `(R,)` and `(C,)`."""
        ratings = self.ratings
        return (
            np.bincount(ratings.users, minlength=ratings.user_count),
            np.bincount(ratings.movies, minlength=ratings.movie_count),
        )


def arrange(dataset: Dataset, content: NDArray[np.float32]) -> Problem:
    """Return a data set, and the content of its movies, as the sampler sees it."""
    order = time_order(dataset.users, dataset.timestamps)
    users, movies = np.unique(dataset.users), np.unique(dataset.movies)
    histories = build_histories(
        dataset.users,
        dataset.movies,
        dataset.ratings,
        dataset.timestamps,
        len(dataset.user_vocabulary),
    )
    group_of, first_groups = same_second_groups(histories)
    present, classes = np.unique(dataset.scale.class_of(histories.ratings), return_inverse=True)
    return Problem(
        order=order,
        ratings=Ratings(
            users=np.searchsorted(users, dataset.users[order]).astype(np.int32),
            movies=np.searchsorted(movies, histories.movies).astype(np.int32),
            classes=classes.astype(np.int8),
            groups=group_of,
            first_groups=first_groups,
            user_count=len(users),
            movie_count=len(movies),
            class_count=len(present),
        ),
        histories=histories,
        values=np.bincount(classes, histories.ratings) / np.bincount(classes),
        classes=present,
        users=users,
        movies=movies,
        codes=dataset.user_codes,
        sizes=dataset.demographics.sizes(),
        content=content,
        scale_classes=dataset.scale.classes,
    )


def observed_ratings(problem: Problem, rows: NDArray[np.bool_]) -> ObservedRatings:
    """Return what the ratings of a mask `(N,)` say; nothing of the others enters."""
    ratings = problem.ratings.part(rows)
    histories = build_histories(
        problem.users[ratings.users],
        problem.movies[ratings.movies],
        problem.histories.ratings[rows],
        problem.histories.timestamps[rows],
        len(problem.codes),
    )
    return ObservedRatings(
        problem=problem,
        ratings=ratings,
        user_features=user_features(problem.codes, problem.sizes, histories, len(problem.content)),
        movie_features=movie_features(problem.content, histories),
    )
