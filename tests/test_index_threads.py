"""Many threads search an index while others put and remove."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

from index.exact import exact_search, inner_products
from index.kinds import Kind, SearchParameters
from index.neighbours import NO_ID
from index.rows import Selection
from index.search import Index
from index.tuning import recall

KINDS = pytest.mark.parametrize("kind", Kind)
THREADS, DIMENSION, K = 8, 6, 10

# Ids from here on come and go, in so many versions; those below stay, with the same vectors.
STAYING, VERSIONS = 2000, 16
FAR = 10**12

SECONDS = 1.5

PARAMETERS = SearchParameters(nprobe=24, ef=24, oversampling=4)


@cache
def vector_of(number: int, version: int) -> np.ndarray:
    """Return the only vector that an id ever has in a version: its norm tells the version."""
    made = np.random.default_rng(number).normal(size=DIMENSION)
    return (made / np.linalg.norm(made) * (1 + version % VERSIONS)).astype(np.float32)


def staying() -> np.ndarray:
    return np.stack([vector_of(number, 0) for number in range(STAYING)])


def together(work: Callable[[int], int]) -> int:
    """Do work in many threads at once; return how much of it was done."""
    start = threading.Barrier(THREADS)

    def begin(worker: int) -> int:
        start.wait()
        return work(worker)

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(begin, range(THREADS)))


@KINDS
def test_many_threads_find_what_one_finds(kind: Kind) -> None:
    index = Index.build(np.arange(STAYING), staying(), kind, PARAMETERS)
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(200, DIMENSION)).astype(np.float32)
    excluded = [rng.choice(STAYING, 50, replace=False) for _ in queries]
    index.remove(np.arange(0, STAYING, 7))
    kept = np.setdiff1d(np.arange(STAYING), np.arange(0, STAYING, 7))
    # Made anew, so that threads meet where something is worked out for the first time.
    same = index.with_parameters(PARAMETERS)
    chosen, again = index.select(kept[::3]), same.select(kept[::3])
    alone = [
        index.search(query[None], K, [ids]) for query, ids in zip(queries, excluded, strict=True)
    ]
    allowed = [index.search(query[None], K, None, chosen) for query in queries]

    def search(worker: int) -> int:
        for place in np.random.default_rng(worker).permutation(len(queries)):
            query = queries[place][None]
            for found, wanted in (
                (same.search(query, K, [excluded[place]]), alone[place]),
                (same.search(query, K, None, again), allowed[place]),
            ):
                np.testing.assert_array_equal(found.ids, wanted.ids)
                np.testing.assert_array_equal(found.scores, wanted.scores)
        return len(queries)

    assert together(search) == THREADS * len(queries)


def check_list(query: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> None:
    """Check that a list is whole, in order, and of vectors that the index had at some time."""
    assert (ids != NO_ID).all()
    assert len(set(ids.tolist())) == len(ids)
    assert (np.diff(scores) <= 0).all()
    for number, score in zip(ids.tolist(), scores.tolist(), strict=True):
        ways = range(1) if number < STAYING else range(VERSIONS)
        vectors = np.stack([vector_of(number, version) for version in ways])
        assert score in inner_products(query[None], vectors)


def put_and_remove(index: Index, worker: int, until: float) -> int:
    rng, done = np.random.default_rng(worker), 0
    own = STAYING + worker * 100 + np.arange(20)
    while time.monotonic() < until:
        # Some ids are far from the others: then rows are found in another way.
        ids = np.append(own, FAR + worker) if done % 2 else own
        index.put(ids, np.stack([vector_of(number, done) for number in ids.tolist()]))
        # What one writer has put, no other takes away.
        norms = np.linalg.norm(index.vectors_of(ids), axis=1)
        np.testing.assert_allclose(norms, 1 + done % VERSIONS, rtol=1e-5)
        index.remove(rng.permutation(ids))
        done += 1
        time.sleep(0.002)
    return done


def ask(index: Index, first: Selection, worker: int, until: float) -> int:
    rng, done = np.random.default_rng(worker), 0
    while time.monotonic() < until:
        query = rng.normal(size=DIMENSION).astype(np.float32)
        match done % 5:
            case 0:
                found = index.search(query[None], K)
                check_list(query, found.ids[0], found.scores[0])
            case 1:
                found = index.search(query[None], K, [rng.choice(STAYING, 30)], first)
                check_list(query, found.ids[0], found.scores[0])
                assert (found.ids % 5 == 0).all()
            case 2:
                chosen = index.select(np.arange(1, STAYING, 40))
                found = index.search(query[None], 50, None, chosen)
                assert set(found.ids[0]) == set(range(1, STAYING, 40))
            case 3:
                ids = rng.choice(STAYING, 5)
                wanted = np.stack([vector_of(number, 0) for number in ids.tolist()])
                np.testing.assert_array_equal(index.vectors_of(ids), wanted)
            case _:
                now = index.snapshot
                assert now.vectors.shape == (len(now.ids), DIMENSION)
                np.testing.assert_array_equal(now.vectors, now.vectors_of(now.ids))
                assert min(len(index), len(index.ids), len(index.vectors)) >= STAYING
        done += 1
    return done


@KINDS
def test_searches_beside_writers_are_right_at_some_moment(kind: Kind) -> None:
    index = Index.build(np.arange(STAYING), staying(), kind, PARAMETERS)
    first = index.select(np.arange(0, STAYING, 5))
    until = time.monotonic() + SECONDS

    def work(worker: int) -> int:
        if worker < 2:
            return put_and_remove(index, worker, until)
        return ask(index, first, worker, until)

    assert together(work) > 50
    assert sorted(index.ids.tolist()) == list(range(STAYING))
    queries = np.random.default_rng(9).normal(size=(30, DIMENSION)).astype(np.float32)
    found = index.search(queries, K)
    wanted = exact_search(np.arange(STAYING), staying(), queries, K)
    if kind in {Kind.EXACT, Kind.SQ8}:
        np.testing.assert_array_equal(found.ids, wanted.ids)
    assert recall(found.ids, wanted.ids) > 0.9


def test_writers_wait_for_each_other() -> None:
    index = Index.build([0], np.ones((1, DIMENSION)))

    def write(worker: int) -> int:
        for place in range(60):
            index.put([1 + worker * 60 + place], np.full((1, DIMENSION), worker))
        return 60

    done = together(write)
    assert sorted(index.ids.tolist()) == list(range(done + 1))
