import numpy as np
import pytest

from retrieval.pairs.bayesian.compression import CompressedPosterior, compress_posterior
from retrieval.pairs.bayesian.sampler import Draw

USERS, MOVIES, SIZE, DRAWS = 30, 20, 4, 6
COUNTS = np.arange(1, USERS + 1), np.arange(1, MOVIES + 1)


def draw(rng: np.random.Generator) -> Draw:
    users = rng.standard_normal((USERS, SIZE)).astype(np.float32)
    movies = rng.standard_normal((MOVIES, SIZE)).astype(np.float32)
    root = rng.standard_normal((SIZE, SIZE))
    return Draw(
        users=users,
        movies=movies,
        # Features are one-hot: a row's prior mean is its own vector, so maps can be compared.
        user_coefficients=users.copy(),
        movie_coefficients=movies.copy(),
        user_precision=root @ root.T + np.eye(SIZE),
        thresholds=np.sort(rng.standard_normal(3)),
        noise_precision=rng.gamma(3.0, 1 / 3, MOVIES).astype(np.float32),
        session_law=np.array([0.5, 0.1, 0.2]),
    )


@pytest.fixture(scope="module")
def draws() -> list[Draw]:
    rng = np.random.default_rng(0)
    return [draw(rng) for _ in range(DRAWS)]


def scores(users: np.ndarray, movies: np.ndarray) -> np.ndarray:
    products = users[:, :-1] @ movies[:, :-1].T
    return np.asarray(products + users[:, -1:] + movies[:, -1])


def mean_scores(draws: list[Draw]) -> np.ndarray:
    centred = [scores(d.users, d.movies) - d.thresholds.mean() for d in draws]
    return np.asarray(np.mean(centred, axis=0))


def compressed(draws: list[Draw], dimension: int) -> CompressedPosterior:
    return compress_posterior(draws, *COUNTS, dimension, np.random.default_rng(1))


def test_enough_dimensions_lose_nothing(draws: list[Draw]) -> None:
    pair = compressed(draws, 64)
    assert pair.users.shape[1] - 1 == min(MOVIES, DRAWS * (SIZE - 1))
    np.testing.assert_allclose(scores(pair.users, pair.movies), mean_scores(draws), atol=1e-4)


def test_fewer_lose_what_the_best_approximation_loses(draws: list[Draw]) -> None:
    pair = compressed(draws, 3)
    weights = np.sqrt(COUNTS[0])[:, None] * np.sqrt(COUNTS[1])
    exact = np.mean([d.users[:, :-1] @ d.movies[:, :-1].T for d in draws], axis=0)
    left, sizes, right = np.linalg.svd(weights * exact)
    best = (left[:, :3] * sizes[:3]) @ right[:3] / weights
    np.testing.assert_allclose(pair.users[:, :-1] @ pair.movies[:, :-1].T, best, atol=1e-3)


def test_coefficients_go_where_vectors_go(draws: list[Draw]) -> None:
    pair = compressed(draws, 5)
    np.testing.assert_allclose(pair.movie_coefficients, pair.movies, atol=1e-5)
    # The first feature is the intercept: it carries the shift that centres the thresholds.
    np.testing.assert_allclose(pair.user_coefficients[0], pair.users[0], atol=1e-5)
    shift = np.mean([d.thresholds.mean() for d in draws])
    expected = pair.users[1:] + shift * (np.arange(6) == 5)
    np.testing.assert_allclose(pair.user_coefficients[1:], expected, atol=1e-5)


def test_the_covariance_and_the_movie_variance_make_up_the_prior_variance_of_scores(
    draws: list[Draw],
) -> None:
    pair = compressed(draws, 64)
    ends = [np.hstack([d.movies[:, :-1], np.ones((MOVIES, 1))]) for d in draws]
    covariances = [np.linalg.inv(d.user_precision) for d in draws]
    whole = np.mean(
        [((end @ c) * end).sum(axis=1) for end, c in zip(ends, covariances, strict=True)], axis=0
    )
    met = np.hstack([pair.movies[:, :-1], np.ones((MOVIES, 1))])
    modelled = ((met @ pair.covariance) * met).sum(axis=1)
    np.testing.assert_allclose(
        np.maximum(modelled, whole), modelled + pair.movie_variance, rtol=1e-5
    )
    assert np.linalg.eigvalsh(pair.covariance).min() > -1e-9


def test_thresholds_are_centred_and_means_are_means(draws: list[Draw]) -> None:
    pair = compressed(draws, 5)
    assert pair.thresholds.mean() == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(
        pair.movie_noise, np.mean([1 / d.noise_precision for d in draws], axis=0), rtol=1e-5
    )


def test_a_movie_that_draws_disagree_about_has_scores_of_more_variance() -> None:
    rng = np.random.default_rng(3)
    base = draw(rng)
    draws = []
    for _ in range(40):
        movies = base.movies.copy()
        movies[7] += 0.5 * rng.standard_normal(SIZE).astype(np.float32)
        draws.append(base._replace(movies=movies))
    variance = compressed(draws, 5).score_variance
    assert variance[7] > 0.2
    assert np.delete(variance, 7).max() < 1e-6
