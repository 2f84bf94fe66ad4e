"""Whatever proposes candidates, the results are those of the numpy oracle."""

import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from postgres_server import PostgresServer, pgvector_server
from tls_proxy import certificate, tls_proxy

from index.backend import Proposal
from index.exact import exact_search
from index.kinds import Kind, SearchParameters
from index.search import Index
from index.snapshot import Snapshot
from index.stores.address import collection_name, parse_address
from index.stores.backend import Connection, StoreBackend
from index.stores.errors import StaleStoreError, StoreDownError, StoreError
from index.stores.loading import connect, find, load, unload
from index.tuning import recall
from index.vectors import Vectors

COUNT, DIMENSION, K = 1200, 8, 10


class World(NamedTuple):
    ids: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(COUNT, DIMENSION)) * rng.lognormal(0, 0.3, (COUNT, 1))
    queries = rng.normal(size=(6, DIMENSION)).astype(np.float32)
    return World(rng.permutation(3 * COUNT)[:COUNT], vectors.astype(np.float32), queries)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    yield from pgvector_server()


@pytest.fixture(scope="module")
def milvus_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("milvus_lite")
    return f"milvus://{tmp_path_factory.mktemp('milvus')}/movies.db"


@pytest.fixture(scope="module")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    milvus = pytest.importorskip("milvus")
    server = milvus.MilvusServer()
    server.set_base_dir(str(tmp_path_factory.mktemp("milvus")))
    server.start()
    yield f"milvus://127.0.0.1:{server.listen_port}"
    server.stop()


STORES = [
    "pgvector",
    pytest.param("milvus_file", marks=pytest.mark.slow),
    pytest.param("milvus_server", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "pgvector":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.url()
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture
def alias(url: str) -> Iterator[str]:
    name = f"t_{secrets.token_hex(4)}"
    yield name
    store = connect(parse_address(url))
    unload(store, name)
    assert store.target(name) is None
    assert store.names(name) == []
    store.close()


Behind = Callable[[Kind], Index]


def fresh(seed: int) -> str:
    return f"{seed:x}" * 64


def filled(url: str, alias: str, world: World, kind: Kind, fingerprint: str = fresh(1)) -> Index:
    """Load the world into a store; return an index whose candidates come from there."""
    store = connect(parse_address(url))
    load(store, alias, fingerprint, world.vectors, kind)
    store.close()
    return opened(url, alias, world, kind, fingerprint)


def opened(url: str, alias: str, world: World, kind: Kind, fingerprint: str = fresh(1)) -> Index:
    local = Index.build(world.ids, world.vectors).snapshot
    connection = Connection(parse_address(url), alias, fingerprint, kind)
    backend = StoreBackend(connection, local.backend, COUNT, world.vectors[:0])
    return Index(Snapshot(local.local, backend, SearchParameters(ef=100)))


@pytest.fixture(scope="module", params=["faiss", *STORES])
def of_kind(request: pytest.FixtureRequest, world: World) -> Iterator[Behind]:
    """What gives an index of a kind over the world, in each engine."""
    made: dict[Kind, Index] = {}
    name = f"m_{secrets.token_hex(4)}"

    def behind(kind: Kind) -> Index:
        if kind not in made:
            if request.param == "faiss":
                parameters = SearchParameters(ef=100)
                made[kind] = Index.build(world.ids, world.vectors, kind, parameters)
            else:
                made[kind] = filled(address, f"{name}_{kind}", world, kind)
        return Index(made[kind].snapshot)

    if request.param == "pgvector":
        address = request.getfixturevalue("postgres").url()
    elif request.param != "faiss":
        address = request.getfixturevalue(request.param)
    yield behind
    if request.param != "faiss":
        store = connect(parse_address(address))
        for kind in made:
            unload(store, f"{name}_{kind}")
        store.close()


def asked_store(index: Index) -> None:
    """Fail where a store that should have answered was away."""
    backend = index.snapshot.backend
    assert not isinstance(backend, StoreBackend) or not backend.connection.away


@pytest.mark.parametrize("kind", [Kind.EXACT, Kind.HNSW])
@pytest.mark.parametrize("share", [1.0, 0.8, 0.1, 0.0])
@pytest.mark.parametrize("exclude", ["nothing", "some", "the best"])
def test_results_are_those_of_the_oracle(
    of_kind: Behind, world: World, kind: Kind, share: float, exclude: str
) -> None:
    rng, index = np.random.default_rng(1), of_kind(kind)
    allowed = rng.random(COUNT) < share
    chosen = None if share == 1 else index.select(world.ids[allowed])
    excluded = {
        "nothing": None,
        "some": [rng.choice(world.ids, 100, replace=False) for _ in world.queries],
        "the best": list(exact_search(world.ids, world.vectors, world.queries, 40).ids),
    }[exclude]
    found = index.search(world.queries, K, excluded, chosen)
    wanted = exact_search(world.ids[allowed], world.vectors[allowed], world.queries, K, excluded)
    asked_store(index)
    if kind is Kind.EXACT:
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.scores, wanted.scores)
        return
    assert recall(found.ids, wanted.ids) > 0.95
    same = found.ids == wanted.ids
    np.testing.assert_array_equal(found.scores[same], wanted.scores[same])


@pytest.mark.parametrize("kind", [Kind.EXACT, Kind.HNSW])
def test_candidates_come_best_first_with_their_inner_products(
    of_kind: Behind, world: World, kind: Kind
) -> None:
    backend = of_kind(kind).snapshot.backend
    scores, rows = backend.propose(world.queries, K, SearchParameters(ef=100), None)
    products = np.take_along_axis(world.queries @ world.vectors.T, rows, axis=1)
    np.testing.assert_allclose(scores, products, rtol=0.01, atol=0.01)  # half the bits in a graph
    assert (np.diff(scores, axis=1) <= 1e-6).all()


@pytest.mark.parametrize("kind", [Kind.EXACT, Kind.HNSW])
def test_what_is_put_is_found_and_what_is_removed_is_not(
    of_kind: Behind, world: World, kind: Kind
) -> None:
    index = of_kind(kind)
    moved, more = world.ids[:5], np.arange(10_000, 10_020)
    rng = np.random.default_rng(2)
    put = (3 * rng.normal(size=(25, DIMENSION))).astype(np.float32)
    index.put(np.concatenate([moved, more]), put)
    index.remove(world.ids[5:30])
    ids = np.concatenate([world.ids[30:], moved, more])
    vectors = np.concatenate([world.vectors[30:], put])
    found = index.search(world.queries, K)
    wanted = exact_search(ids, vectors, world.queries, K)
    asked_store(index)
    assert np.isin(found.ids, more).any()
    assert recall(found.ids, wanted.ids) > (0.95 if kind is Kind.HNSW else 0.999)
    # Others go on from what they had.
    before = of_kind(kind).search(world.queries, K)
    assert not np.isin(before.ids, more).any()


def test_a_store_is_asked_and_not_passed_over(
    url: str, alias: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = filled(url, alias, world, Kind.EXACT)
    backend = index.snapshot.backend
    assert isinstance(backend, StoreBackend)
    store, _ = backend.connection.open()
    asks = []
    nearest = store.nearest

    def counted(name: str, queries: Vectors, count: int, kind: Kind, ef: int) -> Proposal:
        asks.append(count)
        return nearest(name, queries, count, kind, ef)

    monkeypatch.setattr(store, "nearest", counted)
    index.search(world.queries, K)
    assert asks


def test_another_load_takes_the_place_of_the_first_and_who_searched_it_goes_on(
    url: str, alias: str, world: World
) -> None:
    first = filled(url, alias, world, Kind.EXACT)
    found = first.search(world.queries, K)
    other = world._replace(vectors=world.vectors[::-1].copy())
    filled(url, alias, other, Kind.EXACT, fresh(2))
    again = first.search(world.queries, K)
    asked_store(first)
    np.testing.assert_array_equal(again.ids, found.ids)
    second = opened(url, alias, other, Kind.EXACT, fresh(2))
    wanted = exact_search(other.ids, other.vectors, world.queries, K)
    np.testing.assert_array_equal(second.search(world.queries, K).ids, wanted.ids)
    asked_store(second)
    # After a third one the first is gone; its vectors here answer for it.
    filled(url, alias, world, Kind.EXACT, fresh(3))
    store = connect(parse_address(url))
    assert store.target(alias) in store.names(alias)
    with pytest.raises(StaleStoreError, match="does not hold the vectors of this index"):
        find(store, alias, fresh(1))
    store.close()
    np.testing.assert_array_equal(first.search(world.queries, K).ids, found.ids)


def test_a_load_that_fails_leaves_what_was_there(url: str, alias: str, world: World) -> None:
    index = filled(url, alias, world, Kind.EXACT)
    store = connect(parse_address(url))
    before = sorted(store.names(alias)), store.target(alias)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(store, alias, fresh(2), world.vectors, Kind.EXACT, stop)
    assert (sorted(store.names(alias)), store.target(alias)) == before
    store.close()
    index.search(world.queries, K)
    asked_store(index)


def test_two_writers_at_once_leave_one_of_both_whole(url: str, alias: str, world: World) -> None:
    vectors = {fresh(1): world.vectors, fresh(2): world.vectors[::-1].copy()}
    stores = {digest: connect(parse_address(url)) for digest in vectors}
    threads = [
        threading.Thread(target=load, args=(stores[digest], alias, digest, each, Kind.EXACT))
        for digest, each in vectors.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    target = stores[fresh(1)].target(alias)
    assert target is not None
    for digest, each in vectors.items():
        index = opened(url, alias, world._replace(vectors=each), Kind.EXACT, digest)
        wanted = exact_search(world.ids, each, world.queries, K)
        np.testing.assert_array_equal(index.search(world.queries, K).ids, wanted.ids)
        asked_store(index)
        stores[digest].close()


def test_where_a_store_is_away_the_vectors_here_answer(
    postgres: PostgresServer,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    index = filled(postgres.url(), "away", world, Kind.HNSW)
    wanted = exact_search(world.ids, world.vectors, world.queries, K)
    index.search(world.queries, K)
    asked_store(index)
    backend = index.snapshot.backend
    assert isinstance(backend, StoreBackend)
    postgres.stop()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                found = index.search(world.queries, K)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.scores, wanted.scores)
        assert backend.connection.away
        assert sum("does not answer" in line for line in caplog.messages) == 1
        with pytest.raises(StoreDownError, match="does not answer"):
            backend.connection.open()
    finally:
        postgres.start()
    monkeypatch.setattr(backend.connection, "_away_until", 1e-9)
    index.search(world.queries, K)
    asked_store(index)


def test_a_restart_of_the_server_loses_nothing(postgres: PostgresServer, world: World) -> None:
    filled(postgres.url(), "restarted", world, Kind.EXACT)
    postgres.stop()
    postgres.start()
    index = opened(postgres.url(), "restarted", world, Kind.EXACT)
    wanted = exact_search(world.ids, world.vectors, world.queries, K)
    np.testing.assert_array_equal(index.search(world.queries, K).ids, wanted.ids)
    asked_store(index)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("milvus://me:secret@there:19530/films", "milvus://there:19530/films"),
        ("milvus:///data/movies.db", "milvus:///data/movies.db"),
        (
            "milvus://there?secure=true&server_pem_path=ca.pem",
            "milvus://there?secure=true&server_pem_path=ca.pem",
        ),
        ("postgres://me:secret@there/films", "postgresql://me@there/films"),
        (
            "postgresql:///films?host=/run&password=secret&options=-csearch_path%3Da",
            "postgresql:///films?host=%2Frun&options=-csearch_path%3Da",
        ),
        ("postgresql://there/films?collection=mine", "postgresql://there/films"),
    ],
)
def test_an_address_is_kept_without_its_password(given: str, kept: str) -> None:
    address = parse_address(given)
    assert address.kept == kept
    assert parse_address(address.kept).kept == kept
    assert address.collection == ("mine" if "mine" in given else None)


@pytest.mark.parametrize(
    "given",
    [
        *("", "movies.db", "mysql://there", "milvus://", "milvus://there:port"),
        *("milvus://a?token=b", "postgresql://a?collection=DROP%20TABLE", "milvus:there"),
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"address|collection"):
        parse_address(given)


def test_a_collection_is_named_after_the_run_and_where_it_is() -> None:
    named = collection_name("Demo 2026!", "here:/srv/a")
    assert re.fullmatch("rec_demo_2026_[0-9a-f]{6}", named)
    assert collection_name("Demo 2026!", "here:/srv/a") == named
    assert collection_name("Demo 2026!", "here:/srv/b") != named
    assert len(collection_name("a" * 99, "")) <= 28  # with what is added, names have room in stores


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:se/cret@h/db",
        "postgresql://u:1/cret@h/db",
        "postgresql://u:se#cret@h/db",
        "postgresql://u:se%zzcret@h/db",
        "postgresql://u:1?cret@h/db",
    ],
)
def test_a_password_that_breaks_an_address_is_not_repeated(given: str) -> None:
    with pytest.raises(ValueError, match="%2F") as caught:
        parse_address(given)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("milvus://there?tls=true", "no 'tls'; it may have collection, secure, server_pem_path"),
        ("milvus://there?secure=yes", "must be true or false, got 'yes'"),
        ("milvus://there?server_name=here", "write secure=true with them"),
        ("milvus:///movies.db?secure=true", "names a file, which has no secure"),
    ],
)
def test_what_an_address_says_of_tls_has_an_effect(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_address(given)


def test_a_certificate_that_is_not_there_is_named() -> None:
    pytest.importorskip("pymilvus")
    address = parse_address("milvus://127.0.0.1:1?secure=true&server_pem_path=/nowhere/ca.pem")
    with pytest.raises(StoreError, match=r"server_pem_path .* no file: /nowhere/ca\.pem"):
        connect(address)


@pytest.mark.slow
def test_milvus_is_asked_over_tls(world: World, milvus_server: str, tmp_path: Path) -> None:
    server, client = certificate(tmp_path / "server"), certificate(tmp_path / "client")
    with tls_proxy(urlsplit(milvus_server).port or 0, server, client) as port:
        plain = f"milvus://127.0.0.1:{port}"
        alone = f"{plain}?secure=true&server_name=localhost&server_pem_path={server.certificate}"
        both = (
            f"{plain}?secure=true&server_name=localhost&ca_pem_path={server.certificate}"
            f"&client_pem_path={client.certificate}&client_key_path={client.key}"
        )
        for refused in (plain, alone):  # no TLS, and no certificate of the client
            with pytest.raises(StoreDownError):
                connect(parse_address(refused))
        index = filled(both, f"t_{secrets.token_hex(4)}", world, Kind.EXACT)
        wanted = exact_search(world.ids, world.vectors, world.queries, K)
        np.testing.assert_array_equal(index.search(world.queries, K).ids, wanted.ids)
        asked_store(index)


def test_a_key_belongs_into_the_environment() -> None:
    with pytest.raises(ValueError, match="MILVUS_TOKEN"):
        parse_address("milvus://key@host")
