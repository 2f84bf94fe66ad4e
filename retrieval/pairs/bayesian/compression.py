"""From many draws to one tower pair.

The mean score over draws is the dot product of the concatenated draws. It is compressed to D
dimensions by a singular value decomposition in which users and movies count as often as they rate
and are rated, so that what is lost is lost where it is seldom asked for. Each draw has a linear map
into the D dimensions; coefficients, and the covariance of the prior of users, go through the same
maps.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.pairs.bayesian.checkpoint import Draws
from retrieval.pairs.bayesian.latents import middle
from retrieval.pairs.bayesian.sampler import Draw, pair_scores

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

# Directions tried beyond those wanted, and passes over the draws, in the decomposition.
SPARE, PASSES = 16, 4

# Users that each movie is scored for to see how its scores spread over draws.
PARTNERS = 16


class CompressedPosterior(NamedTuple):
    """The posterior of R users and C movies in D dimensions. The last of D + 1 is a bias."""

    users: Floats  # (R, D + 1)
    movies: Floats  # (C, D + 1)
    user_coefficients: Floats  # (F, D + 1)
    movie_coefficients: Floats  # (G, D + 1)
    covariance: Floats  # (D + 1, D + 1) of a user around the mean that the features give
    movie_noise: Floats  # (C,) variance of a rating's noise
    movie_variance: Floats  # (C,) variance that a movie's vector, being uncertain, adds to scores
    thresholds: Floats  # (T,) around 0
    score_variance: Floats  # (C,) mean variance of a movie's scores over draws
    session_law: Floats  # (3,)


class _Maps(NamedTuple):
    """How one draw's vectors become compressed ones: `vectors @ map`."""

    users: Floats  # (W, D + 1)
    movies: Floats  # (W, D + 1)


def compress_posterior(
    draws: Sequence[Draw] | Draws,
    user_counts: NDArray[np.int64],
    movie_counts: NDArray[np.int64],
    dimension: int,
    rng: np.random.Generator,
) -> CompressedPosterior:
    """Return the mean over draws, in at most `dimension` dimensions.

    Args:
        draws: S of them, gone through several times, one after the other.
        user_counts: `(R,)` ratings of each user.
        movie_counts: `(C,)` ratings of each movie.
        dimension: D, if there are as many.
        rng: Of the decomposition and of the partners.
    """
    roots = (
        np.sqrt(np.maximum(user_counts, 1) / user_counts.mean()),
        np.sqrt(np.maximum(movie_counts, 1) / movie_counts.mean()),
    )
    left, sizes, right = _decompose(draws, *roots, dimension, rng)
    mean = _mean_of_each(_mapped(draw, _maps(draw, roots, left, sizes, right)) for draw in draws)
    # By how much scores of a movie vary between users around their means; the rest is uncertainty.
    between = _forms(with_one(mean.movies), mean.covariance)
    return mean._replace(
        movie_variance=np.maximum(mean.movie_variance - between, 0.0),
        score_variance=_score_variances(draws, user_counts, rng),
    )


def _mapped(draw: Draw, at: _Maps) -> CompressedPosterior:
    """Return what one draw adds to the mean over draws.

    In place of its variance, by how much scores of a movie vary between users around their means;
    the variance over draws is no draw's, so it is left at 0.
    """
    shift, covariance = middle(draw.thresholds), _inverse(draw.user_precision)
    users, user_coefficients = draw.users @ at.users, draw.user_coefficients @ at.users
    users[:, -1] -= shift
    user_coefficients[0, -1] -= shift
    return CompressedPosterior(
        users=users,
        movies=draw.movies @ at.movies,
        user_coefficients=user_coefficients,
        movie_coefficients=draw.movie_coefficients @ at.movies,
        covariance=at.users.T @ covariance @ at.users,
        movie_noise=1 / draw.noise_precision.astype(np.float64),
        movie_variance=_forms(with_one(draw.movies), covariance),
        thresholds=draw.thresholds - shift,
        score_variance=np.zeros(len(draw.movies)),
        session_law=draw.session_law,
    )


def _mean_of_each(parts: Iterable[CompressedPosterior]) -> CompressedPosterior:
    """Return the mean of each column, one part at a time in memory."""
    parts = iter(parts)
    totals, count = [column.astype(np.float64) for column in next(parts)], 1
    for part in parts:
        for total, column in zip(totals, part, strict=True):
            np.add(total, column, out=total)
        count += 1
    return CompressedPosterior(*(np.divide(total, count, out=total) for total in totals))


def _decompose(
    draws: Sequence[Draw] | Draws,
    user_roots: Floats,
    movie_roots: Floats,
    dimension: int,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats]:
    """Return the leading singular vectors and values of the mean weighted score, biases left out.

    Source: Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 2011,
    algorithm 4.4; the matrix of scores is never formed.
    """

    def to_users(block: Floats) -> Floats:
        block, total = movie_roots[:, None] * block, np.zeros((len(user_roots), block.shape[1]))
        for draw in draws:
            total += draw.users[:, :-1] @ (draw.movies[:, :-1].T @ block)
        return user_roots[:, None] * total / len(draws)

    def to_movies(block: Floats) -> Floats:
        block, total = user_roots[:, None] * block, np.zeros((len(movie_roots), block.shape[1]))
        for draw in draws:
            total += draw.movies[:, :-1] @ (draw.users[:, :-1].T @ block)
        return movie_roots[:, None] * total / len(draws)

    components = next(iter(draws)).users.shape[1] - 1
    most = min(len(user_roots), len(movie_roots), len(draws) * components)
    width = min(dimension + SPARE, most)
    basis = np.linalg.qr(rng.standard_normal((len(movie_roots), width)))[0]
    for _ in range(PASSES):
        basis = np.linalg.qr(to_users(basis))[0]
        basis = np.linalg.qr(to_movies(basis))[0]
    left, sizes, turned = np.linalg.svd(to_users(basis), full_matrices=False)
    kept = min(dimension, int((sizes > sizes[0] * 1e-6).sum()))
    return left[:, :kept], sizes[:kept], basis @ turned[:kept].T


def _maps(
    draw: Draw, roots: tuple[Floats, Floats], left: Floats, sizes: Floats, right: Floats
) -> _Maps:
    """Return the maps whose mean over draws gives the balanced factors of the decomposition."""
    scale = 1 / np.sqrt(sizes)
    return _Maps(
        _and_bias(draw.movies[:, :-1].T @ (roots[1][:, None] * right) * scale),
        _and_bias(draw.users[:, :-1].T @ (roots[0][:, None] * left) * scale),
    )


def _and_bias(directions: Floats) -> Floats:
    """Return a map that leaves the bias as it is."""
    rows, columns = directions.shape
    whole = np.zeros((rows + 1, columns + 1))
    whole[:-1, :-1] = directions
    whole[-1, -1] = 1.0
    return whole


def _score_variances(
    draws: Sequence[Draw] | Draws, user_counts: NDArray[np.int64], rng: np.random.Generator
) -> Floats:
    """Return the variance over draws of each movie's scores, a mean over some users `(C,)`."""
    movies = len(next(iter(draws)).movies)
    chances = user_counts / user_counts.sum()
    rows = rng.choice(len(user_counts), size=movies * PARTNERS, p=chances).astype(np.int32)
    columns = np.repeat(np.arange(movies, dtype=np.int32), PARTNERS)
    mean, squares = np.zeros((2, len(rows)))  # so far, and of what is around it
    for place, draw in enumerate(draws, start=1):
        scores = pair_scores(draw.users, draw.movies, rows, columns) - middle(draw.thresholds)
        away = scores - mean
        mean += away / place
        squares += away * (scores - mean)
    variances = squares / max(1, len(draws) - 1)
    return np.asarray(variances.reshape(movies, PARTNERS).mean(axis=1), dtype=np.float64)


def with_one(movies: NDArray[np.floating]) -> Floats:
    """Return what a user vector and its bias meet: movie vectors with a 1 for their bias."""
    ends = movies.astype(np.float64)
    ends[:, -1] = 1.0
    return ends


def _forms(rows: Floats, matrix: Floats) -> Floats:
    """Return `row @ matrix @ row` for each row."""
    return np.asarray(((rows @ matrix) * rows).sum(axis=1))


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
