"""The door: tables as read become checked frames, or one report of everything that is wrong."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval import columns
from retrieval.data.frames import MovieData
from retrieval.errors import DataError, Problem
from retrieval.report import MOST_OF_A_KIND, Report
from retrieval.scale import RatingScale, fits, scale_of, star_scale


class Table(NamedTuple):
    """A file as read, its values not yet trusted."""

    file: str
    frame: pd.DataFrame
    lines: NDArray[np.int64]  # (N,) the line in the file of each row


def checked(
    ratings: Table, movies: Table, users: Table | None, report: Report, *, stars: bool = False
) -> MovieData:
    """Return checked frames.

    Args:
        ratings: With the columns `columns.RATINGS`.
        movies: With an id and a title at least.
        users: With an id at least; None where there is no such file.
        report: Of what was found wrong in reading.
        stars: Whether ratings can only be stars as in MovieLens, whole or half.

    Raises:
        DataError: With every problem, those already in the report too.
    """
    tables = [
        (ratings, columns.RATINGS),
        (movies, (columns.MOVIE_ID, columns.TITLE)),
        *([] if users is None else [(users, (columns.USER_ID,))]),
    ]
    # Without its columns no more can be said of a table; a broken line does not end the search.
    complete = [_complete(table, needed, report) for table, needed in tables]
    if not all(complete):
        report.raise_any()
    movie_frame = _movies(movies, report)
    user_frame = _users(users, report)
    rating_frame = _ratings(ratings, movie_frame, report, stars=stars)
    report.raise_any()
    scale = _scale(rating_frame[columns.RATING].to_numpy(), stars=stars)
    if scale is None:
        value = str(rating_frame[columns.RATING].iloc[0])
        what, remedy = "every rating is the same", "give ratings that tell movies apart"
        raise DataError(
            [Problem(file=ratings.file, line=None, value=value, what=what, remedy=remedy)]
        )
    return MovieData(ratings=rating_frame, movies=movie_frame, users=user_frame, scale=scale)


def checked_movies(movies: Table, report: Report) -> pd.DataFrame:
    """Return a checked frame of movies, with the columns `columns.MOVIES`.

    Raises:
        DataError: With every problem, those already in the report too.
    """
    if not _complete(movies, (columns.MOVIE_ID, columns.TITLE), report):
        report.raise_any()
    frame = _movies(movies, report)
    report.raise_any()
    return frame


def complain(
    report: Report, table: Table, column: str, wrong: NDArray[np.bool_], what: str, remedy: str
) -> None:
    """Report the values of a column where `wrong`, a mask `(N,)`, is set."""
    rows = np.flatnonzero(wrong)
    for row in rows[:MOST_OF_A_KIND]:
        value = str(table.frame[column].iloc[row])
        report.add(table.file, int(table.lines[row]), value, what, remedy)
    report.count_more(table.file, what, len(rows[MOST_OF_A_KIND:]))


def _complete(table: Table, needed: tuple[str, ...], report: Report) -> bool:
    """Return whether a table has rows and all columns that are needed; report what is missing."""
    for name in needed:
        if name not in table.frame:
            header = ",".join(map(str, table.frame.columns))
            report.add(table.file, 1, header, f"column {name} is missing", f"name it {name}")
    if not len(table.frame):
        report.add(table.file, None, "", "no rows", "give at least one")
    return len(table.frame) > 0 and all(name in table.frame for name in needed)


def _ratings(table: Table, movies: pd.DataFrame, report: Report, *, stars: bool) -> pd.DataFrame:
    users = _integers(table, columns.USER_ID, report)
    movie_ids = _integers(table, columns.MOVIE_ID, report)
    times = _integers(table, columns.TIMESTAMP, report)
    values = _numbers(table, columns.RATING)
    complain(
        report,
        table,
        columns.RATING,
        ~np.isfinite(values),
        "rating is no number",
        "give a finite number",
    )
    scale = _scale(values, stars=stars)
    if scale is not None:
        complain(
            report,
            table,
            columns.RATING,
            np.isfinite(values) & ~fits(values, scale),
            "rating outside the scale",
            f"ratings run from {scale.lowest:g} to {scale.highest:g} by {scale.step:g}",
        )
    known = np.isin(movie_ids, movies[columns.MOVIE_ID].to_numpy()) | (movie_ids < 0)
    complain(
        report,
        table,
        columns.MOVIE_ID,
        ~known,
        "rating of an unknown movie",
        "add it to the movies",
    )
    frame = pd.DataFrame(
        {
            columns.USER_ID: users,
            columns.MOVIE_ID: movie_ids,
            columns.RATING: values.astype(np.float32),
            columns.TIMESTAMP: times,
        }
    )
    repeated = frame.duplicated([columns.USER_ID, columns.MOVIE_ID]).to_numpy()
    complain(
        report,
        table,
        columns.MOVIE_ID,
        repeated & (users >= 0) & (movie_ids >= 0),
        "the user has already rated this movie",
        "keep one rating of each movie by each user",
    )
    return frame


def _scale(values: NDArray[np.floating], *, stars: bool) -> RatingScale | None:
    return star_scale(values) if stars else scale_of(values)


def _movies(table: Table, report: Report) -> pd.DataFrame:
    ids = _integers(table, columns.MOVIE_ID, report)
    _distinct(table, columns.MOVIE_ID, ids, report)
    years = np.full(len(ids), np.nan)
    if columns.YEAR in table.frame:
        years = _numbers(table, columns.YEAR)
        possible = (years >= 1800) & (years <= 2200) & (years == np.rint(years))
        wrong = _given(table, columns.YEAR) & ~possible
        complain(report, table, columns.YEAR, wrong, "impossible year", "give four digits or none")
        years = np.where(wrong, np.nan, years)
    return pd.DataFrame(
        {
            columns.MOVIE_ID: ids,
            columns.TITLE: _texts(table, columns.TITLE),
            columns.YEAR: pd.Series(years).astype("Int64"),
            columns.GENRES: _texts(table, columns.GENRES),
            columns.DIRECTORS: _texts(table, columns.DIRECTORS),
            columns.ACTORS: _texts(table, columns.ACTORS),
        }
    )


def _users(table: Table | None, report: Report) -> pd.DataFrame:
    if table is None:
        table = Table("users", pd.DataFrame({columns.USER_ID: []}), np.zeros(0, np.int64))
    ids = _integers(table, columns.USER_ID, report)
    _distinct(table, columns.USER_ID, ids, report)
    ages = np.full(len(ids), np.nan)
    if columns.AGE in table.frame:
        ages = _numbers(table, columns.AGE)
        wrong = _given(table, columns.AGE) & ~((ages >= 0) & (ages <= 130))
        complain(report, table, columns.AGE, wrong, "impossible age", "give years or nothing")
    return pd.DataFrame(
        {
            columns.USER_ID: ids,
            columns.GENDER: _texts(table, columns.GENDER),
            columns.AGE: ages,
            columns.OCCUPATION: _texts(table, columns.OCCUPATION),
        }
    )


def _distinct(table: Table, column: str, ids: NDArray[np.int64], report: Report) -> None:
    repeated = pd.Series(ids).duplicated().to_numpy() & (ids >= 0)
    complain(report, table, column, repeated, f"{column} comes twice", "keep one row for each id")


def _texts(table: Table, column: str) -> pd.Series:
    if column not in table.frame:
        return pd.Series([""] * len(table.frame), dtype=str)
    return table.frame[column].fillna("").astype(str).str.strip().reset_index(drop=True)


def _given(table: Table, column: str) -> NDArray[np.bool_]:
    """Return where a column has a value at all, `(N,)`."""
    return (_texts(table, column) != "").to_numpy()


def _numbers(table: Table, column: str) -> NDArray[np.float64]:
    """Return a column as numbers `(N,)`, NaN where a value is none."""
    return pd.to_numeric(table.frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _integers(table: Table, column: str, report: Report) -> NDArray[np.int64]:
    """Return a column as int64 `(N,)`; what is no whole number is reported and becomes -1."""
    values = table.frame[column]
    if values.dtype == np.int64:
        numbers = values.to_numpy(dtype=np.int64)
        wrong = np.zeros(len(numbers), dtype=bool)
    else:
        floats = _numbers(table, column)
        wrong = ~(np.isfinite(floats) & (floats == np.rint(floats)) & (np.abs(floats) < 2**53))
        numbers = np.where(wrong, -1, floats).astype(np.int64)
    what, remedy = f"{column} is no whole number", "give a whole number below 2**53"
    complain(report, table, column, wrong, what, remedy)
    remedy = "give seconds since 1970" if column == columns.TIMESTAMP else "ids start from 0"
    complain(report, table, column, ~wrong & (numbers < 0), f"negative {column}", remedy)
    return numbers
