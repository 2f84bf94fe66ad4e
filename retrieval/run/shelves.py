"""Which movies are hidden or removed, and when commands said so."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter

from retrieval.data.vocabulary import Id, Vocabulary, id_of
from retrieval.storage.damage import readable

HIDDEN = "hidden.json"  # ids of movies that no list shows, and that can be asked about
REMOVED = "removed.json"  # ids of movies that nothing shows but histories

# When commands last hid, removed or showed movies, for whoever was told of the same movies in
# another way. There is none where no command has.
MOVED = "moved_movies.json"


def write_ids(path: Path, ids: Iterable[Id]) -> None:
    """Write the ids of movies that are hidden or removed, be they in the catalogue or not."""
    path.write_text(json.dumps(list(ids)) + "\n", encoding="utf-8")


def read_ids(path: Path) -> list[Id]:
    """Read what `write_ids` wrote.

    Raises:
        RunError: The file is damaged.
    """
    with readable(path):
        return TypeAdapter(list[Id]).validate_json(path.read_bytes())


def ids_like(ids: Iterable[Id], vocabulary: Vocabulary) -> list[Id]:
    """Return ids as a catalogue has them, which may have had numbers when they were written.

    Args:
        ids: Numbers or texts.
        vocabulary: The ids of the catalogue; a text that is no whole number is none of its numbers.
    """
    found = (id_of(str(movie), vocabulary) for movie in ids)
    return [movie for movie in found if movie is not None]


def read_shelves(folder: Path) -> dict[str, list[Id]]:
    """Read the ids of movies that are hidden and removed, by the names of the files.

    Data that an older version exported have none that are removed.

    Raises:
        RunError: A file is damaged.
    """
    there = (folder / REMOVED).is_file()
    return {
        HIDDEN: read_ids(folder / HIDDEN),
        REMOVED: read_ids(folder / REMOVED) if there else [],
    }


def write_shelves(folder: Path, shelves: Mapping[str, Iterable[Id]]) -> None:
    """Write what `read_shelves` reads into a folder whose files nobody shares."""
    for name, ids in shelves.items():
        write_ids(folder / name, ids)


def moved(
    shelves: Mapping[str, Iterable[Id]], movies: Iterable[Id], shelf: str | None
) -> dict[str, list[Id]]:
    """Return shelves with movies on one of them, or on none.

    Args:
        shelves: As `read_shelves` gives them.
        movies: Ids of the movies.
        shelf: `HIDDEN` or `REMOVED`; None is neither.
    """
    given = dict.fromkeys(movies)
    after = {name: [each for each in ids if each not in given] for name, ids in shelves.items()}
    if shelf is not None:
        after[shelf] += given
    return after


def read_moves(folder: Path) -> dict[str, float]:
    """Read when commands last moved movies, in seconds since 1970, by id as a text.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / MOVED
    if not path.is_file():
        return {}
    with readable(path):
        return TypeAdapter(dict[str, float]).validate_json(path.read_bytes())


def write_moves(folder: Path, moves: Mapping[str, float]) -> None:
    """Write what `read_moves` reads into a folder whose files nobody shares; nothing for none."""
    if moves:
        (folder / MOVED).write_text(json.dumps(dict(moves)) + "\n", encoding="utf-8")
