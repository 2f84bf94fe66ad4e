"""The ways in for folders and files: a data folder, whatever its layout, and movies alone."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from retrieval.data import columns
from retrieval.data.attributes import Attribute
from retrieval.data.checks import checked_movies
from retrieval.data.frames import MovieData
from retrieval.data.movielens import read_movies_dat, with_years
from retrieval.data.plain import unreadable
from retrieval.data.report import Report
from retrieval.data.roles import Columns, Role, found_columns
from retrieval.data.source import read, source_of
from retrieval.data.table import Table
from retrieval.data.tables import read_table
from retrieval.errors import RequestError


def read_folder(folder: Path) -> MovieData:
    """Read and check a data folder, or a file of events.

    Raises:
        DataError: Everything that is wrong with it, in one report.
    """
    return read(source_of(folder))


def read_movies(
    path: Path, report: Report | None = None, attributes: Sequence[Attribute] = ()
) -> pd.DataFrame:
    """Read and check movies alone: any table, or a movies.dat.

    Args:
        path: The file.
        report: Takes the notes.
        attributes: Further columns that are wanted where the file has them.

    Returns:
        A frame with the columns `columns.MOVIES`, then those of the attributes that are there.

    Raises:
        DataError: Everything that is wrong with it, in one report.
    """
    report = report or Report()
    return _checked(_movies(path, report, attributes), report, attributes)


def read_changed_movies(
    path: Path, attributes: Sequence[Attribute], report: Report
) -> tuple[pd.DataFrame, list[Attribute]]:
    """Read what is to be changed of movies: any table with ids and what changes.

    Args:
        path: The file.
        attributes: What may change, the title among them.
        report: Takes the notes.

    Returns:
        A frame as `read_movies` returns it, and which attributes the file has.

    Raises:
        DataError: Everything that is wrong with it, in one report.
        RequestError: It has none of the attributes.
    """
    movies = _movies(path, report, attributes)
    there = [each for each in attributes if each.name in movies.frame]
    if not there:
        names = ", ".join(each.name for each in attributes)
        raise RequestError(f"{path} has no column that can change; there are: {names}")
    if columns.TITLE not in movies.frame and columns.MOVIE_ID in movies.frame:
        titles = movies.frame[columns.MOVIE_ID].astype(str)
        movies = movies._replace(frame=movies.frame.assign(**{columns.TITLE: titles}))
    frame = _checked(movies, report, attributes)
    if columns.YEAR not in movies.frame and frame[columns.YEAR].notna().all():
        there += [each for each in attributes if each.name == columns.YEAR]  # in the titles
    return frame, there


def _movies(path: Path, report: Report, attributes: Sequence[Attribute]) -> Table:
    """Read a table of movies, its columns under their own names."""
    try:
        if path.suffix == ".dat":
            return read_movies_dat(path, report)
        table = read_table(path, report)
        found = found_columns({Role.MOVIES: table}, Columns({}), report)[Role.MOVIES]
        return found.renamed([each.name for each in attributes])
    except (OSError, MemoryError) as error:
        raise unreadable(path, error) from error


def _checked(movies: Table, report: Report, attributes: Sequence[Attribute]) -> pd.DataFrame:
    """Return a checked frame of movies, with the further attributes that are there."""
    if columns.YEAR not in movies.frame:
        movies = with_years(movies)
    further = {
        each.name: each.kind
        for each in attributes
        if each.name in movies.frame and each.name not in columns.MOVIES
    }
    return checked_movies(movies, report, further)
