"""Movies that lists do not show: hidden, and shown again, in new versions of a run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.data.vocabulary import Id
from retrieval.pipeline.indexing import changed_kept_version, changed_version
from retrieval.run.folder import HIDDEN, Run, open_run, read_hidden, write_hidden
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
    return _changed(folder, movies, where, hide=True)


def show_movies(folder: Path, movies: Sequence[Id] = (), where: Sequence[str] = ()) -> int:
    """Let lists show movies again; the arguments are those of `hide_movies`.

    Returns:
        How many had been hidden.

    Raises:
        RequestError: An id is no movie's, or a condition is none for this catalogue.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    return _changed(folder, movies, where, hide=False)


def _changed(folder: Path, movies: Sequence[Id], where: Sequence[str], *, hide: bool) -> int:
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        run = open_run(folder)
        ids = checked_ids(list(movies), "movie", run.catalogue.vocabulary)
        movie_numbers(run, ids)
        before = read_hidden(run.folder / HIDDEN)
        given = dict.fromkeys([*ids.tolist(), *_meeting(run, where)])
        there = set(before)
        changed = [each for each in given if (each in there) is not hide]
        if not changed:
            return 0
        after = [*before, *changed] if hide else [each for each in before if each not in given]
        for version in kept_versions(folder):
            with changed_kept_version(writer, version) as partial:
                _write_hidden(partial, after)
        with changed_version(writer, run) as partial:
            _write_hidden(partial, after)
    return len(changed)


def _meeting(run: Run, where: Sequence[str]) -> list[Id]:
    """Return the ids of movies that meet conditions; without any, of none."""
    if not where:
        return []
    met = Masks(run.attributes).kept([parse_condition(text) for text in where])
    return [run.catalogue.movies[number].id for number in np.flatnonzero(met).tolist()]


def _write_hidden(version: Path, ids: Sequence[Id]) -> None:
    """Write what is hidden anew; other versions may share the file."""
    with new_file(version / HIDDEN) as file:
        write_hidden(file, ids)
