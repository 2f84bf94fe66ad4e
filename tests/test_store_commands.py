"""The command line with a vector store: it is loaded, asked, gone, stale, and never named whole."""

import json
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from postgres_server import PostgresServer, pgvector_server

from index.kinds import Kind
from index.stores.backend import StoreBackend
from index.stores.loading import connect, load, unload
from retrieval.cli.app import main
from retrieval.data.layouts import read_movies
from retrieval.errors import RunError
from retrieval.pipeline.hiding import hide_movies
from retrieval.pipeline.indexing import add_movies, build_index, load_into_store
from retrieval.run.folder import open_run
from retrieval.run.stores import collection_of, is_away, store_address, store_of
from retrieval.run.versions import current
from retrieval.service.catalogue import LoggedMovies, overlaid
from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    for there in pgvector_server():
        there.run("CREATE EXTENSION vector")
        yield there


@pytest.fixture
def url(server: PostgresServer) -> str:
    name = f"s_{secrets.token_hex(4)}"
    server.run(f"CREATE SCHEMA {name}")
    return server.url(f"{name},public").replace("rec@", "rec:secret@")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def rec(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """Run a command; return its status and what it wrote."""

    def run_command(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["rec", *words])
        code: object = 0
        try:
            main()
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run_command


Rec = Callable[..., tuple[object, str, str]]


def asked(recommender: Recommender) -> None:
    """Fail where the store that should have answered was away, or is none."""
    assert isinstance(recommender.index.backend, StoreBackend)
    assert not is_away(recommender.index)


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_a_run_behind_a_store_answers_as_before(copy: Path, url: str, rec: Rec, kind: str) -> None:
    before = Recommender.load(copy)
    words = ("build-index", "--run", str(copy), "--store", url, "--kind", kind, "--json")
    code, out, _ = rec(*words)
    facts = json.loads(out)
    assert code in {0, None}
    assert facts["kind"] == kind
    assert facts["collection"] == collection_of(store_address(url), copy)
    assert "secret" not in facts["store"]
    for path in current(copy).rglob("*"):
        assert path.is_dir() or b"secret" not in path.read_bytes()
    behind = Recommender.load(copy)
    users = before.run.users.ids[:20]
    wanted, found = before.topk_many(users), behind.topk_many(users)
    asked(behind)
    if kind == "exact":
        np.testing.assert_array_equal(found.movie_ids, wanted.movie_ids)
        np.testing.assert_array_equal(found.scores, wanted.scores)
    same = found.movie_ids == wanted.movie_ids
    assert same.mean() > 0.9
    np.testing.assert_array_equal(found.ratings[same], wanted.ratings[same])
    assert json.loads(rec("info", "--run", str(copy), "--json")[1])["index"]["store"]


def test_movies_that_are_added_are_loaded_and_those_hidden_load_nothing(
    copy: Path, url: str
) -> None:
    address = store_address(url)
    build_index(copy, Kind.EXACT, store=address)
    (copy.parent / "more.csv").write_text("movie_id,title,genres\n9001,A Late One (2004),Drama\n")
    store = connect(address)
    name = collection_of(address, copy)
    before = store.target(name)
    hide_movies(copy, [1])
    assert store.target(name) == before
    asked(Recommender.load(copy))
    assert add_movies(copy, read_movies(copy.parent / "more.csv")) == 1
    assert store.target(name) != before
    store.close()
    after = Recommender.load(copy)
    filters = Filter(allow=[9001])
    assert [row.movie.id for row in after.topk(1, filters=filters)] == [9001]
    after.topk(1)
    asked(after)


def test_a_movie_that_a_service_is_told_of_is_found_beside_the_store(copy: Path, url: str) -> None:
    build_index(copy, Kind.EXACT, store=store_address(url))
    base = Recommender.load(copy).snapshot
    told = LoggedMovies({"9001": {"title": "A Late Drama", "genres": ["Drama"], "year": 2004}})
    laid = Recommender(overlaid(base, told).snapshot)
    count = len(laid.run.catalogue)
    listed = {row.movie.id for row in laid.topk(1, count, include_seen=True)}
    assert 9001 in listed
    assert len(listed) == count
    laid.topk(1)
    asked(laid)


def test_a_store_that_is_down_ends_a_command_and_not_a_recommender(
    server: PostgresServer, copy: Path, url: str, rec: Rec, caplog: pytest.LogCaptureFixture
) -> None:
    build_index(copy, Kind.EXACT, store=store_address(url))
    wanted = Recommender.load(copy).topk(1)
    server.stop()
    try:
        code, _, err = rec("topk", "--run", str(copy), "--user", "1")
        assert code == 1
        assert "does not answer" in err
        assert "start the store, name another with REC_STORE, or do without with rec" in err
        assert "secret" not in err
        away = Recommender.load(copy)
        assert away.topk(1) == wanted
        assert is_away(away.index)
        assert any("the vectors of this process answer instead" in m for m in caplog.messages)
        code, _, err = rec("build-index", "--run", str(copy), "--store", url)
        assert code == 1
        assert "the run is as it was" in err
    finally:
        server.start()


def test_a_collection_of_another_run_is_refused(copy: Path, url: str, rec: Rec) -> None:
    address = store_address(url)
    build_index(copy, Kind.EXACT, store=address)
    store = connect(address)
    unload(store, name := collection_of(address, copy))
    load(store, name, "f" * 64, np.eye(3, dtype=np.float32), Kind.EXACT)
    store.close()
    with pytest.raises(RunError, match=r"stale store: .* rec build-index .* --store URL"):
        Recommender.load(copy)
    # Built again, the run does without.
    assert rec("build-index", "--run", str(copy))[0] in {0, None}
    assert not isinstance(Recommender.load(copy).index.backend, StoreBackend)


def test_what_follows_a_run_is_loaded_into_its_store(
    copy: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build_index(copy, Kind.EXACT, store=store_address(url))
    card = store_of(open_run(copy))
    assert card is not None
    build_index(copy)  # as training does
    assert not isinstance(Recommender.load(copy).index.backend, StoreBackend)
    load_into_store(copy, card)
    there = Recommender.load(copy)
    there.topk(1)
    asked(there)
    monkeypatch.setenv("REC_STORE", "postgresql://127.0.0.1:1/nothing")
    build_index(copy)
    load_into_store(copy, card)
    assert "the run answers without its store" in caplog.text
    assert Recommender.load(copy).topk(1)


def test_the_environment_may_name_the_store(
    copy: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(copy, Kind.EXACT, store=store_address(url))
    monkeypatch.setenv("REC_STORE", "postgresql://127.0.0.1:1/nothing")
    assert is_away(Recommender.load(copy).index)
    monkeypatch.setenv("REC_STORE", url)
    there = Recommender.load(copy)
    there.topk(1)
    asked(there)


def test_bench_measures_stores_beside_faiss_and_leaves_nothing(
    copy: Path, url: str, rec: Rec
) -> None:
    words = ("bench", "--run", str(copy), "--store", url, "--sizes", "300", "--json")
    rows = json.loads(rec(*words)[1])["stores"]
    assert [(row["engine"], row["kind"]) for row in rows] == [
        *(("faiss", "exact"), ("faiss", "hnsw")),
        *(("postgresql", "exact"), ("postgresql", "hnsw")),
    ]
    assert all(row["recall"] > 0.9 for row in rows)
    assert [row["recall"] for row in rows if row["kind"] == "exact"] == [1.0, 1.0]
    store = connect(store_address(url))
    assert store.names("rec_bench") == []
    store.close()


@pytest.mark.parametrize(
    "words", [("--kind", "ivf", "--store", "milvus://there"), ("--store", "x")]
)
def test_what_no_store_can_do_is_refused(copy: Path, rec: Rec, words: tuple[str, ...]) -> None:
    code, _, err = rec("build-index", "--run", str(copy), *words)
    assert code == 1
    assert "store" in err
