from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.exact import exact_search
from index.flat import FlatIndex
from index.neighbours import NO_ID
from index.store import StaleIndexError, load_index, save_index


def made(
    count: int, dimension: int = 8, seed: int = 0, queries: int = 5
) -> tuple[FlatIndex, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(10 * count)[:count].astype(np.int64)
    vectors = rng.normal(size=(count, dimension)).astype(np.float32)
    asked = rng.normal(size=(queries, dimension)).astype(np.float32)
    return FlatIndex.build(ids, vectors), ids, vectors, asked


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 5), st.floats(0, 1))
def test_results_are_those_of_the_numpy_oracle(
    count: int, k: int, seed: int, excluded_share: float
) -> None:
    index, ids, vectors, queries = made(count, seed=seed)
    rng = np.random.default_rng(seed)
    excluded = [ids[rng.random(count) < excluded_share] for _ in queries]
    found = index.search(queries, k, excluded)
    wanted = exact_search(ids, vectors, queries, k, excluded)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_equal_vectors_come_in_the_order_of_their_ids_however_many() -> None:
    ids = np.arange(500)[::-1].copy()
    vectors = np.ones((500, 4), np.float32)
    found = FlatIndex.build(ids, vectors).search(np.ones((1, 4)), 3)
    assert found.ids.tolist() == [[0, 1, 2]]


def test_every_result_is_returned_when_few_are_left() -> None:
    index, ids, _, queries = made(20)
    found = index.search(queries, 10, [ids[:15]] * 5)
    assert ((found.ids != NO_ID).sum(axis=1) == 5).all()
    assert np.isneginf(found.scores[:, 5:]).all()
    assert not np.isin(found.ids, ids[:15]).any()


def test_many_queries_of_unequal_depth_are_answered_in_their_order() -> None:
    index, ids, vectors, queries = made(400, queries=600)
    excluded = [ids[: row % 350] for row in range(600)]
    found = index.search(queries, 7, excluded)
    np.testing.assert_array_equal(found.ids, exact_search(ids, vectors, queries, 7, excluded).ids)


def test_vectors_are_read_back_as_they_were_given() -> None:
    index, ids, vectors, _ = made(50)
    np.testing.assert_array_equal(index.vectors_of(ids[[3, 1]]), vectors[[3, 1]])
    with pytest.raises(KeyError, match="not in the index"):
        index.vectors_of(np.array([ids.max() + 1]))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([1.0, 2.0], "must be a matrix"),
        ([[1.0], [np.nan]], "row 1 is not"),
        ([[np.inf], [1.0]], "row 0 is not"),
    ],
)
def test_bad_vectors_are_refused(vectors: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlatIndex.build([0, 1], vectors)


def test_bad_ids_and_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        FlatIndex.build([1, 1], np.ones((2, 3)))
    with pytest.raises(ValueError, match="one for each vector"):
        FlatIndex.build([1], np.ones((2, 3)))
    index = FlatIndex.build([1, 2], np.ones((2, 3)))
    with pytest.raises(ValueError, match="dimension 4, the index has 3"):
        index.search(np.ones((1, 4)), 1)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(np.ones((1, 3)), 0)


def test_an_index_comes_back_from_disk(tmp_path: Path) -> None:
    index, _, _, queries = made(30)
    save_index(tmp_path, index, "model a")
    back = load_index(tmp_path, "model a")
    np.testing.assert_array_equal(back.search(queries, 5).ids, index.search(queries, 5).ids)


def test_an_index_of_another_model_or_other_vectors_is_refused(tmp_path: Path) -> None:
    index, ids, vectors, _ = made(30)
    save_index(tmp_path, index, "model a")
    with pytest.raises(StaleIndexError, match="another model"):
        load_index(tmp_path, "model b")
    vectors[0, 0] += 1
    FlatIndex.build(ids, vectors).write(tmp_path / "index.faiss")
    with pytest.raises(StaleIndexError, match="fingerprint"):
        load_index(tmp_path, "model a")


def test_a_truncated_index_is_refused(tmp_path: Path) -> None:
    index, _, _, _ = made(30)
    save_index(tmp_path, index, "model a")
    whole = (tmp_path / "index.faiss").read_bytes()
    (tmp_path / "index.faiss").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        load_index(tmp_path, "model a")
