"""Any backend that proposes candidates gives the results of the numpy oracle."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from index.backend import Backend, Proposal
from index.exact import exact_search
from index.faiss_backend import FaissBackend, embedded
from index.kinds import Kind, SearchParameters
from index.neighbours import NO_ID
from index.policies import POLICIES, Policy, Structure
from index.rescoring import LocalVectors
from index.rows import ChosenRows, Rows
from index.search import Index
from index.snapshot import Snapshot
from index.tuning import recall
from index.vectors import Vectors

COUNT, DIMENSION, QUERIES = 25_000, 6, 7


class Ask(NamedTuple):
    """What a backend was asked once."""

    depth: int
    parameters: SearchParameters
    filtered: bool


class NumpyBackend:
    """A backend that scores every vector with numpy.

    Args:
        vectors: Vectors to score, `(R, D)`.
        policy: How searches use it.
        short: Whether it proposes no more than `ef` candidates.
        noise: Standard deviation of the errors in its scores.
    """

    def __init__(
        self, vectors: Vectors, policy: Policy, *, short: bool = False, noise: float = 0.0
    ) -> None:
        self.vectors, self.policy, self.short, self.noise = vectors, policy, short, noise
        self.asks: list[Ask] = []

    fixed = False

    def with_more(self, vectors: Vectors) -> "NumpyBackend":
        return NumpyBackend(np.concatenate([self.vectors, vectors]), self.policy)

    def propose(
        self, queries: Vectors, count: int, parameters: SearchParameters, allowed: ChosenRows | None
    ) -> Proposal:
        self.asks.append(Ask(count, parameters, allowed is not None))
        scores = queries @ self.vectors.T  # (Q, R)
        errors = np.random.default_rng(0).normal(size=scores.shape)
        scores += (self.noise * errors).astype(np.float32)
        if allowed is not None:
            scores[:, ~allowed.mask] = -np.inf
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        found = np.take_along_axis(scores, rows, axis=1)
        rows[np.isneginf(found)] = -1
        if self.short:
            rows[:, parameters.ef :], found[:, parameters.ef :] = -1, -np.inf
        return Proposal(found, rows)


class World(NamedTuple):
    """Vectors under ids, and queries."""

    ids: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray

    def behind(self, backend: Backend, parameters: SearchParameters) -> Snapshot:
        return Snapshot(LocalVectors.of(self.ids, self.vectors), backend, parameters)


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(COUNT, DIMENSION)).astype(np.float32)
    queries = rng.normal(size=(QUERIES, DIMENSION)).astype(np.float32)
    return World(rng.permutation(3 * COUNT)[:COUNT], vectors, queries)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("share", [None, 0.8, 0.2, 0.01, 0.0])
@pytest.mark.parametrize("exclude", ["nothing", "some", "the best"])
def test_a_second_backend_finds_the_exact_results(
    world: World, kind: Kind, share: float | None, exclude: str
) -> None:
    rng = np.random.default_rng(1)
    backend = NumpyBackend(world.vectors, POLICIES[kind])
    snapshot = world.behind(backend, SearchParameters(oversampling=4))
    allowed = np.ones(COUNT, bool) if share is None else rng.random(COUNT) < share
    chosen = None if share is None else snapshot.select(world.ids[allowed])
    excluded = {
        "nothing": None,
        "some": [rng.choice(world.ids, 300, replace=False) for _ in world.queries],
        "the best": list(exact_search(world.ids, world.vectors, world.queries, 40).ids),
    }[exclude]
    found = snapshot.search(world.queries, 15, excluded, chosen)
    wanted = exact_search(world.ids[allowed], world.vectors[allowed], world.queries, 15, excluded)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_a_backend_is_told_of_a_filter_only_up_to_the_share_of_its_policy(world: World) -> None:
    rng = np.random.default_rng(2)
    policy = replace(POLICIES[Kind.SQ8], ordered=True, scanned_share=0.02, selected_share=0.3)
    # Beyond that share, of 30 candidates 18 are allowed: 10 and some to spare.
    for share, asks in ((0.01, []), (0.2, [(18, True)]), (0.6, [(30, False)])):
        backend = NumpyBackend(world.vectors, policy)
        snapshot = world.behind(backend, SearchParameters())
        chosen = snapshot.select(world.ids[rng.permutation(COUNT)[: int(share * COUNT)]])
        snapshot.search(world.queries, 10, None, chosen)
        assert [(ask.depth, ask.filtered) for ask in backend.asks] == asks


def test_where_the_best_are_excluded_another_round_searches_further(world: World) -> None:
    policy = Policy(kind=Kind.HNSW, structure=Structure.GRAPH, growth=2.0)
    best = list(exact_search(world.ids, world.vectors, world.queries, 30).ids)
    wanted = exact_search(world.ids, world.vectors, world.queries, 10, best)
    backend = NumpyBackend(world.vectors, policy)
    found = world.behind(backend, SearchParameters(ef=50)).search(world.queries, 10, best)
    # For 10 results 40 had to be found: an expansion of 4, of which `ef` grows by the square.
    assert [ask.parameters.ef for ask in backend.asks] == [50, 16 * 50]
    np.testing.assert_array_equal(found.ids, wanted.ids)


@pytest.mark.parametrize("limit", [3.0, 5.0])
def test_beyond_the_largest_expansion_all_is_scanned(world: World, limit: float) -> None:
    policy = Policy(kind=Kind.HNSW, structure=Structure.GRAPH, largest_expansion=limit)
    best = list(exact_search(world.ids, world.vectors, world.queries, 30).ids)
    backend = NumpyBackend(world.vectors, policy)
    found = world.behind(backend, SearchParameters()).search(world.queries, 10, best)
    assert len(backend.asks) == (1 if limit < 4 else 2)
    wanted = exact_search(world.ids, world.vectors, world.queries, 10, best)
    np.testing.assert_array_equal(found.ids, wanted.ids)


def test_where_a_backend_finds_too_few_all_is_scanned(world: World) -> None:
    policy = Policy(kind=Kind.HNSW, structure=Structure.GRAPH)
    backend = NumpyBackend(world.vectors, policy, short=True)
    found = world.behind(backend, SearchParameters(ef=5)).search(world.queries, 10)
    assert len(backend.asks) == 1
    wanted = exact_search(world.ids, world.vectors, world.queries, 10)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    assert (found.ids != NO_ID).all()


def test_oversampling_makes_up_for_candidates_in_no_reliable_order(world: World) -> None:
    wanted = exact_search(world.ids, world.vectors, world.queries, 10)
    recalls = []
    for oversampling in (1, 30):
        backend = NumpyBackend(world.vectors, POLICIES[Kind.SQ8], noise=0.5)
        snapshot = world.behind(backend, SearchParameters(oversampling=oversampling))
        recalls.append(recall(snapshot.search(world.queries, 10).ids, wanted.ids))
    assert recalls[0] < 0.9
    assert recalls[1] == 1.0


def test_any_backend_is_added_to_and_only_the_embedded_one_is_written(world: World) -> None:
    backend = NumpyBackend(world.vectors, POLICIES[Kind.SQ8])
    index = Index(world.behind(backend, SearchParameters()))
    index.put([10**6, world.ids[0]], 2 * world.vectors[:2])
    index.remove(world.ids[1:3])
    ids = np.concatenate([world.ids[3:], [10**6, world.ids[0]]])
    vectors = np.concatenate([world.vectors[3:], 2 * world.vectors[:2]])
    found = index.search(world.queries, 15)
    wanted = exact_search(ids, vectors, world.queries, 15)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    with pytest.raises(TypeError, match="not one of NumpyBackend"):
        embedded(index.snapshot.backend)


def test_a_graph_of_faiss_proposes_allowed_rows_alone(world: World) -> None:
    # FAISS ignores a selector where its queue is not bounded (faiss#5504), which ours always is.
    backend = FaissBackend.build(Kind.HNSW, world.vectors[:3000])
    rows = np.flatnonzero(np.random.default_rng(0).random(3000) < 0.3)
    chosen = Rows(np.arange(3000)).choose(rows)
    proposed = backend.propose(world.queries, 20, SearchParameters(ef=200), chosen)
    assert np.isin(proposed.rows, rows).all()


def test_each_kind_has_its_own_policy() -> None:
    assert {kind: policy.kind for kind, policy in POLICIES.items()} == {kind: kind for kind in Kind}
