"""Features that the priors of user and movie vectors depend on: sparse, one row each.

A user has demographics and the movies that are rated; a movie has its content and the users who
rated it. Which, not how: of the ratings that a row explains, its features show only that they
exist.

Source: Koren, Factorization meets the neighborhood, KDD 2008 (implicit feedback, weighted by
1/sqrt(n)); Rendle et al., On the difficulty of evaluating baselines, 2019 ("flipped": for movies
too).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.data.history import Histories
from retrieval.pairs.bayesian.tower import fact_columns


def user_features(
    codes: NDArray[np.int64], sizes: tuple[int, int, int], histories: Histories, movies: int
) -> sparse.csr_array:
    """Return the features of U users, `(U, 1 + demographics + M)`.

    Args:
        codes: `(U, 3)` of gender, age and occupation.
        sizes: How many codes each of the three has.
        histories: Of the U users.
        movies: M.
    """
    facts = fact_columns(codes, sizes)  # (U, 4)
    known = _rows(facts.ravel(), np.arange(len(codes) + 1) * facts.shape[1], 1 + sum(sizes))
    rated = _rows(histories.movies, histories.offsets, movies)
    return sparse.csr_array(sparse.hstack([known, _by_root_of_count(rated)], format="csr"))


def movie_features(content: NDArray[np.float32], histories: Histories) -> sparse.csr_array:
    """Return the features of M movies, `(M, 1 + F + U)`.

    Args:
        content: `(M, F)`.
        histories: Of the U users.
    """
    movies = len(content)
    known = sparse.csr_array(np.hstack([np.ones((movies, 1)), content]))
    raters = _rows(histories.movies, histories.offsets, movies).T.tocsr()
    return sparse.csr_array(sparse.hstack([known, _by_root_of_count(raters)], format="csr"))


def _rows(
    places: NDArray[np.integer], offsets: NDArray[np.integer], columns: int
) -> sparse.csr_array:
    """Return a matrix with ones at the places of each row."""
    return sparse.csr_array(
        (np.ones(len(places)), places, offsets), shape=(len(offsets) - 1, columns)
    )


def _by_root_of_count(ones: sparse.csr_array) -> sparse.csr_array:
    counts = np.maximum(np.diff(ones.indptr), 1)
    return sparse.csr_array(sparse.diags_array(1 / np.sqrt(counts)) @ ones)
