"""The one door through which vectors enter an index."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]

# No component is as long: inner products, and sums of squares, stay finite in float32.
LARGEST = 1e17

LARGEST_ID = int(np.iinfo(np.int64).max)


def checked_vectors(values: ArrayLike, dimension: int | None = None) -> Vectors:
    """Return values as a C-contiguous float32 matrix `(N, D)`, finite and with finite products.

    Raises:
        ValueError: The values are not a matrix of numbers, have another dimension or none, or are
            not finite and less than `LARGEST` in size.
    """
    given = np.asarray(values)
    if given.dtype.kind not in "fiu":
        raise ValueError(f"vectors must be numbers, not of type {given.dtype}")
    if given.ndim != 2 or not given.shape[1]:
        raise ValueError(f"vectors must be a matrix (N, D), not of shape {given.shape}")
    if dimension is not None and given.shape[1] != dimension:
        raise ValueError(f"vectors have dimension {given.shape[1]}, the index has {dimension}")
    if given.dtype == np.float32:
        vectors = np.ascontiguousarray(given)
    else:
        with np.errstate(over="ignore"):  # to infinity, which is refused
            vectors = np.ascontiguousarray(given, dtype=np.float32)
    # By the extremes, which NaN is among if it is there: no copy of all is made.
    if not -LARGEST < vectors.min(initial=0.0) <= vectors.max(initial=0.0) < LARGEST:
        row = int(np.flatnonzero(~(np.abs(vectors) < LARGEST).all(axis=1))[0])
        raise ValueError(f"vectors must be finite and less than {LARGEST:g}; row {row} is not")
    return vectors


def checked_ids(values: ArrayLike, count: int) -> Ids:
    """Return values as `count` distinct int64 ids.

    Raises:
        ValueError: There is not one id for each vector, an id is no whole number of 64 bits, or it
            comes twice or is negative.
    """
    ids = whole_numbers(values)
    if ids.shape != (count,):
        raise ValueError(f"expected {count} ids, one for each vector, got shape {ids.shape}")
    if not are_distinct(ids):
        raise ValueError("ids must be distinct")
    if count and ids.min() < 0:
        raise ValueError(f"ids must not be negative, got {ids.min()}")
    return ids


def are_distinct(ids: Ids) -> bool:
    """Return whether no id of `(N,)` comes twice; `np.unique` takes far longer."""
    return not (np.diff(np.sort(ids)) == 0).any()


def whole_numbers(values: ArrayLike) -> Ids:
    """Return values of any shape as a C-contiguous int64 array.

    Raises:
        ValueError: They are no integers (floats are not, whatever their value), or do not fit.
    """
    given = np.asarray(values)
    if not given.size:  # NumPy takes an empty list for one of floats
        return np.empty(given.shape, np.int64)
    if given.dtype.kind not in "iu":
        raise ValueError(f"ids must be whole numbers of 64 bits, not of type {given.dtype}")
    if given.dtype.kind == "u" and given.max() > LARGEST_ID:
        raise ValueError(f"ids must be at most {LARGEST_ID}, got {given.max()}")
    return np.asarray(given, dtype=np.int64, order="C")


def squared_norms(vectors: Vectors) -> NDArray[np.float64]:
    """Return the squared norms, `(R,)`, of vectors `(R, D)`, without underflow of the shortest."""
    return np.asarray(np.einsum("rd,rd->r", vectors, vectors, dtype=np.float64))
