"""Movies that people changed after training: what data said of them, and what they are to say."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from retrieval.data.vocabulary import Id
from retrieval.storage.damage import readable

# What is known of a movie, by name: title, and attributes as `AttributeColumns.value` has them.
Facts = Mapping[str, object]


class Change(NamedTuple):
    """One fact of one movie that was changed."""

    movie_id: Id
    name: str
    was: object  # what the data said; None where they said nothing, or where it is a text
    now: object


def changes_between(
    movie: Id, before: Facts, after: Facts, earlier: Iterable[Change] = ()
) -> list[Change]:
    """Return what makes one set of facts of a movie of another, earlier changes of it included.

    Args:
        movie: Id of the movie.
        before: What is known.
        after: What is to be known; names that are not in it stay as they are.
        earlier: Changes that what is known comes from.
    """
    changes = {change.name: change for change in earlier}
    for name, now in after.items():
        was = changes[name].was if name in changes else plain(before.get(name))
        changes[name] = Change(movie, name, was, plain(now))
    return [change for change in changes.values() if change.was != change.now]


def plain(fact: object) -> object:
    """Return a fact as a change holds it, and JSON gives it back."""
    return list(fact) if isinstance(fact, tuple) else fact


def write_changes(path: Path, changes: Sequence[Change]) -> None:
    """Write changes into a file."""
    path.write_bytes(TypeAdapter(list[Change]).dump_json(list(changes), indent=1))


def read_changes(path: Path) -> list[Change]:
    """Read what `write_changes` wrote.

    Raises:
        RunError: The file is damaged.
    """
    with readable(path):
        return TypeAdapter(list[Change]).validate_json(path.read_bytes())
