"""Draws of the vectors of one side, users or movies, given those of the other.

Given everything else, each vector `x` is the coefficients of a small linear regression: what a
rating leaves to explain is `x . z` plus noise, where `z` is the vector of the other side with a 1
in place of its bias, and `x` has a normal prior. The regressions are independent of each other.

Source: Salakhutdinov and Mnih, Bayesian probabilistic matrix factorization using Markov chain
Monte Carlo, ICML 2008, equations 11 to 13; the means of the priors are the rows' own, as in Agarwal
and Chen, Regression-based latent factor models, KDD 2009.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.pairs.bayesian.compiled import compiled, even_cuts, in_parts

# Ratings gathered at a time: their vectors stay in the first-level cache.
CHUNK = 256

# A decomposition costs about as much as this many ratings.
ROW_WORK = 64


class Side(NamedTuple):
    """Which of N ratings belong to each of R rows: those at `order[starts[r]:starts[r + 1]]`."""

    order: NDArray[np.int32]  # (N,)
    starts: NDArray[np.int64]  # (R + 1,)
    cuts: NDArray[np.int64]  # (P + 1,) parts of about equal work


def side(rows: NDArray[np.int32], count: int) -> Side:
    """Return which ratings belong to each of `count` rows, given the row of each, `(N,)`."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int64)
    return Side(
        np.argsort(rows, kind="stable").astype(np.int32),
        starts,
        even_cuts(starts + ROW_WORK * np.arange(count + 1)),
    )


def draw_vectors(
    vectors: NDArray[np.float32],
    of: Side,
    others: NDArray[np.float32],
    other_rows: NDArray[np.int32],
    weights: NDArray[np.float32],
    residuals: NDArray[np.float32],
    precision: NDArray[np.float64],
    means: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Replace the vectors of a side by a draw, and the residuals by what the draw leaves.

    Args:
        vectors: `(R, W)`, the last component of each its bias; changed in place.
        of: Whose ratings are whose.
        others: `(O, W)` vectors of the other side.
        other_rows: `(N,)` rows of the other side.
        weights: `(N,)` precision of the noise of each rating.
        residuals: `(N,)` ratings less predictions; changed in place.
        precision: `(W, W)` of the prior.
        means: `(R, W)` of the prior.
        rng: Of the draw.
    """
    noise = rng.standard_normal(vectors.shape)
    pulled = means @ precision

    def work(begin: int, end: int) -> None:
        _draw_rows(
            begin,
            end,
            of.order,
            of.starts,
            others,
            other_rows,
            weights,
            residuals,
            precision,
            pulled,
            noise,
            vectors,
        )

    in_parts(work, of.cuts)


@compiled
def _draw_rows(
    begin: int,
    end: int,
    order: NDArray[np.int32],
    starts: NDArray[np.int64],
    others: NDArray[np.float32],
    other_rows: NDArray[np.int32],
    weights: NDArray[np.float32],
    residuals: NDArray[np.float32],
    precision: NDArray[np.float64],
    pulled: NDArray[np.float64],
    noise: NDArray[np.float64],
    vectors: NDArray[np.float32],
) -> None:
    size = vectors.shape[1]
    z = np.empty((size, CHUNK), np.float32)  # one regressor a line, so that sums run along lines
    a = np.empty((size, size))
    x = np.empty(size)
    change = np.empty(size, np.float32)
    for row in range(begin, end):
        first, last = starts[row], starts[row + 1]
        a[:] = precision
        x[:] = pulled[row]
        for start in range(first, last, CHUNK):
            events = order[start : min(start + CHUNK, last)]
            _gather(events, others, other_rows, z)
            _add_evidence(events, z, vectors[row], weights, residuals, a, x)
        _draw_normal(a, x, noise[row])
        for c in range(size):
            change[c] = vectors[row, c] - np.float32(x[c])
            vectors[row, c] = x[c]
        for start in range(first, last, CHUNK):
            events = order[start : min(start + CHUNK, last)]
            if last - first > CHUNK:
                _gather(events, others, other_rows, z)
            _add_change(events, z, change, residuals)


@compiled
def _add_evidence(
    events: NDArray[np.int32],
    z: NDArray[np.float32],
    vector: NDArray[np.float32],
    weights: NDArray[np.float32],
    residuals: NDArray[np.float32],
    a: NDArray[np.float64],
    x: NDArray[np.float64],
) -> None:
    """Add what events say of a vector `(W,)` to its precision `a` and to `x`, precision x mean."""
    count = len(events)
    left = np.empty(count, np.float32)
    weighted = np.empty(count, np.float32)
    for k in range(count):
        left[k] = residuals[events[k]]
    _add_products(left, vector, z, count)
    for c in range(len(vector)):
        for k in range(count):
            weighted[k] = z[c, k] * weights[events[k]]
        x[c] += _dot(weighted, left, count)
        for e in range(c + 1):
            a[c, e] += _dot(weighted, z[e], count)


@compiled
def _add_change(
    events: NDArray[np.int32],
    z: NDArray[np.float32],
    change: NDArray[np.float32],
    residuals: NDArray[np.float32],
) -> None:
    """Add the products of a change `(W,)` of a vector to the residuals of its events."""
    left = np.empty(len(events), np.float32)
    for k in range(len(events)):
        left[k] = residuals[events[k]]
    _add_products(left, change, z, len(events))
    for k in range(len(events)):
        residuals[events[k]] = left[k]


@compiled
def _gather(
    events: NDArray[np.int32],
    others: NDArray[np.float32],
    other_rows: NDArray[np.int32],
    z: NDArray[np.float32],
) -> None:
    """Write the vectors that events meet into the columns of `z` `(W, CHUNK)`, ending in a 1."""
    last = others.shape[1] - 1
    for k in range(len(events)):
        other = others[other_rows[events[k]]]
        for c in range(last):
            z[c, k] = other[c]
        z[last, k] = 1.0


@compiled
def _add_products(
    sums: NDArray[np.float32], vector: NDArray[np.float32], z: NDArray[np.float32], count: int
) -> None:
    """Add the products of a vector `(W,)` with the first columns of `z` to sums."""
    for c in range(len(vector)):
        for k in range(count):
            sums[k] += vector[c] * z[c, k]


@compiled
def _dot(a: NDArray[np.float32], b: NDArray[np.float32], count: int) -> np.float32:
    total = np.float32(0.0)
    for k in range(count):
        total += a[k] * b[k]
    return total


@compiled
def _draw_normal(
    a: NDArray[np.float64], x: NDArray[np.float64], noise: NDArray[np.float64]
) -> None:
    """Replace `x` `(W,)` by a draw from the normal of precision `a` `(W, W)` and mean `a^-1 x`.

    The lower half of `a` is read, and overwritten by its Cholesky factor.
    """
    size = len(x)
    for c in range(size):
        for e in range(c):
            for f in range(e):
                a[c, e] -= a[c, f] * a[e, f]
            a[c, e] /= a[e, e]
            a[c, c] -= a[c, e] * a[c, e]
        a[c, c] = np.sqrt(a[c, c])
    for c in range(size):
        for f in range(c):
            x[c] -= a[c, f] * x[f]
        x[c] /= a[c, c]
    x += noise
    for c in range(size - 1, -1, -1):
        for f in range(c + 1, size):
            x[c] -= a[f, c] * x[f]
        x[c] /= a[c, c]
