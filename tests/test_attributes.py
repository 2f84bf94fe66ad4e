import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrieval.data.attributes import (
    Attribute,
    AttributeColumns,
    AttributeKind,
    columns_of,
    date_span,
)
from retrieval.data.times import NO_TIME
from retrieval.errors import RequestError, RunError

STEM = "movie_attributes"
ATTRIBUTES = (
    Attribute("country", AttributeKind.CATEGORY),
    Attribute("minutes", AttributeKind.NUMBER),
    Attribute("genres", AttributeKind.LIST),
    Attribute("plot", AttributeKind.TEXT),
    Attribute("kids", AttributeKind.YES_NO),
    Attribute("added", AttributeKind.DATE),
)
DAY = 1_704_067_200  # 2024-01-01
FRAME = pd.DataFrame(
    {
        "country": ["FR", "", "DE", "FR"],
        "minutes": [90.0, np.nan, 101.5, -3.0],
        "genres": ["Drama|Comedy", "", "Drama", "War|Drama|War"],
        "plot": ["Boy meets girl.", "", "War.", ""],
        "kids": [1.0, 0.0, np.nan, 0.0],
        "added": [DAY, NO_TIME, DAY + 3661, 0],
    }
)
ROWS: list[dict[str, object]] = [
    {"country": "FR", "minutes": 90, "genres": ("Drama", "Comedy"), "kids": True,
     "added": "2024-01-01"},
    {"kids": False},
    {"country": "DE", "minutes": 101.5, "genres": ("Drama",), "added": "2024-01-01T01:01:01"},
    {"country": "FR", "minutes": -3, "genres": ("War", "Drama"), "kids": False,
     "added": "1970-01-01"},
]  # fmt: skip
COLUMNS = columns_of(FRAME, ATTRIBUTES)


def shown(columns: AttributeColumns) -> list[dict[str, object]]:
    return [columns.value(row) for row in range(len(columns))]


def test_a_row_shows_what_its_table_said() -> None:
    assert COLUMNS.attributes == ATTRIBUTES
    assert shown(COLUMNS) == ROWS
    assert json.loads(json.dumps(shown(COLUMNS)[3]))["minutes"] == -3


def test_columns_are_numbers_beside_sorted_names() -> None:
    country, genres = COLUMNS.columns["country"], COLUMNS.columns["genres"]
    assert country.names == ("DE", "FR")
    assert country.data.tolist() == [1, -1, 0, 1]
    assert genres.names == ("Comedy", "Drama", "War")
    assert genres.data.tolist() == [1, 0, 1, 2, 1]
    assert genres.offsets.tolist() == [0, 2, 2, 3, 5]
    assert COLUMNS.columns["kids"].data.tolist() == [1, 0, -1, 0]
    assert COLUMNS.columns["plot"].data.size == 0


def test_years_and_genres_are_attributes_like_others() -> None:
    frame = pd.DataFrame({"year": pd.array([1999, None], "Int64"), "genres": ["Drama", ""]})
    columns = columns_of(
        frame,
        [Attribute("year", AttributeKind.NUMBER), Attribute("genres", AttributeKind.LIST)],
    )
    assert shown(columns) == [{"year": 1999, "genres": ("Drama",)}, {}]


def test_columns_do_not_share_the_memory_of_the_frame() -> None:
    for name in ("minutes", "added"):
        assert not np.shares_memory(COLUMNS.columns[name].data, FRAME[name].to_numpy())


def test_names_are_found_however_their_letters_are_written() -> None:
    assert COLUMNS.columns["country"].codes_of(" fr") == [1]
    assert COLUMNS.columns["country"].codes_of("F") == []
    assert COLUMNS.named("Country ") == ATTRIBUTES[0]
    both = columns_of(
        pd.DataFrame({"Tag": ["a", "A", "b"], "tag": ["", "", ""]}),
        [Attribute("Tag", AttributeKind.CATEGORY), Attribute("tag", AttributeKind.CATEGORY)],
    )
    assert both.columns["Tag"].codes_of("a") == [0, 1]
    assert both.named("tag").name == "tag"
    with pytest.raises(RequestError, match="'TAG' names more than one attribute: Tag, tag"):
        both.named("TAG")
    with pytest.raises(RequestError, match="unknown attribute 'contry'; did you mean country"):
        COLUMNS.named("contry")


def test_rows_added_later_stand_behind_the_others() -> None:
    assert shown(COLUMNS.extended(ROWS)) == ROWS + ROWS
    later: list[dict[str, object]] = [
        {"Country": "AT", "genres": ["Anime", "Drama"], "plot": "Robots.", "minutes": None},
        {},
    ]
    longer = COLUMNS.extended(later)
    assert len(longer) == 6
    assert shown(longer) == [*ROWS, {"country": "AT", "genres": ("Anime", "Drama")}, {}]
    assert longer.columns["country"].names == ("AT", "DE", "FR")
    assert shown(COLUMNS) == ROWS
    assert shown(COLUMNS.extended([])) == ROWS
    assert shown(columns_of(FRAME[:0], ATTRIBUTES).extended(ROWS)) == ROWS


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"contry": "FR"}, "unknown attribute 'contry'; did you mean country"),
        ({"country": 5}, "country '5' is not a text"),
        ({"minutes": "90"}, "minutes '90' is not a number"),
        ({"minutes": True}, "minutes 'True' is not a number"),
        ({"minutes": float("nan")}, "minutes 'nan' is not a number"),
        ({"minutes": float("inf")}, "minutes 'inf' is not a number"),
        ({"minutes": 10**400}, "is not a number"),
        ({"genres": "Drama"}, "genres 'Drama' is not a list of texts"),
        ({"genres": ["Drama", 5]}, "is not a list of texts"),
        ({"plot": 5}, "plot '5' is not a text"),
        ({"kids": 1}, "kids '1' is not true or false"),
        ({"added": "soon"}, "added 'soon' is not a date such as 2024-12-31"),
        ({"added": 1}, "added '1' is not a date"),
    ],
)
def test_what_is_not_of_the_kind_is_named(row: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        COLUMNS.extended([row])


def test_a_date_stands_for_all_of_its_time() -> None:
    assert date_span("1970") == (0, 365 * 86400 - 1)
    assert date_span("2024-02") == (DAY + 31 * 86400, DAY + 60 * 86400 - 1)
    assert date_span("2024-01-01") == (DAY, DAY + 86399)
    assert date_span("2024-01-01 01:01") == (DAY + 3660, DAY + 3719)
    assert date_span("2024-01-01T01:01:01") == (DAY + 3661, DAY + 3661)
    for text in ("", "2024-13", "2023-02-29", "24", "20240101", "2024-01-01T25:00", "2024-1-1"):
        assert date_span(text) is None


def saved(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    COLUMNS.save(folder, STEM)
    return folder


def test_columns_come_back_from_their_files(tmp_path: Path) -> None:
    loaded = AttributeColumns.load(saved(tmp_path), STEM, 4)
    assert loaded.attributes == ATTRIBUTES
    assert shown(loaded) == ROWS
    assert shown(loaded.extended(ROWS[:1])) == ROWS + ROWS[:1]
    nothing = columns_of(FRAME, [])
    nothing.save(tmp_path, "user_attributes")
    assert shown(AttributeColumns.load(tmp_path, "user_attributes", 4)) == [{}] * 4
    with pytest.raises(RunError, match="is not of attributes of 5 rows"):
        AttributeColumns.load(tmp_path, "user_attributes", 5)
    empty = columns_of(FRAME[:0], ATTRIBUTES)
    empty.save(tmp_path, "empty")
    assert AttributeColumns.load(tmp_path, "empty", 0).attributes == ATTRIBUTES


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("0", np.array([0, 1, 2, 0], np.int32)),
        ("0", np.array([0, 1, -2, 0], np.int32)),
        ("0", np.array([0, 1, 0], np.int32)),
        ("0", np.array([0, 1, 0, 0], np.int64)),
        ("1", np.array([0, 1, 0], np.float64)),
        ("1", np.zeros((4, 1))),
        ("2", np.array([1, 0, 1, 2], np.int32)),
        ("2", np.array([1, 0, 1, 2, 3], np.int32)),
        ("2", np.array([1, 0, 1, 2, -1], np.int32)),
        ("2_offsets", np.array([0, 2, 1, 3, 5])),
        ("2_offsets", np.array([1, 2, 2, 3, 5])),
        ("2_offsets", np.array([0, 2, 2, 5])),
        ("2_offsets", np.zeros(0, np.int64)),
        ("2_offsets", np.array([0, 2, 2, 3, 5], np.int32)),
        ("4", np.array([0, 1, 2, 0], np.int8)),
        ("5", np.array([0, 1, 2, 0], np.int32)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, array: np.typing.NDArray[np.generic]
) -> None:
    np.save(saved(tmp_path) / f"{STEM}_{name}.npy", array)
    with pytest.raises(RunError, match="is not of attributes of 4 rows; train again"):
        AttributeColumns.load(tmp_path, STEM, 4)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not of attributes of 5 rows"):
        AttributeColumns.load(saved(tmp_path), STEM, 5)
    whole = json.loads((tmp_path / f"{STEM}.json").read_text())
    whole["columns"][0]["names"] = ["FR", "DE"]
    (tmp_path / f"{STEM}.json").write_text(json.dumps(whole))
    with pytest.raises(RunError, match="is not of attributes of 4 rows"):
        AttributeColumns.load(tmp_path, STEM, 4)
    whole["columns"][0] = whole["columns"][1]
    (tmp_path / f"{STEM}.json").write_text(json.dumps(whole))
    with pytest.raises(RunError, match="is not of attributes of 4 rows"):
        AttributeColumns.load(tmp_path, STEM, 4)
    for text in ("", "[]", "{}", '{"rows": 4, "columns": [{"name": "a", "kind": "colour"}]}'):
        (tmp_path / f"{STEM}.json").write_text(text)
        with pytest.raises(RunError, match=r"movie_attributes\.json cannot be read"):
            AttributeColumns.load(tmp_path, STEM, 4)
    (saved(tmp_path) / f"{STEM}_1.npy").unlink()
    with pytest.raises(RunError, match=r"movie_attributes_1\.npy cannot be read"):
        AttributeColumns.load(tmp_path, STEM, 4)
