"""What an index holds and is asked stands for the same inner products."""

from pathlib import Path

import numpy as np
import pytest

from index.emphasis import best_emphasis
from index.exact import exact_search
from index.kinds import Kind, SearchParameters
from index.search import Index
from index.store import load_index, save_index
from index.transform import Transform
from index.tuning import recall

COUNT = 6000


def drawn(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors, and queries that hardly look where most vectors differ, in some basis."""
    rng = np.random.default_rng(dimension)
    basis = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    loud = np.where(np.arange(dimension) % 4, 0.02, 1.0)
    vectors = rng.normal(size=(COUNT, dimension)) / loud**0.5 @ basis
    queries = rng.normal(size=(80, dimension)) * loud @ basis
    return vectors.astype(np.float32), queries.astype(np.float32)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("dimension", [7, 32])
def test_inner_products_are_kept(kind: Kind, dimension: int) -> None:
    vectors, queries = drawn(dimension)
    emphasis = np.linalg.qr(np.random.default_rng(1).normal(size=(dimension, dimension)))[0]
    emphasis = (emphasis * np.linspace(0.2, 1, dimension)).astype(np.float32)  # not symmetric
    transform = Transform.fitted(kind, vectors, emphasis)
    held, asked = transform.of_vectors(vectors), transform.of_queries(queries)
    assert held.shape[1] == asked.shape[1] == transform.width
    wanted = queries @ vectors.T
    np.testing.assert_allclose(asked @ held.T, wanted, atol=1e-3 * np.abs(wanted).max())
    if kind is Kind.IVFPQ:
        scaled = transform.matrix @ transform.matrix.T / (emphasis @ emphasis.T)
        np.testing.assert_allclose(scaled, scaled[0, 0], rtol=1e-2)  # the rest is a rotation
        assert np.abs(transform.matrix - emphasis * scaled[0, 0] ** 0.5).max() > 0.01


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.EXACT])
def test_the_emphasis_and_the_rotation_come_back_from_disk(kind: Kind, tmp_path: Path) -> None:
    vectors, queries = drawn(32)
    few = SearchParameters(nprobe=12, ef=24, oversampling=4)
    emphasis = best_emphasis(kind, vectors, queries[::2])
    assert emphasis is not None
    assert np.abs(emphasis - np.diag(np.diag(emphasis))).max() > 0.01
    index = Index.build(np.arange(COUNT), vectors, kind, few, queries[::2])
    save_index(tmp_path, index, "model")
    truth = exact_search(np.arange(COUNT), vectors, queries, 10).ids
    found = load_index(tmp_path, "model").search(queries, 10).ids
    np.testing.assert_array_equal(found, index.search(queries, 10).ids)
    blind = Index.build(np.arange(COUNT), vectors, kind, few).search(queries, 10).ids
    if kind is not Kind.SQ8:  # which finds all in any basis
        assert recall(found, truth) > recall(blind, truth) + 0.02


@pytest.mark.parametrize("size", [1e-25, 1.0, 1e15])
def test_scores_of_any_size_are_exact(size: float) -> None:
    vectors, queries = drawn(7)
    vectors, queries = (size * vectors).astype(np.float32), (size * queries).astype(np.float32)
    index = Index.build(np.arange(COUNT), vectors)
    wanted = exact_search(np.arange(COUNT), vectors, queries, 10)
    for found in (
        index.search(queries, 10).ids,
        np.concatenate([index.search(query[None], 10).ids for query in queries]),
    ):
        np.testing.assert_array_equal(found, wanted.ids)
