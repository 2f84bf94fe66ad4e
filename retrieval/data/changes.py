"""Movies that people changed after training: what data said of them, and what they are to say."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from retrieval.data.attributes import Attribute, AttributeKind, Facts
from retrieval.data.vocabulary import Id
from retrieval.storage.damage import readable


class Change(NamedTuple):
    """One fact of one movie that was changed."""

    movie_id: Id
    name: str
    kind: AttributeKind  # of the attribute; the title is a text
    was: object  # what the data said; None where they said nothing
    now: object  # None is nothing


def changes_between(
    movie: Id,
    attributes: Mapping[str, Attribute],
    before: Facts,
    after: Facts,
    earlier: Iterable[Change] = (),
) -> list[Change]:
    """Return the changes that turn one set of facts into another, earlier ones included.

    Args:
        movie: Id of the movie.
        attributes: Attributes of movies, by name.
        before: What is known.
        after: What is to be known; names that are not in it stay as they are.
        earlier: Changes of this movie that were made before.
    """
    changes = {change.name: change for change in earlier}
    for name, now in after.items():
        kind = attributes[name].kind
        old = changes.get(name)
        was = old.was if old is not None and old.kind is kind else plain(before.get(name))
        changes[name] = Change(movie, name, kind, was, plain(now))
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
