"""Who is asked about: people, known or not, with the events that count as their history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, build_histories
from retrieval.errors import RequestError
from retrieval.run import Run
from retrieval.towers.inputs import UNKNOWN_USER
from retrieval.vocabulary import UNKNOWN


class Event(NamedTuple):
    """One rating in a history. Without a timestamp it happened just before the question."""

    movie_id: int
    rating: float
    timestamp: int | None = None


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whom a question is about: a known user, a stranger, or a known user with more events.

    Args:
        user_id: Of a known user; None for a stranger.
        history: Replaces what is stored; None keeps it.
        added: Comes after the history; a movie in it replaces an earlier rating of that movie.
        gender: Of a stranger, likewise age and occupation; None is unknown.
    """

    user_id: int | None = None
    history: Sequence[Event] | None = None
    added: Sequence[Event] = ()
    gender: str | None = None
    age: float | None = None
    occupation: str | None = None


class Audience(NamedTuple):
    """A distinct people who are asked about, with their histories."""

    users: NDArray[np.int64]  # (A,) number + 1 for the id embedding, or UNKNOWN_USER
    stored: NDArray[np.int64]  # (A,) number of a user whose history is as stored, or UNKNOWN
    settled: NDArray[np.bool_]  # (A,) whether the pairs are weighed as for users training knew
    codes: NDArray[np.int64]  # (A, 3)
    histories: Histories  # of A


class _Events(NamedTuple):
    """One person's events."""

    movies: NDArray[np.int32]  # (E,) numbers
    ratings: NDArray[np.float32]  # (E,)
    timestamps: NDArray[np.int64]  # (E,) seconds


_NO_EVENTS = _Events(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def one_person(run: Run, user: int | Person) -> Audience:
    """Return an audience of one, given by id or as a person.

    Raises:
        RequestError: An unknown user, movie, gender or occupation, or an impossible rating or age.
    """
    person = user if isinstance(user, Person) else Person(user_id=user)
    stored, codes, known_as = _NO_EVENTS, np.zeros(3, np.int64), UNKNOWN_USER
    as_stored = UNKNOWN
    if person.user_id is not None:
        number = int(run.users.numbers(person.user_id))
        if number == UNKNOWN:
            raise _unknown_users(run, np.array([person.user_id]))
        stored, codes = _stored(run, number), run.user_codes[number]
        known_as = number + 1 if run.trained_users[number] else UNKNOWN_USER
        facts = (person.gender, person.age, person.occupation)
        if person.history is None and not person.added and facts == (None, None, None):
            as_stored = number
    given = run.config.demographics.codes(person.gender, person.age, person.occupation)
    events = stored if person.history is None else _events(run, person.history, 0)
    if person.added:
        added = _events(run, person.added, int(events.timestamps.max(initial=0)))
        kept = ~np.isin(events.movies, added.movies)
        events = _Events(
            np.concatenate([events.movies[kept], added.movies]),
            np.concatenate([events.ratings[kept], added.ratings]),
            np.concatenate([events.timestamps[kept], added.timestamps]),
        )
    if as_stored == UNKNOWN:
        owner = np.zeros(len(events.movies), np.int64)
        histories = build_histories(owner, *events, 1)
    else:  # which is in order
        histories = Histories(np.array([0, len(events.movies)]), *events)
    return Audience(
        np.array([known_as]),
        np.array([as_stored]),
        np.array([as_stored != UNKNOWN and known_as != UNKNOWN_USER]),
        np.where(given > 0, given, codes)[None, :],
        histories,
    )


def many_people(
    run: Run, users: NDArray[np.int64], given: Mapping[int, Sequence[Event]]
) -> tuple[Audience, NDArray[np.int64]]:
    """Return the A distinct people among Q user ids, and which of them each id is, `(Q,)`.

    Args:
        run: Holds the stored histories.
        users: `(Q,)` ids.
        given: Histories that replace what is stored of these users, known or not.

    Raises:
        RequestError: An unknown user without a given history, or a bad event in one.
    """
    ids, rows = np.unique(users, return_inverse=True)
    numbers = run.users.numbers(ids)
    known = numbers != UNKNOWN
    replaced = np.array([user in given for user in ids.tolist()], dtype=bool)
    if not (known | replaced).all():
        raise _unknown_users(run, ids[~(known | replaced)])
    parts = [
        _events(run, given[user], 0) if swapped else _stored(run, number)
        for user, number, swapped in zip(
            ids.tolist(), numbers.tolist(), replaced.tolist(), strict=True
        )
    ]
    owners = np.repeat(np.arange(len(ids)), [len(part.movies) for part in parts])
    movies, ratings, timestamps = (
        np.concatenate(column) for column in zip(_NO_EVENTS, *parts, strict=True)
    )
    trained = np.zeros(len(ids), dtype=bool)
    trained[known] = run.trained_users[numbers[known]]
    codes = np.zeros((len(ids), 3), dtype=np.int64)
    codes[known] = run.user_codes[numbers[known]]
    audience = Audience(
        np.where(trained, numbers + 1, UNKNOWN_USER),
        np.where(replaced, UNKNOWN, numbers),
        trained & ~replaced,
        codes,
        build_histories(owners, movies, ratings, timestamps, len(ids)),
    )
    return audience, rows


def some(audience: Audience, rows: NDArray[np.int64]) -> tuple[Audience, NDArray[np.int64]]:
    """Return the people among rows `(Q,)` alone, and which of them each row is, `(Q,)`."""
    people, which = np.unique(rows, return_inverse=True)
    events = audience.histories
    offsets = events.offsets
    counts = offsets[people + 1] - offsets[people]
    ends = np.cumsum(counts)
    places = np.arange(counts.sum()) + np.repeat(offsets[people] - (ends - counts), counts)
    histories = Histories(
        np.append(0, ends), events.movies[places], events.ratings[places], events.timestamps[places]
    )
    users, stored, settled, codes, _ = audience
    return (
        Audience(users[people], stored[people], settled[people], codes[people], histories),
        which,
    )


def check_movies(run: Run, ids: NDArray[np.int64]) -> None:
    """Raise a `RequestError` for the first id that is no movie."""
    unknown = run.catalogue.vocabulary.numbers(ids) == UNKNOWN
    if unknown.any():
        run.catalogue.number(int(ids[unknown][0]))


def _stored(run: Run, number: int) -> _Events:
    start, end = run.histories.offsets[number : number + 2]
    _, movies, ratings, timestamps = run.histories
    return _Events(movies[start:end], ratings[start:end], timestamps[start:end])


def _events(run: Run, events: Sequence[Event], last: int) -> _Events:
    """Check events from outside. Those without a timestamp get the time of the last one."""
    ids = np.array([event.movie_id for event in events], dtype=np.int64)
    ratings = np.array([event.rating for event in events], dtype=np.float64)
    last = max([last, *(event.timestamp or 0 for event in events)])
    times = [last if event.timestamp is None else event.timestamp for event in events]
    check_movies(run, ids)
    numbers = run.catalogue.vocabulary.numbers(ids)
    late = numbers >= len(run.catalogue) - run.catalogue.added
    if late.any():
        raise RequestError(
            f"movie {ids[late][0]} was added after training, which has yet to learn what its "
            "ratings say; leave it out of histories, or train again"
        )
    if len(set(ids.tolist())) < len(ids):
        repeated = next(movie for movie in ids.tolist() if (ids == movie).sum() > 1)
        raise RequestError(f"movie {repeated} comes twice in one history; keep the last rating")
    scale = run.config.scale
    wrong = ~((ratings >= scale.lowest) & (ratings <= scale.highest))
    if wrong.any():
        raise RequestError(
            f"rating {ratings[wrong][0]:g} of movie {ids[wrong][0]} is outside the scale: "
            f"ratings run from {scale.lowest:g} to {scale.highest:g}"
        )
    return _Events(
        numbers.astype(np.int32),
        ratings.astype(np.float32),
        np.array(times, dtype=np.int64),
    )


def _unknown_users(run: Run, ids: NDArray[np.int64]) -> RequestError:
    low, high = run.users.range
    first = ", ".join(str(user) for user in ids[:5].tolist())
    return RequestError(
        f"unknown user {first}{' and more' if len(ids) > 5 else ''}: ids run from {low} "
        f"to {high}; ask as a stranger by giving a history"
    )
