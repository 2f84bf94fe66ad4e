"""From a frame of movies to the movies that people see, and what conditions ask of them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from retrieval.data import columns
from retrieval.data.attributes import (
    USUAL,
    Attribute,
    AttributeColumns,
    cell_of,
    columns_of,
)
from retrieval.data.catalogue import Movie


def listed(frame: pd.DataFrame) -> list[Movie]:
    """Return the movies of a frame with the columns `columns.MOVIES`."""
    years = frame[columns.YEAR].astype(object).where(frame[columns.YEAR].notna(), None)
    return [
        Movie(movie, str(title), year, tuple(genre for genre in genres.split("|") if genre))
        for movie, title, year, genres in zip(
            frame[columns.MOVIE_ID].tolist(),
            frame[columns.TITLE],
            years,
            frame[columns.GENRES],
            strict=True,
        )
    ]


def attributes_of(frame: pd.DataFrame, further: Sequence[Attribute]) -> AttributeColumns:
    """Return what conditions can ask of movies: years, genres, people, and further attributes.

    Args:
        frame: With the columns `columns.MOVIES`, and those of the further attributes.
        further: Attributes beside the usual ones.
    """
    years = frame[columns.YEAR].to_numpy(dtype=np.float64, na_value=np.nan)
    _, year, genres, *people = USUAL
    known = [each for each in people if (frame[each.name] != "").any()]
    return columns_of(frame.assign(year=years), [year, genres, *known, *further])


def frame_of(movies: Sequence[Movie], known: AttributeColumns, rows: range) -> pd.DataFrame:
    """Return movies as a frame with the columns `columns.MOVIES`, and those of attributes.

    Args:
        movies: The movies.
        known: What else is known of them; texts are not.
        rows: Their rows there.
    """
    values = [known.value(row) for row in rows]
    attributes = {
        attribute.name: [cell_of(attribute, each.get(attribute.name)) for each in values]
        for attribute in known.attributes
    }
    people = {name: attributes.pop(name, [""] * len(movies)) for name in columns.PEOPLE}
    return pd.DataFrame(
        attributes
        | {
            columns.MOVIE_ID: [movie.id for movie in movies],
            columns.TITLE: [movie.title for movie in movies],
            columns.YEAR: pd.array([movie.year for movie in movies], dtype="Int64"),
            columns.GENRES: ["|".join(movie.genres) for movie in movies],
        }
        | people
    )


def values_of(frame: pd.DataFrame, attributes: Sequence[Attribute]) -> list[dict[str, object]]:
    """Return what a frame says of each of its movies, by the names of attributes.

    Args:
        frame: With the columns `columns.MOVIES`, and any of the attributes.
        attributes: Those to read; what the frame does not have is left out.
    """
    years = frame[columns.YEAR].to_numpy(dtype=np.float64, na_value=np.nan)
    there = [each for each in attributes if each.name in frame]
    found = columns_of(frame.assign(year=years), there)
    return [found.value(row) for row in range(len(frame))]
