"""Features that the priors of user and movie vectors depend on: sparse, one row each.

A user has attributes and the movies that are rated; a movie has its content and the users who
rated it. Which, not how: of the ratings that a row explains, its features show only that they
exist.

Source: Koren, Factorization meets the neighborhood, KDD 2008 (implicit feedback, weighted by
1/sqrt(n)); Rendle et al., On the difficulty of evaluating baselines, 2019 ("flipped": for movies
too).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.pairs.bayesian.tower import fact_columns


def user_facts(codes: NDArray[np.int64], sizes: tuple[int, ...]) -> sparse.csr_array:
    """Return a constant and the attributes of users, `(U, 1 + attributes)`.

    Args:
        codes: `(U, C)` of attributes.
        sizes: How many codes each of them has.
    """
    facts = fact_columns(codes, sizes)  # (U, 1 + C)
    ones, starts = np.ones(facts.size, np.float32), np.arange(len(facts) + 1) * facts.shape[1]
    return sparse.csr_array((ones, facts.ravel(), starts), shape=(len(facts), 1 + sum(sizes)))


def movie_facts(content: NDArray[np.float32]) -> sparse.csr_array:
    """Return a constant and the content of movies `(M, F)`, `(M, 1 + F)`."""
    return sparse.csr_array(np.hstack([np.ones((len(content), 1), np.float32), content]))


def with_rated(
    facts: sparse.csr_array,
    counts: NDArray[np.int64],
    rated: NDArray[np.int32],
    columns: int,
) -> sparse.csr_array:
    """Return features `(R, F + G)`: facts, then who rated what, by the root of the count.

    Args:
        facts: `(R, F)`.
        counts: `(R,)` ratings of each row.
        rated: `(N,)` numbers of what was rated, or of who did, of one row after the other.
        columns: G.
    """
    known = np.diff(facts.indptr)
    # Where values stand, row by row: first the facts of a row, then its ratings.
    own = np.repeat(np.tile([True, False], len(counts)), np.column_stack([known, counts]).ravel())
    weights = (1 / np.sqrt(np.maximum(counts, 1))).astype(np.float32)
    values, places = np.repeat(weights, known + counts), np.empty(len(own), np.int32)
    values[own], places[own] = facts.data, facts.indices
    np.logical_not(own, out=own)
    places[own] = rated + np.int32(facts.shape[1])
    # Of the type of the places, or scipy would make these twice as wide.
    starts = (facts.indptr + np.append(0, np.cumsum(counts))).astype(places.dtype)
    shape = (len(counts), facts.shape[1] + columns)
    return sparse.csr_array((values, places, starts), shape=shape)
