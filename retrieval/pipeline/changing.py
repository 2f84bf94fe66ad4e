"""What is known of movies, changed in a run without training it again."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from retrieval.data import columns
from retrieval.data.attributes import TITLE, Attribute
from retrieval.data.catalogue import Catalogue, Movie, write_catalogue
from retrieval.data.changes import Change, Facts, changes_between, read_changes, write_changes
from retrieval.data.listing import facts_in
from retrieval.errors import RunError
from retrieval.pipeline.indexing import changed_version
from retrieval.run.folder import ATTRIBUTES, CHANGED, MOVIES, Run, open_run
from retrieval.run.versions import current, writing
from retrieval.serving.arguments import checked_ids
from retrieval.serving.events import movie_numbers
from retrieval.storage.files import new_file


def changeable(run: Run) -> list[Attribute]:
    """Return what can be changed of movies: their titles, and what a run can ask of them."""
    return [TITLE, *run.attributes.attributes]


def change_movies(folder: Path, movies: pd.DataFrame, attributes: Sequence[Attribute]) -> int:
    """Change what a run says of movies: what lists show, and what conditions ask.

    Their vectors stay until the next training, which learns from the changes too, for as long as
    its data say of them what they said before.

    Args:
        folder: Folder of the run.
        movies: With the columns `columns.MOVIES`, and those of the attributes.
        attributes: What is to be as the frame has it, of what `changeable` returns.

    Returns:
        How many movies were changed.

    Raises:
        RequestError: An id is no movie's.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        run = open_run(folder)
        ids = checked_ids(movies[columns.MOVIE_ID].to_numpy(), "movie", run.catalogue.vocabulary)
        earlier: dict[object, list[Change]] = {}
        for change in read_changes(run.folder / CHANGED):
            earlier.setdefault(change.movie_id, []).append(change)
        facts: dict[int, Facts] = {}
        for row, number in enumerate(movie_numbers(run, ids).tolist()):
            before, after = facts_of(run, number), facts_in(movies, row, attributes)
            different = {name: now for name, now in after.items() if before.get(name) != now}
            if different:
                movie, facts[number] = run.catalogue.movies[number].id, different
                made = changes_between(movie, before, different, earlier.get(movie, ()))
                earlier[movie] = made
        if facts:
            with changed_version(writer, run) as partial:
                _write(run, partial, facts)
                with new_file(partial / CHANGED) as file:
                    write_changes(file, [each for some in earlier.values() for each in some])
    return len(facts)


def facts_of(run: Run, number: int) -> dict[str, object]:
    """Return what a run knows of a movie, given by number."""
    return run.attributes.value(number) | {columns.TITLE: run.catalogue.movies[number].title}


def changes_of(home: Path) -> list[Change]:
    """Return what was changed in a run; nothing where none is.

    Args:
        home: Folder of the run, where one is.
    """
    try:
        return read_changes(current(home) / CHANGED)
    except RunError:
        return []


def _write(run: Run, version: Path, facts: dict[int, Facts]) -> None:
    """Write catalogue and attributes anew; other versions may share their files."""
    known = {each.name for each in run.attributes.attributes}
    attributes = run.attributes.changed(
        {
            number: {name: now for name, now in of.items() if name in known}
            for number, of in facts.items()
        }
    )
    for path in version.glob(f"{ATTRIBUTES}*"):
        path.unlink()
    attributes.save(version, ATTRIBUTES)
    movies = list(run.catalogue.movies)
    for number, of in facts.items():
        movies[number] = _changed(movies[number], of)
    with new_file(version / MOVIES) as partial:
        write_catalogue(partial, Catalogue(movies, run.catalogue.added))


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
