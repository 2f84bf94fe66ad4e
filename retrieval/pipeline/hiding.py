"""Movies that are hidden, removed, and shown again, in new versions of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from retrieval.data.vocabulary import Id
from retrieval.pipeline.indexing import changed_kept_version, changed_version
from retrieval.run.folder import HIDDEN, REMOVED, Run, open_run, read_shelves, write_ids
from retrieval.run.promotion import kept_versions
from retrieval.run.versions import current, writing
from retrieval.serving.arguments import checked_ids
from retrieval.serving.conditions import parse_condition
from retrieval.serving.events import movie_numbers
from retrieval.serving.masks import Masks
from retrieval.storage.files import new_file


def hide_movies(folder: Path, movies: Sequence[Id] = (), where: Sequence[str] = ()) -> int:
    """Keep movies out of all lists; their ratings can be asked for, and histories may hold them.

    What is hidden stays so when the run is trained again, and when it goes back to a version that
    it keeps.

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
        shelves = read_shelves(run.folder)
        before = {movie: name for name, there in shelves.items() for movie in there}
        given = dict.fromkeys([*ids.tolist(), *_meeting(run, where)])
        # What was removed stays so where it is to be hidden.
        moved = [
            movie
            for movie in given
            if before.get(movie) != shelf and not (shelf == HIDDEN and movie in before)
        ]
        if not moved:
            return 0
        gone = set(moved)
        shelves = {
            name: [movie for movie in there if movie not in gone] for name, there in shelves.items()
        }
        if shelf is not None:
            shelves[shelf] += moved
        for version in kept_versions(folder):
            with changed_kept_version(writer, version) as partial:
                _write(partial, shelves)
        with changed_version(writer, run) as partial:
            _write(partial, shelves)
    return len(moved)


def _meeting(run: Run, where: Sequence[str]) -> list[Id]:
    """Return the ids of movies that meet conditions; without any, of none."""
    if not where:
        return []
    met = Masks(run.attributes).kept([parse_condition(text) for text in where])
    return [run.catalogue.movies[number].id for number in np.flatnonzero(met).tolist()]


def _write(version: Path, shelves: Mapping[str, Sequence[Id]]) -> None:
    """Write what is hidden and removed anew; other versions may share the files."""
    for name, ids in shelves.items():
        with new_file(version / name) as file:
            write_ids(file, ids)
