"""The collapsed posterior laid out for everyone and the whole catalogue: what a run answers from.

Users and movies without ratings have what their features make likely.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.data.statistics import root_mean_square
from retrieval.sampling.collapse import Collapsed, with_one
from retrieval.sampling.latents import expected_latents
from retrieval.sampling.problem import Known
from retrieval.towers.bayesian import Bayesian, Folded, fold_in, prior_mean

Floats = NDArray[np.float64]


def unfold(known: Known, collapsed: Collapsed) -> Bayesian:
    """Return the pair, with everyone as doubtful as someone who has told nothing."""
    problem, ratings = known.problem, known.ratings
    user_counts, movie_counts = known.counts()
    user_coefficients, movie_coefficients = (
        collapsed.user_coefficients,
        collapsed.movie_coefficients,
    )
    users, usual = _expected(
        known.user_features, user_counts, problem.users, user_coefficients, len(problem.content)
    )
    movies, usual_raters = _expected(
        known.movie_features, movie_counts, problem.movies, movie_coefficients, len(problem.codes)
    )
    rated = movie_counts > 0
    users[problem.users[user_counts > 0]] = collapsed.users[user_counts > 0]
    movies[problem.movies[rated]] = collapsed.movies[rated]
    met = with_one(movies)  # (M, D + 1)
    rows = problem.movies[ratings.movies]
    stored = (users[problem.users[ratings.users]] * met[rows]).sum(axis=1) + movies[rows, -1]
    moods = collapsed.mood_law[1:].sum()
    of_users = with_one(users[problem.users])
    doubt = float(((of_users @ collapsed.movie_covariance) * of_users).sum(axis=1).mean())
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
    return Bayesian(
        users=users.astype(np.float32),
        movies=movies.astype(np.float32),
        user_variances=np.full(len(users), (collapsed.covariance * products).sum(), np.float32),
        movie_variances=(noise - moods).astype(np.float32),
        user_coefficients=user_coefficients.astype(np.float32),
        usual=usual,
        movie_coefficients=movie_coefficients[: 1 + problem.content.shape[1]].astype(np.float32),
        usual_raters=usual_raters,
        unrated_variance=np.array([unrated - moods]),
        precision=np.asarray(np.linalg.inv(collapsed.covariance), dtype=np.float64),
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


def _expected(
    features: sparse.csr_array,
    counts: NDArray[np.int64],
    rows: NDArray[np.int64],
    coefficients: Floats,
    others: int,
) -> tuple[Floats, Floats]:
    """Return the vectors expected of rows without ratings, and what in them is the usual row's.

    Nothing rated, or rated by nobody, is no feature of its own: it is not known yet which.

    Args:
        features: `(R, F)`, those of the other side last.
        counts: `(C,)` ratings of the rows that may have any.
        rows: `(C,)` numbers of those rows.
        coefficients: `(F, D + 1)`.
        others: How many features are of the other side.
    """
    known = features.shape[1] - others
    usual = features[:, known:][rows[counts > 0]].mean(axis=0) @ coefficients[known:]
    return features[:, :known] @ coefficients[:known] + usual, usual


def _fold_in_all(pair: Bayesian, known: Known) -> list[Folded]:
    problem, ratings = known.problem, known.ratings
    starts = np.concatenate([[0], np.cumsum(known.counts()[0])])
    folded = []
    for user, (start, end) in zip(problem.users.tolist(), pairwise(starts.tolist()), strict=True):
        movies = problem.movies[ratings.movies[start:end]]
        levels = problem.levels[ratings.levels[start:end]]
        mean = prior_mean(pair, problem.codes[user], problem.sizes, movies)
        folded.append(fold_in(pair, mean, movies, levels))
    return folded
