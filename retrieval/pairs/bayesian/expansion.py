"""The compressed posterior laid out for everyone and the whole catalogue: what a run answers from.

Users and movies without ratings have what their features make likely.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import Ridge

from retrieval.data.metrics import root_mean_square
from retrieval.pairs.bayesian.compression import CompressedPosterior, with_one
from retrieval.pairs.bayesian.latents import expected_latents
from retrieval.pairs.bayesian.problem import ObservedRatings
from retrieval.pairs.bayesian.tower import Bayesian, Folded, fold_in, prior

Floats = NDArray[np.float64]


def expand_to_catalogue(observed: ObservedRatings, compressed: CompressedPosterior) -> Bayesian:
    """Return the pair, with every user as uncertain as one without ratings."""
    problem, ratings = observed.problem, observed.ratings
    user_counts, movie_counts = observed.counts()
    user_facts = observed.user_features.shape[1] - len(problem.content)
    movie_facts = observed.movie_features.shape[1] - len(problem.codes)
    rating, rated = user_counts > 0, movie_counts > 0
    of_users = _usual(
        observed.user_features, user_facts, compressed.user_coefficients, problem.users[rating]
    )
    of_movies = _usual(
        observed.movie_features, movie_facts, compressed.movie_coefficients, problem.movies[rated]
    )
    user_coefficients = compressed.user_coefficients[:user_facts] + of_users.coefficients
    movie_coefficients = compressed.movie_coefficients[:movie_facts] + of_movies.coefficients
    users = observed.user_features[:, :user_facts] @ user_coefficients
    movies = observed.movie_features[:, :movie_facts] @ movie_coefficients
    users[problem.users[rating]] = compressed.users[rating]
    movies[problem.movies[rated]] = compressed.movies[rated]
    met = with_one(movies)  # (M, D + 1)
    rows = problem.movies[ratings.movies]
    stored = (users[problem.users[ratings.users]] * met[rows]).sum(axis=1) + movies[rows, -1]
    effects = compressed.session_law[1:].sum()
    meeting = with_one(users[problem.users])
    covariance = compressed.movie_covariance + of_movies.covariance
    variance = float(((meeting @ covariance) * meeting).sum(axis=1).mean())
    unrated = compressed.movie_noise.mean() + effects + variance
    noise = np.full(len(movies), unrated)
    rating_noise = compressed.movie_noise + effects  # (C,) noise of a rating
    noise[problem.movies[rated]] = (rating_noise + compressed.movie_variance)[rated]
    latents = expected_latents(
        stored, ratings.classes, compressed.thresholds, 1 / rating_noise[ratings.movies]
    )
    counts = np.bincount(ratings.classes, minlength=len(problem.classes))
    sums = np.bincount(ratings.classes, latents, minlength=len(problem.classes))
    seen = counts > 0
    products = (met[problem.movies] * movie_counts[:, None]).T @ met[problem.movies]
    products /= movie_counts.sum()
    new_user = compressed.covariance + of_users.covariance
    return Bayesian(
        users=users.astype(np.float32),
        movies=movies.astype(np.float32),
        user_variances=np.full(len(users), (new_user * products).sum(), np.float32),
        movie_variances=(noise - effects).astype(np.float32),
        user_coefficients=compressed.user_coefficients.astype(np.float32),
        usual=of_users.coefficients.astype(np.float32),
        usual_covariance=of_users.covariance,
        movie_coefficients=movie_coefficients.astype(np.float32),
        unrated_variance=np.array([unrated - effects]),
        covariance=compressed.covariance,
        movie_noise=noise.astype(np.float32),
        movie_products=products,
        class_latents=np.interp(
            np.arange(problem.scale_classes), problem.classes[seen], sums[seen] / counts[seen]
        ).astype(np.float32),
        session_law=compressed.session_law,
    )


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
    folded = _fold_in_all(pair, observed)
    of_users, of_movies = pair.user_variances.copy(), pair.movie_variances.copy()
    variances = np.array([user.variance for user in folded])
    of_users[problem.users] = variances
    rated = movie_counts > 0
    variance = compressed.score_variance - np.average(variances, weights=user_counts)
    of_movies[problem.movies[rated]] = (compressed.movie_noise + np.maximum(variance, 0.0))[rated]
    away = np.array([user.vector for user in folded]) - compressed.users
    met = with_one(compressed.movies)[ratings.movies]
    differences = (away[ratings.users] * met).sum(axis=1)
    pair = pair._replace(user_variances=of_users, movie_variances=of_movies)
    return pair, root_mean_square(differences)


class _Usual(NamedTuple):
    """What facts tell of the part of a prior mean that ratings made, for F facts."""

    coefficients: Floats  # (F, D + 1)
    covariance: Floats  # (D + 1, D + 1) of the part around it


def _usual(
    features: sparse.csr_array, facts: int, coefficients: Floats, rows: NDArray[np.int64]
) -> _Usual:
    """Return what to expect of who rated what, in place of knowing it.

    Without it, facts would only say what they say beside who rated what, and that is less.

    Args:
        features: `(R, F + G)`: a constant and other facts, then who rated what.
        facts: F.
        coefficients: `(F + G, D + 1)`.
        rows: `(C,)` numbers of the rows to learn from.
    """
    known, rated = features[rows, :facts].toarray(), features[rows, facts:]
    parts = rated @ coefficients[facts:]  # (C, D + 1)
    ridge = Ridge().fit(known, parts)
    expected = ridge.coef_.T.copy()
    expected[0] += ridge.intercept_
    away = parts - known @ expected
    return _Usual(expected, away.T @ away / max(1, len(rows)))


def _fold_in_all(pair: Bayesian, observed: ObservedRatings) -> list[Folded]:
    problem, ratings = observed.problem, observed.ratings
    starts = np.concatenate([[0], np.cumsum(observed.counts()[0])])
    folded = []
    for user, (start, end) in zip(problem.users.tolist(), pairwise(starts.tolist()), strict=True):
        movies = problem.movies[ratings.movies[start:end]]
        classes = problem.classes[ratings.classes[start:end]]
        expected = prior(pair, problem.codes[user], problem.sizes, movies)
        folded.append(fold_in(pair, expected, movies, classes))
    return folded
