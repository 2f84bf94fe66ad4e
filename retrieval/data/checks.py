"""The door: tables as read become checked frames, or one report of everything that is wrong."""

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.frames import MovieData
from retrieval.data.report import MOST_OF_A_KIND, Report
from retrieval.data.scale import (
    HALF_STARS,
    LARGEST,
    WHOLE_STARS,
    RatingScale,
    are_stars,
    fits,
    scale_of,
    star_scale,
)
from retrieval.data.times import COUNTERS, NO_TIME, TimeUnit, meaning, seconds_of, whole_numbers
from retrieval.errors import CONTROLS, shown

# Letters of a title, a name or anything else that is one text.
LONGEST_TEXT = 1000

NO_GENRES = "(no genres listed)"

# What can move a cursor or turn the direction of what follows; U+2028 stands in some titles.
UNPRINTABLE = re.compile(f"[{CONTROLS}]+")


class Table(NamedTuple):
    """A file as read, its values not yet trusted."""

    file: str
    frame: pd.DataFrame
    lines: NDArray[np.int64]  # (N,) the line in the file of each row
    header: str = ""  # as in the file, which may have more columns than the frame


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
    rating_frame, scale = _ratings(ratings, movie_frame, report, stars=stars)
    report.raise_any()
    return MovieData(
        ratings=rating_frame,
        movies=movie_frame,
        users=user_frame,
        scale=scale,
        notes=report.notes,
    )


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
        value = table.frame[column].iloc[row]
        text = "" if value is None or value is pd.NA else _text(value)
        report.add(table.file, int(table.lines[row]), text, what, remedy)
    report.count_more(table.file, what, len(rows[MOST_OF_A_KIND:]))


def plain_values(values: pd.Series) -> NDArray[Any]:
    """Return a column `(N,)` as numbers or datetimes where it is either, else as objects."""
    if isinstance(values.dtype, np.dtype):
        return values.to_numpy()
    return values.to_numpy(dtype=object)


def plain_texts(values: pd.Series) -> pd.Series:
    """Return a column as texts without blanks around them, empty where there is no value."""
    codes, distinct = pd.factorize(values.astype(object))
    texts = np.array([*map(_text, distinct), ""], dtype=object)
    return pd.Series(texts[codes], dtype=str)


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # floats because of a gap, or as ratings are
    return str(value).strip()


def _complete(table: Table, needed: tuple[str, ...], report: Report) -> bool:
    """Return whether a table has rows and all columns that are needed; report what is missing."""
    for name in needed:
        if name not in table.frame:
            header = table.header or ",".join(map(str, table.frame.columns))
            remedy = f"name it {name}"
            if name == columns.TIMESTAMP:
                remedy += ", or where times are unknown, give 0 in every row"
            report.add(table.file, 1, header, f"column {name} is missing", remedy)
    if not len(table.frame):
        report.add(table.file, None, "", "no rows", "give at least one")
    return len(table.frame) > 0 and all(name in table.frame for name in needed)


def _ratings(
    table: Table, movies: pd.DataFrame, report: Report, *, stars: bool
) -> tuple[pd.DataFrame, RatingScale]:
    values, scale = _rated(table, report, stars=stars)
    frame = pd.DataFrame(
        {
            columns.USER_ID: _integers(table, columns.USER_ID, report),
            columns.MOVIE_ID: _integers(table, columns.MOVIE_ID, report),
            columns.RATING: values.astype(np.float32),
            columns.TIMESTAMP: _times(table, report),
        }
    )
    movie_ids = frame[columns.MOVIE_ID].to_numpy()
    known = np.isin(movie_ids, movies[columns.MOVIE_ID].to_numpy()) | (movie_ids < 0)
    what, remedy = "rating of an unknown movie", "add it to the movies"
    complain(report, table, columns.MOVIE_ID, ~known, what, remedy)
    return _without_repeated(frame, table, report), scale


def _rated(table: Table, report: Report, *, stars: bool) -> tuple[NDArray[np.float64], RatingScale]:
    """Return the ratings `(N,)`, 0 where they are none, and the scale they are on."""
    values = _numbers(table, columns.RATING)
    finite = np.isfinite(values)
    what, remedy = "rating is no number", "give a finite number, as 3.5"
    complain(report, table, columns.RATING, ~finite, what, remedy)
    distinct = pd.unique(values)
    if stars and (fits(distinct, HALF_STARS).all() or are_stars(values[finite])):
        scale = star_scale(distinct)
    elif (found := scale_of(values)) is not None:
        scale = found
    else:
        what, remedy = "rating is too large", f"give ratings up to {LARGEST:,.0f}"
        complain(report, table, columns.RATING, finite, what, remedy)
        return np.zeros(len(values)), WHOLE_STARS
    if scale.classes == 1:
        report.note(f"{table.file}: every rating is {scale.lowest:g}: they tell no taste")
    elif scale.step is None:
        report.note(f"{table.file}: ratings are {scale}: cut into {scale.classes} classes")
    if fits(distinct, scale).all():
        return values, scale
    outside = ~fits(values, scale)
    remedy = f"the others are from {scale}; mend or drop the line"
    what = "rating outside the scale"
    complain(report, table, columns.RATING, finite & outside, what, remedy)
    return np.where(outside, 0, values), scale


def _times(table: Table, report: Report) -> NDArray[np.int64]:
    """Return the timestamps in seconds `(N,)`, `NO_TIME` where they are none."""
    name = columns.TIMESTAMP
    values = plain_values(table.frame[name])
    seconds, unit = seconds_of(values)
    none = seconds == NO_TIME
    if none.any():
        form = "seconds since 1970, or dates and times as 2016-02-10T12:00:00Z"
        numbers, wrong = whole_numbers(values) if values.dtype.kind != "M" else (seconds, none)
        if unit is TimeUnit.DATETIMES:
            what = "timestamp is no date and time from 1990 to 2100"
            complain(report, table, name, none, what, f"the others are: give {form}")
            return seconds
        complain(report, table, name, none & wrong, f"{name} is no whole number", f"give {form}")
        none &= ~wrong
        negative = none & (numbers < 0)
        complain(report, table, name, negative, f"negative {name}", f"give {form}")
        none &= ~negative
        what = f"{name} is not plausible"
        if unit is None and none.any():
            remedy = f"it means {meaning(float(numbers[none][0]))}; give {form}"
            complain(report, table, name, none & (np.cumsum(none) == 1), what, remedy)
        elif unit is not None:
            remedy = f"others are {unit}, as this cannot be; mend or drop the line"
            complain(report, table, name, none, what, remedy)
        return seconds
    _note_times(table, values, seconds, unit, report)
    return seconds


def _note_times(
    table: Table,
    values: NDArray[Any],
    seconds: NDArray[np.int64],
    unit: TimeUnit | None,
    report: Report,
) -> None:
    """Say what timestamps `(N,)` were taken for, where they are not plain seconds."""
    if unit is TimeUnit.ORDER:
        report.note(
            f"{table.file}: timestamps lie below {COUNTERS:,} and are no times: they are taken for "
            "the order of the ratings, and a time of asking has to be such a number too"
        )
    elif unit is not TimeUnit.SECONDS and len(seconds):
        moment = datetime.fromtimestamp(int(seconds[0]), UTC)
        report.note(
            f"{table.file}: timestamps are {unit}: {shown(values[0])} is taken for "
            f"{moment:%Y-%m-%d %H:%M:%S} UTC, {seconds[0]} seconds since 1970"
        )


def _without_repeated(frame: pd.DataFrame, table: Table, report: Report) -> pd.DataFrame:
    """Return, of ratings of one movie by one user, the last, by time and then by place."""
    pair = [columns.USER_ID, columns.MOVIE_ID]
    if not frame.duplicated(pair).any():
        return frame
    by_time = frame.iloc[np.argsort(frame[columns.TIMESTAMP].to_numpy(), kind="stable")]
    kept = ~by_time.duplicated(pair, keep="last").sort_index()
    report.note(
        f"{table.file}: {(~kept).sum():,} ratings were left out, as the user rated the same movie "
        "again later: the last rating counts"
    )
    return frame[kept].reset_index(drop=True)


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
    titles = _texts(table, columns.TITLE, report)
    complain(report, table, columns.TITLE, (titles == "").to_numpy(), "no title", "give one")
    return pd.DataFrame(
        {
            columns.MOVIE_ID: ids,
            columns.TITLE: titles,
            columns.YEAR: pd.Series(years).astype("Int64"),
            **{name: _lists(table, name, report) for name in columns.LISTS},
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
            columns.GENDER: _texts(table, columns.GENDER, report),
            columns.AGE: ages,
            columns.OCCUPATION: _texts(table, columns.OCCUPATION, report),
        }
    )


def _distinct(table: Table, column: str, ids: NDArray[np.int64], report: Report) -> None:
    repeated = pd.Series(ids).duplicated().to_numpy() & (ids >= 0)
    complain(report, table, column, repeated, f"{column} comes twice", "keep one row for each id")


def _texts(table: Table, column: str, report: Report) -> pd.Series:
    """Return a column as texts without control characters, empty where it is missing."""
    if column not in table.frame:
        return pd.Series([""] * len(table.frame), dtype=str)
    texts = plain_texts(table.frame[column])
    if odd := [text for text in texts.unique() if UNPRINTABLE.search(text)]:
        rows = texts.isin(odd).sum()
        report.note(f"{table.file}: control characters in {column} became blanks in {rows:,} rows")
        texts = texts.str.replace(UNPRINTABLE, " ", regex=True).str.strip()
    separator = "|" if column in columns.LISTS else "\n"  # of which none is left
    longest = {text: max(map(len, text.split(separator))) for text in texts.unique()}
    long = [text for text, length in longest.items() if length > LONGEST_TEXT]
    what, remedy = f"{column} is longer than {LONGEST_TEXT:,} letters", "shorten it"
    complain(report, table, column, texts.isin(long).to_numpy(), what, remedy)
    return texts


def _lists(table: Table, column: str, report: Report) -> pd.Series:
    """Return a column of lists separated by |: entries without blanks around, each once."""
    texts = _texts(table, column, report)
    for mark, name in ((", ", "commas"), (";", "semicolons")):
        alone = not texts.str.contains("|", regex=False).any()
        if alone and texts.str.contains(mark, regex=False).mean() > 0.5:
            report.note(
                f"{table.file}: {column} are lists separated by |, and these hold {name} alone"
            )
    lists = {text: _entries(text) for text in texts.unique()}
    return texts.map(lists).astype(str)


def _entries(text: str) -> str:
    entries = dict.fromkeys(map(str.strip, text.split("|")))
    return "|".join(entry for entry in entries if entry and entry != NO_GENRES)


def _given(table: Table, column: str) -> NDArray[np.bool_]:
    """Return where a column has a value at all, `(N,)`."""
    return (plain_texts(table.frame[column]) != "").to_numpy()


def _numbers(table: Table, column: str) -> NDArray[np.float64]:
    """Return a column as numbers `(N,)`, NaN where a value is none."""
    return pd.to_numeric(table.frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _integers(table: Table, column: str, report: Report) -> NDArray[np.int64]:
    """Return a column of ids as int64 `(N,)`; what is none is reported and becomes -1."""
    numbers, wrong = whole_numbers(plain_values(table.frame[column]))
    what, remedy = (
        f"{column} is no whole number",
        "give one from 0, of 64 bits; of floats, to 2**53",
    )
    complain(report, table, column, wrong, what, remedy)
    negative = ~wrong & (numbers < 0)
    complain(report, table, column, negative, f"negative {column}", "ids start from 0")
    none = wrong | negative
    return np.where(none, -1, numbers) if none.any() else numbers
