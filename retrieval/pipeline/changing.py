"""What is known of movies, changed in a run without training it again, and kept in later ones."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from retrieval.data import columns
from retrieval.data.attributes import (
    TITLE_ATTRIBUTE,
    USUAL,
    Attribute,
    AttributeKind,
    Facts,
    cell_of,
    column_of,
)
from retrieval.data.catalogue import Catalogue, Movie
from retrieval.data.changes import Change, changes_between, plain, read_changes, write_changes
from retrieval.data.frames import MovieData
from retrieval.data.listing import values_of
from retrieval.data.source import saved_source
from retrieval.data.vocabulary import UNKNOWN, Id
from retrieval.errors import RequestError, RunError, unknown
from retrieval.pipeline.indexing import (
    changed_kept_version,
    changed_version,
    replace_catalogue,
)
from retrieval.run.folder import CHANGED, Run, open_run
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
        wanted = dict(zip(ids.tolist(), map(partial(_checked, run), facts.values()), strict=True))
        different = _different(run, wanted)
        if not different:
            return 0
        for version in kept_versions(folder):
            if of_version := _different(version, wanted):
                with changed_kept_version(writer, version) as partial_version:
                    _write(version, partial_version, of_version)
        with changed_version(writer, run) as partial_version:
            _write(run, partial_version, different)
    return len(different)


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
    # Ids may be numbers in one training and texts in the next; a change has those of the data.
    ids = movies[columns.MOVIE_ID].tolist()
    rows = {str(movie): row for row, movie in enumerate(ids)}
    others = {str(movie): movie for movie in added}
    there = {rows[name] for name in (str(each.movie_id) for each in changes) if name in rows}
    said = _said(movies, there, known)
    kept: list[Change] = []
    forgotten: list[Change] = []
    cells: dict[str, list[object]] = {}
    for change in changes:
        name = str(change.movie_id)
        row, attribute = rows.get(name), known.get(change.name)
        if row is None and name in others:
            kept.append(change._replace(movie_id=others[name]))
        elif row is None or attribute is None or not _counts(change, attribute, said[row]):
            forgotten.append(change)
        else:
            if change.name not in cells:
                cells[change.name] = movies[change.name].tolist()
            cells[change.name][row] = _cell(attribute, change.now)
            kept.append(change._replace(movie_id=ids[row]))
    if forgotten:
        _log.warning(
            "earlier changes of movie %s end: the data no longer say of it what they said before",
            enumerated(list(dict.fromkeys(change.movie_id for change in forgotten))),
        )
    changed = {
        name: pd.Series(values, index=movies.index, dtype=_dtype(known[name]))
        for name, values in cells.items()
    }
    return replace(data, movies=movies.assign(**changed)), kept


def _said(
    movies: pd.DataFrame, rows: Iterable[int], known: Mapping[str, Attribute]
) -> dict[int, Facts]:
    """Return what a frame says of the movies in some rows."""
    places = sorted(rows)
    frame = movies.iloc[places]
    values = values_of(frame, list(known.values()))
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


def _dtype(attribute: Attribute) -> str:
    """Return how a frame of movies holds a column."""
    if attribute.name == columns.YEAR:
        return "Int64"
    match attribute.kind:
        case AttributeKind.NUMBER | AttributeKind.YES_NO:
            return "float64"
        case AttributeKind.DATE:
            return "int64"
        case _:
            return "str"


def _checked(run: Run, facts: Facts) -> Facts:
    """Return facts as a run says them.

    Raises:
        RequestError: One cannot be changed, or not so.
    """
    attributes = {each.name: each for each in changeable(run)}
    said: dict[str, object] = {}
    for name, fact in facts.items():
        if name not in attributes:
            raise unknown("fact of a movie", name, attributes)
        check_fact(attributes[name], fact)
        cell = cell_of(attributes[name], fact)
        title = attributes[name] == TITLE_ATTRIBUTE
        said[name] = fact if title else column_of(attributes[name].kind, [cell]).value(0)
    return said


def _different(run: Run, wanted: Mapping[Id, Facts]) -> dict[int, Facts]:
    """Return the facts that differ from those of a version, by number of the movie.

    Movies and attributes that it lacks are left out.
    """
    attributes = {each.name: each for each in changeable(run)}
    try:
        ids = checked_ids(list(wanted), "movie", run.catalogue.vocabulary)
    except RequestError:  # of another kind than those of the version
        return {}
    different: dict[int, Facts] = {}
    numbers = run.catalogue.vocabulary.numbers(ids).tolist()
    for number, facts in zip(numbers, wanted.values(), strict=True):
        if number == UNKNOWN:
            continue
        before = _known(run, number)
        changed = {
            name: now
            for name, now in facts.items()
            if name in attributes and before.get(name) != now and _fits(attributes[name], now)
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


def _write(run: Run, version: Path, different: Mapping[int, Facts]) -> None:
    """Write catalogue, attributes and changes anew; other versions may share their files.

    Args:
        run: The version as it was.
        version: Folder of the one that is written.
        different: What `_different` returned.
    """
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
    replace_catalogue(version, Catalogue(movies, run.catalogue.added), known)
    with new_file(version / CHANGED) as file:
        write_changes(file, [change for of_movie in changes.values() for change in of_movie])


def _changed(movie: Movie, facts: Facts) -> Movie:
    """Return a movie as people see it, with other facts."""
    title, year = facts.get(columns.TITLE, movie.title), facts.get(columns.YEAR, movie.year)
    genres = facts.get(columns.GENRES, movie.genres)
    return Movie(
        movie.id,
        str(title),
        year if isinstance(year, int) else None,
        tuple(genres) if isinstance(genres, tuple) else (),
    )
