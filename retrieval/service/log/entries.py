"""What the log holds: events of users, changes of movies, and who was forgotten."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from retrieval.errors import RequestError, shown

# Letters of the longest id and the longest idempotency key.
LONGEST_ID: Final = 256

# Letters of the facts of one movie, as JSON.
LONGEST_FACTS: Final = 65_536

# Whole numbers that both databases can hold.
SMALLEST, LARGEST = -(2**63), 2**63 - 1


class Kind(StrEnum):
    """What an entry says."""

    RATING = "rating"
    PLAY = "play"
    LIKE = "like"
    FORGET = "forget"
    MOVIE = "movie"
    HIDE = "hide"
    SHOW = "show"
    REMOVE = "remove"


EVENTS: Final = frozenset({Kind.RATING, Kind.PLAY, Kind.LIKE})


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """What a user did, as it is added to the log; ids are texts.

    Args:
        kind: A rating, a play or a like.
        user_id: Id of the user.
        movie_id: Id of the movie.
        rating: The rating, where one was given.
        timestamp: Seconds since 1970 at which it happened.
    """

    kind: Kind
    user_id: str
    movie_id: str
    rating: float | None = None
    timestamp: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One row of the log.

    Args:
        sequence: Place in the log, from 1.
        kind: What it says.
        user_id: Id of the user of an event; of one who was forgotten, only `body` has a hash.
        movie_id: Id of the movie.
        rating: The rating of an event that has one.
        timestamp: Seconds since 1970 at which an event happened.
        received: Seconds since 1970 at which the log was told.
        body: Facts of a movie, or the hash of a forgotten user.
    """

    sequence: int
    kind: Kind
    user_id: str | None
    movie_id: str | None
    rating: float | None
    timestamp: int | None
    received: int
    body: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where events are in the log, and whether they were there before."""

    first: int
    last: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The entry that says that a user was forgotten, and how many events were deleted."""

    sequence: int
    events: int


def check_event(event: NewEvent) -> None:
    """Raise a `RequestError` for an event that no database could hold."""
    if event.kind not in EVENTS:
        raise RequestError(f"'{event.kind}' is no event; events are: rating, play, like")
    check_text("user id", event.user_id)
    check_text("movie id", event.movie_id)
    if event.rating is not None and not math.isfinite(event.rating):
        raise RequestError(f"the rating {event.rating} is no number; give a finite one")
    if not SMALLEST <= event.timestamp <= LARGEST:
        raise RequestError(
            f"the timestamp {shown(event.timestamp)} is out of range; give seconds since 1970"
        )


def check_text(what: str, text: str) -> None:
    """Raise a `RequestError` for an id or a key that no database could hold."""
    if not text:
        raise RequestError(f"the {what} is empty; give one of 1 to {LONGEST_ID} letters")
    if len(text) > LONGEST_ID:
        raise RequestError(
            f"the {what} '{shown(text)}' has {len(text):,} letters; at most {LONGEST_ID} are kept"
        )
    if "\0" in text or not _is_unicode(text):
        raise RequestError(
            f"the {what} '{shown(text)}' has letters that cannot be stored; "
            "leave out NUL and halves of surrogate pairs"
        )


def facts_text(facts: Mapping[str, object]) -> str:
    """Return the facts of a movie as they are stored.

    Raises:
        RequestError: They are no JSON, or too long.
    """
    try:
        text = json.dumps(dict(facts), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(
            f"the facts of the movie are no JSON: {error}; "
            "give texts, finite numbers, and lists of them"
        ) from error
    if len(text) > LONGEST_FACTS:
        raise RequestError(
            f"the facts of the movie take {len(text):,} letters; at most {LONGEST_FACTS:,} are kept"
        )
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
