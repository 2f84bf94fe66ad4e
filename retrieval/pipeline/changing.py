"""What is known of movies, changed in a run without training it again, and kept in later ones."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from retrieval.data import columns
from retrieval.data.attributes import (
    TITLE_ATTRIBUTE,
    USUAL,
    Attribute,
    AttributeKind,
    Facts,
    cell_of,
)
from retrieval.data.catalogue import Catalogue, Movie, write_catalogue
from retrieval.data.changes import Change, changes_between, plain, read_changes, write_changes
from retrieval.data.frames import MovieData
from retrieval.data.listing import values_of
from retrieval.data.source import saved_source
from retrieval.data.vocabulary import UNKNOWN, Id
from retrieval.errors import RequestError, RunError, unknown
from retrieval.pipeline.indexing import changed_kept_version, changed_version
from retrieval.run.folder import ATTRIBUTES, CHANGED, MOVIES, Run, open_run
from retrieval.run.promotion import kept_versions
from retrieval.run.versions import current, writing
from retrieval.serving.arguments import checked_ids
from retrieval.serving.events import movie_numbers
from retrieval.serving.new_movies import check_fact
from retrieval.serving.users import enumerated
from retrieval.storage.files import new_file

_log = logging.getLogger(__name__)


def changeable(run: Run) -> list[Attribute]:
    """Return what can be changed of movies: titles and attributes, but for texts.

    A run does not keep texts, which training alone reads.
    """
    kept = [each for each in run.attributes.attributes if each.kind is not AttributeKind.TEXT]
    return [TITLE_ATTRIBUTE, *kept]


def columns_said(run: Run) -> Mapping[str, str]:
    """Return what was said of columns when a run was trained; see `DataSource.columns`."""
    return {} if run.config.source is None else saved_source(run.config.source).columns


def change_movies(folder: Path, facts: Mapping[Id, Facts]) -> int:
    """Change what a run says of movies: what lists show, and what conditions ask.

    Vectors stay until the next training, which learns from the changes too. They count for as long
    as its data say what they said before.

    Args:
        folder: Folder of the run, whose kept versions change too where they have the movie.
        facts: By id of a movie: what is to change, by the names of what `changeable` returns. None
            is not known.

    Returns:
        How many movies were changed.

    Raises:
        RequestError: An id is no movie's, or a fact is none that can be changed so.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        run = open_run(folder)
        ids = checked_ids(list(facts), "movie", run.catalogue.vocabulary)
        movie_numbers(run, ids)
        wanted = dict(zip(ids.tolist(), facts.values(), strict=True))
        _check(run, wanted)
        count = len(_different(run, wanted))
        if not count:
            return 0
        for version in kept_versions(folder):
            if _different(version, wanted):
                with changed_kept_version(writer, version) as partial:
                    _write(version, partial, wanted)
        with changed_version(writer, run) as partial:
            _write(run, partial, wanted)
    return count


def changes_of(folder: Path) -> list[Change]:
    """Return what was changed of movies in a version, or in data that were exported from one."""
    path = folder / CHANGED
    if not path.is_file():
        return []
    try:
        return read_changes(path)
    except RunError as error:
        _log.warning("what was changed of movies is lost: %s", error)
        return []


def with_changes(
    data: MovieData, changes: Sequence[Change], added: Collection[Id] = ()
) -> tuple[MovieData, list[Change]]:
    """Return data with changes of movies, and which of these still count.

    Where the data give another value than they did, that counts, and the change is forgotten.

    Args:
        data: Movies as they were read.
        changes: What was changed before.
        added: Ids of movies that the run has beside those of the data; it knows of their changes.
    """
    if not changes:
        return data, []
    movies = data.movies
    known = {each.name: each for each in (*USUAL, *data.movie_attributes)}
    # Ids may be numbers in one training and texts in the next.
    rows = {str(movie): row for row, movie in enumerate(movies[columns.MOVIE_ID].tolist())}
    others = {str(movie) for movie in added}
    there = {rows[name] for name in (str(each.movie_id) for each in changes) if name in rows}
    said = _said(movies, there, known)
    kept: list[Change] = []
    forgotten: list[Change] = []
    cells: dict[str, list[object]] = {}
    for change in changes:
        row, attribute = rows.get(str(change.movie_id)), known.get(change.name)
        if row is None:
            (kept if str(change.movie_id) in others else forgotten).append(change)
        elif attribute is None or not _counts(change, attribute, said[row]):
            forgotten.append(change)
        else:
            if change.name not in cells:
                cells[change.name] = movies[change.name].tolist()
            cells[change.name][row] = _cell(attribute, change.now)
            kept.append(change)
    if forgotten:
        ids = list(dict.fromkeys(change.movie_id for change in forgotten))
        _log.warning("data say something new of movie %s: earlier changes end", enumerated(ids))
    changed = {
        name: pd.Series(values, index=movies.index, dtype=movies[name].dtype)
        for name, values in cells.items()
    }
    return replace(data, movies=movies.assign(**changed)), kept


def _said(
    movies: pd.DataFrame, rows: Iterable[int], known: Mapping[str, Attribute]
) -> dict[int, Facts]:
    """Return what a frame says of the movies in some rows."""
    places = sorted(rows)
    frame = movies.iloc[places]
    values = values_of(frame, [each for each in known.values() if each.name in frame])
    titles = frame[columns.TITLE].astype(str).tolist()
    return {
        place: {**of_movie, columns.TITLE: title}
        for place, of_movie, title in zip(places, values, titles, strict=True)
    }


def _counts(change: Change, attribute: Attribute, said: Facts) -> bool:
    """Return whether data say what they said before a change."""
    return change.kind is attribute.kind and plain(said.get(change.name)) == change.was


def _cell(attribute: Attribute, fact: object) -> object:
    """Return a fact as a frame of movies holds it."""
    if attribute.name == columns.YEAR:
        return pd.NA if fact is None else fact
    return cell_of(attribute, fact)


def _check(run: Run, wanted: Mapping[Id, Facts]) -> None:
    """Raise a `RequestError` for what cannot be changed, or not so."""
    attributes = {each.name: each for each in changeable(run)}
    for facts in wanted.values():
        for name, value in facts.items():
            if name not in attributes:
                raise unknown("fact of a movie", name, attributes)
            check_fact(attributes[name], value)


def _different(run: Run, wanted: Mapping[Id, Facts]) -> dict[int, Facts]:
    """Return what is to change in a version, by number: what it has, and does not say so."""
    attributes = {each.name: each for each in changeable(run)}
    vocabulary = run.catalogue.vocabulary
    numbers = vocabulary.numbers(np.array(list(wanted), vocabulary.ids.dtype))
    different: dict[int, Facts] = {}
    for number, facts in zip(numbers.tolist(), wanted.values(), strict=True):
        if number == UNKNOWN:
            continue
        before = _known(run, number)
        fitting = {
            name: now
            for name, now in facts.items()
            if name in attributes and _fits(attributes[name], now)
        }
        changed = {
            name: now for name, now in fitting.items() if plain(before.get(name)) != plain(now)
        }
        if changed:
            different[number] = changed
    return different


def _fits(attribute: Attribute, fact: object) -> bool:
    with suppress(RequestError):
        check_fact(attribute, fact)
        return True
    return False


def _known(run: Run, number: int) -> dict[str, object]:
    """Return what a run knows of a movie, given by number."""
    return run.attributes.value(number) | {columns.TITLE: run.catalogue.movies[number].title}


def _write(run: Run, version: Path, wanted: Mapping[Id, Facts]) -> None:
    """Write catalogue, attributes and changes anew; other versions may share their files."""
    different = _different(run, wanted)
    attributes = {each.name: each for each in changeable(run)}
    changes: dict[Id, list[Change]] = {}
    for change in read_changes(run.folder / CHANGED):
        changes.setdefault(change.movie_id, []).append(change)
    movies = list(run.catalogue.movies)
    for number, facts in different.items():
        movie, before = movies[number], _known(run, number)
        earlier = changes.get(movie.id, ())
        changes[movie.id] = changes_between(movie.id, attributes, before, facts, earlier)
        movies[number] = _changed(movie, facts)
    known = run.attributes.changed(
        {
            number: {name: fact for name, fact in facts.items() if name != columns.TITLE}
            for number, facts in different.items()
        }
    )
    for path in version.glob(f"{ATTRIBUTES}*"):
        path.unlink()
    known.save(version, ATTRIBUTES)
    with new_file(version / MOVIES) as partial:
        write_catalogue(partial, Catalogue(movies, run.catalogue.added))
    with new_file(version / CHANGED) as partial:
        write_changes(partial, [change for of_movie in changes.values() for change in of_movie])


def _changed(movie: Movie, facts: Facts) -> Movie:
    """Return a movie as people see it, with other facts."""
    title, year = facts.get(columns.TITLE, movie.title), facts.get(columns.YEAR, movie.year)
    genres = facts.get(columns.GENRES, movie.genres)
    return Movie(
        movie.id,
        str(title),
        year if isinstance(year, int) else None,
        tuple(genres) if isinstance(genres, tuple | list) else (),
    )
