"""Which table and which column is what, by names, by joining, and as one says."""

from collections.abc import Sequence

import pandas as pd
import pytest

from retrieval.data.report import Report
from retrieval.data.roles import Columns, Role, found_columns, role_of
from retrieval.data.table import Table
from retrieval.errors import DataError, RequestError


def table(file: str, **columns: Sequence[object]) -> Table:
    frame = pd.DataFrame(columns)
    return Table(file, frame, range(2, len(frame) + 2), ",".join(columns))


def taken(
    tables: dict[Role, Table], said: dict[str, str] | None = None
) -> dict[Role, dict[str, str]]:
    report = Report()
    found = found_columns(tables, Columns(said or {}), report)
    report.raise_any()
    return {role: each.taken for role, each in found.items()}


def events(**columns: Sequence[object]) -> dict[Role, Table]:
    return {Role.EVENTS: table("events.csv", **columns)}


@pytest.mark.parametrize("user", ["user_id", "userId", "User", "VIEWER", "customer-id", "UID"])
@pytest.mark.parametrize("movie", ["movieId", "item id", "Video", "asin", "content_id", "title_id"])
def test_usual_names_are_recognised_however_they_are_written(user: str, movie: str) -> None:
    [found] = taken(events(**{user: [1, 2], movie: [7, 8], "x": [0, 1]})).values()
    assert (found["user_id"], found["movie_id"]) == (user, movie)


@pytest.mark.parametrize(
    ("names", "rating", "time"),
    [
        (("stars", "watched_at"), "stars", "watched_at"),
        (("progress", "score", "ts"), "score", "ts"),
        (("progress", "ended_at", "started_at"), "progress", "started_at"),
        (("thumbs", "created_at", "date"), "thumbs", "date"),
    ],
)
def test_the_likeliest_rating_and_time_are_taken(
    names: tuple[str, ...], rating: str, time: str
) -> None:
    columns: dict[str, list[object]] = {name: [1] for name in names}
    [found] = taken(events(user_id=[1], movie_id=[2], **columns)).values()
    assert (found["rating"], found["timestamp"]) == (rating, time)


@pytest.mark.parametrize(
    ("file", "names", "role"),
    [
        ("a.csv", ("viewer", "video", "x"), Role.EVENTS),
        ("a.csv", ("title_id", "name"), Role.MOVIES),
        ("a.csv", ("member", "plan"), Role.USERS),
        ("a.csv", ("id", "title", "genres"), Role.MOVIES),
        ("a.csv", ("id", "gender", "age"), Role.USERS),
        ("viewers.csv", ("id", "plan"), Role.USERS),
        ("titles.parquet", ("id", "minutes"), Role.MOVIES),
        ("customers.csv.gz", ("customer_id", "title"), Role.USERS),
        ("plays.csv", ("customer_id", "title"), Role.EVENTS),
        ("a.csv", ("x", "y"), None),
    ],
)
def test_tables_are_told_by_their_columns_and_by_name(
    file: str, names: tuple[str, ...], role: Role | None
) -> None:
    assert role_of(table(file, **{name: [1, 2] for name in names}), Columns({})) == role


def test_two_columns_that_may_be_the_id_are_told_apart_by_joining() -> None:
    tables = events(account_id=["a", "b"], profile_id=["x", "y"], show_id=[1, 2])
    tables[Role.USERS] = table("users.csv", id=["x", "y", "z"])
    assert taken(tables)[Role.EVENTS]["user_id"] == "profile_id"


def test_two_columns_that_may_be_the_id_are_a_problem_otherwise() -> None:
    with pytest.raises(DataError) as caught:
        taken(events(account_id=["a"], profile_id=["x"], movie_id=[1]))
    [problem] = caught.value.problems
    assert problem.what == "2 columns may be the user_id"
    assert problem.value == "account_id, profile_id"
    assert "--columns user_id=" in problem.remedy


def test_what_is_said_wins() -> None:
    tables = events(user_id=[1], viewer=[2], movie_id=[3], rating=[4])
    said = {"user_id": "viewer", "rating": "-"}
    [found] = taken(tables, said).values()
    assert (found["user_id"], found["rating"]) == ("viewer", "-")


def test_a_name_of_one_table_is_said_with_it() -> None:
    tables = events(who=["a"], movie_id=[3]) | {Role.USERS: table("u.csv", key=["a"], who=["A"])}
    said = {"events.user_id": "who", "users.user_id": "key"}
    assert [each["user_id"] for each in taken(tables, said).values()] == ["who", "key"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"user": "viewer"}, "did you mean user_id"),
        ({"event.user_id": "viewer"}, "did you mean events"),
        ({"events.title": "x"}, "unknown column 'title'"),
        ({"events.user_id": "vewer"}, "did you mean viewer"),
        ({"user_id": "movie_id"}, "said to be two things"),
    ],
)
def test_what_cannot_be_said_is_told(said: dict[str, str], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        taken(events(viewer=[1], movie_id=[2]), said)


def test_a_column_that_is_nowhere_is_told() -> None:
    with pytest.raises(RequestError, match="did you mean viewer"):
        Columns({"user_id": "vewer"}).check([table("a.csv", viewer=[1])])
