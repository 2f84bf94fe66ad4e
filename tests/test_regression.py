import numpy as np
import pytest
from scipy import sparse

from retrieval.pairs.bayesian import regression as module
from retrieval.pairs.bayesian.regression import Regression, leading_directions

# One call draws for so many independent copies of the same targets.
CALLS, COPIES = 200, 30
DRAWS = CALLS * COPIES
RIDGE = 1.7
PRECISION = np.array([[2.0, 0.6], [0.6, 1.0]])


def features(rows: int, columns: int) -> sparse.csr_array:
    rng = np.random.default_rng(rows)
    return sparse.csr_array(
        rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.6)
    )


@pytest.fixture(autouse=True)
def _ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START", RIDGE)
    monkeypatch.setattr(module, "_draw_ridge", lambda *_: RIDGE)


@pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
def test_means_are_drawn_from_the_matrix_normal_posterior(shape: tuple[int, int]) -> None:
    x = features(*shape)
    dense = x.toarray()
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((shape[0], 2))
    inverse = np.linalg.inv(dense.T @ dense + RIDGE * np.eye(shape[1]))
    expected = dense @ inverse @ dense.T @ targets
    rows = dense @ inverse @ dense.T  # covariance between rows of the means
    columns = np.linalg.inv(PRECISION)
    of = Regression(x)
    copies, precision = np.tile(targets, COPIES), np.kron(np.eye(COPIES), PRECISION)
    made = np.array([of.draw(copies, precision, rng) for _ in range(CALLS)])
    # (CALLS, N, COPIES * 2) to (DRAWS, N, 2)
    draws = made.reshape(CALLS, len(targets), COPIES, 2).swapaxes(1, 2).reshape(DRAWS, -1, 2)
    spread = np.sqrt(np.outer(np.diag(rows), np.diag(columns)))
    assert np.abs((draws.mean(axis=0) - expected) / spread).max() < 4.5 / np.sqrt(DRAWS)
    left = draws - expected
    by_rows = np.einsum("snk,kl,sml->nm", left, PRECISION, left) / (2 * DRAWS)
    np.testing.assert_allclose(by_rows, rows, atol=0.06)
    by_columns = np.einsum("snk,snl->kl", left, left) / DRAWS / np.trace(rows)
    np.testing.assert_allclose(by_columns, columns, rtol=0.1)


@pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
def test_coefficients_give_the_means(shape: tuple[int, int]) -> None:
    x = features(*shape)
    targets = np.random.default_rng(1).standard_normal((shape[0], 2))
    of = Regression(x)
    means = of.draw(targets, PRECISION, np.random.default_rng(2))
    np.testing.assert_allclose(x @ of.coefficients, means, atol=1e-4)


def test_of_large_features_the_leading_directions_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    sizes = np.exp(-np.arange(40) / 8.0)
    left, right = (np.linalg.qr(rng.standard_normal((rows, 40)))[0] for rows in (300, 120))
    x = sparse.csr_array(((left * sizes) @ right.T).astype(np.float32))
    monkeypatch.setattr(module, "LEADING", 10)
    monkeypatch.setattr(module, "ROWS", 70)
    found = leading_directions(x, None)
    np.testing.assert_allclose(np.sqrt(found.squares[::-1]), sizes[:10], rtol=1e-3)
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(10), atol=1e-5)
    alike = np.abs(found.basis[:, ::-1].T @ right[:, :10])
    np.testing.assert_allclose(np.diag(alike), 1, atol=1e-2)
    again = leading_directions(x, found)
    np.testing.assert_allclose(again.squares, found.squares, rtol=1e-3)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
def test_large_problems_keep_what_their_leading_directions_explain(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((shape[0], 5)) @ rng.standard_normal((5, shape[1]))
    x = sparse.csr_array((x + 0.01 * rng.standard_normal(shape)).astype(np.float32))
    targets = x @ rng.standard_normal((shape[1], 2))
    whole = Regression(x).draw(targets, 1e6 * PRECISION, rng)
    monkeypatch.setattr(module, "DENSE", 10)
    monkeypatch.setattr(module, "LEADING", 5)
    of = Regression(x)
    assert of.directions.basis.shape == (40, 5)
    np.testing.assert_allclose(of.draw(targets, 1e6 * PRECISION, rng), whole, atol=0.5)
