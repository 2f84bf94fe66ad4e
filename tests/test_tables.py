"""Files of every format, packed in every way, as tables of all their columns."""

import datetime as dt
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import compressed, stream
from retrieval.data.report import Report
from retrieval.data.stream import regular_columns
from retrieval.data.table import Table
from retrieval.data.tables import form_of, is_table, read_table
from retrieval.data.values import plain_texts
from retrieval.errors import DataError

TEXT = "user_id,movie_id,rating\nann,1,4.5\nbob,2,3\nann,3,007\n"
ROWS = [["ann", "1", "4.5"], ["bob", "2", "3"], ["ann", "3", "007"]]


def rows(table: Table) -> list[list[str]]:
    columns = [plain_texts(table.frame[name]).to_list() for name in table.frame]
    return [list(row) for row in zip(*columns, strict=True)]


def read(path: Path) -> Table:
    report = Report()
    table = read_table(path, report)
    report.raise_any()
    return table


def problem_of(path: Path) -> tuple[str, int | None, str, str]:
    with pytest.raises(DataError) as caught:
        read(path)
    first = caught.value.problems[0]
    assert first.remedy
    return first.file, first.line, first.what, first.value


def zipped(content: bytes, *names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return packed.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".zst": lambda content: bytes(pa.compress(content, "zstd", asbytes=True)),
    ".zip": lambda content: zipped(content, "__MACOSX/._x", "folder/inner.csv"),
}


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize(("ending", "separator"), [(".csv", ","), (".tsv", "\t"), (".csv", ";")])
def test_separated_text_is_read_however_it_is_packed(
    tmp_path: Path, packing: str, ending: str, separator: str
) -> None:
    path = tmp_path / f"ratings{ending}{packing}"
    content = TEXT.replace(",", separator).encode()
    path.write_bytes(PACKED[packing](content))
    table = read(path)
    assert list(table.frame) == ["user_id", "movie_id", "rating"]
    assert rows(table) == ROWS
    assert list(table.lines) == [2, 3, 4]


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_parquet_and_json_lines_are_read_however_they_are_packed(
    tmp_path: Path, packing: str
) -> None:
    frame = pd.DataFrame(ROWS, columns=["user_id", "movie_id", "rating"])
    frame.to_parquet(tmp_path / "plain.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in frame.to_dict("records"))
    for name, content in (
        ("a.parquet", (tmp_path / "plain.parquet").read_bytes()),
        ("a.jsonl", lines.encode()),
    ):
        path = tmp_path / (name + packing)
        path.write_bytes(PACKED[packing](content))
        assert rows(read(path)) == ROWS


def test_the_name_inside_a_zip_tells_the_format(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(zipped(b'{"user_id": 7, "movie_id": 8}\n', "events.jsonl"))
    assert rows(read(path)) == [["7", "8"]]


def test_a_folder_of_parts_is_one_table_and_lines_name_the_part(tmp_path: Path) -> None:
    folder = tmp_path / "plays"
    folder.mkdir()
    for part, user in enumerate(("7", "ann")):
        content = f"user_id,movie_id\n{user},1\n9,2\n"
        (folder / f"part-{part:03d}.csv.gz").write_bytes(gzip.compress(content.encode()))
    (folder / "_SUCCESS").touch()
    assert is_table(folder)
    table = read(folder)
    assert rows(table) == [["7", "1"], ["9", "2"], ["ann", "1"], ["9", "2"]]
    assert table.place(3) == ("plays/part-001.csv.gz", 3)


def test_parts_with_other_columns_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "part-0.csv").write_text("user_id,movie_id\n1,2\n")
    (tmp_path / "part-1.csv").write_text("user_id,rating\n1,2\n")
    assert problem_of(tmp_path)[0].endswith("/part-1.csv")


def test_every_column_is_kept_as_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "movies.csv"
    path.write_text(
        'movie_id,Country,"minutes, all",\n1,FR,90,x\n2,"Korea, South",,y\n', encoding="utf-8"
    )
    table = read(path)
    assert list(table.frame) == ["movie_id", "Country", "minutes, all", "column 4"]
    assert rows(table) == [["1", "FR", "90", "x"], ["2", "Korea, South", "", "y"]]


@pytest.mark.parametrize(
    "texts",
    [
        ["1", "2", "3"],
        ["-5", "0", "9223372036854775807"],
        ["1", "007"],
        ["1", "-0"],
        ["0x10", "1"],
        ["1", "+7"],
        ["1", " 7"],
        ["1", ""],
        ["1", "9223372036854775808"],
        ["3.50", "3.5"],
    ],
)
def test_what_a_file_says_is_never_lost(texts: list[str]) -> None:
    content = "".join(f"x,{text}\n" for text in texts).encode()
    frame = regular_columns(io.BytesIO(content), ["a", "b"], ",", skip=0, quotes=True)
    assert frame is not None
    assert frame["b"].astype(str).to_list() == texts
    assert (frame["b"].dtype == np.int64) == all(
        text.lstrip("-").isdigit() and str(int(text)) == text and int(text) < 2**63
        for text in texts
    )


def test_numbers_that_turn_to_texts_late_stay_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK", 256)
    monkeypatch.setattr(stream, "PENDING", 10)
    texts = [*map(str, range(500)), "x7", *map(str, range(200))]
    content = "".join(f"{text}\n" for text in texts).encode()
    frame = regular_columns(io.BytesIO(content), ["a"], ",", skip=0, quotes=True)
    assert frame is not None
    assert frame["a"].astype(str).to_list() == texts
    assert frame["a"].cat.categories.is_unique


def test_texts_that_hardly_come_again_are_kept_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "MANY", 10)
    texts = [f"x{row}" for row in range(100)]
    content = "".join(f"{text}\n" for text in texts).encode()
    frame = regular_columns(io.BytesIO(content), ["a"], ",", skip=0, quotes=True)
    assert frame is not None
    assert not isinstance(frame["a"].dtype, pd.CategoricalDtype)
    assert plain_texts(frame["a"]).to_list() == texts


@pytest.mark.parametrize(
    "content",
    [
        b"1,2\n\n3,4\n",
        b'1,"a\nb"\n3,4\n',
        b"1,2\n3\n",
        b"1,2\n3,4,5\n",
        b'1,"2\n3,4\n',
        b"1,\0\n",
        b"1,\xff\n",
        b"1,\xef\xbf\xbd\n",
        b"",
    ],
)
def test_irregular_text_is_left_to_the_careful_reader(content: bytes) -> None:
    assert regular_columns(io.BytesIO(content), ["a", "b"], ",", skip=0, quotes=True) is None


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_ends_of_lines_are_counted_over_blocks(end: str) -> None:
    class Slow(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            return super().read(3)

    content = (end or "\n").join(["1,2", "3,4", "5,6"]) + end * 3
    frame = regular_columns(Slow(content.encode()), ["a", "b"], ",", skip=0, quotes=True)
    assert frame is not None
    assert frame["b"].to_list() == [2, 4, 6]


def test_a_bomb_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "UNPACKED", 100_000)
    content = b"user_id,movie_id\n" + b"1,1\n" * 3_000_000
    for packing in (".gz", ".zst", ".zip"):
        path = tmp_path / f"ratings.csv{packing}"
        path.write_bytes(PACKED[packing](content))
        assert "unpacks to more than" in problem_of(path)[2]


@pytest.mark.parametrize("cut", [5, 30, -4])
@pytest.mark.parametrize("packing", [".gz", ".zst", ".zip"])
def test_a_damaged_packing_is_a_line(tmp_path: Path, packing: str, cut: int) -> None:
    content = TEXT.encode() * 50
    whole = PACKED[packing](content)
    path = tmp_path / f"ratings.csv{packing}"
    path.write_bytes(whole[:cut])
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).isprintable()


def test_a_zip_of_several_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv.zip"
    path.write_bytes(zipped(b"user_id\n1\n", "a.csv", "b.csv"))
    assert problem_of(path)[2] == "a zip archive of 2 files"


def test_json_lines_of_mixed_types_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines: list[dict[str, object]] = [
        {"user_id": 12345678901234567890, "movie_id": "a", "liked": True},
        {"user_id": "x", "movie_id": 7, "tags": ["A", None, "B"]},
        {"movie_id": 1.5, "liked": None, "extra": {"b": 1}},
    ]
    path.write_text("".join(json.dumps(line) + "\n\n" for line in lines))
    table = read(path)
    assert rows(table) == [
        ["12345678901234567890", "a", "true", "", ""],
        ["x", "7", "", "A|B", ""],
        ["", "1.5", "", "", '{"b": 1}'],
    ]
    assert list(table.lines) == [1, 3, 5]
    assert table.lists == {"tags"}


def test_regular_json_lines_have_types(tmp_path: Path) -> None:
    path = tmp_path / "movies.jsonl"
    path.write_text(
        '{"id": 1, "genres": ["A", "B"], "hd": true, "meta": {"x": 1}, "when": "2016-02-10"}\n'
        '{"id": 2, "genres": [], "hd": false, "meta": null, "when": "2016-02-11"}\n'
    )
    table = read(path)
    assert rows(table)[0][:3] == ["1", "A|B", "true"]
    assert table.frame["id"].dtype == np.int64
    assert table.lists == {"genres"}
    assert table.unread == {"meta": "of type struct<x: int64>"}


@pytest.mark.parametrize("line", ["{", "[1]", "7", '{"a": NaN', "\ufffd"])
def test_a_line_that_is_no_json_object_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'{{"user_id": 1}}\n{line}\n', encoding="utf-8")
    assert problem_of(path)[:3] == ("events.jsonl", 2, "line is no JSON object")


def test_one_json_list_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_text('[\n{"user_id": 1}\n]\n')
    assert problem_of(path)[2] == "one JSON list"


def test_columns_of_parquet_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "movies.parquet"
    columns = {
        "a": pa.array([1, None]),
        "b": pa.array([1.5, 2]),
        "c": pa.array(["x", None]),
        "d": pa.array([dt.date(2016, 2, 10), None]),
        "e": pa.array([True, False]),
        "f": pa.array([["x", "y"], None]),
        "g": pa.array([{"x": 1}, None]),
    }
    pq.write_table(pa.table(columns), path)
    table = read(path)
    assert rows(table) == [
        ["1", "1.5", "x", "2016-02-10T00:00:00", "true", "x|y"],
        ["", "2", "", "", "false", ""],
    ]
    assert table.lists == {"f"}
    assert table.unread == {"g": "of type struct<x: int64>"}


@pytest.mark.parametrize(
    ("name", "stem", "ending"),
    [
        ("ratings.csv", "ratings", ".csv"),
        ("ratings.CSV.GZ", "ratings", ".csv"),
        ("a.b.jsonl.zst", "a.b", ".jsonl"),
        ("export.zip", "export", ".zip"),
        ("README.md", "README.md", ""),
    ],
)
def test_names_say_how_files_are_to_be_read(name: str, stem: str, ending: str) -> None:
    assert form_of(Path(name)) == (stem, ending)
