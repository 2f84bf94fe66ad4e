"""Draws of the regression that gives every row the mean of its prior from what is known of it.

Rows `Y = X B + E`, with the rows of E normal of precision `L` and `B` matrix normal around 0, of
row precision `ridge` and column precision `L`; the ridge has a Gamma prior.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

# Above this many rows and columns a whole decomposition takes too long: the leading directions are
# what is left, so many of them. Found by so many passes over the features, or by fewer from those
# of nearly the same features, with some to spare.
DENSE, LEADING, SPARE = 5_000, 512, 16
PASSES, FEWER_PASSES = 5, 2

# Rows of features that are multiplied at a time.
ROWS = 16_384

# A Gamma prior on the ridge that any data outweighs, and where it starts.
SHAPE, RATE = 1e-3, 1e-3
START = 1.0

# A singular value below this share of the largest says nothing, and is lost in single precision.
NEGLIGIBLE = 1e-3


class Directions(NamedTuple):
    """Singular directions of X on its smaller side, of S components."""

    squares: Floats  # (I,) of the singular values, ascending
    basis: Vectors  # (S, I) orthonormal


class Regression:
    """Exact draws from one decomposition, made once, of `X = P S Q'`.

    What B has outside the row space of X moves no mean and is left out: the coefficients are those
    of its projection, which is all that the rows say about it. Of large X the directions with small
    singular values are left out too, of which the ridge leaves little.

    Args:
        features: X, `(R, F)`.
        before: Directions of nearly the same features, which are a place to start from.
    """

    def __init__(self, features: sparse.csr_array, before: Directions | None = None) -> None:
        self._features = features
        rows, columns = features.shape
        self._wide = columns > rows
        narrow = features.T.tocsr() if self._wide else features
        if narrow.shape[1] <= DENSE:
            found = _all_directions(narrow)
        else:
            found = leading_directions(narrow, before)
        kept = found.squares > NEGLIGIBLE**2 * found.squares[-1]
        basis = np.ascontiguousarray(found.basis[:, kept])  # P, or Q
        self.directions: Directions = Directions(found.squares[kept], basis)
        self.inner = np.zeros((int(kept.sum()), 0))  # (I, W) Q' B of the last draw
        self.ridge = START

    def forget(self) -> None:
        """Leave the features, without which nothing can be drawn any more, to the memory."""
        self._features = sparse.csr_array((0, 0), dtype=np.float32)

    def draw(self, targets: Floats, precision: Floats, rng: np.random.Generator) -> Floats:
        """Draw coefficients and ridge; return the means `(R, W)` that they give the rows.

        Args:
            targets: `(R, W)` vectors.
            precision: `(W, W)` of the rows around their means.
            rng: Of the draw.
        """
        squares, basis = self.directions
        scale = np.sqrt(squares)[:, None]
        single = targets.astype(np.float32)
        projected = (  # S P' Y
            scale * (basis.T @ single) if self._wide else basis.T @ (self._features.T @ single)
        )
        weights = squares[:, None] + self.ridge
        inner = projected / weights + _rows(len(weights), precision, rng) / np.sqrt(weights)
        self.inner = inner
        self.ridge = _draw_ridge(inner, precision, rng)
        if self._wide:
            return np.asarray(basis @ (scale * inner).astype(np.float32), dtype=np.float64)
        return np.asarray(self._features @ self.coefficients, dtype=np.float64)

    @property
    def coefficients(self) -> Vectors:
        """The coefficients `(F, W)` of the last draw."""
        squares, basis = self.directions
        if not self._wide:
            return np.asarray(basis @ self.inner.astype(np.float32))
        scaled = basis @ (self.inner / np.sqrt(squares)[:, None]).astype(np.float32)
        return np.asarray(self._features.T @ scaled)


def leading_directions(features: sparse.csr_array, before: Directions | None) -> Directions:
    """Return the `LEADING` right singular directions of features `(R, S)`, nearly.

    Source: Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 2011,
    algorithm 4.4, with a Rayleigh-Ritz step at the end.

    Args:
        features: X.
        before: Directions of nearly the same features; None starts anywhere.
    """
    rng = np.random.default_rng(0)  # of where to start, which the result hardly depends on
    size = features.shape[1]
    width = min(LEADING + SPARE, size)
    basis = np.zeros((size, 0), np.float32) if before is None else before.basis[:, -width:]
    more = rng.standard_normal((size, width - basis.shape[1]), dtype=np.float32)
    image = np.hstack([basis, more])
    for _ in range(PASSES if before is None else FEWER_PASSES):
        basis = np.linalg.qr(image)[0]
        image = _gram_times(features, basis)
    squares, turn = np.linalg.eigh(basis.T.astype(np.float64) @ image)
    last = slice(-min(LEADING, width), None)
    return Directions(np.maximum(squares[last], 0.0), basis @ turn[:, last].astype(np.float32))


def _all_directions(features: sparse.csr_array) -> Directions:
    gram = _gram(features).astype(np.float32)
    squares, basis = linalg.eigh(gram, driver="evd", overwrite_a=True)
    return Directions(squares.astype(np.float64), basis)


def _gram(features: sparse.csr_array) -> Floats:
    """Return `X'X` as a dense matrix, from a few dense rows of X at a time."""
    rows, columns = features.shape
    gram = np.zeros((columns, columns))
    for start in range(0, rows, 1024):
        part = features[start : start + 1024].toarray().astype(np.float32)
        gram += part.T @ part
    return gram


def _gram_times(features: sparse.csr_array, block: Vectors) -> Vectors:
    """Return `X'X` times a block `(S, I)`, from some rows of X at a time."""
    total = np.zeros_like(block)
    for start in range(0, features.shape[0], ROWS):
        part = features[start : start + ROWS]
        total += part.T @ (part @ block)
    return total


def _rows(count: int, precision: Floats, rng: np.random.Generator) -> Floats:
    """Return `count` normal rows of a precision, `(count, W)`."""
    factor = np.linalg.cholesky(precision)
    return np.linalg.solve(factor.T, rng.standard_normal((len(precision), count))).T


def _draw_ridge(coefficients: Floats, precision: Floats, rng: np.random.Generator) -> float:
    squares = ((coefficients @ precision) * coefficients).sum()
    return float(rng.gamma(SHAPE + coefficients.size / 2) / (RATE + squares / 2))
