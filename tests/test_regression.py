import numpy as np
import pytest
from scipy import sparse

from retrieval.pairs.bayesian import regression as module
from retrieval.pairs.bayesian.regression import (
    DenseRegression,
    IterativeRegression,
    Regression,
    regression,
)

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


@pytest.mark.parametrize("kind", [DenseRegression, IterativeRegression])
@pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
def test_means_are_drawn_from_the_matrix_normal_posterior(
    kind: type[DenseRegression] | type[IterativeRegression], shape: tuple[int, int]
) -> None:
    x = features(*shape)
    dense = x.toarray()
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((shape[0], 2))
    inverse = np.linalg.inv(dense.T @ dense + RIDGE * np.eye(shape[1]))
    expected = dense @ inverse @ dense.T @ targets
    rows = dense @ inverse @ dense.T  # covariance between rows of the means
    columns = np.linalg.inv(PRECISION)
    of: Regression = kind(x)
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
    for of in (DenseRegression(x), IterativeRegression(x)):
        means = of.draw(targets, PRECISION, np.random.default_rng(2))
        np.testing.assert_allclose(x @ of.coefficients, means, atol=1e-4)


def test_large_problems_are_solved_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(regression(features(30, 6)), DenseRegression)
    monkeypatch.setattr(module, "DENSE", 5)
    assert isinstance(regression(features(30, 6)), IterativeRegression)


@pytest.mark.parametrize("shape", [(1500, 2500), (2500, 1500)])
def test_step_by_step_a_larger_system_is_solved_as_a_decomposition_does(
    shape: tuple[int, int],
) -> None:
    rng = np.random.default_rng(3)
    x = sparse.random_array(shape, density=0.01, rng=rng, format="csr")
    of = IterativeRegression(sparse.csr_array(x))
    of.ridge = 0.3
    right = rng.standard_normal((shape[1], 3))
    gram = (x.T @ x).toarray() + 0.3 * np.eye(shape[1])
    expected = np.linalg.solve(gram, right)
    np.testing.assert_allclose(of._solve(right), expected, atol=1e-5)  # noqa: SLF001 (the solver)


def test_where_rounding_keeps_the_tolerance_out_of_reach_the_steps_end() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((200, 80)) @ np.diag(10.0 ** rng.uniform(-9, 9, 80))
    x = x @ rng.standard_normal((80, 300))  # so badly conditioned that no steps are enough
    of = IterativeRegression(sparse.csr_array(x))
    of.ridge, of.TOLERANCE = 1e-9, 1e-30
    steps = 0

    def counted(coefficients: np.ndarray) -> np.ndarray:
        nonlocal steps
        steps += 1
        return apply(coefficients)

    apply, of._apply = of._apply, counted  # type: ignore[method-assign] # noqa: SLF001 (counted)
    assert np.isfinite(of._solve(rng.standard_normal((300, 2)))).all()  # noqa: SLF001 (the solver)
    assert 0 < steps <= of.STEPS
    assert not np.isfinite(of._solve(np.full((300, 2), np.nan))).any()  # noqa: SLF001 (likewise)
