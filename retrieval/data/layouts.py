"""The ways in for folders and files: a data folder, whatever its layout, and movies alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.attributes import Attribute, Facts
from retrieval.data.checks import checked_movies
from retrieval.data.frames import MovieData
from retrieval.data.listing import values_of
from retrieval.data.movielens import read_movies_dat, with_years
from retrieval.data.plain import unreadable
from retrieval.data.report import Report
from retrieval.data.roles import NONE, Columns, Role, found_columns
from retrieval.data.source import read, source_of
from retrieval.data.table import NOTHING, Table
from retrieval.data.tables import read_table
from retrieval.data.values import plain_texts
from retrieval.data.vocabulary import Id
from retrieval.errors import RequestError, shown, unknown


def read_folder(folder: Path) -> MovieData:
    """Read and check a data folder, or a file of events.

    Raises:
        DataError: Everything that is wrong with it, in one report.
    """
    return read(source_of(folder))


def read_movies(
    path: Path,
    report: Report | None = None,
    attributes: Sequence[Attribute] = (),
    said: Mapping[str, str] = NOTHING,
) -> pd.DataFrame:
    """Read and check movies alone: any table, or a movies.dat.

    Args:
        path: The file.
        report: Takes the notes.
        attributes: Further columns that are wanted where the file has them.
        said: Names of columns in files, by our names, such as title or movies.title.

    Returns:
        A frame with the columns `columns.MOVIES`, then those of the attributes that are there.

    Raises:
        DataError: Everything that is wrong with it, in one report.
    """
    report = report or Report()
    movies, others = _movies(path, report, attributes, said)
    if others:
        names = ", ".join(map(shown, others))
        report.note(f"{path.name}: columns that the run does not know are left out: {names}")
    return _checked(movies, report, attributes)


def read_changed_movies(
    path: Path,
    report: Report,
    attributes: Sequence[Attribute],
    said: Mapping[str, str] = NOTHING,
) -> dict[Id, Facts]:
    """Read what is to be changed of movies: any table with ids and the columns that change.

    Args:
        path: The file.
        report: Takes the notes.
        attributes: What may change, the title among them.
        said: See `read_movies`.

    Returns:
        The new facts of each movie, by id. An empty title leaves the title as it is; without a
        column of years, a title without a year leaves the year.

    Raises:
        DataError: Everything that is wrong with the file, in one report.
        RequestError: It has other columns, or no column that may change.
    """
    movies, others = _movies(path, report, attributes, said)
    dated = columns.YEAR in movies.frame and path.suffix != ".dat"  # else titles hold years
    undated = () if dated else (columns.YEAR,)
    there = [each for each in attributes if each.name in {*movies.frame} - {*undated}]
    names = [each.name for each in attributes]
    known = {columns.MOVIE_ID, *names}
    foreign = [*others, *(str(name) for name in movies.frame if name not in known)]
    if foreign:
        raise unknown("column", movies.names.get(foreign[0], foreign[0]), names)
    if not there:
        raise RequestError(f"{shown(path)} changes nothing; give any of: {', '.join(names)}")
    movies, titled = _titled(movies if columns.YEAR in movies.frame else with_years(movies))
    frame = _checked(movies, report, attributes)
    facts: dict[Id, Facts] = {}
    values = values_of(frame, attributes)
    for row, movie in enumerate(frame[columns.MOVIE_ID].tolist()):
        of_movie = {each.name: values[row].get(each.name) for each in there}
        of_movie.pop(columns.TITLE, None)
        if titled[row]:
            of_movie[columns.TITLE] = str(frame[columns.TITLE].iloc[row])
            if not dated and (year := values[row].get(columns.YEAR)) is not None:
                of_movie[columns.YEAR] = year
        facts[movie] = of_movie
    return facts


def _titled(movies: Table) -> tuple[Table, NDArray[np.bool_]]:
    """Return movies that all have a title, the id where they have none, and which had one."""
    frame = movies.frame
    if columns.MOVIE_ID not in frame:
        return movies, np.zeros(len(frame), dtype=bool)
    ids = plain_texts(frame[columns.MOVIE_ID])
    if columns.TITLE not in frame:
        frame = frame.assign(**{columns.TITLE: ""})
    titles = plain_texts(frame[columns.TITLE])
    titled = (titles != "").to_numpy()
    filled = frame.assign(**{columns.TITLE: titles.where(titled, ids)})
    return movies._replace(frame=filled), titled


def _movies(
    path: Path, report: Report, attributes: Sequence[Attribute], said: Mapping[str, str]
) -> tuple[Table, list[str]]:
    """Read a table of movies, its columns under their own names; return its other columns too."""
    try:
        if path.suffix == ".dat":
            return read_movies_dat(path, report), []
        table = read_table(path, report)
    except (OSError, MemoryError) as error:
        raise unreadable(path, error) from error
    # A column that is called like an attribute is that, whatever else it may be taken for.
    further = [each.name for each in attributes if each.name not in columns.MOVIES]
    own = [name for name in further if name in table.frame]
    rest = table._replace(frame=table.frame.drop(columns=own))
    there = {
        key: name
        for key, name in said.items()
        if _is_of_movies(key) and (name == NONE or rest.has(name))
    }
    found = found_columns({Role.MOVIES: rest}, Columns(there), report)[Role.MOVIES]
    movies = found.renamed([])
    movies = movies._replace(frame=movies.frame.assign(**{name: table.frame[name] for name in own}))
    return movies, found.others


def _is_of_movies(key: str) -> bool:
    """Return whether what is said of a column is said of one of the movies."""
    role, _, name = key.rpartition(".")
    return role in ("", Role.MOVIES) and name in columns.MOVIES


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
