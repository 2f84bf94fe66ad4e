"""The compressed posterior laid out for everyone and the whole catalogue: what a run answers from.

Users and movies without ratings have what their features make likely.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import Ridge

from retrieval.pairs.bayesian.compression import CompressedPosterior, with_one
from retrieval.pairs.bayesian.features import movie_facts, user_facts
from retrieval.pairs.bayesian.latents import expected_latents
from retrieval.pairs.bayesian.new_movies import UnratedPrior
from retrieval.pairs.bayesian.problem import ObservedRatings
from retrieval.pairs.bayesian.tower import Bayesian, fold_in, prior

Floats = NDArray[np.float64]

# Ratings that are looked at together.
PART = 2**16


class Expanded(NamedTuple):
    """The pair, and what it says of movies that it does not know."""

    pair: Bayesian
    unrated: UnratedPrior


def expand_to_catalogue(observed: ObservedRatings, compressed: CompressedPosterior) -> Expanded:
    """Return the pair, with every user as uncertain as one without ratings."""
    problem, ratings = observed.problem, observed.ratings
    user_counts, movie_counts = observed.counts()
    rating, rated = user_counts > 0, movie_counts > 0
    of_users = _side(
        observed.user_features(),
        user_facts(problem.codes, problem.sizes),
        compressed.user_coefficients,
        rating,
    )
    of_movies = _side(
        observed.movie_features(),
        movie_facts(problem.content),
        compressed.movie_coefficients,
        rated,
    )
    users, movies = of_users.expected, of_movies.expected
    users[problem.users[rating]] = compressed.users[rating]
    # Movies count as often as they are rated: what is asked about is seldom an obscure one.
    away = (compressed.movies - movies[problem.movies]) * np.sqrt(movie_counts)[:, None]
    movies[problem.movies[rated]] = compressed.movies[rated]
    met = with_one(movies)  # (M, D + 1)
    effects = compressed.session_law[1:].sum()
    meeting = with_one(users[problem.users])
    unrated = UnratedPrior(
        covariance=away.T @ away / movie_counts.sum(),
        user_products=meeting.T @ meeting / len(meeting),
        noise=compressed.movie_noise.mean(keepdims=True),
    )
    variance = (unrated.covariance * unrated.user_products).sum()
    noise = np.full(len(movies), unrated.noise[0] + effects + variance)
    rating_noise = compressed.movie_noise + effects  # (C,) noise of a rating
    noise[problem.movies[rated]] = (rating_noise + compressed.movie_variance)[rated]
    counts = np.bincount(ratings.classes, minlength=len(problem.classes))
    sums = np.zeros(len(problem.classes))
    for part in _parts(len(ratings)):
        of_part, classes = ratings.movies[part], ratings.classes[part]
        rows = problem.movies[of_part]
        stored = (users[problem.users[ratings.users[part]]] * met[rows]).sum(axis=1)
        latents = expected_latents(
            stored + movies[rows, -1], classes, compressed.thresholds, 1 / rating_noise[of_part]
        )
        sums += np.bincount(classes, latents, minlength=len(sums))
    seen = counts > 0
    products = (met[problem.movies] * movie_counts[:, None]).T @ met[problem.movies]
    products /= movie_counts.sum()
    new_user = compressed.covariance + of_users.usual.covariance
    pair = Bayesian(
        users=users.astype(np.float32),
        movies=movies.astype(np.float32),
        user_variances=np.full(len(users), (new_user * products).sum(), np.float32),
        movie_variances=(noise - effects).astype(np.float32),
        user_coefficients=compressed.user_coefficients.astype(np.float32),
        usual=of_users.usual.coefficients.astype(np.float32),
        usual_covariance=of_users.usual.covariance,
        movie_coefficients=of_movies.coefficients.astype(np.float32),
        unrated_variance=unrated.noise + variance,
        covariance=compressed.covariance,
        movie_noise=noise.astype(np.float32),
        movie_products=products,
        class_latents=np.interp(
            np.arange(problem.scale_classes), problem.classes[seen], sums[seen] / counts[seen]
        ).astype(np.float32),
        session_law=compressed.session_law,
    )
    return Expanded(pair, unrated)


def fit_variances(
    pair: Bayesian, observed: ObservedRatings, compressed: CompressedPosterior
) -> tuple[Bayesian, float]:
    """Fold all users in, to learn how uncertain each user and each movie is.

    Returns:
        The pair with their variances, and how far folded-in scores are from stored ones, as a root
        mean square over the ratings.
    """
    problem, ratings = observed.problem, observed.ratings
    user_counts, movie_counts = observed.counts()
    vectors, variances = _fold_in_all(pair, observed)
    of_users, of_movies = pair.user_variances.copy(), pair.movie_variances.copy()
    of_users[problem.users] = variances
    rated = movie_counts > 0
    variance = compressed.score_variance - np.average(variances, weights=user_counts)
    of_movies[problem.movies[rated]] = (compressed.movie_noise + np.maximum(variance, 0.0))[rated]
    away = vectors - compressed.users
    met, squares = with_one(compressed.movies), 0.0
    for part in _parts(len(ratings)):
        differences = (away[ratings.users[part]] * met[ratings.movies[part]]).sum(axis=1)
        squares += float((differences**2).sum())
    pair = pair._replace(user_variances=of_users, movie_variances=of_movies)
    return pair, math.sqrt(squares / len(ratings))


class _Usual(NamedTuple):
    """What facts tell of the part of a prior mean that ratings made, for F facts."""

    coefficients: Floats  # (F, D + 1)
    covariance: Floats  # (D + 1, D + 1) of the part around it


class _Side(NamedTuple):
    """What facts say of a side, of which nothing else may be known."""

    usual: _Usual
    coefficients: Floats  # (F, D + 1) of facts where nothing was rated
    expected: Floats  # (S, D + 1) what they make likely, of everyone or the whole catalogue


def _side(
    features: sparse.csr_array,
    facts: sparse.csr_array,
    coefficients: Floats,
    rows: NDArray[np.bool_],
) -> _Side:
    """Return what facts `(S, F)` say; the other arguments are those of `_usual`."""
    count = facts.shape[1]
    usual = _usual(features, count, coefficients, rows)
    alone = coefficients[:count] + usual.coefficients
    return _Side(usual, alone, facts @ alone)


def _parts(count: int) -> Iterator[slice]:
    """Return the parts of so many ratings that are looked at together."""
    return (slice(start, start + PART) for start in range(0, count, PART))


def _usual(
    features: sparse.csr_array, facts: int, coefficients: Floats, rows: NDArray[np.bool_]
) -> _Usual:
    """Return what to expect of who rated what, in place of knowing it.

    Without it, facts would only say what they say beside who rated what, and that is less.

    Args:
        features: `(R, F + G)`: a constant and other facts, then who rated what.
        facts: F.
        coefficients: `(F + G, D + 1)`.
        rows: `(R,)` mask of the rows to learn from.
    """
    known = features[:, :facts][rows].toarray().astype(np.float64)
    of_rated = coefficients.copy()
    of_rated[:facts] = 0.0
    parts = (features @ of_rated)[rows]  # (C, D + 1)
    ridge = Ridge().fit(known, parts)
    expected = ridge.coef_.T.copy()
    expected[0] += ridge.intercept_
    away = parts - known @ expected
    return _Usual(expected, away.T @ away / max(1, int(rows.sum())))


def _fold_in_all(pair: Bayesian, observed: ObservedRatings) -> tuple[Floats, Floats]:
    """Return vectors `(U, D + 1)` of all users, and variances `(U,)` that they add to scores."""
    problem, ratings = observed.problem, observed.ratings
    starts = np.concatenate([[0], np.cumsum(observed.counts()[0])])
    vectors, variances = [], []
    for user, (start, end) in zip(problem.users.tolist(), pairwise(starts.tolist()), strict=True):
        movies = problem.movies[ratings.movies[start:end]]
        classes = problem.classes[ratings.classes[start:end]]
        expected = prior(pair, problem.codes[user], problem.sizes, movies)
        belief = fold_in(pair, expected, movies, classes)
        vectors.append(belief.mean)
        variances.append(belief.score_variance(pair))
    return np.array(vectors), np.array(variances)
