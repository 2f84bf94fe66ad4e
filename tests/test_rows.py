import numpy as np
import pytest

from retrieval.pairs.bayesian.rows import CHUNK, draw_vectors, side

SIZE = 3


@pytest.mark.parametrize("count", [0, 1, 7, 3 * CHUNK + 5])
def test_draws_follow_the_posterior_of_a_linear_regression(count: int) -> None:
    rng = np.random.default_rng(count)
    others = rng.standard_normal((9, SIZE)).astype(np.float32)
    other_rows = rng.integers(0, 9, count).astype(np.int32)
    weights = rng.gamma(2.0, 1.0, count).astype(np.float32) / np.float32(10)
    prior = np.array([[2.0, 0.3, 0.1], [0.3, 1.5, 0.2], [0.1, 0.2, 1.0]])
    mean = np.array([0.5, -1.0, 0.2])
    truth = rng.standard_normal(SIZE)
    met = others[other_rows].astype(np.float64)
    met[:, -1] = 1.0  # a bias meets a 1
    ratings = met @ truth + rng.standard_normal(count)
    precision = prior + (met * weights[:, None]).T @ met
    expected = np.linalg.solve(precision, prior @ mean + met.T @ (weights * ratings))

    drawn = []
    vectors = np.zeros((1, SIZE), np.float32)
    residuals = ratings.astype(np.float32)
    of = side(np.zeros(count, np.int32), 1)
    for _ in range(4000):
        draw_vectors(vectors, of, others, other_rows, weights, residuals, prior, mean[None, :], rng)
        drawn.append(vectors[0].astype(np.float64))
    np.testing.assert_allclose(residuals, ratings - met @ vectors[0], atol=2e-3)
    spread = np.linalg.inv(precision)
    errors = (np.mean(drawn, axis=0) - expected) / np.sqrt(np.diag(spread) / len(drawn))
    assert np.abs(errors).max() < 4.5
    scale = np.sqrt(np.outer(np.diag(spread), np.diag(spread)))
    assert np.abs((np.cov(np.array(drawn).T) - spread) / scale).max() < 0.1


def test_rows_are_drawn_each_from_its_own_ratings() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 30, 500).astype(np.int32)
    others = rng.standard_normal((20, SIZE)).astype(np.float32)
    other_rows = rng.integers(0, 20, 500).astype(np.int32)
    means = rng.standard_normal((30, SIZE))
    vectors = np.zeros((30, SIZE), np.float32)
    ratings = rng.standard_normal(500).astype(np.float32)
    residuals = ratings.copy()
    weights = np.full(500, 1e8, np.float32)  # no noise: the draw is least squares
    draw_vectors(
        vectors, side(rows, 30), others, other_rows, weights, residuals, np.eye(SIZE), means, rng
    )
    met = others[other_rows].astype(np.float64)
    met[:, -1] = 1.0
    for row in range(30):
        mine = rows == row
        fitted, *_ = np.linalg.lstsq(met[mine], ratings[mine].astype(np.float64), rcond=None)
        np.testing.assert_allclose(vectors[row], fitted, atol=5e-3)
