"""An export answers lists and ratings as the run does, with NumPy alone."""

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_worlds import everybody_rates, small_world, tiny_settings

from retrieval.cli.app import main
from retrieval.data import columns
from retrieval.data.scale import RatingScale
from retrieval.errors import RecError, RequestError
from retrieval.options import RankBy
from retrieval.pipeline import exporting
from retrieval.pipeline.exporting import MANIFEST, export
from retrieval.pipeline.hiding import hide_movies
from retrieval.pipeline.training import train
from retrieval.run.folder import open_run
from retrieval.run.versions import current
from retrieval.serving.recommender import Recommender
from retrieval.storage.files import sha256

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")

USERS = (1, 7, 42, 150)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example that reads an export with NumPy alone."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return import_module("exported")


@pytest.fixture(scope="module")
def whole(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "whole"
    export(run, folder)
    return folder


def rec(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["rec", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


def answers_alike(
    reader: ModuleType, folder: Path, recommender: Recommender, rank_by: RankBy | None
) -> None:
    """Hold the lists of an export, their ratings and deviations against those of the run."""
    opened = reader.read_export(folder)
    for user in opened.user_ids[:4].tolist():
        mine, listed = reader.topk(opened, user, 20), recommender.topk(user, 20, rank_by=rank_by)
        assert [row.movie_id for row in mine] == [row.movie.id for row in listed]
        expected = [recommender.rate(user, row.movie.id) for row in listed]
        np.testing.assert_allclose([row.score for row in mine], [row.score for row in listed], 1e-6)
        np.testing.assert_allclose(
            np.array([[row.rating, row.deviation] for row in mine]),
            np.array([[each.rating, each.deviation] for each in expected], np.float64),
            atol=1e-6,
        )


@pytest.mark.parametrize("rank_by", RankBy)
def test_lists_and_ratings_are_those_of_the_run(
    rank_by: RankBy, run: Path, recommender: Recommender, reader: ModuleType, tmp_path: Path
) -> None:
    done = export(run, tmp_path / "out", users=USERS, rank_by=rank_by)
    assert (done.users, done.movies, done.rank_by) == (4, 200, rank_by)
    answers_alike(reader, tmp_path / "out", recommender, rank_by)


def test_what_users_do_in_a_sitting_and_at_a_time_is_told_apart(
    run: Path, recommender: Recommender, reader: ModuleType, tmp_path: Path
) -> None:
    now = open_run(run).config.present + 86_400
    export(run, tmp_path / "then", users=USERS, at=now)
    export(run, tmp_path / "sitting", users=USERS, in_sitting=True)
    then, sitting = (reader.read_export(tmp_path / name) for name in ("then", "sitting"))
    for user in USERS:
        for opened, listed in (
            (then, recommender.topk(user, 20, at=now)),
            (sitting, recommender.topk(user, 20, in_sitting=True)),
        ):
            assert [row.movie_id for row in reader.topk(opened, user)] == [
                row.movie.id for row in listed
            ]
    assert not np.array_equal(then.query_vectors, sitting.query_vectors)
    assert pq.read_table(tmp_path / "then" / "users.parquet")["timestamp"].to_pylist() == [now] * 4
    assert pq.read_table(tmp_path / "sitting" / "users.parquet")["timestamp"].null_count == 4


def test_hidden_and_added_movies_are_as_in_lists(
    run: Path, reader: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    best = Recommender.load(own).topk(1, 1)[0].movie.id
    hide_movies(own, [best])
    (tmp_path / "new.csv").write_text("movie_id,title,year,genres\n900001,Late,2001,Drama\n")
    assert rec(monkeypatch, "add-movies", tmp_path / "new.csv", "--run", own) == 0
    export(own, tmp_path / "out", users=USERS)
    opened = reader.read_export(tmp_path / "out")
    assert opened.movie_ids[opened.hidden].tolist() == [best]
    assert opened.movie_ids[-1] == 900001
    assert opened.manifest["trained_movies"] == opened.manifest["movies"] - 1 == 200
    answers_alike(reader, tmp_path / "out", Recommender.load(own), None)


@pytest.mark.slow
def test_plays_under_ids_that_are_texts_have_lists_and_no_ratings(
    reader: ModuleType, tmp_path: Path
) -> None:
    world = small_world(everybody_rates(25, 9)[::2], [1.0], scale=RatingScale(
        lowest=1, highest=1, step=None
    ))  # fmt: skip
    for frame in (world.ratings, world.movies):
        frame[columns.MOVIE_ID] = "tt" + frame[columns.MOVIE_ID].astype(str)
    world.ratings[columns.USER_ID] = "u" + world.ratings[columns.USER_ID].astype(str)
    train(world, tiny_settings(["sequence"]), tmp_path / "run")
    recommender = Recommender.load(tmp_path / "run")
    export(tmp_path / "run", tmp_path / "out")
    opened = reader.read_export(tmp_path / "out")
    assert opened.manifest["rating"] is None
    assert opened.rating_vectors is None
    for user in ("u1", "u10"):
        found, listed = reader.topk(opened, user, 9), recommender.topk(user, 9)
        assert [row.movie_id for row in found] == [row.movie.id for row in listed]
        assert {row.rating for row in found} == {None}
    assert pq.read_table(tmp_path / "out" / "users.parquet")["seen"][0].as_py()[0][:2] == "tt"


def test_parquet_files_hold_what_the_arrays_hold(whole: Path, reader: ModuleType) -> None:
    opened = reader.read_export(whole)
    movies, users = (pq.read_table(whole / f"{name}.parquet") for name in ("movies", "users"))
    for table, name, array in (
        (movies, "movie_id", opened.movie_ids),
        (movies, "hidden", opened.hidden),
        (movies, "vector", opened.movie_vectors),
        (movies, "variance", opened.movie_variances),
        (users, "user_id", opened.user_ids),
        (users, "query_vector", opened.query_vectors),
        (users, "rating_vector", opened.rating_vectors),
        (users, "rating_offset", opened.rating_offsets),
        (users, "variance", opened.user_variances),
        (users, "tower_number", np.load(whole / "tower_numbers.npy")),
        (users, "codes", np.load(whole / "user_codes.npy")),
    ):
        np.testing.assert_array_equal(np.array(table[name].to_pylist(), array.dtype), array)
    for row, seen in enumerate(users["seen"].to_pylist()):
        assert seen == opened.movie_ids[opened.seen(row)].tolist()


def test_movies_come_with_all_that_conditions_can_ask(
    whole: Path, recommender: Recommender
) -> None:
    rows = pq.read_table(whole / "movies.parquet").to_pylist()
    run = recommender.run
    assert [(row["movie_id"], row["title"], row["year"]) for row in rows] == [
        (movie.id, movie.title, movie.year) for movie in run.catalogue.movies
    ]
    for number, row in enumerate(rows):
        known = run.attributes.value(number)
        found = {"genres": row["genres"] or None, **row.get("attributes", {})}
        assert {name: tuple(value) for name, value in found.items() if value} == {
            name: value for name, value in known.items() if name != "year"
        }


def test_batches_of_any_size_give_the_same_files(
    run: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("MOVIE_ROWS", 9), ("USER_ROWS", 17), ("ENCODED", 5)):
        monkeypatch.setattr(exporting, name, size)
    export(run, tmp_path / "out", threads=2)
    for path in whole.glob("*.npy"):
        array, again = np.load(path), np.load(tmp_path / "out" / path.name)
        assert array.dtype == again.dtype
        if array.dtype.kind == "f":
            np.testing.assert_allclose(again, array, atol=1e-6)
        else:
            np.testing.assert_array_equal(again, array)


def test_the_manifest_says_what_every_file_is(whole: Path) -> None:
    files = json.loads((whole / MANIFEST).read_text())["files"]
    there = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert {*files, MANIFEST} == there
    for name, facts in files.items():
        assert facts["sha256"] == sha256(whole / name)
        assert facts["bytes"] == (whole / name).stat().st_size
    assert files["query_vectors.npy"]["shape"] == [150, files["movie_vectors.npy"]["shape"][1]]


def test_the_page_describes_every_file_column_and_input(whole: Path) -> None:
    manifest = json.loads((whole / MANIFEST).read_text())
    names = {*manifest, *(Path(name).name for name in manifest["files"])}
    for facts in manifest["files"].values():
        names.update(facts.get("columns", ()))
    for tower in manifest["towers"].values():
        names.update(tower)
        sides = [*tower.get("inputs", ()), *tower.get("outputs", ())]
        names.update(side["name"] for side in sides)
    assert sorted(name for name in names if f"`{name}`" not in PAGE) == []


def test_an_export_that_fails_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(exporting, "_write_towers", broken)
    with pytest.raises(OSError, match="no space"):
        export(run, tmp_path / "out", users=USERS)
    assert not list(tmp_path.iterdir())


def test_only_a_free_folder_outside_of_the_run_is_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(RecError, match="no empty folder; name a new one"):
        export(run, tmp_path / "notes")
    with pytest.raises(RequestError, match="lies in the folder of the run"):
        export(run, run / "inside")
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"
    assert not (run / "inside").exists()


def test_impossible_requests_are_refused_before_anything_is_written(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="unknown user 98765"):
        export(run, tmp_path / "out", users=[1, 98765])
    with pytest.raises(RequestError, match="2 times for 3 questions"):
        export(run, tmp_path / "out", users=[1, 2, 3], at=[10**9, 10**9])
    with pytest.raises(RequestError, match="two moments"):
        export(run, tmp_path / "out", at=10**9, in_sitting=True)
    assert not list(tmp_path.iterdir())


def test_the_reader_refuses_what_is_no_export(tmp_path: Path, reader: ModuleType) -> None:
    with pytest.raises(SystemExit, match="is no export of schema 3"):
        reader.read_export(tmp_path)


def test_the_command_writes_users_of_a_file_each_at_its_time(
    run: Path,
    recommender: Recommender,
    reader: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = open_run(run).config.present + 86_400
    (tmp_path / "users.csv").write_text(f"user_id,timestamp\n7,{now}\n42,\n7,\n")
    words = ("export", "--run", run, "--users", tmp_path / "users.csv", "--rank-by", "watch")
    assert rec(monkeypatch, *words, "--out", tmp_path / "out", "--json") == 0
    said, shown = capsys.readouterr()
    facts = json.loads(said)
    assert facts["users"] == 3
    assert facts["rank_by"] == "watch"
    assert "writing towers" in shown
    assert "200 movies and 3 users" in shown
    opened = reader.read_export(tmp_path / "out")
    assert opened.user_ids.tolist() == [7, 42, 7]
    assert opened.manifest["asked_at_a_time"] == 1
    wanted = recommender.topk(7, 10, at=now, rank_by=RankBy.WATCH)
    assert [row.movie_id for row in reader.topk(opened, 7, 10)] == [row.movie.id for row in wanted]
    assert rec(monkeypatch, *words, "--at", "now", "--out", tmp_path / "two") == 1
    assert "leave one out" in capsys.readouterr().err
    (tmp_path / "users.csv").write_text("user_id\n7\n4242\n")
    assert rec(monkeypatch, *words, "--out", tmp_path / "two") == 1
    assert "users.csv:3: unknown user: '4242'" in capsys.readouterr().err


def test_without_users_nothing_of_them_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: ModuleType
) -> None:
    words = ("export", "--run", run, "--users", "none", "--out", tmp_path / "out", "--quiet")
    assert rec(monkeypatch, *words) == 0
    opened = reader.read_export(tmp_path / "out")
    assert len(opened.user_ids) == len(opened.query_vectors) == len(opened.seen_movies) == 0
    assert len(opened.movie_vectors) == 200
    table = np.load(tmp_path / "out" / "towers" / "neural_user_ids.npy")
    assert len(table) == 1  # nobody's
    whole = np.load(current(run) / "neural_user_ids.npy")
    np.testing.assert_array_equal(table, whole[:1])
