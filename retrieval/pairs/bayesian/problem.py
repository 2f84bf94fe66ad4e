"""A data set as the sampler sees it: ratings as rows of compact sides, and their features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.data.dataset import Dataset
from retrieval.data.history import time_order
from retrieval.pairs.bayesian.features import movie_facts, user_facts, with_rated
from retrieval.pairs.bayesian.regression import Directions, Regression
from retrieval.pairs.bayesian.sampler import Ratings, Sampler
from retrieval.pairs.bayesian.session import same_second_groups

Floats = NDArray[np.float64]

# Directions of the features of users and of movies, where they are known.
Before = tuple[Directions | None, Directions | None]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """All N ratings, in the order of histories; rows are users and movies that have any."""

    order: NDArray[np.int32]  # (N,) the row of the data set of each rating
    ratings: Ratings
    values: Floats  # (T + 1,) ratings of the classes that occur
    classes: NDArray[np.int64]  # (T + 1,) which of the scale's classes they are
    users: NDArray[np.int64]  # (R,) numbers of the rows
    movies: NDArray[np.int64]  # (C,)
    codes: NDArray[np.int64]  # (U, C) of attributes
    sizes: tuple[int, ...]  # how many codes each of them has
    content: NDArray[np.float32]  # (M, F)
    scale_classes: int  # of the scale, whether they occur or not


@dataclass(frozen=True, kw_only=True)
class ObservedRatings:
    """What some of the ratings say: themselves, and what they tell of users and movies."""

    problem: Problem
    ratings: Ratings

    def user_features(self) -> sparse.csr_array:
        """Return the features of user rows, made anew, `(R, 1 + attributes + M)`."""
        problem, ratings = self.problem, self.ratings
        rated = problem.movies.astype(np.int32)[ratings.movies]
        facts = user_facts(problem.codes[problem.users], problem.sizes)
        return with_rated(facts, self.counts()[0], rated, len(problem.content))

    def movie_features(self) -> sparse.csr_array:
        """Return the features of movie rows, made anew, `(C, 1 + F + U)`."""
        problem, ratings = self.problem, self.ratings
        by_movie = problem.users.astype(np.int32)
        by_movie = by_movie[ratings.users[np.argsort(ratings.movies, kind="stable")]]
        facts = movie_facts(problem.content[problem.movies])
        return with_rated(facts, self.counts()[1], by_movie, len(problem.codes))

    def regressions(self, before: Before = (None, None)) -> tuple[Regression, Regression]:
        """Return the regressions of user and movie rows on their features, made anew.

        Args:
            before: Directions of the features that fewer or more ratings give, to start from.
        """
        return (
            Regression(self.user_features(), before[0]),
            Regression(self.movie_features(), before[1]),
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
    order = time_order(dataset.users, dataset.timestamps).astype(np.int32)
    users, user_rows = _rows(dataset.users, len(dataset.user_vocabulary))
    movies, movie_rows = _rows(dataset.movies, len(dataset.movie_vocabulary))
    rows = user_rows[dataset.users[order]]
    group_of, first_groups = same_second_groups(rows, dataset.timestamps[order])
    ratings = dataset.ratings[order]
    classes = dataset.scale.class_of(ratings).astype(np.int8)
    present, class_rows = _rows(classes, dataset.scale.classes)
    classes = class_rows[classes].astype(np.int8)
    return Problem(
        order=order,
        ratings=Ratings(
            users=rows,
            movies=movie_rows[dataset.movies[order]],
            classes=classes,
            groups=group_of,
            first_groups=first_groups,
            user_count=len(users),
            movie_count=len(movies),
            class_count=len(present),
        ),
        values=np.bincount(classes, ratings) / np.bincount(classes),
        classes=present,
        users=users,
        movies=movies,
        codes=dataset.user_codes,
        sizes=dataset.user_attributes.sizes,
        content=content,
        scale_classes=dataset.scale.classes,
    )


def observed_ratings(problem: Problem, rows: NDArray[np.bool_]) -> ObservedRatings:
    """Return what the ratings of a mask `(N,)` say; nothing of the others enters."""
    ratings = problem.ratings if rows.all() else problem.ratings.part(rows)
    return ObservedRatings(problem=problem, ratings=ratings)


def _rows(numbers: NDArray[np.integer], count: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return which of `count` numbers occur, ascending, and the row `(count,)` of each of them."""
    occurs = np.bincount(numbers, minlength=count) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1).astype(np.int32)
