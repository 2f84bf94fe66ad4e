"""One compiled call comes to what NumPy comes to, to the last bit."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import compiled
from index.backend import Proposal
from index.compiled import EMPTY, is_compiled, prepare, put_best
from index.exact import exact_search, inner_products
from index.kinds import Kind, SearchParameters
from index.neighbours import NO_ID, Neighbours
from index.rescoring import FEW, LocalVectors
from index.search import Index

COUNT = 3000


def drawn(dimension: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.lognormal(size=(COUNT, 1)) * rng.normal(size=(COUNT, dimension))).astype(np.float32)


@pytest.mark.parametrize("dimension", [1, 2, 7, 8, 9, 66, 127, 128, 129, 212, 257, 300, 1000, 2049])
def test_scores_are_those_of_numpy(dimension: int) -> None:
    vectors = drawn(dimension)
    local = LocalVectors.of(np.arange(COUNT), vectors)
    found = Neighbours.none(1, COUNT)
    candidates = Proposal(vectors @ vectors[3], np.arange(COUNT))
    assert prepare(dimension)
    assert put_best(found, vectors[3], local, candidates, np.empty(0, np.int64)) == 0
    np.testing.assert_array_equal(
        found.scores[0], inner_products(vectors[3], vectors[found.ids[0]])
    )
    assert (np.diff(found.scores[0]) <= 0).all()


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 60), st.integers(0, 9))
def test_the_best_that_are_not_excluded_come_with_equal_ones_by_id(
    count: int, k: int, hidden: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, (count, 3)).astype(np.float32)  # few scores, which many share
    ids = rng.permutation(2**40 + np.arange(2 * count))[:count]
    excluded = np.concatenate([rng.choice(ids, min(hidden, count), replace=False), [5, 2**60]])
    found, query = Neighbours.none(1, k), vectors[0]
    rows = rng.permutation(count)
    candidates = Proposal((vectors @ query)[rows], rows)
    above = put_best(found, query, LocalVectors.of(ids, vectors), candidates, excluded)
    left = ~np.isin(ids, excluded)
    if left.sum() < k:
        assert above is None
        return
    wanted = exact_search(ids, vectors, query[None], k, [excluded])
    np.testing.assert_array_equal(found.scores, wanted.scores)
    scores = inner_products(query, vectors)
    last = found.scores[0, -1]
    assert above is not None
    assert (scores[~left] > last).sum() <= above <= (scores[~left] >= last).sum()
    if left.sum() <= k + compiled.SPARE:  # else some with an equal score are beyond what is scored
        np.testing.assert_array_equal(found.ids, wanted.ids)


@pytest.mark.parametrize("copies", [1, 9])  # few vectors are scanned, whatever the kind
@pytest.mark.parametrize("kind", Kind)
def test_an_index_answers_the_same_without_numba(
    kind: Kind, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = drawn(19)
    vectors = np.tile(vectors, (copies, 1)) + 0.01 * drawn(19, 1)[np.arange(copies * COUNT) % 7]
    index = Index.build(
        np.arange(len(vectors)), vectors, kind, SearchParameters(nprobe=8, ef=40, oversampling=2)
    )
    assert prepare(19)
    excluded = [np.arange(query, len(vectors), 97) for query in range(30)]
    allowed = index.select(np.arange(0, len(vectors), 3))
    answers = []
    for _ in range(2):
        answers.append(
            [
                index.search(vectors[query][None], 10, [excluded[query]], chosen)
                for query in range(30)
                for chosen in (None, allowed)
            ]
        )
        monkeypatch.setattr("index.rounds.is_compiled", lambda _: False)
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.scores, other.scores)
    assert all((answer.ids != NO_ID).all() for answer in answers[0])


def test_numba_is_loaded_when_it_is_worth_it() -> None:
    few = LocalVectors.of(np.arange(COUNT), drawn(46))
    local = LocalVectors.of(np.arange(FEW + 1), np.resize(few.vectors, (FEW + 1, 46)))
    assert not any(is_compiled(few) for _ in range(2 * compiled.SEVERAL))
    assert [is_compiled(local) for _ in range(compiled.SEVERAL)] == [False] * compiled.SEVERAL
    for thread in threading.enumerate():
        if thread.name == "compiling":
            thread.join()
    assert is_compiled(local)


def test_too_few_candidates_are_said() -> None:
    vectors = drawn(4)
    local, found = LocalVectors.of(np.arange(COUNT), vectors), Neighbours.none(1, 4)
    candidates = Proposal(np.ones(5, np.float32), np.arange(5))
    assert put_best(found, vectors[0], local, candidates, np.array([0, 3])) is None
    assert EMPTY == NO_ID  # no id is EMPTY, so that no entry of the table is


def test_where_sums_would_differ_numpy_does_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_leaves", lambda dimension: np.array([[dimension // 2, 0]]))
    assert not prepare(44)


def test_where_there_is_no_numba_numpy_does_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> object:
        raise ImportError("numba")

    monkeypatch.setattr(compiled, "_compiled", missing)
    assert not prepare(45)


FORBIDDEN = """
import ctypes
from index.compiled import prepare
NO_NEW_CODE = 65, 1  # PR_SET_MDWE, as a service's MemoryDenyWriteExecute sets it
refused = ctypes.CDLL(None).prctl(*NO_NEW_CODE, 0, 0, 0)
print("unknown here" if refused else prepare(5))
"""


def test_where_no_code_may_be_made_numpy_does_the_steps() -> None:
    done = subprocess.run([sys.executable, "-c", FORBIDDEN], capture_output=True, check=True)
    assert done.stdout.decode().strip() in {"False", "unknown here"}


def test_arrays_that_may_not_be_written_to_need_no_other_code() -> None:
    vectors, query, excluded = drawn(21), drawn(21, 1)[0], np.array([3, 7])
    assert prepare(21)
    for array in (vectors, query, excluded):
        array.setflags(write=False)
    candidates = Proposal(vectors @ query, np.arange(COUNT))
    found = Neighbours.none(1, 5)
    put_best(found, query, LocalVectors.of(np.arange(COUNT), vectors), candidates, excluded)
    wanted = exact_search(np.arange(COUNT), vectors, query[None], 5, [excluded])
    np.testing.assert_array_equal(found.ids, wanted.ids)
    assert len(compiled._compiled().signatures) == 1  # type: ignore[attr-defined] # noqa: SLF001
