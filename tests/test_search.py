from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from index import scanning
from index.exact import exact_search, inner_products
from index.kinds import Kind, SearchParameters
from index.neighbours import NO_ID
from index.search import Index
from index.store import load_index, save_index
from index.tuning import recall

KINDS = pytest.mark.parametrize("kind", Kind)

# Enough to find nearly all in the worlds of these tests.
PARAMETERS = SearchParameters(nprobe=48, ef=48, oversampling=8)


def made(
    count: int, dimension: int = 8, seed: int = 0, queries: int = 5
) -> tuple[Index, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(10 * count)[:count].astype(np.int64)
    ids *= 1 + 1000 * (seed % 2)  # close together, or far apart
    vectors = rng.normal(size=(count, dimension)).astype(np.float32)
    asked = rng.normal(size=(queries, dimension)).astype(np.float32)
    return Index.build(ids, vectors), ids, vectors, asked


class World(NamedTuple):
    """Vectors in clusters, of unequal norms, as movies have them."""

    ids: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray
    indexes: dict[Kind, Index]


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)
    count, dimension = 25_000, 17
    centres = rng.normal(size=(40, dimension))
    vectors = centres[rng.integers(0, 40, count)] + 0.5 * rng.normal(size=(count, dimension))
    vectors *= rng.lognormal(0, 0.4, (count, 1))
    ids = rng.permutation(3 * count)[:count].astype(np.int64)
    vectors = vectors.astype(np.float32)
    queries = rng.normal(size=(40, dimension)).astype(np.float32)
    indexes = {kind: Index.build(ids, vectors, kind, PARAMETERS) for kind in Kind}
    return World(ids, vectors, queries, indexes)


@settings(deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(0, 5),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1),
)
def test_results_are_those_of_the_numpy_oracle(
    count: int, k: int, seed: int, excluded_share: float | None, allowed_share: float | None
) -> None:
    index, ids, vectors, queries = made(count, seed=seed)
    rng = np.random.default_rng(seed)
    excluded, chosen, allowed = None, None, np.ones(count, dtype=bool)
    if excluded_share is not None:
        excluded = [ids[rng.random(count) < excluded_share] for _ in queries]
    if allowed_share is not None:
        allowed = rng.random(count) < allowed_share
        chosen = index.select(ids[allowed])
    found = index.search(queries, k, excluded, chosen)
    wanted = exact_search(ids[allowed], vectors[allowed], queries, k, excluded)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.mark.parametrize("removed", [0, 1, 400])
def test_equal_scores_and_removed_vectors_come_as_the_numpy_oracle_has_them(removed: int) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.integers(-1, 2, (1000, 4)).astype(np.float32)  # few scores, which many share
    ids, queries = rng.permutation(1000), rng.integers(-1, 2, (6, 4)).astype(np.float32)
    index = Index.build(ids, vectors)
    index.remove(ids[:removed])
    excluded = [rng.choice(ids, 300, replace=False) for _ in queries]
    found = index.search(queries, 50, excluded)
    wanted = exact_search(ids[removed:], vectors[removed:], queries, 50, excluded)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


@KINDS
@pytest.mark.parametrize("share", [1.0, 0.5, 0.2, 0.05, 0.01, 0.0005, 0.0])
def test_as_many_results_as_are_left_with_their_exact_scores(
    world: World, kind: Kind, share: float
) -> None:
    rng = np.random.default_rng(1)
    allowed = world.ids[rng.random(len(world.ids)) < share]
    excluded = [rng.choice(world.ids, 300, replace=False) for _ in world.queries]
    index = world.indexes[kind]
    found = index.search(world.queries, 20, excluded, index.select(allowed))
    for row, (ids, scores) in enumerate(zip(*found, strict=True)):
        left = np.setdiff1d(allowed, excluded[row])
        there = ids != NO_ID
        assert there.sum() == min(20, len(left))
        assert np.isin(ids[there], left).all()
        assert (np.diff(scores[there]) <= 0).all()
        exact = inner_products(world.queries[row][None], index.vectors_of(ids[there]))
        np.testing.assert_array_equal(scores[there], exact)


def recall_of(
    world: World, kind: Kind, k: int, allowed: np.ndarray | None, *, prepared: bool = False
) -> float:
    index, oracle = world.indexes[kind], world.indexes[Kind.EXACT]
    chosen = None if allowed is None else index.select(world.ids[allowed])
    if chosen is not None and prepared:
        index.snapshot.prepare(chosen)
    truth = oracle.search(world.queries, k, None, chosen)
    return recall(index.search(world.queries, k, None, chosen).ids, truth.ids)


@pytest.fixture(scope="module")
def unfiltered(world: World) -> dict[Kind, float]:
    """Recall of each kind where nothing is filtered or left out."""
    return {kind: recall_of(world, kind, 20, None) for kind in Kind}


def allowed_of(world: World, which: str, share: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    worth = {
        "any": rng.random(len(world.ids)),
        "cluster": -((world.vectors - world.vectors[0]) ** 2).sum(axis=1),
        "far": -(world.vectors @ world.queries[0]),  # what the first query likes least
    }[which]
    return np.asarray(worth >= np.quantile(worth, 1 - share))


@KINDS
@pytest.mark.parametrize("share", [0.7, 0.3, 0.1, 0.03, 0.01])
@pytest.mark.parametrize("which", ["any", "cluster", "far"])
def test_filters_cost_no_recall(
    world: World, unfiltered: dict[Kind, float], kind: Kind, share: float, which: str
) -> None:
    assert unfiltered[kind] > 0.9
    # Of 40 lists of 20, a few results more or less are chance, and other ones on each processor.
    allowed = allowed_of(world, which, share)
    assert recall_of(world, kind, 20, allowed) >= unfiltered[kind] - 0.012


@pytest.mark.parametrize("kind", [Kind.IVF, Kind.IVFPQ])
@pytest.mark.parametrize("share", [0.4, 0.1, 0.03])
@pytest.mark.parametrize("which", ["any", "cluster", "far"])
def test_an_own_index_of_what_is_allowed_costs_no_recall(
    world: World,
    unfiltered: dict[Kind, float],
    kind: Kind,
    share: float,
    which: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scanning, "COPIED", 0)
    allowed = allowed_of(world, which, share)
    assert recall_of(world, kind, 20, allowed, prepared=True) >= unfiltered[kind] - 0.012


@pytest.fixture(scope="module", params=[20, 28, 50, 500, 5000])
def without_best(
    world: World, request: pytest.FixtureRequest
) -> tuple[list[np.ndarray], np.ndarray]:
    """The best of each query, and the ids `(Q, 20)` that come next."""
    best = list(exact_search(world.ids, world.vectors, world.queries, request.param).ids)
    return best, exact_search(world.ids, world.vectors, world.queries, 20, best).ids


@KINDS
def test_leaving_out_the_best_costs_no_recall(
    world: World,
    unfiltered: dict[Kind, float],
    kind: Kind,
    without_best: tuple[list[np.ndarray], np.ndarray],
) -> None:
    best, truth = without_best
    found = world.indexes[kind].search(world.queries, 20, best)
    assert recall(found.ids, truth) >= unfiltered[kind] - 0.012


@pytest.mark.parametrize("kind", [Kind.IVF, Kind.HNSW])
def test_an_index_that_knows_the_queries_finds_more_in_the_same_time(kind: Kind) -> None:
    rng = np.random.default_rng(5)
    loud = np.repeat([0.02, 1.0], [24, 8])  # what queries hardly look at, and what they do
    vectors = (rng.normal(size=(6000, 32)) / loud**0.5).astype(np.float32)
    queries = (rng.normal(size=(60, 32)) * loud).astype(np.float32)
    truth = exact_search(np.arange(6000), vectors, queries, 10).ids
    few = SearchParameters(nprobe=12, ef=12)
    blind, knowing = (
        recall(
            Index.build(np.arange(6000), vectors, kind, few, known).search(queries, 10).ids,
            truth,
        )
        for known in (None, queries[:30])
    )
    assert knowing > blind + 0.02


def test_an_exact_index_misses_nothing_whatever_is_allowed(world: World) -> None:
    rng = np.random.default_rng(3)
    for share in (1.0, 0.9, 0.2, 0.02):
        allowed = rng.random(len(world.ids)) < share
        index = world.indexes[Kind.EXACT]
        excluded = [rng.choice(world.ids, 500, replace=False) for _ in world.queries]
        chosen = None if share == 1 else index.select(world.ids[allowed])
        found = index.search(world.queries, 9, excluded, chosen)
        wanted = exact_search(
            world.ids[allowed], world.vectors[allowed], world.queries, 9, excluded
        )
        np.testing.assert_array_equal(found.ids, wanted.ids)


@KINDS
def test_vectors_are_added_replaced_and_removed_and_stay_so(kind: Kind, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(3000, 8)).astype(np.float32)
    queries = rng.normal(size=(2, 8)).astype(np.float32)
    index = Index.build(np.arange(3000), vectors, kind, PARAMETERS)
    best = index.search(queries, 1).ids[:, 0]
    index.remove(best[:1])
    index.put([5000, best[1]], np.stack([2 * queries[0], -queries[1]]))

    def check(index: Index) -> None:
        found = index.search(queries, 50)
        assert found.ids[0, 0] == 5000
        assert found.scores[0, 0] == pytest.approx(2 * queries[0] @ queries[0])
        assert best[0] not in found.ids
        assert best[1] not in found.ids[1]
        assert len(index) == 3000
        assert set(index.ids) == set(range(3000)) - {best[0]} | {5000}
        np.testing.assert_array_equal(index.vectors_of(best[1:])[0], -queries[1])
        np.testing.assert_array_equal(index.vectors, index.vectors_of(index.ids))
        every = index.search(queries, 3001)
        assert ((every.ids != NO_ID).sum(axis=1) == 3000).all()
        with pytest.raises(KeyError, match="not in the index"):
            index.vectors_of(best[:1])

    check(index)
    save_index(tmp_path, index, "model")
    check(load_index(tmp_path, "model"))
    again = load_index(tmp_path, "model", mapped=False)
    again.put([6000], 3 * queries[:1])
    assert again.search(queries, 1).ids[0, 0] == 6000


def test_views_outlive_the_index_and_what_is_put_into_it() -> None:
    _, ids, vectors, _ = made(5000)
    index = Index.build(ids, vectors)
    view = index.vectors
    index.put(ids[:2500], -vectors[:2500])
    del index
    Index.build(ids, np.zeros_like(vectors))  # takes the memory that is free
    np.testing.assert_array_equal(view, vectors)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.EXACT])
def test_a_mapped_index_is_not_written_to(kind: Kind, tmp_path: Path) -> None:
    _, ids, vectors, _ = made(300)
    save_index(tmp_path, Index.build(ids, vectors, kind), "model")
    with pytest.raises(ValueError, match="mapped=False"):
        load_index(tmp_path, "model").put([1], vectors[:1])


def test_what_was_allowed_and_then_removed_is_not_found() -> None:
    index, ids, _, queries = made(100)
    allowed = index.select(ids[:10])
    index.remove(ids[:5])
    found = index.search(queries, 10, None, allowed)
    assert set(found.ids.ravel()) == {*ids[5:10], NO_ID}


@KINDS
def test_what_was_selected_stays_those_ids_whatever_is_put_and_removed(kind: Kind) -> None:
    _, ids, vectors, queries = made(100)
    index = Index.build(ids, vectors, kind, PARAMETERS)
    allowed = index.select(ids[:10])
    more = np.arange(30_000, 30_005)
    index.put(np.concatenate([more, ids[5:8]]), vectors[:8])  # others, and three of them anew
    index.remove(ids[:2])
    found = index.search(queries, 10, None, allowed)
    there = ids[2:10]
    held = index.vectors_of(there)
    np.testing.assert_array_equal(held[3:6], vectors[5:8])
    np.testing.assert_array_equal(found.ids, exact_search(there, held, queries, 10).ids)
    index.put(ids[:1], vectors[:1])
    assert set(index.search(queries, 10, None, allowed).ids.ravel()) == {*ids[2:10], ids[0], NO_ID}


def test_a_snapshot_stays_what_it_is() -> None:
    index, ids, vectors, queries = made(100)
    before = index.snapshot
    index.put(ids[:50], -vectors[:50])
    index.remove(ids[50:])
    np.testing.assert_array_equal(before.vectors_of(ids), vectors)
    wanted = exact_search(ids, vectors, queries, 5)
    np.testing.assert_array_equal(before.search(queries, 5).ids, wanted.ids)


def test_ids_given_may_be_written_to_afterwards() -> None:
    ids, vectors = np.array([1, 2]), np.array([[1.0], [2.0]], np.float32)
    index = Index.build(ids, vectors)
    ids[:], vectors[:] = 7, 0
    assert index.ids.tolist() == [1, 2]
    assert index.vectors.tolist() == [[1.0], [2.0]]


@KINDS
def test_vectors_are_not_copied_again_and_again(kind: Kind) -> None:
    _, ids, vectors, _ = made(300)
    index = Index.build(ids, vectors, kind)
    index.remove(ids[:1])
    assert np.shares_memory(index.vectors, index.vectors)


def test_other_search_parameters_leave_the_index_alone() -> None:
    _, ids, vectors, _ = made(300)
    index = Index.build(ids, vectors, Kind.IVF, SearchParameters(nprobe=3))
    other = index.with_parameters(SearchParameters(nprobe=9))
    assert (index.snapshot.parameters.nprobe, other.snapshot.parameters.nprobe) == (3, 9)
    assert np.shares_memory(index.vectors, other.vectors)
    other.remove(ids[:1])
    assert (len(index), len(other)) == (300, 299)


def twins() -> tuple[np.ndarray, np.ndarray]:
    """Return vectors in which every other one is the same, and a query that likes it best."""
    rng = np.random.default_rng(6)
    vectors = rng.normal(size=(30_000, 8)).astype(np.float32)
    query = rng.normal(size=8).astype(np.float32)
    vectors[::2] = 3 * query
    return vectors, query[None]


@KINDS
def test_many_of_the_same_come_once_each(kind: Kind) -> None:
    vectors, query = twins()
    index = Index.build(np.arange(30_000), vectors, kind, SearchParameters(nprobe=1, ef=1))
    found = index.search(query, 50, [np.arange(0, 14_000)])
    assert len(set(found.ids[0])) == 50
    if kind is Kind.EXACT:
        assert found.ids[0].tolist() == list(range(14_000, 14_100, 2))


def test_where_lists_hold_too_few_all_is_scanned() -> None:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(25_000, 8)).astype(np.float32)
    query = rng.normal(size=(1, 8)).astype(np.float32)
    near = np.argsort(-(vectors @ query[0]))[:400]
    index = Index.build(np.arange(25_000), vectors, Kind.IVF, SearchParameters(nprobe=1))
    # One list holds some 50 vectors: enough for the five wanted, not for what is left out too.
    found = index.search(query, 5, [near])
    wanted = exact_search(np.arange(25_000), vectors, query, 5, [near])
    np.testing.assert_array_equal(found.ids, wanted.ids)


@KINDS
def test_what_was_empty_can_be_filled(kind: Kind) -> None:
    _, ids, vectors, queries = made(300)
    index = Index.build(ids[:0], vectors[:0], kind, PARAMETERS)
    index.put(ids, vectors)
    found = index.search(queries, 3)
    np.testing.assert_array_equal(found.ids, exact_search(ids, vectors, queries, 3).ids)


@KINDS
@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_vectors_of_any_norm_are_found(kind: Kind, factor: float) -> None:
    _, ids, vectors, queries = made(300)
    index = Index.build(ids, factor * vectors, kind, PARAMETERS)
    exact = exact_search(ids, (factor * vectors).astype(np.float32), queries, 3)
    np.testing.assert_array_equal(index.search(queries, 3).ids, exact.ids)


@KINDS
def test_one_that_is_added_may_be_longer_than_all_that_were_there(kind: Kind) -> None:
    _, ids, vectors, _ = made(300)
    index = Index.build(ids, vectors, kind, PARAMETERS)
    index.put([10_000], 1e8 * vectors[:1])
    query = vectors[:1] * np.where(np.arange(8) == np.abs(vectors[0]).argmin(), -1, 1)
    assert index.search(query, 3).ids[0, 0] == 10_000


@KINDS
@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_small_indexes_of_every_kind_answer(kind: Kind, count: int) -> None:
    _, ids, vectors, queries = made(40)
    found = Index.build(ids[:count], vectors[:count], kind).search(queries, 5)
    wanted = exact_search(ids[:count], vectors[:count], queries, 5)
    np.testing.assert_array_equal(found.ids, wanted.ids)


@KINDS
@pytest.mark.parametrize("count", [1, 40, 300])
def test_building_says_nothing(kind: Kind, count: int, capfd: pytest.CaptureFixture[str]) -> None:
    _, ids, vectors, _ = made(count)
    Index.build(ids, vectors, kind)
    assert capfd.readouterr() == ("", "")


def test_equal_vectors_come_in_the_order_of_their_ids_however_many() -> None:
    ids = np.arange(500)[::-1].copy()
    vectors = np.ones((500, 4), np.float32)
    found = Index.build(ids, vectors).search(np.ones((1, 4)), 3)
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
        Index.build([0, 1], vectors)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([["1.0"], ["2.0"]], "must be numbers"),
        ([[True], [False]], "must be numbers"),
        ([[1j], [2j]], "must be numbers"),
        ([[None], [1.0]], "must be numbers"),
        ([[1e300], [1.0]], "row 0 is not"),
        ([[], []], "must be a matrix"),
        ([], "must be a matrix"),
        (3.0, "must be a matrix"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(vectors: ArrayLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Index.build([0, 1], vectors)
    with pytest.raises(ValueError, match=message):
        Index.build([0, 1], [[1.0], [2.0]]).search(vectors, 1)


@pytest.mark.parametrize(
    "ids",
    [
        [1.0, 2.0],
        [1.5, 2.5],
        [np.nan, 1.0],
        [True, False],
        ["1", "2"],
        [None, 1],
        [1, 2**64],
        [2**63, 1],
        [1, -(2**70)],
        [[1], 2],
    ],
)
def test_what_is_no_whole_number_of_64_bits_is_no_id(ids: ArrayLike) -> None:
    index = Index.build([1, 2], [[1.0], [2.0]])
    for use in (
        lambda: Index.build(ids, [[1.0], [2.0]]),
        lambda: index.put(ids, [[1.0], [2.0]]),
        lambda: index.remove(ids),
        lambda: index.select(ids),
        lambda: index.vectors_of(ids),
        lambda: index.search([[1.0]], 1, [cast("np.ndarray", ids)]),
    ):
        with pytest.raises(ValueError, match=r"^[^\n]{1,200}$"):
            use()
    assert index.ids.tolist() == [1, 2]


def test_nothing_is_put_removed_selected_and_read() -> None:
    index = Index.build([1, 2], [[1.0], [2.0]])
    index.put([], np.zeros((0, 1)))
    index.remove([])
    assert index.vectors_of([]).shape == (0, 1)
    assert index.search([[1.0]], 2, [np.array([])]).ids.tolist() == [[2, 1]]
    assert index.search([[1.0]], 2, None, index.select([])).ids.tolist() == [[NO_ID, NO_ID]]
    assert index.search(np.zeros((0, 1)), 2).ids.shape == (0, 2)


@pytest.mark.parametrize("k", [0, -1, 1.0, 2.5, "3", None, np.nan, 10**9, 10**30, [1]])
def test_an_impossible_number_of_results_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=r"^k must be [^\n]{1,200}$"):
        Index.build([1, 2], [[1.0], [2.0]]).search([[1.0]], k)


def test_what_is_excluded_is_told_for_each_query() -> None:
    index = Index.build([1, 2], [[1.0], [2.0]])
    one: Any = np.array(1)
    for excluded, message in (
        ([], "got 0 lists"),
        ([np.array([1])] * 3, "got 3 lists"),
        ([np.array([[1]]), np.array([2])], r"not \(1, 1\)"),
        ([one, np.array([2])], r"not \(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search([[1.0], [2.0]], 1, excluded)


@pytest.mark.parametrize("value", [0, -3, 1.5, 2**31, 10**30, "8", None])
def test_an_impossible_search_parameter_is_refused(value: int) -> None:
    for name in ("nprobe", "ef", "oversampling"):
        with pytest.raises(ValueError, match=f"^{name} must be a whole number"):
            SearchParameters(**{name: value})


def test_bad_ids_and_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        Index.build([1, 1], np.ones((2, 3)))
    with pytest.raises(ValueError, match="one for each vector"):
        Index.build([1], np.ones((2, 3)))
    index = Index.build([1, 2], np.ones((2, 3)))
    with pytest.raises(ValueError, match="dimension 4, the index has 3"):
        index.search(np.ones((1, 4)), 1)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(np.ones((1, 3)), 0)
