"""Who is asked about: people, known or not, with the events that count as their history."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, build_histories
from retrieval.data.times import NO_TIME
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError, RunError, shown
from retrieval.pairs.neural.inputs import UNKNOWN_USER
from retrieval.run.folder import Run
from retrieval.serving.arguments import checked_id, checked_ids, checked_numbers, checked_times

_log = logging.getLogger(__name__)

# Ids that a message names; of more, only the number is told.
NAMED = 5


class Event(NamedTuple):
    """One rating in a history. Without a timestamp it happened just before the question."""

    movie_id: int
    rating: float
    timestamp: int | None = None


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whom a question is about: a known user, a new user, or a known user with more events.

    Args:
        user_id: Of a known user; None for a new user.
        history: Replaces what is stored; None keeps it.
        added: Comes after the history; a movie in it replaces an earlier rating of that movie.
        gender: Of a new user, likewise age and occupation; None is unknown.
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
    # A times the ids of movies in the history that were added after training: they are seen, but
    # nothing is known of what their ratings say.
    unlearned: tuple[NDArray[np.int64], ...]


class _Events(NamedTuple):
    """One person's events."""

    movies: NDArray[np.int32]  # (E,) numbers
    ratings: NDArray[np.float32]  # (E,)
    timestamps: NDArray[np.int64]  # (E,) seconds, or `NO_TIME`


_NO_EVENTS = _Events(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int64))
_NO_IDS = np.zeros(0, np.int64)


class _Given(NamedTuple):
    """One person's events from outside, checked."""

    events: _Events  # of movies that training knew
    unlearned: NDArray[np.int64]  # ids of movies that were added after training
    repeated: NDArray[np.int64]  # ids of movies that come more than once

    @property
    def depends(self) -> bool:
        """Whether it depends on the time of asking when events happened, or which count."""
        return bool(len(self.repeated) or (self.events.timestamps == NO_TIME).any())


_NOTHING = _Given(_NO_EVENTS, _NO_IDS, _NO_IDS)


def one_person(run: Run, user: int | Person, at: int | None = None) -> Audience:
    """Return an audience of one, given by id or as a person.

    Args:
        run: Holds the stored histories.
        user: Whom the question is about.
        at: The time of asking, in seconds, just before which events without a time happened; None
            is after the last event or, where no event has a time, when the run was trained.

    Raises:
        RequestError: An unknown user, movie, gender or occupation, or an impossible rating or age.
    """
    person = user if isinstance(user, Person) else Person(user_id=checked_id(user, "user"))
    number = UNKNOWN
    stored, codes, known_as = _NO_EVENTS, np.zeros(3, np.int64), UNKNOWN_USER
    if person.user_id is not None:
        number = int(run.users.numbers(checked_id(person.user_id, "user")))
        if number == UNKNOWN:
            raise unknown_users(run, [person.user_id])
        stored, codes = _stored(run, number), run.user_codes[number]
        known_as = number + 1 if run.trained_users[number] else UNKNOWN_USER
    given = _checked(run, [*_listed(person.history), *_listed(person.added)])
    facts = (person.gender, person.age, person.occupation)
    as_stored = UNKNOWN
    untold = all(fact is None for fact in facts)
    if person.history is None and not len(given.events.movies) and untold:
        as_stored = number
    if as_stored == UNKNOWN:
        events = _history(run, stored if person.history is None else _NO_EVENTS, given.events, at)
        histories = build_histories(np.zeros(len(events.movies), np.int64), *events, 1)
    else:  # which is in order
        histories = Histories(np.array([0, len(stored.movies)]), *stored)
    asked_before = histories.timestamps[:1].tolist()
    if at is not None and asked_before and at < asked_before[0]:
        _log.warning("the time of asking lies before all events of the history: none counts")
    _note_given([given])
    if not untold:
        chosen = _codes(run, person)
        codes = np.where(chosen > 0, chosen, codes)
    return Audience(
        np.array([known_as]),
        np.array([as_stored]),
        np.array([as_stored != UNKNOWN and known_as != UNKNOWN_USER]),
        codes[None, :],
        histories,
        (given.unlearned,),
    )


def many_people(
    run: Run,
    users: NDArray[np.int64],
    given: Mapping[int, Sequence[Event]],
    times: NDArray[np.int64] | None = None,
) -> tuple[Audience, NDArray[np.int64]]:
    """Return the A distinct people among Q user ids, and which of them each id is, `(Q,)`.

    A user is several people if given events without a time, which happened just before the
    question, or repeated movies make the history another one for each time of asking.

    Args:
        run: Holds the stored histories.
        users: `(Q,)` ids.
        given: Histories that replace what is stored of these users, known or not.
        times: `(Q,)` seconds of asking, `NO_TIME` where there is none; None is none at all.

    Raises:
        RequestError: An unknown user without a given history, or a bad event in one.
    """
    asked = np.unique(users)
    if not isinstance(given, Mapping):
        raise RequestError(f"histories are '{shown(given)}'; give a dict of user ids to events")
    given = {checked_id(user, "user"): events for user, events in given.items()}
    told = {user: _checked(run, given[user]) for user in asked.tolist() if user in given}
    without = np.array([user for user in asked.tolist() if user not in told], np.int64)
    unknown = run.users.numbers(without) == UNKNOWN
    if unknown.any():
        raise unknown_users(run, without[unknown].tolist())
    if len(told) < len(given):
        _log.warning(
            "histories were given of %s users who are not asked about", len(given) - len(told)
        )
    _note_given(list(told.values()))
    open_ = [user for user, events in told.items() if events.depends]
    moments = None
    if times is None or not open_:
        ids, rows = np.unique(users, return_inverse=True)
    else:
        dated = np.stack([users, np.where(np.isin(users, open_), times, NO_TIME)], axis=1)
        people, rows = np.unique(dated, axis=0, return_inverse=True)
        ids, moments = people[:, 0], people[:, 1].tolist()
    numbers = run.users.numbers(ids)
    known = numbers != UNKNOWN
    replaced = np.array([user in told for user in ids.tolist()], dtype=bool)
    parts = [
        _history(run, _NO_EVENTS, told[user].events, _moment(moments, place))
        if swapped
        else _stored(run, number)
        for place, (user, number, swapped) in enumerate(
            zip(ids.tolist(), numbers.tolist(), replaced.tolist(), strict=True)
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
        tuple(told[user].unlearned if user in told else _NO_IDS for user in ids.tolist()),
    )
    if times is not None:
        _note_early(audience.histories, rows.reshape(-1), users, times)
    return audience, rows.reshape(-1)


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
    users, stored, settled, codes, _, unlearned = audience
    return (
        Audience(
            users[people],
            stored[people],
            settled[people],
            codes[people],
            histories,
            tuple(unlearned[place] for place in people.tolist()),
        ),
        which,
    )


def check_movies(run: Run, ids: NDArray[np.int64]) -> None:
    """Raise a `RequestError` for the first id that is no movie."""
    unknown = run.catalogue.vocabulary.numbers(ids) == UNKNOWN
    if unknown.any():
        run.catalogue.number(int(ids[unknown][0]))


def check_history(run: Run, events: Sequence[Event]) -> None:
    """Raise a `RequestError` for the first event that no history can hold."""
    _checked(run, events)


def unknown_users(run: Run, ids: Sequence[int]) -> RequestError:
    """Return the error that names users whom a run does not have."""
    low, high = run.users.range
    return RequestError(
        f"unknown user {enumerated(ids)}: ids run from {low} to {high}; "
        "ask as a new user by giving a history"
    )


def enumerated(ids: Sequence[int]) -> str:
    """Return the first few ids, and how many more there are, as words."""
    named = ", ".join(str(user) for user in ids[:NAMED])
    return named if len(ids) <= NAMED else f"{named} and {len(ids) - NAMED:,} more"


def _stored(run: Run, number: int) -> _Events:
    start, end = run.histories.offsets[number : number + 2]
    _, movies, ratings, timestamps = run.histories
    return _Events(movies[start:end], ratings[start:end], timestamps[start:end])


def _codes(run: Run, person: Person) -> NDArray[np.int64]:
    """Return the codes `(3,)` of what is told of a person."""
    for name, value in (("gender", person.gender), ("occupation", person.occupation)):
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name} '{shown(value)}' is no text")
    age = None
    if person.age is not None:
        age = float(checked_numbers([person.age], "age")[0])
        if not np.isfinite(age):
            raise RequestError(f"age {age} is no number of years; leave it out if unknown")
    return run.config.demographics.codes(person.gender, age, person.occupation)


def _listed(events: Sequence[Event] | None) -> list[Event]:
    if events is None:
        return []
    try:
        listed = list(events)
    except TypeError:  # it cannot be gone through
        listed = None
    # An iterator would be empty when the next question is asked.
    if listed is None or isinstance(events, Iterator):
        raise RequestError(f"a history is '{shown(events)}'; give a list of events")
    return listed


def _checked(run: Run, events: Sequence[Event]) -> _Given:
    """Check events from outside.

    Raises:
        RequestError: An unknown movie, a rating outside the scale, or what is no time.
    """
    events = _listed(events)
    if not events:
        return _NOTHING
    try:
        ids_told = [event.movie_id for event in events]
        ratings_told = [event.rating for event in events]
        times_told = [event.timestamp for event in events]
    except AttributeError as error:
        raise RequestError(
            f"a history holds '{shown(next(event for event in events if not _is_event(event)))}'; "
            "give Event(movie_id, rating) or Event(movie_id, rating, timestamp)"
        ) from error
    ids = checked_ids(ids_told, "movie")
    ratings = checked_numbers(ratings_told, "rating")
    dated = [NO_TIME if moment is None else moment for moment in times_told]
    times = checked_times(dated, len(dated))
    check_movies(run, ids)
    scale = run.config.scale
    wrong = ~((ratings >= scale.lowest) & (ratings <= scale.highest))
    if wrong.any():
        raise RequestError(
            f"rating {ratings[wrong][0]:g} of movie {ids[wrong][0]} is outside the scale: "
            f"ratings run from {scale.lowest:g} to {scale.highest:g}"
        )
    numbers = run.catalogue.vocabulary.numbers(ids)
    learned = numbers < len(run.catalogue) - run.catalogue.added
    known = _Events(
        numbers[learned].astype(np.int32),
        ratings[learned].astype(np.float32),
        np.full(int(learned.sum()), NO_TIME) if times is None else times[learned],
    )
    unlearned = _NO_IDS if learned.all() else np.unique(ids[~learned])
    repeated = _NO_IDS
    if not _distinct(ids):
        each, counts = np.unique(ids, return_counts=True)
        repeated = each[counts > 1]
    return _Given(known, unlearned, repeated)


def _is_event(value: object) -> bool:
    return all(hasattr(value, name) for name in Event._fields)


def _distinct(values: NDArray[np.integer]) -> bool:
    return len(set(values.tolist())) == len(values)


def _history(run: Run, stored: _Events, given: _Events, at: int | None) -> _Events:
    """Return stored and given events together, each movie once, each with a time.

    Of several ratings of a movie, those that happened before the question count before those that
    did not, then those given before those stored, then the last.
    """
    open_ = given.timestamps == NO_TIME
    timed = np.concatenate([stored.timestamps, given.timestamps[~open_]])
    if at is not None:
        moment = int(timed[timed <= at].max(initial=max(0, at - 1)))
    elif len(timed):
        moment = int(timed.max())
    else:
        moment = _trained_at(run)
    times = np.where(open_, moment, given.timestamps)
    events = _Events(
        np.concatenate([stored.movies, given.movies]),
        np.concatenate([stored.ratings, given.ratings]),
        np.concatenate([stored.timestamps, times]),
    )
    if _distinct(events.movies):
        return events
    order = np.lexsort(
        (
            events.timestamps,
            np.arange(len(events.movies)) >= len(stored.movies),
            np.full(len(events.movies), at is None) | (events.timestamps <= (at or 0)),
        )
    )[::-1]  # lexsort is stable: what comes last is first
    _, first = np.unique(events.movies[order], return_index=True)
    kept = np.sort(order[first])
    return _Events(events.movies[kept], events.ratings[kept], events.timestamps[kept])


def _moment(moments: Sequence[int] | None, place: int) -> int | None:
    return None if moments is None or moments[place] == NO_TIME else moments[place]


def _trained_at(run: Run) -> int:
    """Return when a run was made, in seconds."""
    try:
        return int(datetime.fromisoformat(run.config.created).timestamp())
    except (ValueError, OverflowError) as error:
        raise RunError(
            f"{run.folder} was made at '{shown(run.config.created)}', which is no time; train again"
        ) from error


def _note_given(told: Sequence[_Given]) -> None:
    """Say what does not count as it was told."""
    if not any(len(given.unlearned) or len(given.repeated) for given in told):
        return
    unlearned = np.unique(np.concatenate([_NO_IDS, *(given.unlearned for given in told)]))
    if len(unlearned):
        _log.warning(
            "movie %s in a history was added after training: it counts as seen, and its rating "
            "says nothing yet",
            enumerated(unlearned.tolist()),
        )
    repeated = np.unique(np.concatenate([_NO_IDS, *(given.repeated for given in told)]))
    if len(repeated):
        _log.warning(
            "movie %s comes more than once in a history: its last rating counts",
            enumerated(repeated.tolist()),
        )


def _note_early(
    histories: Histories,
    rows: NDArray[np.int64],
    users: NDArray[np.int64],
    times: NDArray[np.int64],
) -> None:
    """Say who is asked about before all of their events."""
    starts, ends = histories.offsets[:-1][rows], histories.offsets[1:][rows]
    early = (times != NO_TIME) & (starts < ends)
    early[early] = times[early] < histories.timestamps[starts[early]]
    if early.any():
        _log.warning(
            "the time of asking lies before all events of user %s: none counts",
            enumerated(np.unique(users[early]).tolist()),
        )
