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
from retrieval.data.tables import read_table


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
    kinds = {attribute.name: attribute.kind for attribute in attributes}
    try:
        if path.suffix == ".dat":
            movies = read_movies_dat(path, report)
        else:
            table = read_table(path, report)
            found = found_columns({Role.MOVIES: table}, Columns({}), report)[Role.MOVIES]
            movies = found.renamed(list(kinds))
            movies = movies if columns.YEAR in movies.frame else with_years(movies)
    except (OSError, MemoryError) as error:
        raise unreadable(path, error) from error
    there = {name: kind for name, kind in kinds.items() if name in movies.frame}
    return checked_movies(movies, report, there)
