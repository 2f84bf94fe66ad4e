"""Draws of the regression that gives every row the mean of its prior from what is known of it.

Rows `Y = X B + E`, with the rows of E normal of precision `L` and `B` matrix normal around 0, of
row precision `ridge` and column precision `L`; the ridge has a Gamma prior.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

Floats = NDArray[np.float64]

# Above this many rows and columns a decomposition takes too long: conjugate gradients take over.
DENSE = 20_000

# A Gamma prior on the ridge that any data outweighs, and where it starts.
SHAPE, RATE = 1e-3, 1e-3
START = 1.0

# A singular value below this share of the largest says nothing, and is lost in single precision.
NEGLIGIBLE = 1e-3


class Regression(Protocol):
    """The regression of one side's vectors on its features."""

    ridge: float

    @property
    def coefficients(self) -> Floats:
        """The coefficients `(F, W)` of the last draw."""
        ...

    @property
    def inner(self) -> Floats:
        """Coordinates `(I, W)` of the last draw that are normal, of row precision `ridge`."""
        ...

    def draw(self, targets: Floats, precision: Floats, rng: np.random.Generator) -> Floats:
        """Draw coefficients and ridge; return the means `(R, W)` that they give the rows.

        Args:
            targets: `(R, W)` vectors.
            precision: `(W, W)` of the rows around their means.
            rng: Of the draw.
        """
        ...


def regression(features: sparse.csr_array) -> Regression:
    """Return the regression on features `(R, F)`, in the way that suits their size."""
    if min(features.shape) <= DENSE:
        return DenseRegression(features)
    return IterativeRegression(features)


class DenseRegression:
    """Exact draws from one decomposition, made once, of `X = P S Q'`.

    What B has outside the row space of X moves no mean and is left out: the coefficients are those
    of its projection, which is all that the rows say about it.
    """

    def __init__(self, features: sparse.csr_array) -> None:
        self._features = features
        rows, columns = features.shape
        self._wide = columns > rows
        gram = _gram(features.T if self._wide else features).astype(np.float32)
        squares, basis = linalg.eigh(gram, driver="evd", overwrite_a=True)
        kept = squares > NEGLIGIBLE**2 * squares[-1]
        self._squares = squares[kept].astype(np.float64)
        self._basis = np.ascontiguousarray(basis[:, kept])  # P, or Q
        self.inner = np.zeros((len(self._squares), 0))  # Q' B
        self.ridge = START

    def draw(self, targets: Floats, precision: Floats, rng: np.random.Generator) -> Floats:
        """Draw coefficients and ridge; return the means `(R, W)` that they give the rows."""
        scale = np.sqrt(self._squares)[:, None]
        projected = (
            scale * (self._basis.T @ targets.astype(np.float32))
            if self._wide
            else (self._basis.T @ np.asarray(self._features.T @ targets, dtype=np.float32))
        )  # S P' Y
        weights = self._squares[:, None] + self.ridge
        inner = projected / weights + _rows(len(weights), precision, rng) / np.sqrt(weights)
        self.inner = inner
        self.ridge = _draw_ridge(inner, precision, rng)
        if self._wide:
            return np.asarray(self._basis @ (scale * inner).astype(np.float32), dtype=np.float64)
        return np.asarray(self._features @ self.coefficients, dtype=np.float64)

    @property
    def coefficients(self) -> Floats:
        """The coefficients `(F, W)` of the last draw."""
        inner = self.inner.astype(np.float32)
        if not self._wide:
            return np.asarray(self._basis @ inner, dtype=np.float64)
        scaled = self._basis @ (self.inner / np.sqrt(self._squares)[:, None]).astype(np.float32)
        return np.asarray(self._features.T @ scaled, dtype=np.float64)


class IterativeRegression:
    """Draws by solving one perturbed system with conjugate gradients; X may be of any size.

    Source: Simm et al., Macau: scalable Bayesian multi-relational factorization with side
    information using MCMC, MLSP 2017, section 3.2.
    """

    TOLERANCE = 1e-6

    # Steps after which the best there is counts: rounding can keep the tolerance out of reach.
    STEPS = 1000

    def __init__(self, features: sparse.csr_array) -> None:
        self._features = features
        self._transposed = features.T.tocsr()
        self._diagonal = np.asarray(features.multiply(features).sum(axis=0)).ravel()[:, None]
        self.inner = np.zeros((features.shape[1], 0))
        self.ridge = START

    def draw(self, targets: Floats, precision: Floats, rng: np.random.Generator) -> Floats:
        """Draw coefficients and ridge; return the means `(R, W)` that they give the rows."""
        rows, columns = self._features.shape
        perturbed = targets + _rows(rows, precision, rng)
        right = self._transposed @ perturbed
        right += np.sqrt(self.ridge) * _rows(columns, precision, rng)
        self.inner = self._solve(right)
        self.ridge = _draw_ridge(self.inner, precision, rng)
        return np.asarray(self._features @ self.inner, dtype=np.float64)

    @property
    def coefficients(self) -> Floats:
        """The coefficients `(F, W)` of the last draw."""
        return self.inner

    def _solve(self, right: Floats) -> Floats:
        """Solve `(X'X + ridge) B = right` for all W columns together, preconditioned by scale."""
        scale = self._diagonal + self.ridge
        solution, left = np.zeros_like(right), right.copy()
        enough = self.TOLERANCE**2 * (right**2 / scale).sum(axis=0)
        direction = pulled = left / scale
        energy = (left * pulled).sum(axis=0)
        for _ in range(self.STEPS):
            if not np.isfinite(energy).all():
                return np.full_like(right, np.nan)  # which the sweep will find
            if (energy <= enough).all():
                break
            image = self._apply(direction)
            step = energy / np.maximum((direction * image).sum(axis=0), np.finfo(float).tiny)
            solution += step * direction
            left -= step * image
            pulled = left / scale
            before, energy = energy, (left * pulled).sum(axis=0)
            direction = pulled + energy / np.maximum(before, np.finfo(float).tiny) * direction
        return solution

    def _apply(self, coefficients: Floats) -> Floats:
        image = self._transposed @ (self._features @ coefficients)
        return np.asarray(image + self.ridge * coefficients, dtype=np.float64)


def _gram(features: sparse.csr_array) -> Floats:
    """Return `X'X` as a dense matrix, from a few dense rows of X at a time."""
    rows, columns = features.shape
    features = sparse.csr_array(features)
    gram = np.zeros((columns, columns))
    for start in range(0, rows, 1024):
        part = features[start : start + 1024].toarray().astype(np.float32)
        gram += part.T @ part
    return gram


def _rows(count: int, precision: Floats, rng: np.random.Generator) -> Floats:
    """Return `count` normal rows of a precision, `(count, W)`."""
    factor = np.linalg.cholesky(precision)
    return np.linalg.solve(factor.T, rng.standard_normal((len(precision), count))).T


def _draw_ridge(coefficients: Floats, precision: Floats, rng: np.random.Generator) -> float:
    squares = ((coefficients @ precision) * coefficients).sum()
    return float(rng.gamma(SHAPE + coefficients.size / 2) / (RATE + squares / 2))
