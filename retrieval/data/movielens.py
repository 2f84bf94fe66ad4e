"""MovieLens data sets as GroupLens publishes them: the layouts without names of columns."""

import re
from enum import StrEnum
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retrieval.data import columns
from retrieval.data.plain import is_there
from retrieval.data.report import Report
from retrieval.data.table import Table
from retrieval.data.text import Separated, read_lines
from retrieval.data.values import plain_texts

GENRES_100K = [
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
]


class Layout(StrEnum):
    """How a folder is laid out."""

    DOUBLE_COLON = "1M or 10M"
    HUNDRED_K = "100K"


class Raw(NamedTuple):
    """The tables of a folder, with our names."""

    ratings: Table
    movies: Table
    users: Table | None


def layout_of(folder: Path) -> Layout | None:
    """Return which layout a folder has; None is none of them."""
    if is_there(folder / "ratings.dat") and is_there(folder / "movies.dat"):
        return Layout.DOUBLE_COLON
    if is_there(folder / "u.data") and is_there(folder / "u.item"):
        return Layout.HUNDRED_K
    return None


def read_layout(folder: Path, layout: Layout, report: Report) -> Raw:
    """Read the tables of a folder.

    Raises:
        DataError: One of them cannot be read at all.
    """
    match layout:
        case Layout.DOUBLE_COLON:
            return _read_double_colon(folder, report)
        case Layout.HUNDRED_K:
            return _read_100k(folder, report)


def read_movies_dat(path: Path, report: Report) -> Table:
    """Read a movies.dat.

    Raises:
        DataError: It cannot be read at all.
    """
    names = (columns.MOVIE_ID, columns.TITLE, columns.GENRES)
    return with_years(read_lines(path, Separated("::", names), report))


def _read_double_colon(folder: Path, report: Report) -> Raw:
    ratings = read_lines(folder / "ratings.dat", Separated("::", columns.RATINGS), report)
    movies = read_movies_dat(folder / "movies.dat", report)
    users = None
    if is_there(folder / "users.dat"):
        users = read_lines(folder / "users.dat", Separated("::", (*columns.USERS, "zip")), report)
    return Raw(ratings, movies, users)


def _read_100k(folder: Path, report: Report) -> Raw:
    ratings = read_lines(folder / "u.data", Separated("\t", columns.RATINGS), report)
    genres = GENRES_100K
    if is_there(folder / "u.genre"):
        named = read_lines(folder / "u.genre", Separated("|", ("genre", "number")), report)
        genres = plain_texts(named.frame["genre"]).to_list()
    names = [columns.MOVIE_ID, columns.TITLE, "released", "video", "url", *genres]
    movies = read_lines(folder / "u.item", Separated("|", names), report)
    # The first flag says that no genre is known.
    flags = np.zeros((len(movies.frame), len(genres[1:])), dtype=bool)
    for place, genre in enumerate(genres[1:]):
        flags[:, place] = plain_texts(movies.frame[genre]) == "1"
    joined = ["|".join(compress(genres[1:], row)) for row in flags]
    movies = movies._replace(frame=movies.frame.assign(**{columns.GENRES: joined}))
    users = None
    if is_there(folder / "u.user"):
        names = [columns.USER_ID, columns.AGE, columns.GENDER, columns.OCCUPATION, "zip"]
        users = read_lines(folder / "u.user", Separated("|", names), report)
    return Raw(ratings, with_years(movies), users)


def with_years(movies: Table) -> Table:
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
