"""Exact search in numpy: the oracle every index is held against."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.neighbours import Neighbours
from index.vectors import Ids, Vectors


def inner_products(
    queries: NDArray[np.floating], vectors: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the inner products over the last axis, summed in float64.

    A row's result depends on that row alone, not on how many are asked together (a matrix product
    does not promise this), so a pair scored alone and in a list gets the same bits.
    """
    # Products of two float32 are exact in float64.
    products = queries.astype(np.float64) * vectors.astype(np.float64)
    return np.asarray(products.sum(axis=-1))


def exact_search(
    ids: Ids, vectors: Vectors, queries: Vectors, k: int, excluded: Sequence[Ids] | None = None
) -> Neighbours:
    """Score every vector for every query.

    Args:
        ids: Ids of the vectors, `(N,)`.
        vectors: Vectors to search, `(N, D)`.
        queries: Query vectors, `(Q, D)`.
        k: Number of results for each query.
        excluded: Ids that must not be returned, one array for each query.
    """
    found = Neighbours.none(len(queries), k)
    for row, query in enumerate(queries):
        allowed = slice(None) if excluded is None else ~np.isin(ids, excluded[row])
        left = ids[allowed]
        scores = inner_products(query[None, :], vectors)[allowed]  # (L,) of the ids that are left
        order = np.lexsort((left, -scores))[:k]
        found.ids[row, : len(order)], found.scores[row, : len(order)] = left[order], scores[order]
    return found
