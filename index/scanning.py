"""Scans of the vectors that an index holds: candidates without any search structure."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import faiss
import numpy as np
from numpy.typing import NDArray

from index.backend import Proposal
from index.compiled import SPARE, put_best
from index.neighbours import Neighbours
from index.rescoring import SCORED, LocalVectors
from index.rows import NO_ROW, ChosenRows
from index.vectors import Ids, Vectors

# Components of a choice whose vectors are kept beside it, at most; a choice is of one set of rows.
COPIED = 2**22

# The largest share of the vectors of which anything is kept. Where next to all are allowed, as
# where one was removed, the index of all answers.
MOST_KEPT = 0.5

_copies: WeakKeyDictionary[ChosenRows, Vectors] = WeakKeyDictionary()

# Queries searched together: enough to use matrix products, few enough to share one depth.
CHUNK = 256


def scan(local: LocalVectors, queries: Vectors, count: int, chosen: ChosenRows | None) -> Proposal:
    """Return the best candidates of all that are allowed, by scores in single precision.

    Args:
        local: Vectors to scan.
        queries: Query vectors, `(C, D)`.
        count: Number of candidates for each query, at most that of the allowed rows.
        chosen: Rows that alone may be candidates; None is all.
    """
    vectors = local.vectors if chosen is None else _chosen_vectors(local, chosen)
    if not len(vectors):
        nothing = np.empty((len(queries), 0))
        return Proposal(nothing.astype(np.float32), nothing.astype(np.int64))
    scores, places = faiss.knn(queries, vectors, count, faiss.METRIC_INNER_PRODUCT)
    return Proposal(scores, places if chosen is None else chosen.rows[places])


def scores_of(
    local: LocalVectors, queries: Vectors, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return inner products in single precision, `(C, L)`; minus infinity for `NO_ROW`.

    Args:
        local: Vectors, some of which are scored.
        queries: Query vectors, `(C, D)`.
        rows: Rows of the vectors that each query is for, `(C, L)`.
    """
    scores, wanted = np.empty(rows.shape, np.float32), np.ascontiguousarray(rows)
    arrays = (faiss.swig_ptr(array) for array in (scores, queries, local.vectors, wanted))
    faiss.fvec_inner_products_by_idx(*arrays, local.vectors.shape[1], *rows.shape)
    return scores


def in_order(candidates: Proposal) -> Proposal:
    """Return candidates `(C, L)`, best first."""
    order = np.argsort(-candidates.scores, axis=1)
    each = np.arange(len(order))[:, None]
    return Proposal(candidates.scores[each, order], candidates.rows[each, order])


def is_copied(local: LocalVectors, chosen: ChosenRows) -> bool:
    """Return whether the vectors of chosen rows are few enough that a copy of them is kept."""
    return bool(len(chosen.rows) * local.vectors.shape[1] <= COPIED)


def _chosen_vectors(local: LocalVectors, chosen: ChosenRows) -> Vectors:
    """Return the vectors of chosen rows: to copy them takes longer than to scan them."""
    if not is_copied(local, chosen):
        return local.vectors[chosen.rows]
    if (kept := _copies.get(chosen)) is None:
        kept = _copies[chosen] = local.vectors[chosen.rows]
    return kept


def scan_alone(
    local: LocalVectors,
    found: Neighbours,
    query: Vectors,
    excluded: Ids,
    chosen: ChosenRows | None,
) -> bool:
    """Search few vectors for one query as `scan_at_once` does, in fewer steps.

    Args:
        local: Vectors to search.
        found: Where the results belong, `(1, K)`.
        query: Query vector, `(1, D)`.
        excluded: Ids that must not be returned.
        chosen: Rows that alone may be results; None is all.

    Returns:
        Whether the results are surely the best; if not, they are to be thrown away.
    """
    depth = found.ids.shape[1] + SPARE
    if depth >= len(local):
        return False
    scores = local.vectors @ query[0]  # (R,)
    hidden, held = local.rows.find(excluded)
    scores[hidden[held]] = -np.inf
    if chosen is not None:
        scores[~chosen.mask] = -np.inf
    rows = scores.argpartition(len(scores) - depth)[len(scores) - depth :]
    rounded = scores[rows]
    worst = rounded.min(keepdims=True)
    if np.isneginf(worst[0]):  # few are left
        return False
    put_best(found, query[0], local, Proposal(rounded, rows), np.empty(0, np.int64))
    return bool(local.surely_above(found.scores[:, -1], worst, query)[0])


def scan_at_once(
    local: LocalVectors,
    found: Neighbours,
    queries: Vectors,
    excluded: Sequence[Ids],
    chosen: ChosenRows | None,
) -> NDArray[np.bool_]:
    """Search few vectors: score all, hide what may not come, and score the best again, exactly.

    Args:
        local: Vectors to search.
        found: Where the results of the queries belong, `(Q, K)`.
        queries: Query vectors, `(Q, D)`.
        excluded: Ids that must not be returned, one array for each query.
        chosen: Rows that alone may be results; None is all.

    Returns:
        Whether the results of each query are surely the best, `(Q,)`.
    """
    k, rows_held = found.ids.shape[1], len(local)
    depth = min(k + SPARE, rows_held)
    sure = np.full(len(queries), depth == rows_held)
    step = max(1, min(CHUNK, SCORED // max(1, depth)))
    for start in range(0, len(queries) if depth else 0, step):
        part = slice(start, start + step)
        asked = queries[part]
        scores = asked @ local.vectors.T  # (C, R)
        owners = np.repeat(np.arange(len(asked)), [len(ids) for ids in excluded[part]])
        hidden, held = local.rows.find(np.concatenate([np.empty(0, np.int64), *excluded[part]]))
        scores[owners[held], hidden[held]] = -np.inf
        if chosen is not None:
            scores[:, ~chosen.mask] = -np.inf
        rows = scores.argpartition(rows_held - depth, axis=1)[:, rows_held - depth :]  # (C, depth)
        rounded = scores[np.arange(len(asked))[:, None], rows]
        local.rescore(found, part, np.where(np.isneginf(rounded), NO_ROW, rows), asked)
        worst = rounded.min(axis=1)  # if infinitely bad, there are no others
        last = found.scores[part, -1]
        sure[part] |= np.isneginf(worst) | local.surely_above(last, worst, asked)
    return sure
