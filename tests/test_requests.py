from pathlib import Path

import pytest

from retrieval.audience import Event
from retrieval.errors import DataError, RequestError
from retrieval.requests import (
    parse_history,
    read_histories,
    read_pairs,
    read_users,
    write_answers,
)


def test_histories_are_read_with_and_without_times() -> None:
    assert parse_history("1193:5, 661:3.5@978300760") == (
        [Event(1193, 5.0), Event(661, 3.5, 978300760)],
        False,
    )
    assert parse_history("+2571:4") == ([Event(2571, 4.0)], True)
    assert parse_history("") == ([], False)


@pytest.mark.parametrize("text", ["1193", "1193:", ":5", "a:5", "1:5,,2:3", "1:5@noon", "1;5"])
def test_a_malformed_history_is_named_with_the_remedy(text: str) -> None:
    with pytest.raises(RequestError, match="write movie:rating pairs"):
        parse_history(text)


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


def test_histories_of_many_users_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("user_id,movie_id,rating,timestamp\n1,2,3.5,9\n4,5,1,8\n1,3,2,7\n")
    assert read_histories(path) == {
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


def test_answers_are_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    write_answers(out, ("a", "b"), iter([(1, "x"), (2, "y")]))
    assert out.read_text() == "a,b\n1,x\n2,y\n"
    with pytest.raises(ZeroDivisionError):
        write_answers(out, ("a",), (((1 // row),) for row in (1, 0)))
    assert out.read_text() == "a,b\n1,x\n2,y\n"
