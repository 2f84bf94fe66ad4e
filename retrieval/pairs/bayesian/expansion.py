"""The collapsed posterior laid out for everyone and the whole catalogue: what a run answers from.

Users and movies without ratings have what their features make likely.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import Ridge

from retrieval.data.metrics import root_mean_square
from retrieval.pairs.bayesian.compression import Collapsed, with_one
from retrieval.pairs.bayesian.latents import expected_latents
from retrieval.pairs.bayesian.problem import Known
from retrieval.pairs.bayesian.tower import Bayesian, Folded, fold_in, prior

Floats = NDArray[np.float64]


def unfold(known: Known, collapsed: Collapsed) -> Bayesian:
    """Return the pair, with everyone as doubtful as someone who has told nothing."""
    problem, ratings = known.problem, known.ratings
    user_counts, movie_counts = known.counts()
    user_facts = known.user_features.shape[1] - len(problem.content)
    movie_facts = known.movie_features.shape[1] - len(problem.codes)
    rating, rated = user_counts > 0, movie_counts > 0
    of_users = _usual(
        known.user_features, user_facts, collapsed.user_coefficients, problem.users[rating]
    )
    of_movies = _usual(
        known.movie_features, movie_facts, collapsed.movie_coefficients, problem.movies[rated]
    )
    user_coefficients = collapsed.user_coefficients[:user_facts] + of_users.coefficients
    movie_coefficients = collapsed.movie_coefficients[:movie_facts] + of_movies.coefficients
    users = known.user_features[:, :user_facts] @ user_coefficients
    movies = known.movie_features[:, :movie_facts] @ movie_coefficients
    users[problem.users[rating]] = collapsed.users[rating]
    movies[problem.movies[rated]] = collapsed.movies[rated]
    met = with_one(movies)  # (M, D + 1)
    rows = problem.movies[ratings.movies]
    stored = (users[problem.users[ratings.users]] * met[rows]).sum(axis=1) + movies[rows, -1]
    moods = collapsed.mood_law[1:].sum()
    meeting = with_one(users[problem.users])
    spread = collapsed.movie_covariance + of_movies.covariance
    doubt = float(((meeting @ spread) * meeting).sum(axis=1).mean())
    unrated = collapsed.movie_noise.mean() + moods + doubt
    noise = np.full(len(movies), unrated)
    said = collapsed.movie_noise + moods  # (C,) noise of a rating
    noise[problem.movies[rated]] = (said + collapsed.movie_doubt)[rated]
    latents = expected_latents(
        stored, ratings.levels, collapsed.thresholds, 1 / said[ratings.movies]
    )
    counts = np.bincount(ratings.levels, minlength=len(problem.levels))
    sums = np.bincount(ratings.levels, latents, minlength=len(problem.levels))
    seen = counts > 0
    products = (met[problem.movies] * movie_counts[:, None]).T @ met[problem.movies]
    products /= movie_counts.sum()
    stranger = collapsed.covariance + of_users.covariance
    return Bayesian(
        users=users.astype(np.float32),
        movies=movies.astype(np.float32),
        user_variances=np.full(len(users), (stranger * products).sum(), np.float32),
        movie_variances=(noise - moods).astype(np.float32),
        user_coefficients=collapsed.user_coefficients.astype(np.float32),
        usual=of_users.coefficients.astype(np.float32),
        usual_covariance=of_users.covariance,
        movie_coefficients=movie_coefficients.astype(np.float32),
        unrated_variance=np.array([unrated - moods]),
        covariance=collapsed.covariance,
        movie_noise=noise.astype(np.float32),
        movie_products=products,
        level_latents=np.interp(
            np.arange(problem.scale_levels), problem.levels[seen], sums[seen] / counts[seen]
        ).astype(np.float32),
        mood_law=collapsed.mood_law,
    )


def weigh_doubt(pair: Bayesian, known: Known, collapsed: Collapsed) -> tuple[Bayesian, float]:
    """Fold all users in, to learn how doubtful each and each movie is.

    Returns:
        The pair with their variances, and how far folded-in scores are from stored ones, as a root
        mean square over the ratings.
    """
    problem, ratings = known.problem, known.ratings
    user_counts, movie_counts = known.counts()
    folded = _fold_in_all(pair, known)
    of_users, of_movies = pair.user_variances.copy(), pair.movie_variances.copy()
    variances = np.array([user.variance for user in folded])
    of_users[problem.users] = variances
    rated = movie_counts > 0
    doubt = collapsed.movie_spread - np.average(variances, weights=user_counts)
    of_movies[problem.movies[rated]] = (collapsed.movie_noise + np.maximum(doubt, 0.0))[rated]
    away = np.array([user.vector for user in folded]) - collapsed.users
    met = with_one(collapsed.movies)[ratings.movies]
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


def _fold_in_all(pair: Bayesian, known: Known) -> list[Folded]:
    problem, ratings = known.problem, known.ratings
    starts = np.concatenate([[0], np.cumsum(known.counts()[0])])
    folded = []
    for user, (start, end) in zip(problem.users.tolist(), pairwise(starts.tolist()), strict=True):
        movies = problem.movies[ratings.movies[start:end]]
        levels = problem.levels[ratings.levels[start:end]]
        expected = prior(pair, problem.codes[user], problem.sizes, movies)
        folded.append(fold_in(pair, expected, movies, levels))
    return folded
