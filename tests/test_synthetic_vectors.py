import numpy as np
import pytest

from index.synthetic import synthetic_vectors


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(10, 6))
    spread = np.array([1.0, 1.0, 0.5, 0.2, 0.1, 0.05])
    vectors = centres[rng.integers(0, 10, 3000)] + spread * rng.normal(size=(3000, 6))
    return vectors.astype(np.float32)


def test_synthetic_vectors_have_the_norms_and_directions_of_real_ones(real: np.ndarray) -> None:
    made = synthetic_vectors(real, 20_000, 0)
    assert made.shape == (20_000, 6)
    assert made.dtype == np.float32
    shares = np.linspace(0.02, 0.98, 9)
    norms = [np.quantile(np.linalg.norm(each, axis=1), shares) for each in (real, made)]
    np.testing.assert_allclose(norms[0], norms[1], rtol=0.05)
    np.testing.assert_allclose(real.mean(axis=0), made.mean(axis=0), atol=0.15)
    variances = [np.linalg.eigvalsh(np.cov(each.T)) for each in (real, made)]
    np.testing.assert_allclose(variances[0][-4:], variances[1][-4:], rtol=0.1)


def test_synthetic_vectors_have_the_clusters_of_real_ones(real: np.ndarray) -> None:
    made = synthetic_vectors(real, 2000, 0)

    def nearest(vectors: np.ndarray) -> float:
        away = ((vectors[:, None] - real) ** 2).sum(axis=2)
        return float(np.median(np.sort(away, axis=1)[:, 1]))

    normal = np.random.default_rng(1).multivariate_normal(real.mean(axis=0), np.cov(real.T), 500)
    assert nearest(made[:500]) < 2 * nearest(real[:500])
    assert nearest(normal) > 3 * nearest(made[:500])


def test_a_seed_gives_the_same_vectors_and_any_size_will_do(real: np.ndarray) -> None:
    np.testing.assert_array_equal(synthetic_vectors(real, 50, 3), synthetic_vectors(real, 50, 3))
    assert not np.array_equal(synthetic_vectors(real, 50, 3), synthetic_vectors(real, 50, 4))
    assert synthetic_vectors(real[:1], 5, 0).shape == (5, 6)
