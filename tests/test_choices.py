"""Choices that are asked about again and again have indexes of their own."""

import threading
from typing import NamedTuple
from unittest.mock import Mock

import numpy as np
import pytest

from index import choices, scanning
from index.exact import exact_search
from index.faiss_backend import FaissBackend
from index.kinds import Kind, SearchParameters
from index.rows import Selection
from index.search import Index
from index.snapshot import Snapshot
from index.tuning import recall
from index.vectors import Vectors

COUNT, DIMENSION, QUERIES, K = 12_000, 12, 30, 10
PARAMETERS = SearchParameters(nprobe=48, oversampling=8)

LISTED = pytest.mark.parametrize("kind", [Kind.IVF, Kind.IVFPQ])


class World(NamedTuple):
    """Vectors, and queries."""

    vectors: np.ndarray
    queries: np.ndarray

    def indexed(self, kind: Kind) -> Index:
        return Index.build(np.arange(COUNT), self.vectors, kind, PARAMETERS)


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(COUNT, DIMENSION)) * rng.lognormal(0, 0.4, (COUNT, 1))
    queries = rng.normal(size=(QUERIES, DIMENSION))
    return World(vectors.astype(np.float32), queries.astype(np.float32))


@pytest.fixture(autouse=True)
def no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "COPIED", 0)


def tenth(snapshot: Snapshot) -> Selection:
    return snapshot.select(np.random.default_rng(1).permutation(COUNT)[: COUNT // 10])


@LISTED
def test_an_own_index_answers_for_the_index_of_all(
    world: World, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.indexed(kind).snapshot
    chosen = tenth(snapshot)
    snapshot.prepare(chosen)
    monkeypatch.setattr(snapshot.backend, "propose", None)
    best = list(exact_search(np.arange(COUNT), world.vectors, world.queries, 40).ids)
    found = snapshot.search(world.queries, K, best, chosen)
    ids, vectors = np.sort(chosen.ids), world.vectors[np.sort(chosen.ids)]
    truth = exact_search(ids, vectors, world.queries, K, best)
    assert recall(found.ids, truth.ids) > 0.97
    assert np.isin(found.ids, ids).all()
    # Scores are exact, whoever found the candidates.
    same = found.ids == truth.ids
    np.testing.assert_array_equal(found.scores[same], truth.scores[same])
    alone = snapshot.search(world.queries[:1], K, best[:1], chosen)
    assert recall(alone.ids, truth.ids[:1]) > 0.8


@LISTED
def test_it_is_made_beside_the_queries_once_there_were_several(
    world: World, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.indexed(kind).snapshot
    chosen, may_go_on, made = tenth(snapshot), threading.Event(), threading.Event()
    of_few = FaissBackend.of_few

    def waiting(whole: FaissBackend, vectors: Vectors) -> FaissBackend:
        may_go_on.wait(30)
        try:
            return of_few(whole, vectors)
        finally:
            made.set()

    monkeypatch.setattr(FaissBackend, "of_few", waiting)
    for query in world.queries[: choices.SEVERAL + 3]:  # none waits, also where it is being made
        snapshot.search(query[None], K, None, chosen)
    assert not made.is_set()
    may_go_on.set()
    assert made.wait(30)
    snapshot.prepare(chosen)  # waits until it is kept, and makes no second one
    monkeypatch.setattr(snapshot.backend, "propose", None)
    assert snapshot.search(world.queries, K, None, chosen).ids.shape == (QUERIES, K)


@LISTED
def test_few_queries_are_not_worth_it(
    world: World, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaissBackend, "of_few", None)
    snapshot = world.indexed(kind).snapshot
    snapshot.search(world.queries[: choices.SEVERAL - 1], K, None, tenth(snapshot))


def test_nothing_is_kept_of_what_is_large_or_nearly_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaissBackend, "of_few", None)
    snapshot = world.indexed(Kind.IVFPQ).snapshot
    snapshot.prepare(snapshot.select(np.arange(COUNT // 2 + 1)))
    monkeypatch.setattr(choices, "INDEXED", 1000)
    snapshot.prepare(tenth(snapshot))
    snapshot.search(world.queries, K, None, tenth(snapshot))
    exact = world.indexed(Kind.EXACT).snapshot  # looks at all anyway
    exact.prepare(tenth(exact))


def test_what_was_removed_is_not_found(world: World) -> None:
    index = world.indexed(Kind.IVFPQ)
    chosen = tenth(index.snapshot)
    index.snapshot.prepare(chosen)
    found = index.search(world.queries, K, None, chosen).ids
    index.remove(found[:, 0])
    after = index.search(world.queries, K, None, chosen).ids
    assert not np.isin(found[:, 0], after).any()


def test_without_memory_the_index_of_all_answers(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FaissBackend, "of_few", Mock(side_effect=MemoryError))
    snapshot = world.indexed(Kind.IVFPQ).snapshot
    chosen = tenth(snapshot)
    snapshot.prepare(chosen)
    assert "no memory for an index of 1200 vectors" in caplog.text
    assert snapshot.search(world.queries, K, None, chosen).ids.shape == (QUERIES, K)
