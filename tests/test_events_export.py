"""The data of the next training: what a run was trained on, with all that its log was told."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_worlds import everybody_rates, small_world, tiny_settings

from retrieval.cli.app import main
from retrieval.data import columns
from retrieval.data.attributes import AttributeKind
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.data.scale import WHOLE_STARS
from retrieval.data.section import read_section
from retrieval.data.source import DataSource, read, saved_source, source_of
from retrieval.errors import RecError, RequestError
from retrieval.options import Repeats
from retrieval.pipeline.hiding import hide_movies, remove_movies, show_movies
from retrieval.pipeline.training import train
from retrieval.run.folder import open_run
from retrieval.run.shelves import HIDDEN, REMOVED, read_ids, read_moves
from retrieval.run.versions import current
from retrieval.service.export import Exported, export, recorded_source
from retrieval.service.log import Kind, Log, NewEvent, open_log
from retrieval.service.mark import Mark, read_mark

NOW = 1_790_000_000

USERS, MOVIES = 15, 10


def write_csv(folder: Path, data: MovieData, ratings: tuple[str, ...] = columns.RATINGS) -> Path:
    """Write data as people have them."""
    folder.mkdir()
    data.ratings[list(ratings)].to_csv(folder / "ratings.csv", index=False)
    data.movies.to_csv(folder / "movies.csv", index=False)
    if not data.users.empty:
        data.users.to_csv(folder / "users.csv", index=False)
    return folder


def event(user: str, movie: str, kind: Kind, rating: float | None = None) -> NewEvent:
    return NewEvent(kind=kind, user_id=user, movie_id=movie, rating=rating, timestamp=NOW)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stars and the run that was trained on them."""
    root = tmp_path_factory.mktemp("stars")
    world = small_world(everybody_rates(USERS, MOVIES), users=[3, 99])
    movies = world.movies.assign(
        country=["France", "Chile"] * (MOVIES // 2),
        released=[f"19{70 + place}-02-03" for place in range(MOVIES)],
        minutes=90.0 + np.arange(MOVIES),
        colour=[True, False] * (MOVIES // 2),
        moods=["sad|slow", ""] * (MOVIES // 2),
    )
    data = write_csv(root / "data", replace(world, movies=movies))
    train(data, tiny_settings(["bayesian"]), root / "run")
    return root


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return open_log(str(tmp_path / "run-events.db"))


def exported(run: Path, log: Log, out: str = "next", data: DataSource | None = None) -> Exported:
    return export(run, log, run.parent / out, data)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_without_a_word_in_the_log_the_data_are_those_of_the_run(
    trained: Path, run: Path, log: Log
) -> None:
    done = exported(run, log)
    before, guessed = read_folder(trained / "data"), read_folder(run.parent / "next")
    said = read(done.source)
    assert [each.name for each in said.movie_attributes] == [
        *("country", "released", "minutes", "colour", "moods")
    ]
    written = read_section(run.parent / "next" / "rec.toml")
    assert written is not None
    assert written.attributes == done.source.attributes
    for after in (guessed, said, read(written)):
        same(after.ratings, before.ratings)
        same(after.movies, before.movies)
        same(after.users, before.users)
        assert after.scale == before.scale
        assert after.movie_attributes == before.movie_attributes
    assert done.events == USERS * MOVIES
    assert (done.from_log, done.new_movies, done.mark.until) == (0, 0, 0)


def test_ratings_and_likes_of_the_log_follow_and_what_was_only_watched_does_not(
    trained: Path, run: Path, log: Log
) -> None:
    log.append(
        [
            event("3", "4", Kind.RATING, 2.0),
            event("3", "5", Kind.PLAY),
            event("777", "4", Kind.LIKE),
            event("777", "5", Kind.RATING, 1.0),
        ]
    )
    done = exported(run, log)
    after, before = read(done.source).ratings, read_folder(trained / "data").ratings
    assert done.from_log == 3
    new = after[after[columns.TIMESTAMP] == NOW]
    assert new[[columns.USER_ID, columns.MOVIE_ID, columns.RATING]].to_numpy().tolist() == [
        [3, 4, 2],
        [777, 4, 5],
        [777, 5, 1],
    ]
    # The last rating of a movie counts, so one of the old ones is gone.
    assert len(after) == len(before) + 3 - 1
    assert not len(after[(after[columns.USER_ID] == 3) & (after[columns.MOVIE_ID] == 4)]) - 1


def test_whoever_was_forgotten_is_in_no_file_unless_they_came_again(run: Path, log: Log) -> None:
    log.append([event("3", "4", Kind.RATING, 2.0), event("888", "4", Kind.RATING, 2.0)])
    for user in ("3", "7", "888"):
        log.forget(user)
    log.append([event("7", "4", Kind.RATING, 4.0)])
    done = exported(run, log)
    data = read(done.source)
    assert done.forgotten_users == 2
    assert not {3, 888} & {*data.ratings[columns.USER_ID], *data.users[columns.USER_ID]}
    assert data.ratings.loc[data.ratings[columns.USER_ID] == 7, columns.RATING].tolist() == [4]
    assert data.users[columns.USER_ID].tolist() == [99]


def test_movies_of_the_log_are_there_with_their_latest_facts(run: Path, log: Log) -> None:
    log.set_movie("500", {"title": "First words"})
    log.set_movie("2", {"title": "Another title", "genres": ["Comedy", "War"], "minutes": 7})
    facts = {"title": "The new one", "year": 2026, "genres": ["Comedy"], "country": "Peru"}
    log.set_movie(
        "500", facts | {"released": "2026-01-02", "colour": True, "moods": ["sad", "odd"]}
    )
    done = exported(run, log)
    movies = read(done.source).movies.set_index(columns.MOVIE_ID)
    assert (done.movies, done.new_movies) == (MOVIES + 1, 1)
    changed, added = movies.loc[2], movies.loc[500]
    assert (changed["title"], changed["genres"]) == ("Another title", "Comedy|War")
    assert (changed["minutes"], changed["country"]) == (7, "Chile")  # what is not named stays
    assert pd.isna(changed["year"])  # but for what people know a movie by
    assert (added["title"], added["year"], added["country"]) == ("The new one", 2026, "Peru")
    assert (added["colour"], added["moods"]) == (1, "sad|odd")
    assert added["released"] == 1_767_312_000
    assert np.isnan(added["minutes"])
    assert movies.loc[1, "title"] == "A story of 1"


def test_what_is_hidden_at_the_end_of_the_log_is_hidden_in_what_is_trained_on_it(
    run: Path, log: Log
) -> None:
    hide_movies(run, [1, 2])
    remove_movies(run, [7, 8])
    log.show("8")
    for movie in ("3", "4", "5"):
        log.hide(movie)
    log.show("1")
    log.show("4")
    log.remove("6")
    log.append([event("3", "6", Kind.RATING, 2.0)])
    out = run.parent / "next"
    exported(run, log)
    assert read_ids(out / HIDDEN) == [2, 3, 5]
    assert read_ids(out / REMOVED) == [7, 6]
    train(out, tiny_settings(["bayesian"]), run)
    opened = open_run(run)
    assert opened.catalogue.vocabulary.ids[opened.removed].tolist() == [6, 7]
    assert opened.catalogue.vocabulary.ids[opened.hidden].tolist() == [2, 3, 5, 6, 7]
    assert (out / "log_mark.json").read_bytes() == (opened.folder / "log_mark.json").read_bytes()
    assert "log_mark.json" in opened.sums
    assert read_mark(opened.folder) == Mark(log.identity, log.head())
    hide_movies(run, [9])  # a change of a version keeps the mark
    assert read_mark(current(run)) == Mark(log.identity, log.head())


def test_from_exported_data_only_what_came_after_them_is_taken(run: Path, log: Log) -> None:
    log.append([event("777", "4", Kind.RATING, 2.0)])
    log.forget("5")
    log.append([event("5", "1", Kind.RATING, 3.0)])
    first = exported(run, log)
    log.append([event("777", "5", Kind.RATING, 1.0)])
    log.forget("6")
    second = exported(run, log, "again", first.source)
    assert second.from_log == 1
    ratings = read(second.source).ratings
    assert ratings.loc[ratings[columns.USER_ID] == 777, columns.MOVIE_ID].tolist() == [4, 5]
    assert (ratings[columns.USER_ID] == 5).sum() == 1  # forgotten before the first
    assert not (ratings[columns.USER_ID] == 6).any()
    whole = read(exported(run, log, "whole").source).ratings
    same(whole, ratings)
    other = open_log(str(run.parent / "other.db"))
    with pytest.raises(RequestError, match="was exported from another log"):
        exported(run, other, "never", first.source)


def test_of_plays_with_texts_for_ids_every_event_is_one(
    run: Path, log: Log, tmp_path: Path
) -> None:
    world = small_world(everybody_rates(USERS, MOVIES), [1.0])
    named = world.ratings.assign(
        user_id="u" + world.ratings[columns.USER_ID].astype(str),
        movie_id="m-" + world.ratings[columns.MOVIE_ID].astype(str),
    )
    movies = world.movies.assign(movie_id="m-" + world.movies[columns.MOVIE_ID].astype(str))
    plays = (columns.USER_ID, columns.MOVIE_ID, columns.TIMESTAMP)
    data = write_csv(tmp_path / "data", replace(world, ratings=named, movies=movies), plays)
    log.append(
        [
            event("u1", "m-1", Kind.PLAY),
            event("new", "m-1", Kind.LIKE),
            event("new", "m-2", Kind.RATING, 3.0),
        ]
    )
    log.set_movie("m-new", {"title": "New", "genres": []})
    done = exported(run, log, data=source_of(data))
    after = read(done.source)
    assert (done.events, done.from_log) == (USERS * MOVIES + 3, 3)
    assert done.source.repeats is Repeats.ALL
    assert len(after.ratings) == done.events  # a movie may be watched again
    assert not after.scale.tells_taste
    assert "m-new" in after.movies[columns.MOVIE_ID].tolist()
    same(read_folder(tmp_path / "next").ratings, after.ratings)


def test_what_is_said_of_the_data_is_written_down_and_read_again(tmp_path: Path) -> None:
    world = small_world(everybody_rates(USERS, MOVIES))
    odd = world.ratings.rename(columns={columns.USER_ID: "who", columns.MOVIE_ID: "what"})
    odd.to_csv(tmp_path / "odd.csv", index=False)
    movies = world.movies.assign(plot=[f"Plot {movie}" for movie in range(MOVIES)])
    movies.to_csv(tmp_path / "movies.csv", index=False)
    source = DataSource(
        events=tmp_path / "odd.csv",
        movies=tmp_path / "movies.csv",
        columns={"events.user_id": "who", "events.movie_id": "what"},
        attributes={"movies.plot": AttributeKind.TEXT},
        repeats=Repeats.FIRST,
        any_year=True,
    )
    assert saved_source(json.loads(json.dumps(source.saved()))) == source
    train(source, tiny_settings(["bayesian"]), tmp_path / "run")
    assert recorded_source(open_run(tmp_path / "run")) == source
    log = open_log(str(tmp_path / "live.db"))
    done = exported(tmp_path / "run", log)
    same(read(done.source).movies, read(source).movies)
    assert done.source.repeats is Repeats.FIRST
    (tmp_path / "odd.csv").unlink()
    with pytest.raises(RequestError, match=r"was trained on .*odd\.csv, which is not there"):
        exported(tmp_path / "run", log, "never")


def test_entries_whose_ids_can_be_none_of_the_run_are_skipped_and_counted(
    run: Path, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    odd = ("ann", "007", "+7", " 7", "7_0", "\u0667", "9" * 30)
    log.append([event(user, "4", Kind.RATING, 2.0) for user in (*odd, "7")])
    log.append([event("7", "four", Kind.RATING, 2.0)])
    log.set_movie("m-1", {"title": "Elsewhere", "genres": []})
    log.hide("m-2")
    done = exported(run, log)
    assert (done.from_log, done.new_movies) == (1, 0)
    (warning,) = caplog.messages
    assert warning.startswith("10 entries of the log were skipped")


def test_events_that_no_table_could_have_are_skipped_and_counted(
    run: Path, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    early = replace(event("7", "4", Kind.RATING, 2.0), timestamp=0)
    log.append([early, event("7", "4", Kind.RATING, 3.7), event("7", "5", Kind.RATING, 3.0)])
    done = exported(run, log)
    assert done.from_log == 1
    (warning,) = caplog.messages
    assert warning.startswith("2 events of the log were skipped: they lie before 1990")
    assert read(done.source).scale == WHOLE_STARS


def test_what_was_hidden_by_command_after_a_training_is_not_shown_by_the_next(
    run: Path, log: Log
) -> None:
    log.hide("3")
    log.show("3")
    exported(run, log)
    train(run.parent / "next", tiny_settings(["bayesian"]), run)
    hide_movies(run, [3])
    exported(run, log, "after")
    assert read_ids(run.parent / "after" / HIDDEN) == [3]


def test_what_was_said_by_command_after_an_export_counts_in_what_is_trained_on_it(
    run: Path, log: Log
) -> None:
    hide_movies(run, [1, 2])
    log.hide("3")
    exported(run, log)
    show_movies(run, [1])
    hide_movies(run, [9])
    train(run.parent / "next", tiny_settings(["bayesian"]), run)
    assert read_ids(current(run) / HIDDEN) == [2, 3, 9]
    assert set(read_moves(current(run))) == {"1", "2", "9"}


def test_a_folder_that_is_there_is_not_written_over(run: Path, log: Log) -> None:
    (run.parent / "full").mkdir()
    (run.parent / "full" / "thesis.txt").write_text("ten years of work")
    with pytest.raises(RecError, match="is there and is no empty folder"):
        exported(run, log, "full")


def rec(monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code


def test_the_commands_export_and_show(
    run: Path, log: Log, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.append([event("3", "4", Kind.RATING, 2.0), event("3", "\x1b[2J", Kind.PLAY)])
    log.forget("7")
    database, out = str(run.parent / "run-events.db"), str(run.parent / "next")
    given = ("--run", str(run), "--database", database, "--out", out)
    rec(monkeypatch, "events", "export", *given, "--json", "--quiet")
    said = json.loads(capsys.readouterr().out)
    assert (said["events_of_log"], said["forgotten_users"], said["until"]) == (1, 1, 3)
    rec(monkeypatch, "events", "show", "--database", database, "--json", "--newest", "2")
    said = json.loads(capsys.readouterr().out)
    assert said["head"] == 3
    assert said["kinds"] == {"rating": 1, "play": 1, "forget": 1}
    assert [entry["sequence"] for entry in said["newest"]] == [3, 2]
    rec(monkeypatch, "events", "show", "--run", str(run))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "rating  play  forget" in printed
    rec(monkeypatch, "events", "show", "--database", str(run / "typo.db"), code=1)
    assert "there is no log" in capsys.readouterr().err
    assert not (run / "typo.db").exists()
