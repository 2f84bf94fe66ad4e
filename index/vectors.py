"""The one door through which vectors enter an index."""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]


# No component is as long: inner products, and sums of squares, stay finite in float32.
LARGEST = 1e17


def checked_vectors(values: ArrayLike, dimension: int | None = None) -> Vectors:
    """Return values as a C-contiguous float32 matrix `(N, D)`, finite and with finite products.

    Raises:
        ValueError: The values are not a matrix, have another dimension, or are not finite and less
            than `LARGEST` in size.
    """
    vectors = np.ascontiguousarray(values, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be a matrix (N, D), not of shape {vectors.shape}")
    if dimension is not None and vectors.shape[1] != dimension:
        raise ValueError(f"vectors have dimension {vectors.shape[1]}, the index has {dimension}")
    # By the extremes, which NaN is among if it is there: no copy of all is made.
    if not -LARGEST < vectors.min(initial=0.0) <= vectors.max(initial=0.0) < LARGEST:
        row = int(np.flatnonzero(~(np.abs(vectors) < LARGEST).all(axis=1))[0])
        raise ValueError(f"vectors must be finite and less than {LARGEST:g}; row {row} is not")
    return vectors


def checked_ids(values: ArrayLike, count: int) -> Ids:
    """Return values as `count` distinct int64 ids.

    Raises:
        ValueError: There is not one id for each vector, or an id comes twice or is negative.
    """
    ids = np.ascontiguousarray(values, dtype=np.int64)
    if ids.shape != (count,):
        raise ValueError(f"expected {count} ids, one for each vector, got shape {ids.shape}")
    if len(np.unique(ids)) != count:
        raise ValueError("ids must be distinct")
    if count and ids.min() < 0:
        raise ValueError(f"ids must not be negative, got {ids.min()}")
    return ids


def fingerprint(ids: Ids, vectors: Vectors) -> str:
    """Return a sha256 over ids and vectors, equal exactly when both are equal to the bit."""
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(ids, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
    return digest.hexdigest()
