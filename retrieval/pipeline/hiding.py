"""Movies that are hidden, removed, and shown again, in new versions of a run."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from retrieval.data.vocabulary import Id
from retrieval.pipeline.indexing import changed_kept_version, changed_version
from retrieval.run.folder import Run, open_run
from retrieval.run.promotion import kept_versions
from retrieval.run.shelves import (
    HIDDEN,
    MOVED,
    REMOVED,
    ids_like,
    moved,
    read_moves,
    read_shelves,
    write_moves,
    write_shelves,
)
from retrieval.run.versions import current, writing
from retrieval.serving.arguments import checked_ids
from retrieval.serving.conditions import parse_condition
from retrieval.serving.events import movie_numbers
from retrieval.serving.masks import Masks


def hide_movies(folder: Path, movies: Sequence[Id] = (), where: Sequence[str] = ()) -> int:
    """Keep movies out of all lists; their ratings can be asked for, and histories may hold them.

    What is hidden stays so when the run is trained again, and when it goes back to a version that
    it keeps. A service that was told something else before goes by this, and by what it is told
    later.

    Args:
        folder: Folder of the run.
        movies: Ids of the movies.
        where: Conditions, as in `until<2026-12-31`; movies that meet all of them are hidden too.

    Returns:
        How many were not hidden before.

    Raises:
        RequestError: An id is no movie's, or a condition is none for this catalogue.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    return _changed(folder, movies, where, HIDDEN)


def remove_movies(folder: Path, movies: Sequence[Id] = (), where: Sequence[str] = ()) -> int:
    """Take movies out of everything but the histories that hold them; see `hide_movies`.

    Nobody can ask about them. Trainings still learn from their events.

    Returns:
        How many had not been removed before.

    Raises:
        RequestError: An id is no movie's, or a condition is none for this catalogue.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    return _changed(folder, movies, where, REMOVED)


def show_movies(folder: Path, movies: Sequence[Id] = (), where: Sequence[str] = ()) -> int:
    """Let lists show movies again; the arguments are those of `hide_movies`.

    Returns:
        How many had been hidden or removed.

    Raises:
        RequestError: An id is no movie's, or a condition is none for this catalogue.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    return _changed(folder, movies, where, None)


def _changed(folder: Path, movies: Sequence[Id], where: Sequence[str], shelf: str | None) -> int:
    """Move movies to a shelf, `HIDDEN` or `REMOVED`, or off both; return how many were moved."""
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        run = open_run(folder)
        ids = checked_ids(list(movies), "movie", run.catalogue.vocabulary)
        movie_numbers(run, ids)
        vocabulary = run.catalogue.vocabulary
        shelves = {
            name: ids_like(there, vocabulary) for name, there in read_shelves(run.folder).items()
        }
        before = {movie: name for name, there in shelves.items() for movie in there}
        given = dict.fromkeys([*ids.tolist(), *_meeting(run, where)])
        # What was removed stays so where it is to be hidden.
        changed = [
            movie
            for movie in given
            if before.get(movie) != shelf and not (shelf == HIDDEN and movie in before)
        ]
        # Of those named, a service may have been told something else, which a run does not know.
        said = dict.fromkeys([*changed, *ids.tolist()])
        if not said:
            return 0
        shelves, now = moved(shelves, changed, shelf), time.time()
        moves = read_moves(run.folder) | {str(movie): now for movie in said}
        for version in kept_versions(folder):
            with changed_kept_version(writer, version) as partial:
                _write(partial, shelves, moves)
        with changed_version(writer, run) as partial:
            _write(partial, shelves, moves)
    return len(changed)


def _meeting(run: Run, where: Sequence[str]) -> list[Id]:
    """Return the ids of movies that meet conditions; without any, of none."""
    if not where:
        return []
    met = Masks(run.attributes).kept([parse_condition(text) for text in where])
    return [run.catalogue.movies[number].id for number in np.flatnonzero(met).tolist()]


def _write(version: Path, shelves: Mapping[str, Sequence[Id]], moves: Mapping[str, float]) -> None:
    """Write what is hidden and removed anew, and when that was said."""
    for name in (HIDDEN, REMOVED, MOVED):
        (version / name).unlink(missing_ok=True)  # which other versions may share
    write_shelves(version, shelves)
    write_moves(version, moves)
