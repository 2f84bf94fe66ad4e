"""Exact search in numpy: the oracle every index is held against."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.neighbours import NO_ID, Neighbours
from index.vectors import Ids, Vectors

Row = tuple[Ids, NDArray[np.float64]]  # the ids and scores of one query's results


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


def best(ids: Ids, scores: NDArray[np.float64], k: int) -> Row:
    """Return the k best of one query's candidates: highest score first, then ascending id."""
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


def padded(rows: Sequence[Row], k: int) -> Neighbours:
    """Stack results of unequal length."""
    ids = np.full((len(rows), k), NO_ID, dtype=np.int64)
    scores = np.full((len(rows), k), -np.inf)
    for row, (found, found_scores) in enumerate(rows):
        ids[row, : len(found)] = found
        scores[row, : len(found)] = found_scores
    return Neighbours(ids, scores)


def exact_search(
    ids: Ids, vectors: Vectors, queries: Vectors, k: int, excluded: Sequence[Ids] | None = None
) -> Neighbours:
    """Score every vector for every query.

    Args:
        ids: `(N,)`.
        vectors: `(N, D)`.
        queries: `(Q, D)`.
        k: Results wanted for each query.
        excluded: For each query, ids that must not be returned.
    """
    rows = []
    for row, query in enumerate(queries):
        scores = inner_products(query[None, :], vectors)  # (N,)
        allowed = slice(None) if excluded is None else ~np.isin(ids, excluded[row])
        rows.append(best(ids[allowed], scores[allowed], k))
    return padded(rows, k)
