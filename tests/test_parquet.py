import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import arrow
from retrieval.data import parquet as module
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.errors import DataError

NOON = 1_455_105_600  # 2016-02-10 12:00 UTC
DAY = dt.datetime(2016, 2, 10, 12, tzinfo=dt.UTC)


def read(folder: Path, name: str = "ratings", **columns: pa.Array) -> MovieData:
    """Read a small folder, some columns of one file replaced; None leaves a column out."""
    tables = {
        "ratings": {
            "user_id": pa.array([1, 1, 2]),
            "movie_id": pa.array([1, 2, 2]),
            "rating": pa.array([5.0, 3, 1]),
            "timestamp": pa.array([NOON, NOON + 1, NOON + 2]),
        },
        "movies": {
            "movie_id": pa.array([1, 2]),
            "title": pa.array(["Heat (1995)", "Alien (1979)"]),
        },
        "users": {"user_id": pa.array([1, 2])},
    }
    tables[name] |= columns
    for file, table in tables.items():
        pq.write_table(pa.table(table), folder / f"{file}.parquet")
    return read_folder(folder)


def problems_of(
    folder: Path, name: str = "ratings", **columns: pa.Array
) -> list[tuple[object, ...]]:
    with pytest.raises(DataError) as caught:
        read(folder, name, **columns)
    for line in str(caught.value).split("\n"):
        assert line.isprintable()
        assert len(line) < 500
    return [(problem.file, problem.line, problem.what) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.int32(),
        pa.int64(),
        pa.uint64(),
        pa.float32(),
        pa.string(),
        pa.decimal128(20, 0),
    ],
)
def test_ids_and_ratings_may_be_of_any_type_that_holds_them(
    tmp_path: Path, kind: pa.DataType
) -> None:
    ids = pa.array([1, 1, 2]).cast(kind)
    data = read(tmp_path, user_id=ids, rating=ids)
    assert data.ratings["user_id"].to_list() == [1, 1, 2]
    assert data.ratings["rating"].to_list() == [1, 1, 2]


def test_whole_numbers_with_gaps_are_exact_and_the_gaps_are_told(tmp_path: Path) -> None:
    large = 2**62 + 1
    assert problems_of(tmp_path, user_id=pa.array([large, None, 2])) == [
        ("ratings.parquet", 2, "user_id is no whole number")
    ]
    data = read(tmp_path, user_id=pa.array([large, large, 2]))
    assert data.ratings["user_id"].to_list() == [large, large, 2]


@pytest.mark.parametrize("name", ["rating", "timestamp", "movie_id"])
def test_a_missing_value_is_told_by_line(tmp_path: Path, name: str) -> None:
    column = {"rating": [5, None, 1], "timestamp": [NOON, None, NOON], "movie_id": [1, None, 2]}[
        name
    ]
    [(file, line, _)] = problems_of(tmp_path, **{name: pa.array(column)})
    assert (file, line) == ("ratings.parquet", 2)


def test_a_year_and_an_occupation_may_be_missing(tmp_path: Path) -> None:
    movies = read(tmp_path, "movies", year=pa.array([None, 1979])).movies
    assert movies["year"].isna().to_list() == [True, False]
    for occupation in (pa.array([4, None]), pa.array([4.0, None]), pa.array(["4", None])):
        for column in (occupation, occupation.dictionary_encode()):
            users = read(tmp_path, "users", occupation=column, age=pa.array([None, 30])).users
            assert users["occupation"].to_list() == ["4", ""]
            assert users["age"].isna().to_list() == [True, False]


def test_a_column_of_nothing_is_of_no_harm_where_it_is_not_needed(tmp_path: Path) -> None:
    movies = read(tmp_path, "movies", genres=pa.nulls(2), year=pa.nulls(2)).movies
    assert movies["genres"].to_list() == ["", ""]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_datetimes_become_seconds_by_type(tmp_path: Path, unit: str, zone: str | None) -> None:
    times = pa.array([NOON, NOON + 1, NOON + 2]).cast(pa.timestamp("s"))
    data = read(tmp_path, timestamp=times.cast(pa.timestamp(unit)).cast(pa.timestamp(unit, zone)))
    assert data.ratings["timestamp"].to_list() == [NOON, NOON + 1, NOON + 2]
    assert "dates and times" in data.notes[0]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_days_are_their_midnight(tmp_path: Path, kind: pa.DataType) -> None:
    data = read(tmp_path, timestamp=pa.array([DAY.date()] * 3).cast(kind))
    assert data.ratings["timestamp"].unique().tolist() == [NOON - 43_200]


def test_a_missing_datetime_is_told_by_line(tmp_path: Path) -> None:
    assert problems_of(tmp_path, timestamp=pa.array([DAY, None, DAY])) == [
        ("ratings.parquet", 2, "timestamp is no date and time from 1990 to 2100")
    ]


def test_liked_or_not_is_a_rating(tmp_path: Path) -> None:
    data = read(tmp_path, rating=pa.array([True, False, True]))
    assert data.ratings["rating"].to_list() == [1, 0, 1]
    assert str(data.scale) == "0 to 1 by 1"


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed", "text", "categories"])
def test_lists_are_read_as_lists(tmp_path: Path, kind: str) -> None:
    rows = [["Drama", " Comedy "], [None, "War"]]
    column = {
        "list": pa.array(rows, pa.list_(pa.string())),
        "large_list": pa.array(rows, pa.large_list(pa.large_string())),
        "fixed": pa.array(rows, pa.list_(pa.string(), 2)),
        "text": pa.array(["Drama| Comedy ", "|War"]),
        "categories": pa.array(["Drama| Comedy ", "|War"]).dictionary_encode(),
    }[kind]
    movies = read(tmp_path, "movies", genres=column, directors=column).movies
    assert movies["genres"].to_list() == ["Drama|Comedy", "War"]
    assert movies["directors"].to_list() == ["Drama|Comedy", "War"]


def test_a_missing_list_is_an_empty_one(tmp_path: Path) -> None:
    genres = pa.array([None, []], pa.list_(pa.string()))
    assert read(tmp_path, "movies", genres=genres).movies["genres"].to_list() == ["", ""]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("title", pa.array([{"en": "Heat"}, {"en": "Alien"}])),
        ("title", pa.array([["Heat"], ["Alien"]])),
        ("genres", pa.array([[{"id": 1, "name": "Drama"}], []])),
        ("genres", pa.array([[["Drama"]], []])),
        ("year", pa.array([dt.timedelta(1), None])),
    ],
)
def test_a_column_of_no_use_is_told_by_its_type(
    tmp_path: Path, name: str, column: pa.Array
) -> None:
    [(file, line, what)] = problems_of(tmp_path, "movies", **{name: column})
    assert (file, line) == ("movies.parquet", None)
    assert str(what).startswith(f"column {name} is of type ")


def test_columns_that_are_not_ours_may_be_anything(tmp_path: Path) -> None:
    odd = pa.array([{"a": [1]}, None])
    data = read(tmp_path, "movies", **{"extra": odd, "": odd, "x.y": odd, "\x1b": odd})
    assert len(data.movies) == 2


def test_text_in_bytes_is_text_and_what_is_none_is_told(tmp_path: Path) -> None:
    titles = pa.array([b"Heat (1995)", "Misérables, Les (1995)".encode()])
    assert read(tmp_path, "movies", title=titles).movies["title"].to_list() == [
        *("Heat", "Misérables, Les")
    ]
    wrong = pa.array([b"\xff\xfe", b"x"])
    [(_, _, what)] = problems_of(tmp_path, "movies", title=wrong)
    assert "not a readable parquet file" in str(what)
    assert problems_of(tmp_path, "movies", title=wrong.view(pa.string()))


def test_a_column_under_both_its_names_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a column comes twice.*keep one of user_id, userId"):
        read(tmp_path, userId=pa.array([1, 1, 2]))


def test_an_index_of_pandas_is_a_column(tmp_path: Path) -> None:
    read(tmp_path)
    frame = pd.DataFrame({"movie_id": [1, 2, 7], "title": ["Heat", "Alien", "Up"], 5: 0})
    with pytest.warns(UserWarning, match="column names"):
        frame.set_index("movie_id").to_parquet(tmp_path / "movies.parquet")
    assert read_folder(tmp_path).movies["movie_id"].to_list() == [1, 2, 7]


@pytest.mark.parametrize(
    "wrong", [b"{", b"\xff", b"{}", b'{"columns": 5}', b'{"index_columns": 1}']
)
def test_what_pandas_says_of_a_file_does_not_matter(tmp_path: Path, wrong: bytes) -> None:
    read(tmp_path)
    path = tmp_path / "ratings.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"pandas": wrong}), path)
    assert len(read_folder(tmp_path).ratings) == 3


def test_a_file_without_rows_or_columns_is_told(tmp_path: Path) -> None:
    read(tmp_path)
    path = tmp_path / "ratings.parquet"
    table = pq.read_table(path)
    for emptied, what in ((table.slice(0, 0), "no rows"), (table.select([]), "column user_id is")):
        pq.write_table(emptied, path)
        with pytest.raises(DataError, match=what):
            read_folder(tmp_path)


def test_a_small_file_cannot_claim_a_great_many_rows(tmp_path: Path) -> None:
    read(tmp_path)
    rows = 3_000_000
    same = pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int8), pa.array([1]))
    table = pa.table(dict.fromkeys(("user_id", "movie_id", "rating", "timestamp"), same))
    pq.write_table(table, tmp_path / "ratings.parquet")
    assert (tmp_path / "ratings.parquet").stat().st_size < 100_000
    with pytest.raises(DataError, match=r"claims 3,000,000 values in [\d,]+ bytes"):
        read_folder(tmp_path)


def test_a_row_cannot_claim_a_great_many_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VALUES", 10)
    monkeypatch.setattr(module, "VALUES_A_BYTE", 0)
    [(_, _, what)] = problems_of(tmp_path, "movies", genres=pa.array([["a"] * 20, ["b"]]))
    assert str(what).startswith("claims 21 values")


def test_a_small_file_cannot_fill_the_memory_with_one_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow, "MOST_TEXT", 10_000)
    long = pa.DictionaryArray.from_arrays([0, 0], pa.array(["x" * 6000]))
    lists = pa.array([["x" * 6000], ["x" * 6000]])
    for name, column in (("title", long), ("genres", lists)):
        [(_, _, what)] = problems_of(tmp_path, "movies", **{name: column})
        assert what == f"column {name} holds over 10,000 bytes"


@pytest.mark.parametrize("cut", [0, 3, 4, 8, 100, -1, -8])
def test_a_damaged_file_is_a_line(tmp_path: Path, cut: int) -> None:
    read(tmp_path)
    path = tmp_path / "ratings.parquet"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match="not a readable parquet file"):
        read_folder(tmp_path)


def test_numbers_without_end_are_told(tmp_path: Path) -> None:
    huge = pa.array([Decimal(10) ** 40] * 3, pa.decimal256(50))
    whats = {what for _, _, what in problems_of(tmp_path, user_id=huge, rating=huge)}
    assert whats == {"user_id does not join with that of users.parquet", "rating is too large"}
