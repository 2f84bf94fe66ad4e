import gzip
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.cli.requests import (
    early_times,
    in_words,
    parse_history,
    read_history_file,
    read_movie_ids,
    read_pairs,
    read_users,
    sift,
)
from retrieval.data.times import NO_TIME
from retrieval.errors import DataError, RecError, RequestError
from retrieval.options import Unknown
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person


def test_histories_are_read_with_and_without_times() -> None:
    assert parse_history("1193:5, 661:3.5@978300760") == (
        [Event("1193", 5.0), Event("661", 3.5, 978300760)],
        False,
    )
    for time in ("2000-12-31T22:12:40", "978300760000", "978300760000000000"):
        assert parse_history(f"1193:5@{time}") == ([Event("1193", 5.0, 978300760)], False)
    assert parse_history("1193:5@7") == ([Event("1193", 5.0, 7)], False)
    assert parse_history("+2571:4") == ([Event("2571", 4.0)], True)
    assert parse_history("tt:1:4") == ([Event("tt:1", 4.0)], False)
    assert parse_history("tt1, tt2@7") == ([Event("tt1"), Event("tt2", None, 7)], False)
    assert parse_history("") == ([], False)


@pytest.mark.parametrize(
    "text",
    [
        *("1193:", ":5", "1:5,,2:3", "1:5,", "1:5@noon", "1:5@"),
        *("1:5@99999999999999999999", "1:5@500000000", "1:five", "1:5\x1b[31m"),
    ],
)
def test_a_malformed_history_is_named_with_the_remedy(text: str) -> None:
    with pytest.raises(RequestError, match="write movie:rating pairs") as caught:
        parse_history(text)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    ["1193", "a:5", "1;5", "1_0:5", "1.5:5", "99999999999999999999:5",
     "\N{FULLWIDTH DIGIT ONE}:5", "9" * 10_000 + ":5"],
)  # fmt: skip
def test_a_history_of_what_a_run_cannot_know_is_refused(
    recommender: Recommender, text: str
) -> None:
    events, _ = parse_history(text)
    with pytest.raises(
        RequestError, match=r"is no id; ids are whole|has no rating; ratings run from"
    ):
        recommender.topk(Person(history=events))


def test_files_are_read_by_the_names_of_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("timestamp,movie_id,other,user_id\n30,2,x,1\n\n40,4,y,3\n")
    pairs = read_pairs(path)
    assert pairs.users.tolist() == [1, 3]
    assert pairs.movies.tolist() == [2, 4]
    assert pairs.times is not None
    assert pairs.times.tolist() == [30, 40]
    path.write_text("user_id\n5\n")
    users = read_users(path)
    assert users.users.tolist() == [5]
    assert users.times is None


def test_parquet_is_read_as_the_same_questions_in_csv_are(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    moment = datetime(1980, 12, 31, 1, tzinfo=UTC)  # in seconds it would be a day of no calendar
    times = pa.array([moment, None], pa.timestamp("us", tz="UTC"))
    users = pa.array([3.0, 1.0])  # as pandas has whole numbers where some are missing
    columns = {"movie_id": pa.array([2, 2**53 + 1]), "user_id": users, "timestamp": times}
    pq.write_table(pa.table(columns | {"note": pa.array(["x", "y"])}), path)
    pairs = read_pairs(path)
    assert pairs.users.tolist() == [3, 1]
    assert pairs.movies.tolist() == [2, 2**53 + 1]
    assert pairs.times is not None
    assert pairs.times.tolist() == [int(moment.timestamp()), NO_TIME]
    assert pairs.lines.tolist() == [1, 2]


def test_rows_of_parquet_that_are_no_questions_are_named(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pq.write_table(pa.table({"user_id": pa.array([5, None])}), path)
    with pytest.raises(DataError, match=r"users\.parquet:2: bad user_id: ''"):
        read_users(path)
    pq.write_table(pa.table({"viewer": pa.array(["a"])}), path)
    with pytest.raises(RequestError, match="lacks the column user_id; it has: viewer"):
        read_users(path)
    pq.write_table(pa.table({"user_id": pa.array([1, 2], pa.duration("s"))}), path)
    with pytest.raises(RequestError, match=r"cannot be used: user_id \(of type duration"):
        read_users(path)
    assert read_users(_texts_of(path, ["a", "b"]), ["user_id"]).users.tolist() == ["a", "b"]
    path.write_bytes(b"no Parquet")
    with pytest.raises(DataError, match="not a readable parquet file"):
        read_users(path)


def _texts_of(path: Path, ids: list[str]) -> Path:
    pq.write_table(pa.table({"user_id": pa.array(ids)}), path)
    return path


def test_histories_of_many_users_keep_the_order_of_the_file(
    recommender: Recommender, tmp_path: Path
) -> None:
    path = tmp_path / "file.csv"
    path.write_text("user_id,movie_id,rating,timestamp\n1,2,3.5,9\n4,5,1,8\n1,3,2,7\n")
    assert read_history_file(path, recommender.run).events == {
        1: [Event(2, 3.5, 9), Event(3, 2.0, 7)],
        4: [Event(5, 1.0, 8)],
    }


def test_every_bad_line_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("user_id,movie_id\n1,x\n1\n2.5,3\n1,1\n")
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4]
    assert "pairs.csv:2: bad movie_id: 'x'" in str(caught.value)


def test_a_missing_column_or_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("user,movie\n1,2\n")
    with pytest.raises(RequestError, match="lacks the column user_id, movie_id"):
        read_pairs(path)
    with pytest.raises(RequestError, match="cannot be read"):
        read_pairs(tmp_path / "nothing.csv")


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "user_id,note\n42,x\n7,y\n",
        "\ufeffuser_id,note\r\n42,x\r\n7,y\r\n",
        "user_id,note\r42,x\r7,y\r",
        'note,user_id\n"a\nb",42\n"c,d",7\n',
        "user_id,note\n42,a\u0085b\u2028c\x0cd\n7,x",
        " user_id ,,\n 42 ,,\n\n7.0,,\n",
    ],
)
def test_files_are_read_as_programs_and_people_write_them(tmp_path: Path, text: str) -> None:
    assert read_users(write(tmp_path / "users.csv", text)).users.tolist() == [42, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line must name user_id"),
        ("\n\n", "is empty"),
        ("user_id;timestamp\n42;1\n", "separated by commas, not by ';'"),
        ("user_id\ttimestamp\n", r"separated by commas, not by '\\t'"),
        ("user_id,user_id\n42,7\n", "has the column user_id twice"),
        ("user_id,timestamp,timestamp\n42,7,8\n", "has the column timestamp twice"),
        ('user_id,note\n42,x\n7,"y\n8,z\n', r"users\.csv:3: unexpected end of data"),
        ("user_id,note\n42," + "x" * 200_000 + "\n", "users.csv:2: field larger than"),
        (b"user_id,note\n42,x\n7,caf\xe9\n", "users.csv:3: cannot be read: byte 0xe9"),
        ("user_id\n42\n".encode("utf-16"), "users.csv:1: cannot be read"),
        (gzip.compress(b"user_id\n42\n", mtime=0), "save the file as CSV text in UTF-8"),
    ],
)
def test_what_is_no_table_of_questions_is_said_on_one_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read_users(write(tmp_path / "users.csv", text))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "value",
    ["99999999999999999999", "1.5", "nan", "inf", "1_000", "x", "", "\N{FULLWIDTH DIGIT ONE}",
     "1\x1b[31m", "9" * 9000, "1\0"],
)  # fmt: skip
def test_what_is_no_id_is_named_with_its_line(tmp_path: Path, value: str) -> None:
    for read, name in ((read_users, "user_id"), (read_movie_ids, "movie_id")):
        path = write(tmp_path / "file.csv", f"{name},other\n1,a\n{value},b\n")
        with pytest.raises(DataError, match=f"^file.csv:3: bad {name}: ") as caught:
            read(path)
        assert str(caught.value).endswith("; give a whole number of at most 18 digits")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


def test_times_of_any_unit_become_seconds_and_an_empty_one_is_none(
    recommender: Recommender, tmp_path: Path
) -> None:
    times = ["978300760", "978300760000", "2000-12-31 22:12:40", "", "7"]
    rows = "".join(f"{user},{time}\n" for user, time in enumerate(times))
    users = read_users(write(tmp_path / "users.csv", f"user_id,timestamp\n{rows}"))
    assert users.times is not None
    assert users.times.tolist() == [978_300_760] * 3 + [NO_TIME, 7]
    assert users.lines.tolist() == [2, 3, 4, 5, 6]
    text = "user_id,movie_id,rating,timestamp\n1,2,3,978300760000\n1,3,4,\n"
    assert read_history_file(write(tmp_path / "histories.csv", text), recommender.run).events == {
        1: [Event(2, 3.0, 978_300_760), Event(3, 4.0)]
    }
    text = "user_id,movie_id,rating\n1,2,3\n"
    bare = read_history_file(write(tmp_path / "bare.csv", text), recommender.run)
    assert bare.events == {1: [Event(2, 3.0)]}
    with pytest.raises(DataError, match=r"users\.csv:2: bad timestamp: 'soon'"):
        read_users(write(tmp_path / "users.csv", "user_id,timestamp\n1,soon\n"))


def test_a_pipe_into_which_nobody_writes_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    said: list[str] = []

    def read() -> None:
        with pytest.raises(RequestError) as caught:
            read_users(tmp_path / "pipe")
        said.append(str(caught.value))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(30)
    assert said[0].endswith("it is a pipe into which nobody writes")


def test_a_place_that_is_no_file_is_said(tmp_path: Path) -> None:
    for path, message in {
        tmp_path: "Is a directory",
        tmp_path / "none": "No such file",
        Path("/dev/zero"): "it is a device",
        tmp_path / ("x" * 300): "File name too long",
        Path("nul\0"): "null (byte|character)",
    }.items():
        with pytest.raises(RecError, match=f"cannot be read: .*{message}"):
            read_users(path)


def test_what_a_pipe_gives_is_read() -> None:
    read, written = os.pipe()
    os.write(written, b"user_id\n42\n")
    os.close(written)
    assert read_users(Path(f"/dev/fd/{read}")).users.tolist() == [42]
    os.close(read)


QUESTIONS = "user_id,movie_id\n3,5\n99999,5\n4,77777\n99999,6\n5,77777\n6,5\n7,5\n"
HISTORIES = "user_id,movie_id,rating,timestamp\n6,1,5,10\n6,2,99,11\n7,1,5,10\n8,1,5,10\n"


def test_questions_about_what_a_run_does_not_know_are_left_out_with_their_lines(
    recommender: Recommender, tmp_path: Path
) -> None:
    path = write(tmp_path / "pairs.csv", QUESTIONS)
    given = read_history_file(write(tmp_path / "given.csv", HISTORIES), recommender.run)
    asked = read_pairs(path)
    found = sift(recommender.run, path, asked, given, Unknown.SKIP)
    assert asked.users[found.kept].tolist() == [3, 7]
    assert found.histories == {7: [Event(1, 5.0, 10)]}
    said = [str(problem) for problem in found.problems]
    assert said[0].startswith("given.csv:3: bad history of user: '6'; rating 99 of movie 2")
    assert said[1].startswith("pairs.csv:3: unknown user: '99999'")
    assert said[2].startswith("pairs.csv:4: unknown movie: '77777'")
    assert len(said) == 3
    new = sift(recommender.run, path, asked, given, Unknown.NEW)
    assert asked.users[new.kept].tolist() == [3, 99999, 99999, 7]
    assert new.histories[99999] == []
    with pytest.raises(DataError, match="unknown user: '99999'") as caught:
        sift(recommender.run, path, asked, given, Unknown.ERROR)
    assert len(caught.value.problems) == 3


def test_a_year_in_a_column_of_times_is_not_silently_a_second(
    recommender: Recommender, tmp_path: Path
) -> None:
    users = read_users(write(tmp_path / "users.csv", "user_id,timestamp\n1,2000\n2,\n3,2001\n"))
    told = read_history_file(
        write(tmp_path / "told.csv", "user_id,movie_id,rating,timestamp\n1,5,3,1999\n1,6,3,\n"),
        recommender.run,
    )
    [said] = early_times(recommender.run, users, told)
    assert said.startswith("3 timestamps, 2000 the first, are taken for seconds since 1970")
    dated = read_users(write(tmp_path / "users.csv", "user_id,timestamp\n1,2000-01-01\n2,\n"))
    assert early_times(recommender.run, dated, None) == []
    assert early_times(recommender.run, dated._replace(times=None), None) == []


def test_of_many_that_are_left_out_a_few_are_named(
    recommender: Recommender, tmp_path: Path
) -> None:
    text = "user_id\n" + "".join(f"{user}\n" for user in range(10_000, 10_100))
    path = write(tmp_path / "users.csv", text)
    found = sift(recommender.run, path, read_users(path), None, Unknown.SKIP)
    lines = in_words(found.problems)
    assert len(lines) == 6
    assert lines[0].startswith("left out: users.csv:2: unknown user: '10000'")
    assert lines[-1] == "left out: 95 more users or movies"
