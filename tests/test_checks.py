from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from retrieval.data.checks import Wanted, checked
from retrieval.data.frames import MovieData
from retrieval.data.report import MOST_OF_A_KIND, Report
from retrieval.data.scale import scale_of
from retrieval.data.table import Table
from retrieval.errors import DataError, Problem
from retrieval.options import Repeats

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
    return checked(ratings, movies, users, Report(), Wanted())


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
        ((2, 1, 4, -5), "negative timestamp", "-5"),
        ((2, 1, 4, 5.5), "timestamp is no whole number", "5.5"),
        ((2, 1, 4, "noon"), "timestamp is no whole number", "noon"),
        (("", 1, 4, 5), "user_id is no whole number", ""),
        ((2, "null", 4, 5), "movie_id is no whole number", "null"),
    ],
)
def test_each_mistake_in_a_rating_is_told_once_with_its_line_and_value(
    row: tuple[object, ...], what: str, value: str
) -> None:
    assert told(problems_of(ratings_table(*SOUND, row))) == [("ratings.csv", 4, what, value)]


def test_one_id_in_a_hundred_that_is_no_whole_number_is_a_slip_with_its_line() -> None:
    rows: list[tuple[object, ...]] = [(user, 1, 1 + user % 5, 10) for user in range(200)]
    rows[7] = ("ann", 1, 4, 10)
    assert told(problems_of(ratings_table(*rows))) == [
        ("ratings.csv", 9, "user_id is no whole number", "ann")
    ]


@pytest.mark.parametrize("user", ["ann", "1.5", "0x10", "1_0", "\u0663", "1e400", "007", 2**63])
def test_ids_of_which_more_are_no_whole_numbers_are_texts_as_they_are(user: object) -> None:
    data = check(ratings_table(*SOUND, (f" {user} ", 1, 4, 5)))
    assert data.ratings["user_id"].to_list() == ["1", "1", str(user)]
    assert data.ratings["user_id"].dtype == "str"


def test_one_code_such_as_007_makes_all_ids_texts() -> None:
    rows: list[tuple[object, ...]] = [(user, 1, 1 + user % 5, 10) for user in range(10, 300)]
    ids = check(ratings_table(*rows, ("007", 1, 3, 10), ("7", 1, 3, 10))).ratings["user_id"]
    assert ids.to_list()[-2:] == ["007", "7"]


@pytest.mark.parametrize(
    ("user", "what"),
    [
        ("", "user_id is missing"),
        ("NaN", "user_id is missing"),
        ("x" * 201, "user_id is longer than 200 letters"),
        ("a\x1b[2J", "user_id holds control characters"),
    ],
)
def test_each_mistake_in_an_id_that_is_a_text_is_told(user: str, what: str) -> None:
    rows = [("ann", 1, 4, 5), ("bob", 1, 4, 5), (user, 1, 4, 5)]
    [problem] = problems_of(ratings_table(*rows))
    assert (problem.line, problem.what) == (4, what)


def test_negative_ids_and_ids_of_64_bits_are_whole_numbers() -> None:
    data = check(ratings_table((-2, 1, 4, 5), (2**63 - 1, 2, 4, 5)))
    assert data.ratings["user_id"].to_list() == [-2, 2**63 - 1]


def test_ids_of_one_table_that_are_texts_make_those_of_the_other_so_where_they_join() -> None:
    movies = movies_table((1, "Heat"), (2, "Alien"), ("tt7", "Up"))
    data = check(ratings_table(*SOUND), movies)
    assert data.ratings["movie_id"].to_list() == ["1", "2"]
    assert data.movies["movie_id"].to_list() == ["1", "2", "tt7"]


def test_ids_of_two_kinds_that_do_not_join_are_shown() -> None:
    movies = movies_table(("tt1", "Heat"), ("tt2", "Alien"))
    [problem, *_] = problems_of(ratings_table(*SOUND), movies)
    assert problem.what == "movie_id does not join with that of movies.csv"
    assert problem.value == "1"
    assert "texts such as 'tt1'" in problem.remedy


def test_up_to_half_of_the_events_may_be_of_movies_that_are_added() -> None:
    data = check(ratings_table(*SOUND, (2, 9, 4, 5)))
    assert data.movies["title"].to_list() == ["Heat", "Toy Story", "Alien", "9"]
    [note] = [note for note in data.notes if "does not have" in note]
    assert note.startswith("ratings.csv: 1 events are of 1 movies that movies.csv does not have")
    assert "line 4, 9" in note


def test_more_events_of_unknown_movies_are_a_problem() -> None:
    [problem] = problems_of(ratings_table((1, 1, 5, 10), (1, 8, 3, 20), (2, 9, 4, 5)))
    assert (problem.line, problem.value) == (3, "8")
    assert problem.what == "events of unknown movies are 2 of 3"


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


def test_one_stray_rating_in_a_thousand_does_not_widen_the_scale_but_two_do() -> None:
    stars = np.tile([1.0, 2, 3, 4, 5], 200)
    stars[0] = 10
    one = scale_of(stars)
    stars[5] = 10
    two = scale_of(stars)
    assert one is not None
    assert two is not None
    assert (one.highest, two.highest) == (5, 10)


@pytest.mark.parametrize("wrong", [55, 978_300_760, -999, 1e300])
def test_one_mistake_among_few_ratings_is_told_with_its_line(wrong: float) -> None:
    rows: list[tuple[object, ...]] = [(user, 1, 1 + user % 5, 10) for user in range(150)]
    rows[70] = (70, 1, wrong, 10)
    [problem] = problems_of(ratings_table(*rows))
    assert (problem.line, problem.what) == (72, "rating outside the scale")
    assert problem.remedy == "the others are from 1 to 5 by 1; mend or drop the line"


def test_ratings_too_large_to_be_told_apart_are_problems() -> None:
    rows = [(user, 1, 978_300_760 + user, 10) for user in range(3)]
    whats = {problem.what for problem in problems_of(ratings_table(*rows))}
    assert whats == {"rating is too large"}


def test_ratings_that_are_all_the_same_are_one_level_and_a_note() -> None:
    data = check(ratings_table((1, 1, 5, 10), (1, 2, 5, 20)))
    assert (data.scale.classes, str(data.scale)) == (1, "5 alone")
    assert data.notes[0] == "ratings.csv: every rating is 5: they tell no taste"


def test_continuous_ratings_are_said() -> None:
    data = check(ratings_table((1, 1, 0.01, 10), (1, 2, 0.99, 20), (2, 1, 0.123456, 20)))
    assert data.scale.step is None
    assert "0.01 to 0.99, continuous" in data.notes[0]


def test_stars_that_are_none_are_on_a_scale_of_their_own() -> None:
    rows = [(user, 1, user % 11, 10) for user in range(50)]
    movies = movies_table((1, "Heat"))
    data = checked(ratings_table(*rows), movies, None, Report(), Wanted(stars=True))
    assert str(data.scale) == "0 to 10 by 1"


def test_of_repeated_ratings_the_last_in_time_counts_and_of_one_time_the_last_in_the_file() -> None:
    data = check(
        ratings_table(
            *(
                (1, 1, 5, 30),
                (1, 1, 2, 10),
                (1, 2, 1, 20),
                (1, 2, 4, 20),
                (2, 1, 3, 5),
                (1, 1, 1, 20),
            )
        )
    )
    assert data.ratings.to_numpy().tolist() == [[1, 1, 5, 30], [1, 2, 4, 20], [2, 1, 3, 5]]
    [note] = [note for note in data.notes if "later" in note]
    assert note.startswith("ratings.csv: 3 ratings were left out")


def test_ratings_once_each_are_not_said_to_be_repeated() -> None:
    assert not any("later" in note for note in check(ratings_table(*SOUND)).notes)


SECOND = 1_455_105_600


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([SECOND, SECOND + 60], None),
        ([f"{SECOND}.0", f"{SECOND + 60}.0"], None),
        ([SECOND * 1000, (SECOND + 60) * 1000], "milliseconds: 1455105600000 is"),
        ([SECOND * 10**6, (SECOND + 60) * 10**6], "microseconds"),
        ([SECOND * 10**9, (SECOND + 60) * 10**9], "nanoseconds"),
        (["2016-02-10T12:00:00Z", "2016-02-10 12:01:00"], "dates and times"),
    ],
)
def test_times_become_seconds_and_it_is_said(times: list[object], said: str | None) -> None:
    data = check(ratings_table((1, 1, 5, times[0]), (1, 2, 3, times[1])))
    assert data.ratings["timestamp"].to_list() == [SECOND, SECOND + 60]
    assert len(data.notes) == (said is not None)
    if said is not None:
        assert said in data.notes[0]
        assert "2016-02-10 12:00:00 UTC, 1455105600 seconds" in data.notes[0]


def test_counters_are_taken_for_an_order_and_it_is_said() -> None:
    [note] = check(ratings_table(*SOUND)).notes
    assert "the order of the ratings" in note


@pytest.mark.parametrize(
    ("time", "what"),
    [
        ("noon", "timestamp is no whole number"),
        ("", "timestamp is no whole number"),
        (-5, "negative timestamp"),
        (0, "timestamp is not plausible"),
        (SECOND * 1000, "timestamp is not plausible"),
    ],
)
def test_a_few_odd_times_are_told_by_line(time: object, what: str) -> None:
    rows = [(1, 1, 5, SECOND), (1, 2, 3, SECOND), (2, 1, 3, time), (2, 2, 3, SECOND)]
    assert told(problems_of(ratings_table(*rows))) == [("ratings.csv", 4, what, str(time))]


def test_times_that_no_unit_makes_plausible_are_told_once_with_what_they_would_mean() -> None:
    rows = [(user, 1, 5 - user % 5, 99_999_999_999_999 + user) for user in range(50)]
    [problem] = problems_of(ratings_table(*rows))
    assert (problem.line, problem.what) == (2, "timestamp is not plausible")
    assert "the year 5138 in milliseconds" in problem.remedy
    assert "give seconds since 1970" in problem.remedy


def test_datetimes_without_a_value_or_out_of_all_range_are_told_by_line() -> None:
    times = np.array(["2016-02-10", "NaT", "0001-01-01", "2016-02-11"], dtype="datetime64[s]")
    frame = pd.DataFrame({"user_id": [1, 2, 3, 4], "movie_id": 1, "rating": [1, 2, 3, 4]})
    problems = problems_of(Table("r.parquet", frame.assign(timestamp=times), np.arange(1, 5)))
    what = "timestamp is no date and time from 1990 to 2100"
    assert [(problem.line, problem.what) for problem in problems] == [(2, what), (3, what)]


def test_ids_are_whole_numbers_however_they_are_written() -> None:
    rows = [("1e3", "1.0", 4, 5), (" 7 ", "+2", 5, 5), (2**63 - 1, "3", 5, 5)]
    data = check(ratings_table(*rows))
    assert data.ratings["user_id"].to_list() == [1000, 7, 2**63 - 1]
    assert data.ratings["movie_id"].to_list() == [1, 2, 3]


def test_floats_stand_for_ids_up_to_where_they_are_exact() -> None:
    frame = pd.DataFrame({"user_id": [1.0, 2.0**53], "movie_id": [1, 1], "rating": [4, 5]})
    problems = problems_of(Table("r.parquet", frame.assign(timestamp=[5, 6]), np.arange(1, 3)))
    assert [(problem.line, problem.what) for problem in problems] == [
        (2, "user_id is no whole number")
    ]


def test_lists_lose_blanks_empty_entries_and_repeated_ones() -> None:
    movies = table(
        "movies.csv",
        ("movie_id", "title", "genres", "actors"),
        [
            (1, "A", " Drama | Comedy||Drama ", "Jane Doe |  John Doe"),
            (2, "B", "(no genres listed)", ""),
            (3, "C", "War|(no genres listed)| ", "|"),
        ],
    )
    found = check(ratings_table(*SOUND), movies).movies
    assert found["genres"].to_list() == ["Drama|Comedy", "", "War"]
    assert found["actors"].to_list() == ["Jane Doe|John Doe", "", ""]


@pytest.mark.parametrize("title", ["", "   ", "\x1b", "\t"])
def test_a_movie_without_a_title_is_called_by_its_id(title: str) -> None:
    data = check(ratings_table(*SOUND), movies_table((1, "Heat"), (2, title), (3, "C")))
    assert data.movies["title"].to_list() == ["Heat", "2", "C"]
    assert any("1 movies have no title, the first in line 3" in note for note in data.notes)


@pytest.mark.parametrize("title", ["x" * 10_000, "x" * 600 + "\n" + "y" * 600])
def test_a_title_of_very_many_letters_is_a_problem_of_one_short_line(title: str) -> None:
    problems = problems_of(ratings_table(*SOUND), movies_table((1, title), (2, "B")))
    assert [(problem.line, problem.what) for problem in problems] == [
        (2, "title is longer than 1,000 letters")
    ]
    assert len(str(problems[0])) < 200


def test_titles_cannot_move_a_cursor() -> None:
    titles = ["\x1b[2J\x1b[1mHeat", "Toy\r\nStory", "A\u202elien\x9b1m", "Fine [b] \u2028"]
    movies = movies_table(*enumerate(titles, start=1))
    data = check(ratings_table(*SOUND), movies)
    assert data.movies["title"].to_list() == ["[2J [1mHeat", "Toy Story", "A lien 1m", "Fine [b]"]
    assert any("title" in note and "3 rows" in note for note in data.notes)


def test_numbers_in_columns_of_text_are_read_as_whole_ones() -> None:
    users = Table(
        "users.parquet",
        pd.DataFrame(
            {
                "user_id": [1, 2, 3],
                "occupation": [4.0, np.nan, 12.0],
                "age": pd.array([30, None, 50], dtype="Int64"),
                "gender": pd.Categorical(["F", None, "M"]),
            }
        ),
        np.arange(1, 4),
    )
    found = check(ratings_table(*SOUND), users=users).users
    assert found["occupation"].to_list() == ["4", "", "12"]
    assert found["gender"].to_list() == ["F", "", "M"]
    assert found["age"].isna().to_list() == [False, True, False]


def test_a_million_bad_lines_give_a_short_report() -> None:
    rows = 300_000
    frame = pd.DataFrame({"user_id": ["x\n" * 100] * rows, "movie_id": -1, "rating": "y"})
    ratings = Table("r" * 5000 + "\x1b", frame.assign(timestamp="z"), np.arange(rows))
    with pytest.raises(DataError) as caught:
        check(ratings)
    lines = str(caught.value).split("\n")
    assert len(lines) < 100
    assert all(line.isprintable() and len(line) < 500 for line in lines)


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
    assert whats == ["column movie_id is missing"]


def test_without_times_the_order_of_the_file_counts() -> None:
    rows = [(1, 2, 5), (1, 1, 4), (2, 1, 3)]
    ratings = table("ratings.csv", ("user_id", "movie_id", "rating"), rows)
    data = check(ratings)
    assert data.ratings["timestamp"].to_list() == [0, 1, 2]
    assert any("there is no time" in note for note in data.notes)


def test_without_times_what_is_listed_by_movie_is_in_random_order() -> None:
    rows = [(user, movie, 1 + movie) for user in range(50) for movie in (1, 2, 3)]
    data = check(table("ratings.csv", ("user_id", "movie_id", "rating"), rows))
    assert data.ratings["timestamp"].to_list() == [*range(150)]
    assert (data.ratings.groupby("user_id")["movie_id"].last() == 3).sum() < 40
    assert any("listed by movie" in note for note in data.notes)


def test_without_ratings_each_event_counts_and_none_is_left_out() -> None:
    rows = [(1, 1, 10), (1, 1, 20), (2, 1, 5)]
    data = check(table("plays.csv", ("user_id", "movie_id", "timestamp"), rows))
    assert data.ratings["rating"].to_list() == [1, 1, 1]
    assert data.scale.classes == 1
    assert "rec rate will not be possible" in data.notes[0]


@pytest.mark.parametrize(
    ("repeats", "kept"), [("last", [30, 40]), ("first", [10, 40]), ("all", [30, 10, 40])]
)
def test_which_of_repeated_events_count_can_be_said(repeats: str, kept: list[int]) -> None:
    ratings = ratings_table((1, 2, 5, 30), (1, 2, 2, 10), (1, 1, 3, 40))
    movies = movies_table((1, "Heat"), (2, "Alien"))
    data = checked(ratings, movies, None, Report(), Wanted(repeats=Repeats(repeats)))
    assert data.ratings["timestamp"].to_list() == kept


@pytest.mark.parametrize(
    ("up", "down"), [("up", "down"), ("LIKE", "dislike"), ("true", "False"), ("yes", "no")]
)
def test_thumbs_become_numbers_and_it_is_said(up: str, down: str) -> None:
    data = check(ratings_table((1, 1, up, 10), (1, 2, down, 20), (2, 1, up, 30)))
    assert data.ratings["rating"].to_list() == [1, 0, 1]
    assert str(data.scale) == "0 to 1 by 1"
    assert any("is a thumb" in note for note in data.notes)


def test_one_word_among_thumbs_that_is_none_is_told() -> None:
    rows = [(1, 1, "up", 10), (1, 2, "maybe", 20), (2, 1, "down", 3)]
    expected = [("ratings.csv", 3, "rating is no number", "maybe")]
    assert told(problems_of(ratings_table(*rows))) == expected


def test_years_that_are_said_to_be_right_are_taken() -> None:
    early = table(
        "r.csv", ("user_id", "movie_id", "timestamp"), [(1, 2, "1955-02-10"), (1, 1, "2016-02-10")]
    )
    data = checked(early, None, None, Report(), Wanted(any_year=True))
    assert data.ratings["timestamp"].to_list() == [-469_929_600, 1_455_062_400]
    with pytest.raises(DataError, match="--any-years"):
        checked(early, None, None, Report(), Wanted())


def test_the_column_of_the_file_is_named_in_messages() -> None:
    ratings = ratings_table(*SOUND, (2, 1, "good", 5))._replace(names={"rating": "stars"})
    [problem] = problems_of(ratings)
    assert problem.what == "rating (column stars) is no number"


def test_empty_tables_are_problems() -> None:
    assert told(problems_of(ratings_table(), movies_table())) == [
        ("ratings.csv", None, "no rows", ""),
        ("movies.csv", None, "no rows", ""),
    ]


def test_of_many_problems_of_a_kind_the_first_are_shown_and_the_rest_counted() -> None:
    rows = [(user, 1, "x", 10) for user in range(MOST_OF_A_KIND + 1_234)]
    problems = problems_of(ratings_table(*rows))
    assert len(problems) == MOST_OF_A_KIND + 1
    assert [problem.line for problem in problems[:-1]] == list(range(2, 2 + MOST_OF_A_KIND))
    assert (problems[-1].value, problems[-1].line) == ("1,234 more", None)


def test_one_kind_does_not_crowd_out_another() -> None:
    rows: list[tuple[object, ...]] = [(user, 1, "x", 10) for user in range(100)]
    kinds = {problem.what for problem in problems_of(ratings_table(*rows, (500, 1, 3, -1)))}
    assert kinds == {"rating is no number", "negative timestamp"}


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


@pytest.mark.parametrize(
    ("genres", "said"),
    [
        ("Drama;Comedy", "these hold semicolons alone"),
        ("Drama, Comedy", "these hold commas alone"),
        ("Drama|Comedy", None),
    ],
)
def test_lists_with_another_separator_are_noted(genres: str, said: str | None) -> None:
    header = ("movie_id", "title", "genres")
    movies = table("movies.csv", header, [(1, "Heat", genres), (2, "Alien", genres)])
    ratings = ratings_table((1, 1, 5, 1_400_000_000), (1, 2, 3, 1_400_000_060))
    notes = [note for note in check(ratings, movies).notes if "separated" in note]
    wanted = [] if said is None else [f"movies.csv: genres are lists separated by |, and {said}"]
    assert notes == wanted
