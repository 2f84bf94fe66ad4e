"""Readers: a data folder becomes tables, whatever its layout; `read_folder` is the way in."""

import re
from dataclasses import replace
from enum import StrEnum
from itertools import compress
from pathlib import Path

import numpy as np
import pandas as pd

from retrieval.data import columns
from retrieval.data.checks import (
    Table,
    checked,
    checked_movies,
    complain,
    plain_texts,
    plain_values,
)
from retrieval.data.frames import MovieData
from retrieval.data.parquet import read_parquet
from retrieval.data.plain import is_there, refused, unreadable
from retrieval.data.report import Report
from retrieval.data.text import Separated, read_csv, read_lines
from retrieval.data.times import whole_numbers

GENRES_100K = [
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
]

LOOKED_FOR = (
    "ratings.dat and movies.dat (MovieLens 1M, 10M), u.data and u.item (100K), or ratings and "
    "movies as .csv or .parquet"
)


class Layout(StrEnum):
    """How a folder is laid out."""

    DOUBLE_COLON = "1M or 10M"
    HUNDRED_K = "100K"
    TABLES = "tables"


def read_folder(folder: Path) -> MovieData:
    """Read and check a data folder.

    Raises:
        DataError: Everything that is wrong with it, in one report.
    """
    try:
        return _read_folder(folder, Report())
    except (OSError, MemoryError) as error:
        raise unreadable(folder, error) from error


def read_movies(path: Path, report: Report | None = None) -> pd.DataFrame:
    """Read and check movies alone: a .csv or .parquet with named columns, or a movies.dat.

    Args:
        path: The file.
        report: Takes the notes.

    Returns:
        A frame with the columns `columns.MOVIES`.

    Raises:
        DataError: Everything that is wrong with it, in one report.
    """
    report = report or Report()
    try:
        if path.suffix == ".dat":
            names = (columns.MOVIE_ID, columns.TITLE, columns.GENRES)
            movies = _with_years(read_lines(path, Separated("::", names), report))
        else:
            movies = _tidy(_read_table(path, report))
    except (OSError, MemoryError) as error:
        raise unreadable(path, error) from error
    return checked_movies(movies, report)


def _read_folder(folder: Path, report: Report) -> MovieData:
    layout = _layout(folder)
    match layout:
        case Layout.DOUBLE_COLON:
            ratings, movies, users = _read_double_colon(folder, report)
        case Layout.HUNDRED_K:
            ratings, movies, users = _read_100k(folder, report)
        case Layout.TABLES:
            ratings, movies, users = _read_tables(folder, report)
    people = _found(folder, "people")
    if people is not None:
        movies = _with_people(movies, _read_table(people, report), report)
    stars = layout is not Layout.TABLES or ratings.header.startswith("userId,")
    data = checked(ratings, movies, users, report, stars=stars)
    if _is_listed_by_movie(data.ratings):
        shuffled = data.ratings.sample(frac=1.0, random_state=0, ignore_index=True)
        return replace(data, ratings=shuffled)
    return data


def _is_listed_by_movie(ratings: pd.DataFrame) -> bool:
    """Whether each user's rows ascend by movie, as in MovieLens 10M and later, times being equal.

    Then the order of ratings of one second is not that of rating them, and gives the last one away.
    """
    names = (columns.USER_ID, columns.MOVIE_ID, columns.TIMESTAMP)
    users, movies, times = (np.diff(ratings[name].to_numpy()) for name in names)
    return bool((movies[users == 0] > 0).all() and (times[users == 0] == 0).any())


def _layout(folder: Path) -> Layout:
    if not is_there(folder):
        raise refused(folder, "no such folder", "give a folder, or try rec data fetch ml-1m")
    if not folder.is_dir():
        what = "no folder" if folder.exists() else "link to what is not there"
        raise refused(folder, what, "give the folder that holds the ratings and the movies")
    if is_there(folder / "ratings.dat") and is_there(folder / "movies.dat"):
        return Layout.DOUBLE_COLON
    if is_there(folder / "u.data") and is_there(folder / "u.item"):
        return Layout.HUNDRED_K
    if _found(folder, "ratings") and _found(folder, "movies"):
        return Layout.TABLES
    next(folder.iterdir(), None)  # raises where it is not to be looked into
    raise refused(folder, "no data set in the folder", f"it should hold {LOOKED_FOR}")


def _read_double_colon(folder: Path, report: Report) -> tuple[Table, Table, Table | None]:
    ratings = read_lines(folder / "ratings.dat", Separated("::", columns.RATINGS), report)
    names = (columns.MOVIE_ID, columns.TITLE, columns.GENRES)
    movies = read_lines(folder / "movies.dat", Separated("::", names), report)
    users = None
    if is_there(folder / "users.dat"):
        users = read_lines(folder / "users.dat", Separated("::", (*columns.USERS, "zip")), report)
    return ratings, _with_years(movies), users


def _read_100k(folder: Path, report: Report) -> tuple[Table, Table, Table | None]:
    ratings = read_lines(folder / "u.data", Separated("\t", columns.RATINGS), report)
    genres = GENRES_100K
    if is_there(folder / "u.genre"):
        named = read_lines(folder / "u.genre", Separated("|", ("genre", "number")), report)
        genres = named.frame["genre"].to_list()
    names = [columns.MOVIE_ID, columns.TITLE, "released", "video", "url", *genres]
    movies = read_lines(folder / "u.item", Separated("|", names), report)
    # The first flag says that no genre is known.
    flags = movies.frame[genres[1:]].to_numpy() == "1"
    joined = ["|".join(compress(genres[1:], row)) for row in flags]
    movies = movies._replace(frame=movies.frame.assign(**{columns.GENRES: joined}))
    users = None
    if is_there(folder / "u.user"):
        names = [columns.USER_ID, columns.AGE, columns.GENDER, columns.OCCUPATION, "zip"]
        users = read_lines(folder / "u.user", Separated("|", names), report)
    return ratings, _with_years(movies), users


def _read_tables(folder: Path, report: Report) -> tuple[Table, Table, Table | None]:
    ratings, movies, users = (
        None if (path := _found(folder, name)) is None else _read_table(path, report)
        for name in ("ratings", "movies", "users")
    )
    for name in ("ratings", "movies", "users"):
        if is_there(folder / f"{name}.csv") and is_there(folder / f"{name}.parquet"):
            report.note(f"{name}.csv is read, and {name}.parquet beside it is not")
    if ratings is None or movies is None:
        raise refused(folder, "no ratings or no movies", f"it should hold {LOOKED_FOR}")
    return ratings, _tidy(movies), users


def _tidy(movies: Table) -> Table:
    """Take the years of a movies table with named columns out of its titles where they are."""
    return movies if columns.YEAR in movies.frame else _with_years(movies)


def _found(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{ending}" for ending in (".csv", ".parquet"))
    return next(filter(is_there, paths), None)


def _read_table(path: Path, report: Report) -> Table:
    """Read a file with named columns."""
    return (read_parquet if path.suffix == ".parquet" else read_csv)(path, report)


def _with_years(movies: Table) -> Table:
    """Split `Toy Story (1995)` into title and year."""
    if columns.TITLE not in movies.frame:
        return movies
    titles = plain_texts(movies.frame[columns.TITLE])
    parts = titles.str.extract(
        r"^(?P<title>.*?)\s*\((?P<year>\d{4})(?:[-\u2013]\d{0,4})?\)\s*$", flags=re.DOTALL
    )
    split = parts[columns.YEAR].notna() & (parts[columns.TITLE] != "")
    years = parts[columns.YEAR].where(split, "")
    titles = parts[columns.TITLE].where(split, titles)
    return movies._replace(
        frame=movies.frame.assign(**{columns.TITLE: titles, columns.YEAR: years})
    )


def _with_people(movies: Table, people: Table, report: Report) -> Table:
    """Add what is known of people; movies that are not in the catalogue are passed over."""
    if columns.MOVIE_ID not in people.frame:
        what, remedy = f"column {columns.MOVIE_ID} is missing", f"name it {columns.MOVIE_ID}"
        report.add(people.file, 1, people.header, what, remedy)
    if columns.MOVIE_ID not in people.frame or columns.MOVIE_ID not in movies.frame:
        return movies
    ids, wrong = whole_numbers(plain_values(people.frame[columns.MOVIE_ID]))
    what, remedy = f"{columns.MOVIE_ID} is no whole number", "give an id of the movies"
    complain(report, people, columns.MOVIE_ID, wrong, what, remedy)
    repeated = pd.Series(ids).duplicated().to_numpy() & ~wrong
    what, remedy = f"{columns.MOVIE_ID} comes twice", "keep one row for each id"
    complain(report, people, columns.MOVIE_ID, repeated, what, remedy)
    wanted = [name for name in (columns.DIRECTORS, columns.ACTORS) if name in people.frame]
    if not wanted:
        report.note(f"{people.file}: it has neither {columns.DIRECTORS} nor {columns.ACTORS}")
        return movies
    kept = ~wrong & ~repeated
    named = pd.DataFrame({name: plain_texts(people.frame[name]) for name in wanted})[kept]
    named.index = pd.Index(ids[kept])
    known, _ = whole_numbers(plain_values(movies.frame[columns.MOVIE_ID]))
    if not named.index.isin(known).any():
        report.note(f"{people.file}: not one {columns.MOVIE_ID} is among the movies; none is used")
    found = named.reindex(known).fillna("")
    return movies._replace(
        frame=movies.frame.assign(**{name: found[name].to_numpy() for name in wanted})
    )
