from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from retrieval.data.checks import Table, checked
from retrieval.data.frames import MovieData
from retrieval.errors import DataError, Problem
from retrieval.report import MOST_OF_A_KIND, Report
from retrieval.scale import scale_of

HEADER_LINES = 1


def table(file: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return text as a reader gives it, below one line of header."""
    frame = pd.DataFrame([[str(value) for value in row] for row in rows], columns=list(columns))
    return Table(file, frame, np.arange(len(rows)) + 1 + HEADER_LINES)


def ratings_table(*rows: tuple[object, ...]) -> Table:
    return table("ratings.csv", ("user_id", "movie_id", "rating", "timestamp"), rows)


def movies_table(*rows: tuple[object, ...]) -> Table:
    return table("movies.csv", ("movie_id", "title"), rows)


def check(ratings: Table, movies: Table | None = None, users: Table | None = None) -> MovieData:
    movies = movies or movies_table((1, "Heat"), (2, "Toy Story"), (3, "Alien"))
    return checked(ratings, movies, users, Report())


def problems_of(
    ratings: Table, movies: Table | None = None, users: Table | None = None
) -> tuple[Problem, ...]:
    with pytest.raises(DataError) as caught:
        check(ratings, movies, users)
    return caught.value.problems


def told(problems: Sequence[Problem]) -> list[tuple[str, int | None, str, str]]:
    return [(problem.file, problem.line, problem.what, problem.value) for problem in problems]


SOUND = ((1, 1, 5, 10), (1, 2, 3, 20))


def test_sound_tables_pass() -> None:
    data = check(ratings_table(*SOUND))
    assert data.ratings["rating"].to_list() == [5, 3]
    assert data.movies["title"].to_list() == ["Heat", "Toy Story", "Alien"]


@pytest.mark.parametrize(
    ("row", "what", "value"),
    [
        ((2, 1, "good", 5), "rating is no number", "good"),
        ((2, 1, "nan", 5), "rating is no number", "nan"),
        ((2, 1, "inf", 5), "rating is no number", "inf"),
        ((2, 9, 4, 5), "rating of an unknown movie", "9"),
        ((1, 1, 4, 5), "the user has already rated this movie", "1"),
        ((2, 1, 4, -5), "negative timestamp", "-5"),
        ((2, 1, 4, 5.5), "timestamp is no whole number", "5.5"),
        ((2, 1, 4, "noon"), "timestamp is no whole number", "noon"),
        (("ann", 1, 4, 5), "user_id is no whole number", "ann"),
        ((2, 1.5, 4, 5), "movie_id is no whole number", "1.5"),
        ((-2, 1, 4, 5), "negative user_id", "-2"),
        ((2**64, 1, 4, 5), "user_id is no whole number", str(2**64)),
    ],
)
def test_each_mistake_in_a_rating_is_told_once_with_its_line_and_value(
    row: tuple[object, ...], what: str, value: str
) -> None:
    assert told(problems_of(ratings_table(*SOUND, row))) == [("ratings.csv", 4, what, value)]


def test_every_problem_names_a_remedy() -> None:
    rows = [(1, 1, "x", -1), ("y", 9, 3, 2), (1, 1, 4, "z")]
    assert all(problem.remedy for problem in problems_of(ratings_table(*SOUND, *rows)))


def test_a_few_ratings_outside_the_scale_of_the_others_are_problems() -> None:
    rows: list[tuple[object, ...]] = [(user, 1, 1 + user % 5, 10) for user in range(2_000)]
    rows[7] = (7, 1, 11, 10)
    rows[9] = (9, 1, 2.5, 10)
    assert told(problems_of(ratings_table(*rows))) == [
        ("ratings.csv", 9, "rating outside the scale", "11"),
        ("ratings.csv", 11, "rating outside the scale", "2.5"),
    ]


@pytest.mark.parametrize(
    ("ratings", "scale"),
    [
        ([1, 2, 5], (1, 5, 1)),
        ([0.5, 5], (0.5, 5, 0.5)),
        ([1, 3.5], (0.5, 5, 0.5)),
        ([1, 10], (1, 10, 1)),
        ([0.5, 10], (0.5, 10, 0.5)),
        ([0, 73], (0, 100, 1)),
        ([-2, 0, 1], (-2, 1, 1)),
        ([0.1, 0.4, 0.2], (0.1, 0.4, 0.1)),
        ([3, 3], (1, 5, 1)),
        ([1, 5, np.nan, np.inf], (1, 5, 1)),
    ],
)
def test_the_scale_is_the_narrowest_usual_one_that_fits(
    ratings: list[float], scale: tuple[float, float, float]
) -> None:
    found = scale_of(np.array(ratings, dtype=float))
    assert found is not None
    assert (found.lowest, found.highest, found.step) == pytest.approx(scale)


def test_one_stray_rating_in_a_thousand_does_not_widen_the_scale_but_two_do() -> None:
    stars = np.tile([1.0, 2, 3, 4, 5], 200)
    stars[0] = 10
    one = scale_of(stars)
    stars[5] = 10
    two = scale_of(stars)
    assert one is not None
    assert two is not None
    assert (one.highest, two.highest) == (5, 10)


def test_movies_and_users_come_once() -> None:
    movies = movies_table((1, "Heat"), (2, "Toy Story"), (1, "Heat again"))
    users = table("users.csv", ("user_id",), [(4,), (4,)])
    assert told(problems_of(ratings_table(*SOUND), movies, users)) == [
        ("movies.csv", 4, "movie_id comes twice", "1"),
        ("users.csv", 3, "user_id comes twice", "4"),
    ]


def test_all_missing_columns_are_told_at_once() -> None:
    ratings = table("ratings.csv", ("user_id", "stars"), [(1, 2)])
    movies = table("movies.csv", ("movie_id",), [(1,)])
    whats = [problem.what for problem in problems_of(ratings, movies)]
    assert whats == [
        "column movie_id is missing",
        "column rating is missing",
        "column timestamp is missing",
        "column title is missing",
    ]


def test_empty_tables_are_problems() -> None:
    assert told(problems_of(ratings_table(), movies_table())) == [
        ("ratings.csv", None, "no rows", ""),
        ("movies.csv", None, "no rows", ""),
    ]


def test_of_many_problems_of_a_kind_the_first_are_shown_and_the_rest_counted() -> None:
    rows = [(user, 9, 3, 10) for user in range(MOST_OF_A_KIND + 1_234)]
    problems = problems_of(ratings_table(*rows))
    assert len(problems) == MOST_OF_A_KIND + 1
    assert [problem.line for problem in problems[:-1]] == list(range(2, 2 + MOST_OF_A_KIND))
    assert (problems[-1].value, problems[-1].line) == ("1,234 more", None)


def test_one_kind_does_not_crowd_out_another() -> None:
    rows: list[tuple[object, ...]] = [(user, 9, 3, 10) for user in range(100)]
    kinds = {problem.what for problem in problems_of(ratings_table(*rows, (500, 1, 3, -1)))}
    assert kinds == {"rating of an unknown movie", "negative timestamp"}


def test_users_without_ratings_and_ratings_without_users_are_normal() -> None:
    users = table("users.csv", ("user_id", "gender", "age", "occupation"), [(77, "F", "", "")])
    data = check(ratings_table(*SOUND), users=users)
    assert data.users["user_id"].to_list() == [77]
    assert data.users["age"].isna().all()


@pytest.mark.parametrize("age", ["-1", "131", "old"])
def test_impossible_ages_are_problems(age: str) -> None:
    users = table("users.csv", ("user_id", "age"), [(1, age)])
    expected = [("users.csv", 2, "impossible age", age)]
    assert told(problems_of(ratings_table(*SOUND), users=users)) == expected


@pytest.mark.parametrize("year", ["95", "1995.5", "soon"])
def test_impossible_years_are_problems(year: str) -> None:
    movies = table("movies.csv", ("movie_id", "title", "year"), [(1, "A", year), (2, "B", "")])
    expected = [("movies.csv", 2, "impossible year", year)]
    assert told(problems_of(ratings_table(*SOUND), movies)) == expected
