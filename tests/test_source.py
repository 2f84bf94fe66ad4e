"""Tables of other people's shape, read as they are."""

import gzip
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data.attributes import Attribute, AttributeKind
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder, read_movies
from retrieval.data.source import DataSource, read, source_of, understood
from retrieval.errors import DataError, RequestError
from retrieval.options import Repeats

NOON = 1_455_105_600  # 2016-02-10 12:00 UTC
USERS = [str(uuid.UUID(int=number << 64 | number)) for number in range(1, 9)]
MOVIES = [f"tt{number:05d}" for number in range(1, 13)]


def pairs() -> list[tuple[str, str, int]]:
    """One event for each user and movie, in a random order, a minute apart."""
    both = [(user, movie) for user in USERS for movie in MOVIES]
    order = np.random.default_rng(0).permutation(len(both)).tolist()
    return [(*both[row], NOON + 60 * place) for place, row in enumerate(order)]


def csv(path: Path, header: str, rows: Sequence[Sequence[object]], separator: str = ",") -> None:
    lines = [header, *(separator.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def plays(folder: Path) -> None:
    """Ids that are texts, plays in milliseconds, tables with more columns than are ours."""
    rows = [(place, *row[:2], row[2] * 1000) for place, row in enumerate(pairs())]
    csv(folder / "plays.csv", "session,viewer,video,started_at", [*rows, (96, *rows[0][1:])])
    titles = [
        (movie, f"Film {place}", "FR" if place % 2 else "US", 60 + place, place % 2 == 0, "en")
        for place, movie in enumerate(MOVIES)
    ]
    csv(folder / "titles.csv", "id,name,country,minutes,kids,language", titles)
    csv(folder / "viewers.csv", "viewer,plan,age", [(user, "gold", 30) for user in USERS])


def thumbs(folder: Path) -> None:
    rows = [(user, movie, "up" if movie < "tt00007" else "down", t) for user, movie, t in pairs()]
    content = "customer\titem\tthumbs\tts\n" + "".join(
        "\t".join(map(str, row)) + "\n" for row in rows
    )
    packed = pa.compress(content.encode(), "zstd", asbytes=True)
    (folder / "likes.tsv.zst").write_bytes(packed)
    csv(folder / "items.tsv", "item\ttitle", [(movie, movie) for movie in MOVIES], "\t")


def half_stars(folder: Path) -> None:
    rows = [
        (user, movie, (place % 10 + 1) / 2, datetime.fromtimestamp(t, UTC).isoformat())
        for place, (user, movie, t) in enumerate(pairs())
    ]
    csv(folder / "events.csv", "user;film;stars;date", rows, ";")
    films = [(movie, f"Film {movie}", 1990) for movie in MOVIES]
    csv(folder / "films.csv", "film;title;year", films, ";")


def lists(folder: Path) -> None:
    users, movies, times = zip(*pairs(), strict=True)
    moments = pa.array([datetime.fromtimestamp(time, UTC) for time in times])
    stars = [1 + place % 5 for place in range(len(users))]
    events = {"account_id": users, "title_id": movies, "rating": stars, "watched_at": moments}
    pq.write_table(pa.table(events), folder / "events.parquet")
    catalogue = {
        "title_id": MOVIES,
        "title": [f"Film {movie}" for movie in MOVIES],
        "genres": [["Drama", "War"]] * len(MOVIES),
        "languages": [["en", "fr"], ["de"]] * 6,
        "crew": [{"x": 1}] * len(MOVIES),
    }
    pq.write_table(pa.table(catalogue), folder / "catalogue.parquet")


def json_lines(folder: Path) -> None:
    rows = [
        {"userId": user, "contentId": movie, "score": place % 11, "time": time}
        for place, (user, movie, time) in enumerate(pairs())
    ]
    movies = [{"contentId": movie, "title": movie, "genres": ["A"]} for movie in MOVIES]
    for name, each in (("events", rows), ("content", movies)):
        content = "".join(json.dumps(row) + "\n" for row in each)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(content.encode()))


def no_catalogue(folder: Path) -> None:
    for part in range(3):
        rows = [(user, movie, 1 + place % 5) for place, (user, movie, _) in enumerate(pairs())]
        content = "user_id,movie_id,rating\n" + "".join(
            ",".join(map(str, row)) + "\n" for row in rows[part::3]
        )
        (folder / f"part-{part}.csv.gz").write_bytes(gzip.compress(content.encode()))


SHAPES = {
    "plays": (plays, 97, "1 alone"),
    "thumbs": (thumbs, 96, "0 to 1 by 1"),
    "half stars": (half_stars, 96, "0.5 to 5 by 0.5"),
    "lists": (lists, 96, "1 to 5 by 1"),
    "json lines": (json_lines, 96, "0 to 10 by 1"),
    "no catalogue": (no_catalogue, 96, "1 to 5 by 1"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_of_any_shape_are_read_as_they_are(tmp_path: Path, shape: str) -> None:
    write, count, scale = SHAPES[shape]
    write(tmp_path)
    data = read_folder(tmp_path)
    assert (len(data.ratings), str(data.scale)) == (count, scale)
    assert set(data.ratings["user_id"]) == set(USERS)
    assert sorted(data.movies["movie_id"]) == MOVIES
    assert [str(kind) for kind in data.ratings.dtypes] == ["str", "str", "float32", "int64"]
    if shape != "no catalogue":
        times = {(user, movie): time for user, movie, time in pairs()}
        first = data.ratings.iloc[0]
        assert first["timestamp"] == times[first["user_id"], first["movie_id"]]


def test_every_column_has_its_fate_in_one_line_a_file(tmp_path: Path) -> None:
    plays(tmp_path)
    data = read_folder(tmp_path)
    assert data.movie_attributes == (
        Attribute("country", AttributeKind.CATEGORY),
        Attribute("minutes", AttributeKind.NUMBER),
        Attribute("kids", AttributeKind.YES_NO),
    )
    assert list(data.movies)[-3:] == ["country", "minutes", "kids"]
    assert data.movies["kids"].to_list()[:2] == [1, 0]
    assert (
        "titles.csv: id is movie_id, name is title; attributes: country (category), minutes "
        in ("\n".join(data.notes))
    )
    assert "left out: language (it is en in every row)" in "\n".join(data.notes)
    assert "viewers.csv: viewer is user_id; left out: plan (it is gold in every row)" in data.notes
    assert any("left out: session (columns of events" in note for note in data.notes)


def test_plays_keep_all_and_ratings_the_last_unless_one_says(tmp_path: Path) -> None:
    plays(tmp_path)
    assert len(read_folder(tmp_path).ratings) == 97
    assert len(read(DataSource(folder=tmp_path, repeats=Repeats.LAST)).ratings) == 96


def test_what_is_said_of_columns_and_attributes_wins(tmp_path: Path) -> None:
    plays(tmp_path)
    source = DataSource(
        events=tmp_path / "plays.csv",
        movies=tmp_path / "titles.csv",
        columns={"timestamp": "-", "title": "country"},
        attributes={"movies.minutes": "category", "movies.kids": "-"},
    )
    data = read(source)
    assert set(data.movies["title"]) == {"FR", "US"}
    assert data.ratings["timestamp"].to_list() == list(range(97))
    kinds = {attribute.name: attribute.kind for attribute in data.movie_attributes}
    assert kinds == {"name": AttributeKind.CATEGORY, "minutes": AttributeKind.CATEGORY}


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"movies.minute": "number"}, "did you mean movies.minutes"),
        ({"movies.minutes": "numbr"}, "did you mean number"),
    ],
)
def test_attributes_that_are_not_there_are_told(
    tmp_path: Path, attributes: dict[str, str], told: str
) -> None:
    plays(tmp_path)
    with pytest.raises(RequestError, match=told):
        read(DataSource(folder=tmp_path, attributes=attributes))


def test_what_was_understood_says_everything_and_reads_the_same(tmp_path: Path) -> None:
    plays(tmp_path)
    found = understood(source_of(tmp_path))
    assert found.source.events == tmp_path / "plays.csv"
    assert found.source.columns["movies.title"] == "name"
    assert found.source.repeats is Repeats.ALL
    again = understood(found.source)
    assert again.source == found.source
    same(again.data, found.data)


def same(one: MovieData, other: MovieData) -> None:
    for name in ("ratings", "movies", "users"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.movie_attributes == other.movie_attributes


def test_a_file_of_events_alone_is_enough(tmp_path: Path) -> None:
    plays(tmp_path)
    data = read_folder(tmp_path / "plays.csv")
    assert data.movies["title"].to_list() == MOVIES
    assert any("there is no table of movies: 12 movies" in note for note in data.notes)


def test_of_several_tables_of_events_the_one_with_ratings_is_taken(tmp_path: Path) -> None:
    half_stars(tmp_path)
    csv(tmp_path / "tags.csv", "user;film;tag", [(USERS[0], MOVIES[0], "x")], ";")
    assert "tags.csv is left out: events.csv has the events" in read_folder(tmp_path).notes


def test_two_tables_that_may_be_the_events_are_a_problem(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        csv(tmp_path / name, "user_id,movie_id", [(1, 1)])
    with pytest.raises(DataError, match="2 files may be the table of events"):
        read_folder(tmp_path)


def test_columns_of_movielens_are_known(tmp_path: Path) -> None:
    csv(tmp_path / "ratings.dat", "1::1::5::10", [("1::2::3::20",)])
    csv(tmp_path / "movies.dat", "1::A (1990)::X", [("2::B (1991)::X",)])
    assert len(read_folder(tmp_path).ratings) == 2
    with pytest.raises(RequestError, match="its columns are known"):
        read(DataSource(folder=tmp_path, columns={"user_id": "viewer"}))


def test_a_bad_value_is_told_with_file_line_value_and_remedy(tmp_path: Path) -> None:
    half_stars(tmp_path)
    path = tmp_path / "events.csv"
    lines = path.read_text().split("\n")
    lines[41] = lines[41].replace(lines[41].split(";")[2], "good")
    lines[60] = lines[60].rpartition(";")[0] + ";1016-02-10T12:00:00"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        read_folder(tmp_path)
    told = [(each.file, each.line, each.what, each.value) for each in caught.value.problems]
    assert told == [
        ("events.csv", 42, "rating (column stars) is no number", "good"),
        (
            *("events.csv", 61),
            "timestamp (column date) is no date and time from 1990 to 2100",
            "1016-02-10T12:00:00",
        ),
    ]
    assert "--any-years" in caught.value.problems[1].remedy


def test_movies_of_any_table_are_read_with_the_attributes_that_are_wanted(tmp_path: Path) -> None:
    plays(tmp_path)
    wanted = (Attribute("minutes", AttributeKind.NUMBER), Attribute("x", AttributeKind.TEXT))
    movies = read_movies(tmp_path / "titles.csv", attributes=wanted)
    assert list(movies)[-1] == "minutes"
    assert movies["title"].to_list()[0] == "Film 0"
