"""From a frame of movies to the movies that people see, and what conditions ask of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from retrieval.data import columns
from retrieval.data.attributes import (
    TITLE,
    USUAL,
    Attribute,
    AttributeColumns,
    AttributeKind,
    cell_of,
    columns_of,
)
from retrieval.data.catalogue import Movie
from retrieval.data.changes import Change, plain
from retrieval.data.frames import MovieData


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
    people = [Attribute(name, AttributeKind.LIST) for name in columns.PEOPLE]
    known = [each for each in people if (frame[each.name] != "").any()]
    usual = [
        Attribute(columns.YEAR, AttributeKind.NUMBER),
        Attribute(columns.GENRES, AttributeKind.LIST),
    ]
    return columns_of(frame.assign(year=years), [*usual, *known, *further])


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


def facts_in(movies: pd.DataFrame, row: int, known: Sequence[Attribute]) -> dict[str, object]:
    """Return what a frame says of a movie, by the names of what it may say; None is nothing.

    Args:
        movies: With the columns `columns.MOVIES`, and those of the attributes.
        row: Place of the movie.
        known: What it may say: title and attributes.
    """
    (values,) = values_of(movies.iloc[[row]], known)
    facts = {each.name: values.get(each.name) for each in known}
    for name, kind in known:
        if kind is AttributeKind.TEXT:
            facts[name] = str(movies[name].iloc[row]) or None
    return facts


def with_changes(data: MovieData, changes: Sequence[Change]) -> tuple[MovieData, list[Change]]:
    """Return data with changes of movies, and which of these still count.

    Where the data say something new themselves, that counts, and the change is forgotten.

    Args:
        data: Movies as they were read.
        changes: What was changed before.
    """
    movies, kept = data.movies.copy(), []
    known = {each.name: each for each in (*USUAL, *data.movie_attributes)}
    rows = {movie: row for row, movie in enumerate(movies[columns.MOVIE_ID].tolist())}
    cells: dict[str, list[object]] = {}
    for change in changes:
        row, attribute = rows.get(change.movie_id), known.get(change.name)
        if row is None:  # it was added, and the run has its facts
            kept.append(change)
        elif attribute is not None and _said(movies, row, attribute) == change.was:
            cells.setdefault(change.name, movies[change.name].tolist())
            cells[change.name][row] = _cell(attribute, change.now)
            kept.append(change)
    for name, values in cells.items():
        movies[name] = pd.Series(values, index=movies.index, dtype=movies[name].dtype)
    return replace(data, movies=movies), kept


def _said(movies: pd.DataFrame, row: int, attribute: Attribute) -> object:
    """Return what data say of a movie, as changes hold it."""
    if attribute.kind is AttributeKind.TEXT and attribute != TITLE:
        return None  # no run keeps it
    return plain(facts_in(movies, row, [attribute])[attribute.name])


def _cell(attribute: Attribute, fact: object) -> object:
    """Return a fact as a frame of movies holds it."""
    if attribute.name == columns.YEAR:
        return pd.NA if fact is None else fact
    return cell_of(attribute, fact)
