"""The users of a question, known or new, with the events that count as their history."""

import logging
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.history import Histories, build_histories, kept_events
from retrieval.data.times import NO_TIME
from retrieval.data.vocabulary import UNKNOWN, Id, Ids
from retrieval.errors import RequestError, shown
from retrieval.run.folder import Run
from retrieval.serving.arguments import checked_id, checked_ids
from retrieval.serving.events import (
    NO_EVENTS,
    NO_MOVIES,
    Event,
    GivenHistories,
    OtherEvents,
    UserEvents,
    checked_events,
    events_of,
    listed,
    merged,
    movie_numbers,
    with_repeated,
)
from retrieval.serving.history import (
    HistoryStore,
    KnownHistories,
    StoredHistories,
    histories_of,
)

_log = logging.getLogger(__name__)

# Ids that a message names; of more, only the number is told.
NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Person:
    """The user of a question: a known user, a new user, or a known user with other events.

    Args:
        user_id: Id of a known user; None for a new user.
        history: Events that replace the stored ones; None keeps those.
        added: Events that come after the history; a movie in them replaces an earlier rating of
            that movie.
        seen: Ids of movies that were seen and not rated: lists leave them out.
        gender: Gender as the data spells it; None where it is not known.
        age: Age in years; None where it is not known.
        occupation: Occupation as the data spells it; None where it is not known.
        attributes: What else is known, by the names of the data's attributes of users.
    """

    user_id: Id | None = None
    history: Sequence[Event] | None = None
    added: Sequence[Event] = ()
    seen: Sequence[Id] = ()
    gender: str | None = None
    age: float | None = None
    occupation: str | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, object]:
        """What is known, by the names of attributes."""
        usual = {
            columns.GENDER: self.gender,
            columns.AGE: self.age,
            columns.OCCUPATION: self.occupation,
        }
        if not isinstance(self.attributes, Mapping):
            raise RequestError(
                f"attributes are '{shown(self.attributes)}'; give a dict of names to values"
            )
        return {
            name: value
            for name, value in (usual | dict(self.attributes)).items()
            if value is not None
        }


class QueryUsers(NamedTuple):
    """The A distinct users of some questions, with their histories.

    A user whose history differs between two questions counts as two.
    """

    trained: NDArray[np.int64]  # (A,) number of a user whose id was trained, or UNKNOWN
    stored: NDArray[np.int64]  # (A,) number of a user whose history is as stored, or UNKNOWN
    # (A,) first events of a history that are all that is stored of a user whose id was trained and
    # whose attributes are as stored: such a history has grown, and is not stored itself; else 0
    settled: NDArray[np.int64]
    as_known: NDArray[np.bool_]  # (A,) whether the pairs are weighed as for a known user
    codes: NDArray[np.int64]  # (A, C) of attributes
    histories: Histories  # of A
    # A times the numbers of movies that were seen and not rated, which say nothing.
    also_seen: tuple[NDArray[np.int64], ...]

    @property
    def grown(self) -> NDArray[np.int64]:
        """Numbers of users `(A,)` whose histories have grown, or UNKNOWN."""
        return np.where(self.settled > 0, self.trained, UNKNOWN)


def one_user(
    run: Run, user: Id | Person, at: int | None = None, store: HistoryStore | None = None
) -> QueryUsers:
    """Return the one user of a question.

    Args:
        run: The run.
        user: Id of a known user, or a person.
        at: Time of asking, in seconds, just before which events without a time happened; None is
            after the last event or, where no event has a time, when the run was trained.
        store: Source of the stored events; None is the run itself.

    Raises:
        RequestError: An unknown user, movie, gender or occupation, or an impossible rating or age.
    """
    person = user if isinstance(user, Person) else Person(user_id=user)
    number, trained, as_stored = UNKNOWN, UNKNOWN, False
    codes, stored = np.zeros(run.user_codes.shape[1], np.int64), NO_EVENTS
    watched = _watched(run, person.seen)
    if person.user_id is not None or not isinstance(user, Person):
        number = known_number(run, person.user_id)
        codes = run.user_codes[number]
        trained = number if run.trained_users[number] else UNKNOWN
        if person.history is None:
            stored, also, as_stored = _read_one(run, number, store)
            watched = np.concatenate([also, watched])
    given = checked_events(run, [*listed(person.history), *listed(person.added)])
    told = person.known
    if told:
        chosen = run.config.user_attributes.codes(told)
        codes = np.where(chosen > 0, chosen, codes)
    as_trained = number != UNKNOWN and np.array_equal(codes, run.user_codes[number])
    as_stored = as_stored and as_trained and not len(given.events.movies)
    if as_stored:
        histories = Histories(np.array([0, len(stored.movies)]), *stored)
    else:
        events = merged(run, stored, given.events, at)
        histories = build_histories(np.zeros(len(events.movies), np.int64), *events, 1)
    first = histories.timestamps[:1].tolist()
    if at is not None and first and at < first[0]:
        _log.warning("the time of asking lies before all events of the history: none counts")
    _note_given(run, [given])
    settled = np.zeros(1, np.int64)
    if not as_stored and as_trained:
        settled = settled_events(run, np.array([trained]), histories)
    return QueryUsers(
        trained=np.array([trained]),
        stored=np.array([number if as_stored else UNKNOWN]),
        settled=settled,
        as_known=(settled > 0) | (as_stored and trained != UNKNOWN),
        codes=codes[None, :],
        histories=histories,
        also_seen=(watched,),
    )


def many_users(
    run: Run,
    users: Ids,
    given: GivenHistories,
    times: NDArray[np.int64] | None = None,
    store: HistoryStore | None = None,
) -> tuple[QueryUsers, NDArray[np.int64]]:
    """Return the A distinct users among Q ids, and which of them each id is, `(Q,)`.

    A user counts once for each time of asking, if given events without a time, which happened just
    before the question, or repeated movies make another history of each.

    Args:
        run: The run.
        users: `(Q,)` ids.
        given: Histories by id that replace the stored ones of these users, known or not.
        times: `(Q,)` times of asking, in seconds, `NO_TIME` where a question has none; None is none
            at all.
        store: Source of the stored events; None is the run itself.

    Raises:
        RequestError: An unknown user without a given history, or a bad event in one.
    """
    distinct = np.unique(users)
    others = _checked_histories(run, distinct, given)
    without = distinct[[user not in others for user in distinct.tolist()]]
    numbers = run.users.numbers(without)
    if (numbers == UNKNOWN).any():
        raise unknown_users(run, without[numbers == UNKNOWN].tolist())
    _note_given(run, list(others.values()))
    read = _read(run, numbers, store)
    for place in np.flatnonzero(~read.as_stored).tolist():
        others[without[place].item()] = with_repeated(run, events_of(read.histories, place))
    watched = dict(zip(without.tolist(), read.watched, strict=True)) if len(read.watched) else {}
    ids, rows, moments = _distinct_users(users, times, others)
    as_stored = np.array([user not in others for user in ids.tolist()], dtype=bool)
    histories = read.histories
    if not as_stored.all():
        places = np.searchsorted(without, ids).tolist()
        histories = _joined(
            [
                merged(run, NO_EVENTS, others[user].events, moment)
                if user in others
                else events_of(read.histories, place)
                for user, moment, place in zip(ids.tolist(), moments, places, strict=True)
            ]
        )
    numbers = run.users.numbers(ids)
    known = numbers != UNKNOWN
    trained = np.zeros(len(ids), dtype=bool)
    trained[known] = run.trained_users[numbers[known]]
    codes = np.zeros((len(ids), run.user_codes.shape[1]), dtype=np.int64)
    codes[known] = run.user_codes[numbers[known]]
    settled = settled_events(run, np.where(trained & ~as_stored, numbers, UNKNOWN), histories)
    found = QueryUsers(
        trained=np.where(trained, numbers, UNKNOWN),
        stored=np.where(as_stored, numbers, UNKNOWN),
        settled=settled,
        as_known=trained & (as_stored | (settled > 0)),
        codes=codes,
        histories=histories,
        also_seen=tuple(watched.get(user, NO_MOVIES) for user in ids.tolist()),
    )
    if times is not None:
        _note_early(found.histories, rows, users, times)
    return found, rows


def selected(users: QueryUsers, rows: NDArray[np.int64]) -> tuple[QueryUsers, NDArray[np.int64]]:
    """Return the users of some questions alone.

    Args:
        users: The users.
        rows: `(Q,)` which of them each question is about.

    Returns:
        The users, and `(Q,)` which of these each question is about.
    """
    kept, which = np.unique(rows, return_inverse=True)
    some = QueryUsers(
        trained=users.trained[kept],
        stored=users.stored[kept],
        settled=users.settled[kept],
        as_known=users.as_known[kept],
        codes=users.codes[kept],
        histories=histories_of(users.histories, kept),
        also_seen=tuple(users.also_seen[place] for place in kept.tolist()),
    )
    return some, which


def settled_events(run: Run, users: NDArray[np.int64], histories: Histories) -> NDArray[np.int64]:
    """Return how many events are stored of users whose histories begin with all of them, `(A,)`.

    Args:
        run: The run.
        users: `(A,)` numbers of users; none for UNKNOWN.
        histories: Histories of A.

    Returns:
        The numbers; 0 where a history begins with other events, or nothing is stored.
    """
    counts, stored = np.zeros(len(users), np.int64), run.histories
    for row in np.flatnonzero(users != UNKNOWN).tolist():
        start, end = stored.offsets[users[row] : users[row] + 2].tolist()
        first, after = histories.offsets[row : row + 2].tolist()
        theirs, own = slice(start, end), slice(first, first + end - start)
        begins = (
            after - first >= end - start
            and np.array_equal(histories.movies[own], stored.movies[theirs])
            and np.array_equal(histories.ratings[own], stored.ratings[theirs])
            and np.array_equal(histories.timestamps[own], stored.timestamps[theirs])
        )
        counts[row] = end - start if begins else 0
    return counts


def known_number(run: Run, user: object) -> int:
    """Return the number of a known user, given by id.

    Raises:
        RequestError: There is no such user.
    """
    known = checked_id(user, "user", run.users)
    number = run.users.number(known)
    if number == UNKNOWN:
        raise unknown_users(run, [known])
    return number


def unknown_users(run: Run, ids: Sequence[Id]) -> RequestError:
    """Return the error that names users whom a run does not have."""
    return RequestError(
        f"unknown user {enumerated(ids)}: {run.users.described()}; "
        "ask as a new user by giving a history"
    )


def enumerated(ids: Sequence[Id]) -> str:
    """Return the first few ids, and how many more there are, as words."""
    named = ", ".join(shown(user) for user in ids[:NAMED])
    return named if len(ids) <= NAMED else f"{named} and {len(ids) - NAMED:,} more"


def _read_one(
    run: Run, number: int, store: HistoryStore | None
) -> tuple[UserEvents, NDArray[np.int64], bool]:
    """Return the events of one user, the movies seen and not rated, and whether that is stored."""
    read = _read(run, np.array([number]), store)
    watched = read.watched[0] if len(read.watched) else NO_MOVIES
    return events_of(read.histories, 0), watched, bool(read.as_stored[0])


def _read(run: Run, numbers: NDArray[np.int64], store: HistoryStore | None) -> KnownHistories:
    """Return the events of users.

    Those of movies that a live store learned of after this run was opened are left out.
    """
    read = (StoredHistories(run) if store is None else store).read(numbers)
    count, histories = len(run.catalogue), read.histories
    there = histories.movies < count
    return read._replace(
        histories=histories if there.all() else kept_events(histories, there),
        watched=tuple(movies[movies < count] for movies in read.watched),
    )


def _watched(run: Run, movies: Sequence[Id]) -> NDArray[np.int64]:
    """Return the numbers of movies that were seen and not rated, given by id.

    Raises:
        RequestError: An id is no movie's.
    """
    if not isinstance(movies, Sized) or isinstance(movies, str):
        raise RequestError(f"seen is '{shown(movies)}'; give a list of movie ids")
    if not len(movies):
        return NO_MOVIES
    return movie_numbers(run, checked_ids(movies, "movie", run.catalogue.vocabulary))


def _checked_histories(run: Run, users: Ids, given: GivenHistories) -> dict[Id, OtherEvents]:
    """Return the given histories of distinct users `(A,)`, by id.

    Raises:
        RequestError: The histories are no mapping, or there is a bad event in one.
    """
    if not isinstance(given, Mapping):
        raise RequestError(f"histories are '{shown(given)}'; give a dict of user ids to events")
    named = {checked_id(user, "user", run.users): events for user, events in given.items()}
    for user, events in named.items():
        if events is None:
            raise RequestError(
                f"the history of user {shown(user)} is None; give a list of events, or leave the "
                "user out for the stored one"
            )
    checked = {user: checked_events(run, named[user]) for user in users.tolist() if user in named}
    if len(checked) < len(named):
        _log.warning(
            "histories were given of %s users who are not asked about", len(named) - len(checked)
        )
    return checked


def _distinct_users(
    users: Ids,
    times: NDArray[np.int64] | None,
    others: Mapping[Id, OtherEvents],
) -> tuple[Ids, NDArray[np.int64], Sequence[int | None]]:
    """Return A ids, `(Q,)` which of them each question is about, and A times of asking.

    There is such a time where the history depends on it.
    """
    depending = [user for user, events in others.items() if events.depends]
    ids, which = np.unique(users, return_inverse=True)
    if times is None or not depending:
        return ids, which.reshape(-1), [None] * len(ids)
    dated = np.stack([which, np.where(np.isin(users, depending), times, NO_TIME)], axis=1)
    distinct, rows = np.unique(dated, axis=0, return_inverse=True)
    moments = [None if moment == NO_TIME else moment for moment in distinct[:, 1].tolist()]
    return ids[distinct[:, 0]], rows.reshape(-1), moments


def _joined(parts: Sequence[UserEvents]) -> Histories:
    """Return the histories of users whose events come in any order."""
    owners = np.repeat(np.arange(len(parts)), [len(part.movies) for part in parts])
    movies, ratings, timestamps = (
        np.concatenate(column) for column in zip(NO_EVENTS, *parts, strict=True)
    )
    return build_histories(owners, movies, ratings, timestamps, len(parts))


def _note_given(run: Run, given: Sequence[OtherEvents]) -> None:
    """Log what does not count as it was given."""
    if not any(len(each.repeated) for each in given):
        return
    repeated = np.unique(np.concatenate([each.repeated for each in given]))
    _log.warning(
        "movie %s comes more than once in a history: its last rating counts",
        enumerated(run.catalogue.vocabulary.ids[repeated].tolist()),
    )


def _note_early(
    histories: Histories,
    rows: NDArray[np.int64],
    users: Ids,
    times: NDArray[np.int64],
) -> None:
    """Log which users are asked about before all of their events."""
    starts, ends = histories.offsets[:-1][rows], histories.offsets[1:][rows]
    early = (times != NO_TIME) & (starts < ends)
    early[early] = times[early] < histories.timestamps[starts[early]]
    if early.any():
        _log.warning(
            "the time of asking lies before all events of user %s: none counts",
            enumerated(np.unique(users[early]).tolist()),
        )
